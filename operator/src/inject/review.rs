//! AdmissionReview in, AdmissionReview out.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use kube::{Resource, ResourceExt};
use serde_json::Value;
use tracing::{info, warn};

use super::args::InjectArgs;
use super::patch::{Injection, inject};

/// What the API server is answered, and what people should be told beside.
pub(super) struct Answer {
    pub(super) review: AdmissionReview<DynamicObject>,
    pub(super) notice: Option<Notice>,
}

/// Something to tell whoever owns a pod.
pub(super) struct Notice {
    pub(super) about: ObjectReference,
    pub(super) reason: &'static str,
    pub(super) note: String,
}

/// Answers one review.
pub(super) fn answer(review: AdmissionReview<Pod>, args: &InjectArgs, token: &str) -> Answer {
    let request: AdmissionRequest<Pod> = match review.try_into() {
        Ok(request) => request,
        Err(error) => {
            let invalid =
                AdmissionResponse::invalid(format!("the AdmissionReview has no request: {error}"));
            return Answer { review: invalid.into_review(), notice: None };
        }
    };
    let response = AdmissionResponse::from(&request);
    let Some(pod) = &request.object else {
        return Answer { review: response.into_review(), notice: None };
    };
    let namespace = request.namespace.clone().unwrap_or_default();
    let name = pod.metadata.name.clone().or_else(|| pod.metadata.generate_name.clone());
    let name = name.unwrap_or_default();
    let about = (!request.dry_run).then(|| owner(pod, &namespace));
    match inject(pod, args, token) {
        Injection::Patch(operations) => {
            info!(namespace, pod = name, "injected");
            Answer { review: patched(response, operations), notice: None }
        }
        Injection::Skip(skip) => {
            info!(namespace, pod = name, ?skip, "skipped");
            let note = skip.notice().zip(about);
            let notice = note.map(|(note, about)| Notice {
                about,
                reason: "InjectionSkipped",
                note: format!("pod {name}: {note}"),
            });
            Answer { review: response.into_review(), notice }
        }
        Injection::Refuse(why) => {
            warn!(namespace, pod = name, why, "refused");
            let note = format!("pod {name}: {why}");
            let notice =
                about.map(|about| Notice { about, reason: "InjectionRefused", note: note.clone() });
            Answer { review: response.deny(format!("countersign: {why}")).into_review(), notice }
        }
    }
}

fn patched(response: AdmissionResponse, operations: Vec<Value>) -> AdmissionReview<DynamicObject> {
    let refused = |error: String| {
        AdmissionResponse::invalid(format!("countersign: the patch cannot be written: {error}"))
            .into_review()
    };
    let patch = match serde_json::from_value(Value::Array(operations)) {
        Ok(patch) => patch,
        Err(error) => return refused(error.to_string()),
    };
    match response.with_patch(patch) {
        Ok(response) => response.into_review(),
        Err(error) => refused(error.to_string()),
    }
}

/// What the pod's name will begin with. The Event's own name begins with it too, and goes on with
/// a dot, before which the API server takes no dash.
fn generated(pod: &Pod) -> Option<String> {
    let prefix = pod.metadata.generate_name.as_ref()?;
    Some(prefix.trim_end_matches(['-', '.']).to_owned())
}

/// A pod that is being admitted has no uid yet, so that an Event is about what owns it, or, where
/// nothing does, about the name that the pod will have.
fn owner(pod: &Pod, namespace: &str) -> ObjectReference {
    match pod.owner_references().first() {
        Some(owner) => ObjectReference {
            api_version: Some(owner.api_version.clone()),
            kind: Some(owner.kind.clone()),
            name: Some(owner.name.clone()),
            namespace: Some(namespace.to_owned()),
            uid: Some(owner.uid.clone()),
            ..ObjectReference::default()
        },
        None => ObjectReference {
            api_version: Some(Pod::api_version(&()).into_owned()),
            kind: Some(Pod::kind(&()).into_owned()),
            name: pod.metadata.name.clone().or_else(|| generated(pod)),
            namespace: Some(namespace.to_owned()),
            ..ObjectReference::default()
        },
    }
}

#[cfg(test)]
mod tests;
