//! Who may do what, as the API server's own authorizer says.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::space::Space;

/// Longer than the API server takes to take up a role.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that somebody may do or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// A resource, or one with its subresource: `certificates/status`.
    pub(crate) resource: &'a str,
    /// Empty for all namespaces.
    pub(crate) namespace: &'a str,
    /// Empty for all names.
    pub(crate) name: &'a str,
}

/// Whether somebody may do it.
pub(crate) async fn may(client: &Client, user: &str, right: Right<'_>) -> bool {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
    let review = json!({ "metadata": {}, "spec": { "user": user, "resourceAttributes": {
        "verb": right.verb, "group": right.group, "resource": resource, "name": right.name,
        "subresource": subresource, "namespace": right.namespace } } });
    let review: SubjectAccessReview = serde_json::from_value(review).unwrap();
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.expect("an answer");
    answer.status.is_some_and(|status| status.allowed)
}

/// Waits until somebody may do it: a role that was just made takes a moment.
pub(crate) async fn until_may(space: &Space, user: &str, right: Right<'_>) {
    let waiting = async {
        while !may(&space.client, user, right).await {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let allowed = tokio::time::timeout(PATIENCE, waiting).await;
    allowed.unwrap_or_else(|_| panic!("{user} never may: {right:?}"));
}
