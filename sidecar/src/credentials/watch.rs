//! Publishes each new set, whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use inotify::{Inotify, WatchMask};
use rustls_pki_types::UnixTime;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::load::{Credentials, load};
use crate::metrics::{Metrics, ResultLabels};

/// inotify may miss a swap, for example on some network file systems: a poll stands behind it.
const PERIOD: Duration = Duration::from_secs(5);

/// What new connections find.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The set in use, if there ever was a good one.
    pub current: Option<Arc<Credentials>>,
    /// What was wrong with the last set that was looked at.
    pub problem: Option<String>,
}

/// What new connections find, now.
pub type Watched = watch::Receiver<State>;

/// Starts to publish what is in a folder.
pub fn watch(folder: PathBuf, metrics: Metrics) -> (Watched, impl Future<Output = ()> + Send) {
    let first = looked_at(&folder, &State::default(), &metrics).unwrap_or_default();
    let (sender, receiver) = watch::channel(first);
    (receiver, publish(folder, metrics, sender))
}

async fn publish(folder: PathBuf, metrics: Metrics, sender: watch::Sender<State>) {
    let mut buffer = [0; 4096];
    let mut changes =
        changes(&folder).and_then(|inotify| inotify.into_event_stream(&mut buffer).ok());
    while !sender.is_closed() {
        match changes.as_mut() {
            Some(changes) => drop(tokio::time::timeout(PERIOD, changes.next()).await),
            None => tokio::time::sleep(PERIOD).await,
        }
        let before = sender.borrow().clone();
        if let Some(state) = looked_at(&folder, &before, &metrics) {
            sender.send_replace(state);
        }
    }
}

/// The kubelet swaps the link `..data` in the folder; plain files are written in it.
fn changes(folder: &std::path::Path) -> Option<Inotify> {
    let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::CLOSE_WRITE | WatchMask::DELETE;
    let inotify = Inotify::init().ok()?;
    match inotify.watches().add(folder, mask) {
        Ok(_) => Some(inotify),
        Err(error) => {
            warn!(%error, "credentials are polled: the folder cannot be watched");
            None
        }
    }
}

/// Looks at the folder; the new state, if it is another one.
fn looked_at(folder: &std::path::Path, before: &State, metrics: &Metrics) -> Option<State> {
    let count = |result| metrics.reloads.get_or_create(&ResultLabels { result }).inc();
    match load(folder, UnixTime::now()) {
        Ok(found) if before.current.as_ref().is_some_and(|current| current.is_same_as(&found)) => {
            before.problem.is_some().then(|| State { problem: None, ..before.clone() })
        }
        Ok(found) => {
            count("ok");
            metrics.expiration.set(found.not_after);
            info!(serial = found.serial, not_after = found.not_after, "credentials in use");
            Some(State { current: Some(Arc::new(found)), problem: None })
        }
        Err(problem) => {
            let problem = problem.to_string();
            if before.problem.as_ref() == Some(&problem) {
                return None;
            }
            count("rejected");
            error!(problem, keeps_old = before.current.is_some(), "credentials rejected");
            Some(State { problem: Some(problem), ..before.clone() })
        }
    }
}

impl State {
    /// Why no handshake can be made, if none can.
    #[must_use]
    pub fn missing(&self, now: UnixTime) -> Option<String> {
        match &self.current {
            None => Some(self.problem.clone().unwrap_or_else(|| "no credentials".to_owned())),
            Some(current) if current.is_expired(now) => {
                Some("our certificate has expired".to_owned())
            }
            Some(_) => None,
        }
    }

    /// The set to make a handshake with, if one can be made.
    #[must_use]
    pub fn usable(&self, now: UnixTime) -> Option<Arc<Credentials>> {
        self.current.clone().filter(|current| !current.is_expired(now))
    }
}
