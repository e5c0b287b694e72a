//! Tells issuers that the Secret of their authority changed. Those that bear our label are followed
//! with all others of ours; a user's own is followed by its name, and nothing else of the user's.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, warn};

use super::routes::Routes;
use super::versions::Key;
use crate::issuer::{AnyIssuer, Authorities};

/// So many Secrets are followed by their names, each with a request that stays open. Those of
/// further issuers are looked at by time, and read whenever they sign.
const MOST_NAMED: usize = 200;

/// The Secrets that are followed by their names.
#[derive(Debug, Default)]
pub struct Named {
    followed: Mutex<HashSet<Key>>,
    look: Notify,
}

impl Named {
    /// Whether every change of a Secret is told.
    #[must_use]
    pub fn follows(&self, key: &Key) -> bool {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// An issuer came, went, or names another Secret.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    fn begin(&self, key: &Key) {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
    }

    fn end(&self, key: &Key) {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Runs for as long as it is polled.
pub async fn follow_authorities(client: Client, routes: Routes, authorities: &Authorities) {
    let mut changes = routes.seen.secrets.changes();
    let (told, mut telling) = mpsc::unbounded_channel();
    let named = routes.seen.named.clone();
    let (all, inputs) = Default::default();
    let mut following = Following { client, routes, authorities, told, all, inputs };
    let (mut tasks, mut watches) = (JoinSet::new(), HashMap::new());
    loop {
        tokio::select! {
            changed = changes.recv() => match changed {
                Ok(key) => following.changed(&key),
                // So many at once that some were missed.
                Err(RecvError::Lagged(_)) => {
                    following.all.union(&following.inputs).for_each(|key| following.changed(key));
                }
                Err(RecvError::Closed) => std::future::pending().await,
            },
            Some(key) = telling.recv() => following.changed(&key),
            () = named.look.notified() => following.look(&mut tasks, &mut watches),
        }
    }
}

/// What the steps have in common.
struct Following<'a> {
    client: Client,
    routes: Routes,
    authorities: &'a Authorities,
    told: mpsc::UnboundedSender<Key>,
    /// The Secrets of all authorities.
    all: BTreeSet<Key>,
    /// The Secrets that Certificates read.
    inputs: BTreeSet<Key>,
}

impl Following<'_> {
    /// What is kept of a Secret is old, and the issuers that sign with it are looked at.
    fn changed(&self, key: &Key) {
        if self.all.contains(key) {
            self.authorities.changed(key);
            self.routes.signers(key);
        }
        if self.inputs.contains(key) {
            self.routes.readers(key);
        }
        if self.all.contains(key) || self.inputs.contains(key) {
            // It may have lost our label, or got it.
            self.routes.seen.named.look();
        }
    }

    /// Sees to it that the Secret of every authority is followed, and what Certificates read.
    fn look(&mut self, tasks: &mut JoinSet<()>, watches: &mut HashMap<Key, AbortHandle>) {
        // Those that were ended before are forgotten.
        while tasks.try_join_next().is_some() {}
        let (all, inputs) = (secrets_of(&self.routes), self.routes.seen.inputs.all());
        let mut new: BTreeSet<_> = all.difference(&self.all).cloned().collect();
        new.extend(inputs.difference(&self.inputs).cloned());
        self.all.clone_from(&all);
        self.inputs.clone_from(&inputs);
        self.authorities.keep_only(&all);
        // What happened to these before was nobody's business.
        new.iter().for_each(|key| self.changed(key));
        let seen = &self.routes.seen;
        let home = &self.routes.home;
        let wanted = to_be_named(&all, &inputs, home, |key| seen.secrets.knows(key));
        watches.retain(|key, task| {
            let stays = wanted.contains(key);
            if !stays {
                seen.named.end(key);
                task.abort();
            }
            stays
        });
        for key in wanted {
            let follow = || {
                debug!(namespace = key.0, secret = key.1, "following it by its name");
                let (client, told) = (self.client.clone(), self.told.clone());
                tasks.spawn(follow_one(client, seen.named.clone(), key.clone(), told))
            };
            watches.entry(key.clone()).or_insert_with(follow);
        }
    }
}

/// The Secrets of all authorities.
fn secrets_of(routes: &Routes) -> BTreeSet<Key> {
    let (issuers, everywhere) = (routes.seen.issuers.state(), routes.seen.cluster_issuers.state());
    let issuers = issuers
        .iter()
        .filter_map(|issuer| Some((issuer.namespace()?, issuer.authority_secret()?.to_owned())));
    let everywhere = everywhere
        .iter()
        .filter_map(|issuer| Some((routes.home.clone(), issuer.authority_secret()?.to_owned())));
    issuers.chain(everywhere).collect()
}

/// Those that must be followed by their names, so many as may be; pure. Namespaces take turns, so that
/// one with many issuers leaves the others theirs; the operator's own comes first, and in each the
/// Secrets of authorities come before those that Certificates read.
fn to_be_named(
    authorities: &BTreeSet<Key>,
    inputs: &BTreeSet<Key>,
    home: &str,
    is_followed: impl Fn(&Key) -> bool,
) -> BTreeSet<Key> {
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let mut ranked = Vec::new();
    for key in authorities.iter().chain(inputs.difference(authorities)) {
        if is_followed(key) {
            continue;
        }
        let rank = taken.entry(key.0.as_str()).or_default();
        ranked.push((key.0 != home, *rank, key));
        *rank += 1;
    }
    ranked.sort_unstable();
    ranked.into_iter().take(MOST_NAMED).map(|(_, _, key)| key.clone()).collect()
}

async fn follow_one(client: Client, named: Arc<Named>, key: Key, told: mpsc::UnboundedSender<Key>) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &key.0);
    let by_name = watcher::Config::default().fields(&format!("metadata.name={}", key.1));
    let mut events = watcher(api, by_name).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::InitDone) => named.begin(&key),
            Ok(Event::Apply(_) | Event::Delete(_)) => {}
            Ok(Event::Init | Event::InitApply(_)) => continue,
            Err(error) => {
                warn!(
                    kind = "Secret",
                    namespace = key.0,
                    name = key.1,
                    error = crate::story::story(&error),
                    "watching again"
                );
                continue;
            }
        }
        // The other end outlives this task.
        let _ = told.send(key.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    #[test]
    fn what_bears_our_label_is_not_followed_a_second_time() {
        let all = BTreeSet::from([key("ours"), key("a-users")]);
        let named = to_be_named(&all, &BTreeSet::new(), "home", |one| *one == key("ours"));
        assert_eq!(named, BTreeSet::from([key("a-users")]));
    }

    #[test]
    fn there_is_an_end_to_what_is_followed_by_name_and_namespaces_take_turns() {
        let many = |namespace: &str| {
            let one = |number| (namespace.to_owned(), format!("{number:03}"));
            (0..MOST_NAMED).map(one).collect::<BTreeSet<Key>>()
        };
        let inputs = many("a");
        let authorities: BTreeSet<_> = many("b").into_iter().chain([key("web")]).collect();
        let named = to_be_named(&authorities, &inputs, "shop", |_| false);
        let of = |namespace: &str| named.iter().filter(|key| key.0 == namespace).count();
        assert_eq!(named.len(), MOST_NAMED);
        assert_eq!((of("shop"), of("a"), of("b")), (1, 100, 99));
        let home = to_be_named(&many("home"), &inputs, "home", |_| false);
        assert!(home.iter().all(|key| key.0 == "home"));
    }
}
