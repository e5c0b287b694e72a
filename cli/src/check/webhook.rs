//! The webhook that injects the sidecar; pure.

use countersign_pki::CertificateFacts;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::gather::{Listed, Webhook};
use super::{Finding, Part};
use crate::cluster::Found;
use crate::error::story;
use crate::text::{count, when};

const OPERATOR_FILLS: &str = "the operator fills it: see whether one runs, and what it logs";

pub(super) fn judge(webhooks: &Listed<Webhook>, now: Timestamp) -> Part {
    let name = "webhook";
    let webhooks = match webhooks {
        Ok(webhooks) => webhooks,
        Err(why) => {
            let findings = vec![Finding::unread("MutatingWebhookConfigurations", why)];
            return Part { name, summary: "not seen".to_owned(), findings };
        }
    };
    if webhooks.is_empty() {
        let finding = Finding::new(
            "webhookMissing",
            "MutatingWebhookConfiguration countersign",
            "does not exist: no pod gets the sidecar",
            "install the chart again: helm upgrade --install",
        );
        return Part { name, summary: "not installed".to_owned(), findings: vec![finding] };
    }
    let mut findings = Vec::new();
    let mut hooks = 0;
    for Webhook { configuration, endpoints } in webhooks {
        let object = format!("MutatingWebhookConfiguration {}", configuration.name_any());
        let all = configuration.webhooks.iter().flatten();
        for (hook, endpoints) in all.zip(endpoints) {
            hooks += 1;
            let object = format!("{object}, webhook {}", hook.name);
            findings.extend(bundle(&object, hook, now));
            findings.extend(answered(&object, hook, endpoints));
        }
    }
    let summary = format!("{} with a caBundle and endpoints", count(hooks, "webhook"));
    let summary = if findings.is_empty() { summary } else { count(hooks, "webhook") };
    Part { name, summary, findings }
}

fn bundle(object: &str, hook: &MutatingWebhook, now: Timestamp) -> Option<Finding> {
    let fault = |code, message: String| Some(Finding::new(code, object, message, OPERATOR_FILLS));
    let Some(bundle) = hook.client_config.ca_bundle.as_ref().filter(|it| !it.0.is_empty()) else {
        return fault(
            "caBundleMissing",
            "has no caBundle: the API server cannot call it".to_owned(),
        );
    };
    let roots = match CertificateFacts::all_from_pem(&bundle.0) {
        Ok(roots) => roots,
        Err(error) => return fault("caBundleUnreadable", format!("caBundle: {}", story(&error))),
    };
    let last = roots.iter().map(|root| root.validity.not_after).max()?;
    if last > now {
        return None;
    }
    fault("caBundleExpired", format!("its caBundle has expired, {}", when(last, now)))
}

fn answered(
    object: &str,
    hook: &MutatingWebhook,
    endpoints: &Found<Vec<EndpointSlice>>,
) -> Option<Finding> {
    // Elsewhere is none of our business.
    let service = hook.client_config.service.as_ref()?;
    let named = format!("Service {}/{}", service.namespace, service.name);
    let slices = match endpoints {
        Found::There(slices) => slices.as_slice(),
        Found::Missing => &[],
        Found::Unknown(why) => return Some(Finding::unread(&named, why)),
    };
    let mut all = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let is_ready = |ready: Option<bool>| ready != Some(false);
    if all.any(|it| is_ready(it.conditions.as_ref().and_then(|conditions| conditions.ready))) {
        return None;
    }
    let pods = match hook.failure_policy.as_deref() {
        Some("Ignore") => "pods that ask for the sidecar start without it",
        _ => "pods that ask for the sidecar do not start",
    };
    let message = format!("nobody answers behind {named}: {pods}");
    let advice = format!(
        "see whether the operator's pods are ready: kubectl get pods -n {}",
        service.namespace
    );
    Some(Finding::new("webhookUnanswered", object, message, advice))
}
