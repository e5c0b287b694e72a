//! Follows the pods that have not the label of injection, where they should have the sidecar.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_contract::names;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tracing::warn;

use super::Audit;
use super::scopes::{Scope, scopes};
use crate::metrics::KindLabels;
use crate::watch::{self, Change, follow};

/// Follows the namespaces that ask for the sidecar, and the pods in them, for as long as it is polled.
pub(super) async fn follow_pods(audit: &Arc<Audit>, writer: Writer<PartialObjectMeta<Namespace>>) {
    let context = &audit.context;
    let changed = Notify::new();
    let told = |_: Change<'_, PartialObjectMeta<Namespace>>| changed.notify_one();
    let config = watcher::Config::default().labels(names::INJECT_LABEL);
    let everything = watch::Scope { config, ..watch::Scope::default() };
    let api = Api::all(context.client.clone());
    let restarts = &context.metrics.watch_restarts;
    let following = follow(api, everything, writer, restarts, told);
    tokio::select! {
        () = following => {}
        () = keep(audit, &changed) => {}
    }
}

/// Begins and ends watches as namespaces come and go.
async fn keep(audit: &Arc<Audit>, changed: &Notify) {
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<Scope, AbortHandle> = BTreeMap::new();
    loop {
        audit.tell_namespaces();
        let wanted = scopes(enabled(audit));
        running.retain(|scope, task| {
            let stays = wanted.contains(scope);
            if !stays {
                task.abort();
            }
            stays
        });
        for scope in wanted {
            let begin = |scope: &Scope| tasks.spawn(follow_scope(audit.clone(), scope.clone()));
            running.entry(scope).or_insert_with_key(begin);
        }
        // Those in a namespace that asks no more are no longer missed.
        audit.look_again();
        while tasks.try_join_next().is_some() {}
        changed.notified().await;
    }
}

fn enabled(audit: &Audit) -> BTreeSet<String> {
    let asking = audit.asking.state().into_iter().filter(|namespace| asks(namespace));
    let names = asking.map(|namespace| namespace.name_any());
    names.filter(|name| !audit.context.settings.is_excluded(name)).collect()
}

/// Whether a namespace asks for the sidecar.
pub(super) fn asks(namespace: &PartialObjectMeta<Namespace>) -> bool {
    namespace.labels().get(names::INJECT_LABEL).is_some_and(|value| value == "enabled")
}

/// Puts what it sees among the suspects, and keeps nothing itself.
async fn follow_scope(audit: Arc<Audit>, scope: Scope) {
    let client = audit.context.client.clone();
    let api: Api<PartialObjectMeta<Pod>> = match &scope {
        Scope::Namespace(namespace) => Api::namespaced(client, namespace),
        Scope::Asking | Scope::Mistaken | Scope::Everywhere(_) => Api::all(client),
    };
    let restarts = &audit.context.metrics.watch_restarts;
    let restarts = restarts.get_or_create_owned(&KindLabels::of::<Pod>());
    let config = watcher::Config::default().labels(&scope.selector());
    let mut events = watcher(api, config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::Delete(pod) | Event::InitApply(pod)) => {
                let namespace = pod.namespace().unwrap_or_default();
                if scope.covers(&namespace) {
                    audit.context.suspects.put(&namespace, &pod.name_any());
                }
            }
            // Who went meanwhile is in no list.
            Ok(Event::InitDone) => audit.look_again(),
            Ok(Event::Init) => {}
            Err(error) => {
                warn!(kind = "Pod", error = crate::story::story(&error), "watching again");
                restarts.inc();
            }
        }
    }
}
