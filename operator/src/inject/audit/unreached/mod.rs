//! Reports injected pods whose sidecar runs and never reaches discovery: their calls to destinations that
//! they do not know yet fail, and only the sidecar's own log says why.
//!
//! Only the leader decides, and only while every replica of discovery reports its streams to it.
//! `judge` is pure.

mod judge;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_contract::names;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;
use tracing::warn;

use self::judge::{Watched, knows_all};
use crate::context::Context;
use crate::kept::MeshPod;
use crate::policy::Hearing;

/// For how long a pod may be without a stream: longer than a sidecar waits between two attempts, and than a
/// replica of discovery takes to end.
pub const UNREACHED_AFTER: Duration = Duration::from_secs(120);

/// So often within that time is looked.
const LOOKS: u32 = 8;

/// So many pods are reported at once; the others have their turn at the next look.
const AT_ONCE: usize = 32;

const REASON: &str = "DiscoveryUnreached";

/// Looks for such pods, for as long as it is polled.
pub(super) async fn report(context: Arc<Context>) {
    let patience = context.settings.process.unreached_after;
    let mut watched = Watched::default();
    loop {
        tokio::time::sleep(patience / LOOKS).await;
        let pods = candidates(&context);
        let unheard = has_all_streams(&context).then(|| unheard(&context, &pods));
        let all = context.seen.pods.state();
        watched.keep(&all.iter().filter_map(|pod| uid(pod)).collect());
        for uid in watched.look(unheard, Instant::now(), patience, AT_ONCE) {
            pods.iter().filter(|pod| pod.meta().uid.as_ref() == Some(&uid)).for_each(|pod| {
                tell(&context, pod, patience);
            });
        }
    }
}

/// Pods whose sidecar should have a stream: it runs, and was started to ask discovery.
fn candidates(context: &Context) -> Vec<Arc<MeshPod>> {
    context.seen.pods.state_filter(|pod| {
        let is_excluded =
            || pod.meta().namespace.as_ref().is_none_or(|it| context.settings.is_excluded(it));
        pod.asks_discovery && !pod.has_ended && !pod.is_deleting() && !is_excluded()
    })
}

/// Whether the streams of every replica of discovery are known here.
fn has_all_streams(context: &Context) -> bool {
    let (settings, reports) = (&context.settings, &context.reports);
    let slices = context.seen.slices.state_filter(|slice| {
        slice.meta().namespace.as_ref() == Some(&settings.cluster_resource_namespace)
            && slice.service.as_deref() == Some(names::DISCOVERY_SERVICE)
    });
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let replicas = endpoints.map(|it| it.pod.as_ref().map(|pod| &*pod.name));
    reports.leads() && knows_all(&settings.process.pod, &reports.relaying(), replicas)
}

/// The uids of pods of which no replica has a stream.
fn unheard(context: &Context, pods: &[Arc<MeshPod>]) -> HashSet<String> {
    let is_unheard = |pod: &&Arc<MeshPod>| {
        let namespace = pod.namespace().unwrap_or_default();
        context.reports.hears(&namespace, &pod.name_any()) == Hearing::Unheard
    };
    pods.iter().filter(is_unheard).filter_map(|pod| uid(pod)).collect()
}

fn uid(pod: &MeshPod) -> Option<String> {
    pod.meta().uid.clone()
}

fn tell(context: &Context, pod: &MeshPod, patience: Duration) {
    let (settings, port) = (&context.settings, names::DISCOVERY_PORT);
    let (service, home) = (names::DISCOVERY_SERVICE, &settings.cluster_resource_namespace);
    let note = format!(
        "the sidecar runs, and no replica of the operator has had a discovery stream from this pod for {} s: calls to destinations that it does not know fail as destination_unknown; allow egress from the pod to TCP port {port} of Service {home}/{service} (NetworkPolicies of this namespace, of {home}, and firewalls between nodes); DNS is not needed; where that is allowed, the sidecar's log says \"discovery is not reached\" with the cause (credentials, time, another server), and the operator's log \"reports are ignored\" where the pod's connections come from another pod's address",
        patience.as_secs()
    );
    let (namespace, pod_name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    warn!(namespace, pod = pod_name, "no discovery stream of an injected pod");
    context.events.warning(pod, REASON, note);
}
