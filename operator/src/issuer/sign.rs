//! Signs: finds the issuer, loads its authority, checks what it may do, and signs in process.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_crds::{ClusterIssuer, Issuer, IssuerSpec, SigningPolicy};
use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use rustls_pki_types::CertificateDer;

use super::authority::{self, AuthorityUnavailable};
use super::guard::{self, Requester};
use super::namespace;
use super::policy::{self, Facts};
use super::requesters_key::KeyUnavailable;
use super::scope::{Scope, scope};
use crate::certificate::reference::IssuerId;
use crate::context::Context;
use crate::pki::{self, NameParts, Pointers, PrivateKey, Request, Template};
use crate::retry;

/// How long a temporary certificate is valid.
const TEMPORARY: Duration = Duration::from_secs(90 * 24 * 3600);

/// What is to be signed.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The namespace of whoever asks.
    pub namespace: &'a str,
    /// Who shall sign.
    pub issuer: &'a IssuerId,
    /// The names and usages.
    pub request: Request,
    /// The subject of a CSR, to be kept byte for byte.
    pub subject_der: Option<Vec<u8>>,
    /// How long it shall be valid.
    pub lifetime: Duration,
    /// Whether that is the default, because the request does not say.
    pub is_default_lifetime: bool,
    /// The object that the request comes from.
    pub requester: Requester<'a>,
    /// The public key, a DER SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// The private key, where it is ours: a self-signed certificate needs it.
    pub own_key: Option<&'a PrivateKey>,
    /// How it signs itself, where it does.
    pub signature: Option<pki::SignatureAlgorithm>,
}

/// What was signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The leaf, then its intermediates, PEM.
    pub chain: String,
    /// The root, PEM, where it is known.
    pub ca: Option<String>,
}

/// A request that is refused for what it asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub enum Denied {
    /// By what the issuer of identities never signs.
    Guard(#[from] guard::Denied),
    /// By the issuer's policy.
    Policy(#[from] policy::Denied),
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum SignError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("reading the labels of {namespace}, by which the policy of {issuer} selects")]
    ReadNamespace {
        issuer: String,
        namespace: Box<ObjectRef<Namespace>>,
        #[source]
        source: kube::Error,
    },
    #[error("{namespace} does not exist")]
    NoNamespace { namespace: Box<ObjectRef<Namespace>> },
    #[error("{issuer} does not exist")]
    NotFound { issuer: String },
    #[error("reading {issuer}")]
    Read {
        issuer: String,
        #[source]
        source: kube::Error,
    },
    #[error(transparent)]
    Authority(#[from] AuthorityUnavailable),
    #[error(transparent)]
    RequestersKey(#[from] KeyUnavailable),
    #[error(
        "{issuer} is selfSigned: it signs Certificates, whose keys it makes, and no CSR of others"
    )]
    NoPrivateKey { issuer: String },
    #[error("signing with {issuer}")]
    Sign {
        issuer: String,
        #[source]
        source: pki::SignError,
    },
    #[error(transparent)]
    Randomness(#[from] pki::NoRandomness),
}

impl SignError {
    /// Used as event reason, condition reason and metric label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Denied(_) => "Denied",
            Self::ReadNamespace { .. } | Self::NoNamespace { .. } => "NamespaceReadError",
            Self::NotFound { .. } => "IssuerNotFound",
            Self::Read { .. } => "IssuerReadError",
            Self::Authority(error) => error.reason(),
            Self::RequestersKey(error) => error.reason(),
            Self::NoPrivateKey { .. } => "IssuerCannotSignRequests",
            Self::Sign { .. } | Self::Randomness(_) => "SigningError",
        }
    }

    /// Whether trying again later can help although nobody changed the request.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::RequestersKey(error) => error.is_passing(),
            Self::Denied(_) | Self::NoPrivateKey { .. } | Self::Sign { .. } => false,
            _ => true,
        }
    }

    /// The longest interval at which it is tried again. It does not depend on what is wrong with the Secret
    /// of a requester.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        match self {
            Self::ReadNamespace { .. }
            | Self::Read { .. }
            | Self::Authority(AuthorityUnavailable::Read { .. }) => retry::LONGEST_AFTER_ERROR,
            _ => retry::LONGEST_WAIT,
        }
    }
}

/// Signs.
///
/// # Errors
/// When the issuer or its authority is missing or cannot sign this.
pub async fn sign(context: &Context, mut job: Job<'_>) -> Result<Signed, SignError> {
    let spec = spec_of(context, job.issuer, job.namespace).await?;
    // Where the name alone tells, nothing is read for a request that is never signed.
    let by_name = scope(context, job.issuer, None);
    guarded(context, &mut job, by_name)?;
    let authority = match &spec.ca {
        Some(ca) => {
            let secret = (authority_namespace(context, &job).to_owned(), ca.secret_name.clone());
            let authority = authority::load(context, &secret).await?;
            let by_key = scope(context, job.issuer, Some((&secret.0, &secret.1, &authority)));
            if by_key != by_name {
                guarded(context, &mut job, by_key)?;
            }
            Some(authority)
        }
        None => None,
    };
    if let Some(policy) = spec.policy() {
        allowed(context, &job, policy).await?;
    }
    match (spec.ca.as_ref().zip(authority), &spec.self_signed) {
        (Some((ca, authority)), _) => {
            let pointers = Pointers {
                crl_distribution_points: ca.crl_distribution_points.clone(),
                ocsp_servers: ca.ocsp_servers.clone(),
                issuing_certificate_urls: ca.issuing_certificate_urls.clone(),
            };
            let template = template(context, &job, Some(authority.validity()), pointers)?;
            let der = pki::sign(&template, &job.public_key, &authority);
            let der =
                der.map_err(|source| SignError::Sign { issuer: job.issuer.to_string(), source })?;
            Ok(Signed { chain: authority.leaf_chain_pem(&der), ca: Some(authority.ca_pem()) })
        }
        (None, self_signed) => {
            let points = self_signed.as_ref().map(|s| s.crl_distribution_points.clone());
            let crl_distribution_points = points.unwrap_or_default();
            self_sign(context, &job, Pointers { crl_distribution_points, ..Pointers::default() })
        }
    }
}

/// Whether the guard lets a request pass. An identity whose request says no duration is valid for as long as
/// the operator makes them.
fn guarded(context: &Context, job: &mut Job<'_>, scope: Scope) -> Result<(), Denied> {
    if scope == Scope::Identities && job.is_default_lifetime {
        job.lifetime = job.lifetime.min(context.settings.identity_duration.into());
    }
    let account = guard::Facts::account(job.requester);
    let own_names = account
        .map(|(namespace, account)| crate::identity::service_names(context, namespace, account));
    let facts = guard::Facts {
        issuer: job.issuer,
        namespace: job.namespace,
        request: &job.request,
        subject: &subject_of(job),
        lifetime: job.lifetime,
        key: pki::key_algorithm(&job.public_key),
        requester: job.requester,
        own_names: &own_names.unwrap_or_default(),
    };
    guard::check(&context.settings, scope, &facts).map_err(Denied::from)
}

async fn allowed(
    context: &Context,
    job: &Job<'_>,
    policy: &SigningPolicy,
) -> Result<(), SignError> {
    let labels =
        if policy::needs_labels(policy) { labels_of(context, job).await? } else { BTreeMap::new() };
    let facts = Facts {
        issuer: job.issuer,
        namespace: job.namespace,
        labels: &labels,
        request: &job.request,
        subject: &subject_of(job),
        lifetime: job.lifetime,
        key: pki::key_algorithm(&job.public_key),
        cluster_domain: &context.settings.cluster_domain,
        trust_domain: &context.settings.trust_domain,
    };
    policy::check(policy, &facts).map_err(|denied| Denied::from(denied).into())
}

async fn labels_of(
    context: &Context,
    job: &Job<'_>,
) -> Result<BTreeMap<String, String>, SignError> {
    // A request that stands in no namespace has no labels, and no selector is met.
    if job.namespace.is_empty() {
        return Ok(BTreeMap::new());
    }
    let namespace = || Box::new(ObjectRef::new(job.namespace));
    let found = namespace::labels(context, job.namespace).await;
    let found = found.map_err(|source| SignError::ReadNamespace {
        issuer: job.issuer.to_string(),
        namespace: namespace(),
        source,
    })?;
    found.ok_or_else(|| SignError::NoNamespace { namespace: namespace() })
}

/// The subject as it will be signed: a CSR's and a literal one may hold more than a request has
/// fields for.
fn subject_of(job: &Job<'_>) -> NameParts {
    let unreadable =
        || NameParts { others: vec!["(unreadable)".to_owned()], ..NameParts::default() };
    let literal = job.request.literal_subject.as_ref().map(|literal| literal.der());
    match job.subject_der.as_deref().or(literal) {
        Some(der) => NameParts::from_der(der).unwrap_or_else(unreadable),
        None => NameParts {
            common_names: job.request.common_name.iter().cloned().collect(),
            subject: job.request.subject.clone(),
            ..NameParts::default()
        },
    }
}

fn self_sign(context: &Context, job: &Job<'_>, pointers: Pointers) -> Result<Signed, SignError> {
    let issuer = || job.issuer.to_string();
    let key = job.own_key.ok_or_else(|| SignError::NoPrivateKey { issuer: issuer() })?;
    let mut template = template(context, job, None, pointers)?;
    template.signature_algorithm = job.signature;
    let der: CertificateDer<'static> = pki::self_sign(&template, key)
        .map_err(|source| SignError::Sign { issuer: issuer(), source })?;
    let pem = pki::certificates_to_pem([&der]);
    Ok(Signed { chain: pem.clone(), ca: Some(pem) })
}

/// Signs for a key what nobody trusts: with an authority that is made for this once and thrown away.
///
/// # Errors
/// When the request cannot be written.
pub fn sign_temporary(
    request: &Request,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<Signed, SignError> {
    let failed = |source| SignError::Sign { issuer: "a temporary authority".to_owned(), source };
    let authority = pki::throw_away_authority(now, TEMPORARY).map_err(failed)?;
    let validity = pki::clamp_lifetime(now, TEMPORARY, pki::BACKDATE, Some(authority.validity()));
    let template = Template::new(Request { is_ca: false, ..request.clone() }, validity)?;
    let der = pki::sign(&template, &key.public_key_spki(), &authority).map_err(failed)?;
    Ok(Signed { chain: pki::certificates_to_pem([&der]), ca: None })
}

fn template(
    context: &Context,
    job: &Job<'_>,
    authority: Option<pki::Validity>,
    pointers: Pointers,
) -> Result<Template, SignError> {
    let validity = pki::clamp_lifetime(context.clock.now(), job.lifetime, pki::BACKDATE, authority);
    let mut template = Template::new(job.request.clone(), validity)?;
    template.subject_der.clone_from(&job.subject_der);
    template.pointers = pointers;
    Ok(template)
}

fn authority_namespace<'a>(context: &'a Context, job: &Job<'a>) -> &'a str {
    if job.issuer.is_cluster_wide() {
        &context.settings.cluster_resource_namespace
    } else {
        job.namespace
    }
}

/// An issuer's spec as seen from a namespace, from the cache. The API server is asked only until the cache is
/// complete: an issuer that comes wakes the requests that wait for it.
///
/// # Errors
/// When there is no such issuer, or it cannot be read.
pub async fn spec_of(
    context: &Context,
    id: &IssuerId,
    namespace: &str,
) -> Result<IssuerSpec, SignError> {
    let issuer = || id.to_string();
    let read = |source| SignError::Read { issuer: issuer(), source };
    let spec = if id.is_cluster_wide() {
        let key = ObjectRef::new(&id.name);
        match context.seen.cluster_issuers.get(&key) {
            Some(found) => Some(found.spec.clone().into()),
            None if is_complete(&context.seen.cluster_issuers) => None,
            None => {
                let api = Api::<ClusterIssuer>::all(context.client.clone());
                api.get_opt(&id.name).await.map_err(read)?.map(|found| found.spec.into())
            }
        }
    } else {
        let key = ObjectRef::new(&id.name).within(namespace);
        match context.seen.issuers.get(&key) {
            Some(found) => Some(found.spec.clone()),
            None if is_complete(&context.seen.issuers) => None,
            None => {
                let api = Api::<Issuer>::namespaced(context.client.clone(), namespace);
                api.get_opt(&id.name).await.map_err(read)?.map(|found| found.spec)
            }
        }
    };
    spec.ok_or_else(|| SignError::NotFound { issuer: issuer() })
}

/// Whether a cache holds all objects of its kind.
fn is_complete<K>(store: &Store<K>) -> bool
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    store.wait_until_ready().now_or_never().is_some_and(|ready| ready.is_ok())
}
