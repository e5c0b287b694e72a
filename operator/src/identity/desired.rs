//! The identity Certificate of a service account, as it should be; pure.

use std::collections::BTreeMap;

use countersign_contract::{SpiffeId, names};
use countersign_crds::{
    Certificate, CertificateSpec, IssuerRef, KeyAlgorithm, KeyEncoding, KeyUsage, PrivateKeySpec,
};
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value, json};

use super::labels::LabelIndex;
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

/// Whether a Certificate is what the operator itself makes for an account, but for a shorter duration and for
/// its DNS names, which change with the Services. Labels and owners say nothing: whoever may edit the
/// Certificate writes them.
#[must_use]
pub fn is_identity(settings: &Settings, namespace: &str, found: &Certificate) -> bool {
    let [uri] = found.spec.uris.as_slice() else { return false };
    let Ok(id) = uri.parse::<SpiffeId>() else { return false };
    let names = found.spec.dns_names.clone();
    let Ok(mut wanted) = certificate(settings, namespace, id.service_account(), names) else {
        return false;
    };
    let longest = std::time::Duration::from(settings.identity_duration);
    let is_shorter = |asked: &kube::core::Duration| {
        !asked.is_negative() && std::time::Duration::from(*asked) <= longest
    };
    if let Some(asked) = found.spec.duration.filter(is_shorter) {
        wanted.spec.duration = Some(asked);
    }
    found.name_any() == wanted.name_any() && found.spec == wanted.spec
}

/// Whether the Certificate that is there is the one that is wanted, with what marks it as an identity.
#[must_use]
pub fn is_as_wanted(found: &Certificate, wanted: &Certificate) -> bool {
    let mark = |certificate: &Certificate| {
        certificate.annotations().get(names::SERVICE_ACCOUNT_ANNOTATION).cloned()
    };
    found.spec == wanted.spec
        && found.labels().contains_key(names::IDENTITY_LABEL)
        && mark(found) == mark(wanted)
}

/// The patch that takes away whatever another client added to a spec.
#[must_use]
pub fn without_additions(found: &CertificateSpec, wanted: &CertificateSpec) -> Option<Value> {
    if found == wanted {
        return None;
    }
    let (found, wanted) = (serde_json::to_value(found), serde_json::to_value(wanted));
    Some(json!({ "spec": replacing(&found.ok()?, wanted.ok()?) }))
}

/// What a merge patch must say to leave nothing but what is wanted: a field is removed by null.
fn replacing(found: &Value, wanted: Value) -> Value {
    match (found, wanted) {
        (Value::Object(found), Value::Object(mut wanted)) => {
            let patched = found.iter().map(|(field, value)| {
                let wanted = wanted.remove(field).unwrap_or_default();
                (field.clone(), replacing(value, wanted))
            });
            let patched: Map<_, _> = patched.collect();
            Value::Object(patched.into_iter().chain(wanted).collect())
        }
        (_, wanted) => wanted,
    }
}

/// The names of the Services that select any of the pods: whoever calls such a Service may be
/// answered by them.
#[must_use]
pub fn dns_names<'a>(
    cluster_domain: &str,
    namespace: &str,
    pods: impl Iterator<Item = &'a MeshPod>,
    services: impl Iterator<Item = &'a MeshService>,
) -> Vec<String> {
    let labels = LabelIndex::of(pods);
    let mut services: Vec<_> = services.collect();
    services.sort_by(|one, other| one.meta().name.cmp(&other.meta().name));
    services
        .into_iter()
        .filter(|service| labels.any_has(&service.selector))
        .take(MOST_SERVICES)
        .map(ResourceExt::name_any)
        .flat_map(|name| {
            [format!("{name}.{namespace}.svc"), format!("{name}.{namespace}.svc.{cluster_domain}")]
        })
        .collect()
}

#[cfg(test)]
mod tests;
