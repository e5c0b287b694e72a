//! AdmissionReview in, AdmissionReview out.
//!
//! The sender of a review is not known: no Event is written about what it names. A refusal reaches its
//! user through the API server, and pods that were skipped are found by the audit.

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::args::InjectArgs;
use super::patch::{Injection, inject};
use super::pod::Pod;

/// The maximum length of a request's uid, which is sent back.
const MAX_UID: usize = 128;

/// The maximum length of a name in a line of the log (RFC 1123).
const MAX_NAME: usize = 253;

/// An AdmissionReview of admission.k8s.io/v1, as far as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Review {
    request: Request,
}

#[derive(Debug, Deserialize)]
struct Request {
    uid: String,
    namespace: Option<String>,
    object: Option<Pod>,
}

/// A review cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the AdmissionReview cannot be read: {0}")]
    Read(#[from] serde_json::Error),
    #[error("the AdmissionReview's request.uid is longer than {MAX_UID} bytes")]
    Uid,
}

/// Reads a review.
pub(super) fn read(body: &[u8]) -> Result<Review, Error> {
    let review: Review = serde_json::from_slice(body)?;
    if review.request.uid.len() > MAX_UID { Err(Error::Uid) } else { Ok(review) }
}

/// Answers one review.
pub(super) fn answer(review: &Review, args: &InjectArgs, token: &str) -> Value {
    let Request { uid, namespace, object } = &review.request;
    let Some(pod) = object else { return response(uid, json!({ "allowed": true })) };
    let namespace = shortened(namespace.as_ref());
    let name = pod.metadata.name.as_ref().filter(|name| !name.is_empty());
    let name = shortened(name.or(pod.metadata.generate_name.as_ref()));
    match inject(pod, args, token) {
        Injection::Patch(operations) => {
            info!(namespace, pod = name, "injected");
            let patch = ByteString(Value::Array(operations).to_string().into_bytes());
            response(uid, json!({ "allowed": true, "patchType": "JSONPatch", "patch": patch }))
        }
        Injection::Skip(skip) => {
            info!(namespace, pod = name, ?skip, "skipped");
            response(uid, json!({ "allowed": true }))
        }
        Injection::Refuse(why) => {
            warn!(namespace, pod = name, why, "refused");
            let status = json!({ "code": 403, "message": format!("countersign: {why}") });
            response(uid, json!({ "allowed": false, "status": status }))
        }
    }
}

fn shortened(name: Option<&String>) -> String {
    name.map(|name| name.chars().take(MAX_NAME).collect()).unwrap_or_default()
}

fn response(uid: &str, mut response: Value) -> Value {
    response["uid"] = json!(uid);
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
}

#[cfg(test)]
mod tests;
