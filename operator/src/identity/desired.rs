//! The identity Certificate of a service account, as it should be; pure.

use std::collections::{BTreeMap, BTreeSet};

use countersign_contract::{SpiffeId, names};
use countersign_crds::{
    Certificate, CertificateSpec, IssuerRef, KeyAlgorithm, KeyEncoding, KeyUsage, PrivateKeySpec,
};
use kube::ResourceExt;

use crate::context::Settings;
use crate::kept::{MeshPod, MeshService};

/// So many Services are named in one certificate; each has two names.
const MOST_SERVICES: usize = 100;

/// The Certificate.
///
/// # Errors
/// When the namespace or the account is no Kubernetes name.
pub fn certificate(
    settings: &Settings,
    namespace: &str,
    account: &str,
    dns_names: Vec<String>,
) -> Result<Certificate, countersign_contract::identity::InvalidIdentity> {
    let id = SpiffeId::of_service_account(settings.trust_domain.clone(), namespace, account)?;
    let name = names::identity_name(account);
    let spec = CertificateSpec {
        uris: vec![id.to_string()],
        dns_names,
        duration: Some(settings.identity_duration),
        secret_name: name.clone(),
        issuer_ref: IssuerRef {
            name: settings.identity_issuer.clone(),
            kind: Some("ClusterIssuer".to_owned()),
            group: Some(names::API_GROUP.to_owned()),
        },
        usages: vec![KeyUsage::DigitalSignature, KeyUsage::ServerAuth, KeyUsage::ClientAuth],
        private_key: Some(PrivateKeySpec {
            algorithm: Some(KeyAlgorithm::ECDSA),
            size: Some(256),
            encoding: Some(KeyEncoding::PKCS8),
            rotation_policy: None,
        }),
        ..CertificateSpec::default()
    };
    let mut certificate = Certificate::new(&name, spec);
    certificate.metadata.namespace = Some(namespace.to_owned());
    let label = (names::IDENTITY_LABEL.to_owned(), "true".to_owned());
    certificate.metadata.labels = Some(BTreeMap::from([label]));
    let annotation = (names::SERVICE_ACCOUNT_ANNOTATION.to_owned(), account.to_owned());
    certificate.metadata.annotations = Some(BTreeMap::from([annotation]));
    Ok(certificate)
}

/// The names of the Services that select any of the pods: whoever calls such a Service may be
/// answered by them.
#[must_use]
pub fn dns_names<'a>(
    cluster_domain: &str,
    namespace: &str,
    pods: impl Iterator<Item = &'a MeshPod> + Clone,
    services: impl Iterator<Item = &'a MeshService>,
) -> Vec<String> {
    let selects_one = |service: &&MeshService| pods.clone().any(|pod| selects(service, pod));
    let names: BTreeSet<String> = services.filter(selects_one).map(ResourceExt::name_any).collect();
    names
        .into_iter()
        .take(MOST_SERVICES)
        .flat_map(|name| {
            [format!("{name}.{namespace}.svc"), format!("{name}.{namespace}.svc.{cluster_domain}")]
        })
        .collect()
}

/// A Service without a selector selects nothing.
fn selects(service: &MeshService, pod: &MeshPod) -> bool {
    let (selector, labels) = (&service.selector, pod.labels());
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[cfg(test)]
mod tests;
