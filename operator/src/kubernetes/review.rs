//! Whether whoever asked may reference an issuer of a namespace: the request itself stands in none,
//! so that anybody could otherwise have anything signed by anybody's Issuer.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use kube::Api;
use kube::api::PostParams;

use countersign_contract::names::API_GROUP;

use super::signer::Signer;
use crate::context::Context;

/// The right to reference every Issuer of a namespace.
const ANY: &str = "*";

/// Asks the API server. A ClusterIssuer is everybody's: approving is what stands before it.
pub(super) async fn may_reference(
    context: &Context,
    spec: &CertificateSigningRequestSpec,
    signer: &Signer,
) -> kube::Result<bool> {
    if signer.issuer.is_cluster_wide() {
        return Ok(true);
    }
    let api: Api<SubjectAccessReview> = Api::all(context.client.clone());
    for name in [signer.issuer.name.as_str(), ANY] {
        let asked = question(spec, &signer.namespace, name);
        let answer = api.create(&PostParams::default(), &asked).await?;
        if answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn question(
    spec: &CertificateSigningRequestSpec,
    namespace: &str,
    name: &str,
) -> SubjectAccessReview {
    let text = |text: &str| Some(text.to_owned());
    let attributes = ResourceAttributes {
        group: text(API_GROUP),
        version: text("*"),
        resource: text("signers"),
        verb: text("reference"),
        namespace: text(namespace),
        name: text(name),
        ..ResourceAttributes::default()
    };
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
