//! At the first installation the pod begins before its credentials are issued. The kubelet looks for
//! them about once a minute; a change of the pod makes it look at once.

use std::path::Path;
use std::time::Duration;

use countersign_contract::names;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::sleep;
use tracing::{debug, info};

use super::{DISCOVERY, WEBHOOK, files};
use crate::clock::Clock;
use crate::context::FIELD_MANAGER;

/// How soon the kubelet is made to look for the first time, and how seldom at last.
const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(30);

/// Changes an annotation of this pod until its credentials are mounted.
pub async fn nudge(api: Api<Pod>, pod: String, folder: &Path, clock: Clock) {
    let mut wait = FIRST;
    while let Some(missing) = missing(folder).await {
        info!(missing, "waiting for credentials");
        sleep(wait).await;
        wait = (wait * 2).min(LAST);
        let value = clock.now().as_second().to_string();
        let annotations = json!({ names::CREDENTIALS_REVISION_ANNOTATION: value });
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        if let Err(error) = api.patch_status(&pod, &parameters, &patch).await {
            debug!(%error, pod, "annotating this pod");
        }
    }
}

async fn missing(folder: &Path) -> Option<&'static str> {
    for part in [WEBHOOK, DISCOVERY] {
        if files::read(&folder.join(part)).await.is_none() {
            return Some(part);
        }
    }
    None
}
