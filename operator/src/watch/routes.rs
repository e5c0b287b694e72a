//! Who must be looked at when something changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use countersign_contract::names::{IDENTITY_PREFIX, identity_name};
use countersign_crds::{
    AccessPolicy, Certificate, CertificateRequest, ClusterIssuer, Issuer, IssuerRef,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

use super::follow::Change;
use super::gathered::Gathered;
use super::queues::Queues;
use super::secrets::Touched;
use super::versions::Key;
use crate::certificate::keys::KeyMaker;
use crate::certificate::names::CERTIFICATE_NAME;
use crate::certificate::pending::PendingKeys;
use crate::certificate::reference::{IssuerId, is_our_group};
use crate::certificate::repairs::Repairs;
use crate::certificate::{inputs, is_identity};
use crate::context::Watched;
use crate::identity::is_over;
use crate::inject::audit::{Suspects, lies};
use crate::issuer::AnyIssuer;
use crate::kept::{MeshPod, MeshService};
use crate::kubernetes::signer_name;
use crate::last_word::LastWords;
use crate::metrics::Metrics;
use crate::policy::{Documents, Reports};
use crate::role::Role;

/// From what changed to who must be looked at.
#[derive(Clone, Debug)]
pub struct Routes {
    /// What the watches saw.
    pub seen: Watched,
    /// Where the objects go that must be looked at.
    pub queues: Queues,
    /// Counts the watches that broke.
    pub metrics: Metrics,
    /// Forgets what is gone, too.
    pub repairs: Arc<Repairs>,
    /// Forgets what is gone, too.
    pub keys: Arc<KeyMaker>,
    /// Forgets what is gone, too.
    pub pending_keys: Arc<PendingKeys>,
    /// The policies of each namespace, compiled.
    pub documents: Arc<Documents>,
    /// What sidecars said of themselves.
    pub reports: Arc<Reports>,
    /// Forgets what is gone, too.
    pub mistakes: Arc<LastWords>,
    /// Pods that may lack the sidecar.
    pub suspects: Arc<Suspects>,
    /// Namespaces whose Services changed.
    pub services: Arc<Gathered>,
    /// Where ClusterIssuers find their Secrets.
    pub home: String,
    /// Which reconcilers this process has.
    pub role: Role,
}

impl Routes {
    /// A Certificate concerns itself, and those that wait for its Secret.
    pub fn certificate(&self, change: Change<'_, Certificate>) {
        match change {
            Change::There(certificate) => {
                let (namespace, name) = key_of(certificate);
                let secret = &certificate.spec.secret_name;
                if self.seen.inputs.note(&namespace, &name, inputs(certificate)) {
                    self.seen.named.look();
                }
                let left = self.seen.claims.note(&namespace, &name, secret);
                if may_be_tampered_with(certificate) {
                    self.pods_of_identity(certificate);
                }
                self.put(certificate);
                left.iter().for_each(|secret| self.claimants(&namespace, secret));
            }
            Change::Gone(certificate) => {
                let (namespace, name) = key_of(certificate);
                self.seen.own_writes.forget(certificate);
                let uid = certificate.metadata.uid.as_deref().unwrap_or_default();
                self.repairs.forget(uid);
                self.keys.forget(uid);
                if self.seen.inputs.forget(&namespace, &name) {
                    self.seen.named.look();
                }
                // The operator made it, and makes it anew where a pod still needs it.
                if certificate.name_any().starts_with(IDENTITY_PREFIX) {
                    self.pods_of_identity(certificate);
                }
                let left = self.seen.claims.forget(&namespace, &name);
                left.iter().for_each(|secret| self.claimants(&namespace, secret));
            }
        }
    }

    /// An issuer concerns itself, and whoever wants something of it.
    pub fn issuer(&self, change: Change<'_, Issuer>) {
        if let Change::Gone(issuer) = &change {
            self.seen.own_issuers.forget(issuer);
        }
        let (Change::There(issuer) | Change::Gone(issuer)) = change;
        self.queues.issuers.put(issuer);
        self.seen.named.look();
        self.customers("Issuer", issuer.namespace().as_deref(), &issuer.name_any());
    }

    /// The same, in all namespaces.
    pub fn cluster_issuer(&self, change: Change<'_, ClusterIssuer>) {
        if let Change::Gone(issuer) = &change {
            self.seen.own_cluster_issuers.forget(issuer);
        }
        let (Change::There(issuer) | Change::Gone(issuer)) = change;
        self.queues.cluster_issuers.put(issuer);
        self.seen.named.look();
        self.customers("ClusterIssuer", None, &issuer.name_any());
        // The CAs that vouch for names stand in the policies of every namespace.
        if self.documents.issuer_changed() {
            let all = self.seen.namespaces.state();
            all.iter().for_each(|namespace| self.queues.namespaces.put(namespace));
        }
    }

    /// A request concerns itself, and the Certificate that it was made for.
    pub fn request(&self, change: Change<'_, CertificateRequest>) {
        if let Change::Gone(request) = &change {
            self.pending_keys.gone(request);
        }
        let (Change::There(request) | Change::Gone(request)) = change;
        self.queues.requests.put(request);
        if let Some(certificate) = request.annotations().get(CERTIFICATE_NAME) {
            let namespace = request.namespace().unwrap_or_default();
            self.certificate_named(&namespace, certificate);
        }
    }

    /// A pod concerns itself, and the policies of its namespace. Its label may say more than there is
    /// to it.
    pub fn pod(&self, change: Change<'_, MeshPod>) {
        if let Change::Gone(pod) = &change {
            self.reports.gone(&pod.namespace().unwrap_or_default(), &pod.name_any());
            self.mistakes.forget(pod.meta().uid.as_deref().unwrap_or_default());
        }
        let (Change::There(pod) | Change::Gone(pod)) = change;
        if self.role.serves() && lies(pod) {
            self.suspects.put(&pod.namespace().unwrap_or_default(), &pod.name_any());
        }
        self.queues.pods.put(pod);
        // It may have been the one that stands for its account, and is no longer reconciled.
        if self.role.issues() && (matches!(change, Change::Gone(_)) || is_over(pod)) {
            self.services.put(pod.namespace().unwrap_or_default());
        }
        self.policies_of(&pod.namespace().unwrap_or_default());
    }

    /// A policy concerns its whole namespace.
    pub fn access_policy(&self, change: Change<'_, AccessPolicy>) {
        if let Change::Gone(policy) = &change {
            self.seen.own_access_policies.forget(policy);
        }
        let (Change::There(policy) | Change::Gone(policy)) = change;
        self.policies_of(&policy.namespace().unwrap_or_default());
    }

    /// The policies of a namespace must be looked at, or the ConfigMap that they are compiled to.
    pub fn policies_of(&self, namespace: &str) {
        self.queues.namespaces.put_reference(ObjectRef::new(namespace));
    }

    /// A Service concerns the pods of its namespace, whose identities bear its name.
    pub fn service(&self, change: Change<'_, MeshService>) {
        let (Change::There(service) | Change::Gone(service)) = change;
        if self.role.issues() {
            self.services.put(service.namespace().unwrap_or_default());
        }
    }

    /// Has those pods looked at, for as long as it is polled.
    pub async fn follow_services(&self) {
        loop {
            let namespaces = self.services.take().await;
            self.pods_in(&namespaces);
        }
    }

    fn pods_in(&self, namespaces: &BTreeSet<String>) {
        let is_there = |pod: &MeshPod| {
            pod.meta().namespace.as_ref().is_some_and(|namespace| namespaces.contains(namespace))
        };
        let found = self.seen.pods.state_filter(is_there);
        one_of_each_account(&found).for_each(|pod| self.queues.pods.put(pod));
    }

    /// A namespace concerns its policies, and the Certificates in it that leave the choice of their
    /// issuer to it.
    pub fn namespace(&self, change: Change<'_, PartialObjectMeta<Namespace>>) {
        if let Change::Gone(namespace) = &change {
            self.documents.forget(&namespace.name_any());
            self.reports.forget_namespace(&namespace.name_any());
        }
        let (Change::There(namespace) | Change::Gone(namespace)) = change;
        self.queues.namespaces.put(namespace);
        let name = namespace.name_any();
        let leaves_it = |certificate: &Certificate| {
            certificate.spec.issuer_ref.is_absent()
                && certificate.namespace().as_deref() == Some(&name)
        };
        let found = self.seen.certificates.state_filter(leaves_it);
        found.iter().for_each(|certificate| self.put(certificate));
    }

    /// A Secret concerns the Certificates that name it, and the one that it says it belongs to.
    pub fn secret(&self, touched: &Touched) {
        let (namespace, name) = &touched.key;
        self.claimants(namespace, name);
        if let Some(certificate) = &touched.certificate {
            self.certificate_named(namespace, certificate);
        }
    }

    /// A Secret of another owner concerns the Certificates that read it, or wait for it.
    pub(super) fn readers(&self, secret: &Key) {
        for certificate in self.seen.inputs.changed(secret) {
            self.certificate_named(&secret.0, &certificate);
        }
    }

    /// The pods that need a Certificate of this name. Its annotation tells as well, and others write that.
    fn pods_of_identity(&self, identity: &Certificate) {
        let (namespace, name) = key_of(identity);
        let found = self.seen.pods.state_filter(|pod| {
            pod.is_in(&namespace) && identity_name(&pod.service_account) == name
        });
        found.iter().for_each(|pod| self.queues.pods.put(pod));
    }

    /// The Secret of an authority concerns the issuers that sign with it.
    pub(super) fn signers(&self, (namespace, name): &Key) {
        let is_there = |issuer: &Issuer| issuer.namespace().as_ref() == Some(namespace);
        let signing = signing_with(&self.seen.issuers, is_there, name);
        signing.iter().for_each(|issuer| self.queues.issuers.put(issuer));
        if *namespace == self.home {
            let signing = signing_with(&self.seen.cluster_issuers, |_: &ClusterIssuer| true, name);
            signing.iter().for_each(|issuer| self.queues.cluster_issuers.put(issuer));
        }
    }

    fn certificate_named(&self, namespace: &str, name: &str) {
        self.certificate_again(ObjectRef::new(name).within(namespace));
    }

    /// A Certificate must be reconciled.
    pub fn certificate_again(&self, reference: ObjectRef<Certificate>) {
        match self.seen.certificates.get(&reference) {
            Some(certificate) => self.put(&certificate),
            None => self.queues.certificates.put_reference(reference),
        }
    }

    /// The RSA key of a Certificate is made, and of no use where that went meanwhile.
    pub fn key_made(&self, reference: ObjectRef<Certificate>) {
        let uid = reference.extra.uid.clone().unwrap_or_default();
        let found = self.seen.certificates.get(&reference);
        if found.is_none_or(|found| found.metadata.uid.as_ref() != Some(&uid)) {
            self.keys.forget(&uid);
        }
        self.certificate_again(reference);
    }

    fn put(&self, certificate: &Certificate) {
        if is_identity(certificate) {
            self.queues.identities.put(certificate);
        } else {
            self.queues.certificates.put(certificate);
        }
    }

    fn claimants(&self, namespace: &str, secret: &str) {
        let names = self.seen.claims.of(namespace, secret);
        names.iter().for_each(|name| self.certificate_named(namespace, name));
    }

    fn customers(&self, kind: &str, namespace: Option<&str>, name: &str) {
        // An error means that Kubernetes' requests are not signed here.
        let _ = self.seen.signers.send(signer_name(kind, namespace, name));
        let wants = |reference: &IssuerRef, from: Option<String>| {
            let is_it = reference.is_absent() || {
                let id = IssuerId::of(reference);
                is_our_group(&id.group) && id.kind == kind && id.name == name
            };
            is_it && (namespace.is_none() || namespace == from.as_deref())
        };
        let found = self.seen.certificates.state_filter(|certificate| {
            wants(&certificate.spec.issuer_ref, certificate.namespace())
        });
        found.iter().for_each(|certificate| self.put(certificate));
        let found = self
            .seen
            .requests
            .state_filter(|request| wants(&request.spec.issuer_ref, request.namespace()));
        found.iter().for_each(|request| self.queues.requests.put(request));
    }
}

/// Whether a Certificate has the name of an identity, and a spec or marks that somebody changed since it was
/// reconciled: the operator applies it again for the pods that need it.
fn may_be_tampered_with(certificate: &Certificate) -> bool {
    let reconciled = certificate.status.as_ref().and_then(|status| status.observed_generation);
    certificate.name_any().starts_with(IDENTITY_PREFIX)
        && (!is_identity(certificate) || reconciled != certificate.metadata.generation)
}

/// An identity is its account's: its names are found once, however many pods there are.
fn one_of_each_account(pods: &[Arc<MeshPod>]) -> impl Iterator<Item = &MeshPod> {
    let living = pods.iter().filter(|pod| !is_over(pod));
    let accounts: HashMap<_, _> = living
        .map(|pod| ((pod.meta().namespace.as_deref(), &*pod.service_account), &**pod))
        .collect();
    accounts.into_values()
}

fn key_of(certificate: &Certificate) -> (String, String) {
    (certificate.namespace().unwrap_or_default(), certificate.name_any())
}

fn signing_with<K: AnyIssuer>(
    issuers: &Store<K>,
    is_there: impl Fn(&K) -> bool,
    secret: &str,
) -> Vec<Arc<K>> {
    issuers.state_filter(|issuer| is_there(issuer) && issuer.authority_secret() == Some(secret))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_changed_service_has_one_living_pod_of_each_account_looked_at() {
        let pod = |number: usize| -> Arc<MeshPod> {
            let (account, phase) =
                (format!("a{}", number % 3), if number < 3 { "Failed" } else { "" });
            let namespace = if number.is_multiple_of(2) { "shop" } else { "bank" };
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": { "name": format!("p{number}"), "namespace": namespace },
                    "spec": { "serviceAccountName": account }, "status": { "phase": phase },
                }))
                .unwrap(),
            )
        };
        let pods: Vec<_> = (0..500).map(pod).collect();
        assert_eq!(one_of_each_account(&pods).count(), 6, "three accounts in two namespaces");
        assert!(one_of_each_account(&pods).all(|pod| !is_over(pod)));
        assert_eq!(one_of_each_account(&pods[..3]).count(), 0);
    }
}
