//! What every reconciler is given.

use countersign_contract::{TrustDomain, names};
use std::path::PathBuf;
use std::sync::Arc;

use countersign_crds::{AccessPolicy, Certificate, CertificateRequest, ClusterIssuer, Issuer};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::core::{Duration, PartialObjectMeta};
use kube::runtime::reflector::Store;
use tokio::sync::broadcast;

use crate::cabundle::ApiServerAuthority;
use crate::certificate::keys::KeyMaker;
use crate::certificate::pending::PendingKeys;
use crate::certificate::reference::IssuerId;
use crate::certificate::repairs::Repairs;
use crate::clock::Clock;
use crate::event::Events;
use crate::identity::Refreshes;
use crate::inject::audit::{Suspects, UNREACHED_AFTER};
use crate::issuer::Authorities;
use crate::kept::{MeshPod, MeshService, MeshSlice};
use crate::last_word::LastWords;
use crate::metrics::Metrics;
use crate::policy::{Defaults, Documents, Reports};
use crate::role::Role;
use crate::watch::{Claims, Inputs, Key, Named, Once, OwnWrites, Published, Versions};

/// The name under which the operator applies fields (server-side apply).
pub const FIELD_MANAGER: &str = "countersign-operator";

/// What every reconciler is given.
#[derive(Clone)]
pub struct Context {
    /// The API server, for objects that are not watched and for writes.
    pub client: Client,
    /// Where `now` comes from.
    pub clock: Clock,
    /// Where Events go.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
    /// What was seen on the watches.
    pub seen: Watched,
    /// The authorities of `ca` issuers, as they were read last.
    pub authorities: Arc<Authorities>,
    /// Which Secrets were put right of late.
    pub repairs: Arc<Repairs>,
    /// RSA keys that are being made.
    pub keys: Arc<KeyMaker>,
    /// The keys of requests that are under way.
    pub pending_keys: Arc<PendingKeys>,
    /// When the pods of identities were annotated.
    pub refreshes: Arc<Refreshes>,
    /// The policies of each namespace, compiled.
    pub documents: Arc<Documents>,
    /// What sidecars said of themselves.
    pub reports: Arc<Reports>,
    /// What was told of the mistakes in each pod's annotations.
    pub mistakes: Arc<LastWords>,
    /// Pods that may lack the sidecar.
    pub suspects: Arc<Suspects>,
    /// What was configured.
    pub settings: Settings,
}

/// What was seen on the watches; reading it costs no request.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Every Certificate.
    pub certificates: Store<Certificate>,
    /// Every Issuer.
    pub issuers: Store<Issuer>,
    /// Every ClusterIssuer.
    pub cluster_issuers: Store<ClusterIssuer>,
    /// Every CertificateRequest.
    pub requests: Store<CertificateRequest>,
    /// Every AccessPolicy.
    pub access_policies: Store<AccessPolicy>,
    /// Namespaces, with their labels and annotations only.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// Which Certificates name which Secret.
    pub claims: Arc<Claims>,
    /// Which Certificates read which Secrets of others.
    pub inputs: Arc<Inputs>,
    /// The versions of our Secrets.
    pub secrets: Arc<Versions>,
    /// Secrets of users' that are followed by their names.
    pub named: Arc<Named>,
    /// What we wrote a moment ago.
    pub own_writes: Arc<OwnWrites<Certificate>>,
    /// The same of Issuers.
    pub own_issuers: Arc<OwnWrites<Issuer>>,
    /// The same of ClusterIssuers.
    pub own_cluster_issuers: Arc<OwnWrites<ClusterIssuer>>,
    /// The same of AccessPolicies.
    pub own_access_policies: Arc<OwnWrites<AccessPolicy>>,
    /// The ConfigMaps of compiled policies.
    pub published: Arc<Published>,
    /// Tells the signers' names of issuers that changed.
    pub signers: broadcast::Sender<String>,
    /// Injected pods: metadata, whose they are, where they run, and their addresses.
    pub pods: Store<MeshPod>,
    /// Services: what selects their pods, and how they are called.
    pub services: Store<MeshService>,
    /// Who is behind each Service.
    pub slices: Store<MeshSlice>,
    /// Whether pods, Services and slices were all read once.
    pub mesh_was_read: Once,
}

impl Watched {
    /// Whether every change of a Secret is told: it bears our label, or is followed by its name.
    #[must_use]
    pub fn follows(&self, secret: &Key) -> bool {
        self.secrets.knows(secret) || self.named.follows(secret)
    }
}

/// How the API server reaches our webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The Service, whose name its certificate has.
    pub service: String,
    /// The MutatingWebhookConfiguration whose caBundle is kept.
    pub configuration: String,
}

/// Which part of the operator this process is, and how it is served.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which part.
    pub role: Role,
    /// Where the credentials are with which this process serves; in Secrets where there is no folder.
    pub credentials: Option<PathBuf>,
    /// The webhook whose certificate is kept.
    pub webhook: Option<Webhook>,
    /// The name of this process's pod; empty outside of one.
    pub pod: String,
    /// For how long discovery may be without a stream of an injected pod before that is reported.
    pub unreached_after: std::time::Duration,
}

impl Default for Process {
    /// All of it, with no webhook to keep.
    fn default() -> Self {
        let (pod, unreached_after) = (String::new(), UNREACHED_AFTER);
        Self { role: Role::All, credentials: None, webhook: None, pod, unreached_after }
    }
}

/// What was configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which part of the operator this process is.
    pub process: Process,
    /// The trust domain of identities.
    pub trust_domain: TrustDomain,
    /// The DNS domain of Services.
    pub cluster_domain: String,
    /// Where ClusterIssuers find their Secrets.
    pub cluster_resource_namespace: String,
    /// The ClusterIssuer that signs identities.
    pub identity_issuer: String,
    /// The ClusterIssuer that signs for people and devices, where there is one.
    pub device_issuer: Option<String>,
    /// How long an identity is valid.
    pub identity_duration: Duration,
    /// Over how long at most leaves are issued again after their authority was replaced.
    pub reissue_spread: Duration,
    /// The largest RSA key that is made for a Certificate, in bits.
    pub max_rsa_bits: u32,
    /// The issuer of Certificates that name none, where their namespace names none either.
    pub default_issuer: Option<IssuerId>,
    /// Whether requests to issuers of ours are approved without anybody's word.
    pub approves: bool,
    /// Whether Kubernetes' own CertificateSigningRequests are signed.
    pub signs_for_kubernetes: bool,
    /// Namespaces in which nothing is injected, beside Kubernetes' own and ours.
    pub excluded_namespaces: Vec<String>,
    /// Whether pods that lack the sidecar may be evicted where their namespace asks for it.
    pub replaces_uninjected: bool,
    /// Whether the caBundles of others are filled.
    pub injects_authorities: bool,
    /// Which addresses are set aside for pods, beside those of which the Nodes tell.
    pub pod_ranges: Vec<ipnet::IpNet>,
    /// In which ranges Services may claim addresses beside their cluster IPs; none: they may not.
    pub external_ranges: Vec<ipnet::IpNet>,
    /// What holds for pods that no AccessPolicy selects.
    pub access: Defaults,
    /// What those are filled with that ask for the authority of the API server.
    pub api_server_authority: ApiServerAuthority,
}

impl Settings {
    /// Whether nothing is injected in a namespace, whatever it asks for.
    #[must_use]
    pub fn is_excluded(&self, namespace: &str) -> bool {
        names::SYSTEM_NAMESPACES.contains(&namespace)
            || self.cluster_resource_namespace == namespace
            || self.excluded_namespaces.iter().any(|excluded| excluded == namespace)
    }
}
