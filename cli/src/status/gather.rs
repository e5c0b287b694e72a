//! Reads a Certificate and what stands around it.

use countersign_crds::{Certificate, CertificateRequest, Condition, IssuerRef};
use k8s_openapi::api::core::v1::{Event, Namespace, Secret};
use kube::ResourceExt;
use kube::api::ListParams;

use crate::chain::Bundle;
use crate::cluster::{Cluster, Found, all};
use crate::error::Error;
use crate::inspect;
use crate::issuer::IssuerName;

/// The annotation of a namespace that names the issuer of Certificates that name none.
const DEFAULT_ISSUER: &str = "countersign.dev/default-issuer";

/// What was read.
pub struct Seen {
    /// The Certificate.
    pub certificate: Certificate,
    /// Who shall sign; nobody, where neither the Certificate nor its namespace names one.
    pub issuer: Option<IssuerName>,
    /// What the issuer's status says.
    pub issuer_conditions: Found<Vec<Condition>>,
    /// What is in the Secret.
    pub secret: Found<Bundle>,
    /// The CertificateRequests that were made for it, the latest first.
    pub requests: Vec<CertificateRequest>,
    /// What was told of it and of its latest request, the latest first.
    pub events: Vec<Event>,
    /// What could not be read beside these.
    pub unread: Vec<String>,
}

/// Reads it.
///
/// # Errors
/// When the Certificate cannot be read.
pub(super) async fn gather(cluster: &Cluster, name: &str) -> Result<Seen, Error> {
    let certificate: Certificate = cluster.get(name).await?;
    let mut unread = Vec::new();
    let issuer = issuer(cluster, &certificate.spec.issuer_ref).await;
    let issuer_conditions = match &issuer {
        Some(issuer) => issuer.conditions(cluster).await,
        None => Found::Missing,
    };
    let secret = cluster.look::<Secret>(&certificate.spec.secret_name).await;
    let secret = secret.map(|secret| inspect::bundle(&secret));
    let requests = match all(&cluster.namespaced(), &ListParams::default()).await {
        Ok(requests) => made_for(&certificate, requests),
        Err(error) => {
            unread.push(error.to_string());
            Vec::new()
        }
    };
    let uids = [certificate.uid(), requests.first().and_then(ResourceExt::uid)];
    let mut events: Vec<Event> = Vec::new();
    for uid in uids.into_iter().flatten() {
        let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        match all(&cluster.namespaced(), &about).await {
            Ok(some) => events.extend(some),
            Err(error) => unread.push(error.to_string()),
        }
    }
    events.sort_by_key(|event| std::cmp::Reverse(super::report::told_at(event)));
    Ok(Seen { certificate, issuer, issuer_conditions, secret, requests, events, unread })
}

async fn issuer(cluster: &Cluster, reference: &IssuerRef) -> Option<IssuerName> {
    if !reference.is_absent() {
        return Some(IssuerName::of(reference));
    }
    let namespace = cluster.look_cluster_wide::<Namespace>(&cluster.namespace).await;
    namespace.there()?.annotations().get(DEFAULT_ISSUER)?.parse().ok()
}

/// Those that the operator made for this very Certificate; pure.
fn made_for(
    certificate: &Certificate,
    mut requests: Vec<CertificateRequest>,
) -> Vec<CertificateRequest> {
    let uid = certificate.uid();
    let is_its = |request: &CertificateRequest| {
        request.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref())
    };
    requests.retain(is_its);
    requests.sort_by_key(|request| std::cmp::Reverse(revision(request)));
    requests
}

/// Which revision of its Certificate a request is for.
pub(super) fn revision(request: &CertificateRequest) -> Option<i64> {
    request.annotations().get("countersign.dev/certificate-revision")?.parse().ok()
}
