//! The labels of namespaces, by which policies select them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::context::Context;

/// The labels of a namespace: as the watch saw them, or from the API where it has not yet. `None`
/// if there is no such namespace.
pub(super) async fn labels(
    context: &Context,
    name: &str,
) -> kube::Result<Option<BTreeMap<String, String>>> {
    if let Some(seen) = context.seen.namespaces.get(&ObjectRef::new(name)) {
        return Ok(Some(seen.labels().clone()));
    }
    let api: Api<Namespace> = Api::all(context.client.clone());
    let found = api.get_metadata_opt(name).await?;
    Ok(found.map(|namespace| namespace.labels().clone()))
}
