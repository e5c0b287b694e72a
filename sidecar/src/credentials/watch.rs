//! Publishes new credentials and new policies: each whole or not at all, and neither waits for the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use inotify::{Inotify, WatchMask};
use rustls_pki_types::UnixTime;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::load::Error;
use super::serving::{Read, Serving, Sources, folders};
use crate::metrics::{Metrics, ResultLabels};

/// inotify may miss a swap, for example on some network file systems: a poll stands behind it.
const PERIOD: Duration = Duration::from_secs(5);

/// What new connections find.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The set in use, if there ever was a good one.
    pub current: Option<Arc<Serving>>,
    /// What was wrong with the last set that was looked at.
    pub problem: Option<String>,
}

/// What new connections find, now.
pub type Watched = watch::Receiver<State>;

/// Who looks, and what was seen last.
struct Look {
    sources: Sources,
    metrics: Metrics,
    /// What is published, so that an unchanged set is not published again.
    published: Read,
    /// What is wrong with the policy in it.
    of_published: Option<String>,
}

/// Starts to publish what is in a folder.
pub fn watch(sources: Sources, metrics: Metrics) -> (Watched, impl Future<Output = ()> + Send) {
    let mut look = Look { sources, metrics, published: Read::default(), of_published: None };
    let first = look.at(&State::default()).unwrap_or_default();
    let (sender, receiver) = watch::channel(first);
    (receiver, publish(look, sender))
}

async fn publish(mut look: Look, sender: watch::Sender<State>) {
    let mut buffer = [0; 4096];
    let mut changes =
        changes(&look.sources).and_then(|inotify| inotify.into_event_stream(&mut buffer).ok());
    while !sender.is_closed() {
        match changes.as_mut() {
            Some(changes) => drop(tokio::time::timeout(PERIOD, changes.next()).await),
            None => tokio::time::sleep(PERIOD).await,
        }
        let before = sender.borrow().clone();
        if let Some(state) = look.at(&before) {
            sender.send_replace(state);
        }
    }
}

/// The kubelet swaps the link `..data` in a folder; plain files are written in it. Whatever else
/// changes is found by the poll.
fn changes(sources: &Sources) -> Option<Inotify> {
    let inotify = Inotify::init().ok()?;
    watched(sources).iter().all(|folder| is_watched(&inotify, folder)).then_some(inotify)
}

fn is_watched(inotify: &Inotify, folder: &Path) -> bool {
    let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::CLOSE_WRITE | WatchMask::DELETE;
    let watched = inotify.watches().add(folder, mask);
    if let Err(error) = &watched {
        warn!(%error, folder = %folder.display(), "files are polled: the folder cannot be watched");
    }
    watched.is_ok()
}

fn watched(sources: &Sources) -> Vec<PathBuf> {
    let mut all = vec![sources.credentials.clone()];
    let policy =
        sources.policy.as_ref().or_else(|| sources.compiled.as_ref().map(|(path, _)| path));
    all.extend(policy.and_then(|path| path.parent()).map(|parent| {
        // A file that is named without its folder is in this one.
        if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() }
    }));
    if let Some(certificates) = &sources.certificates {
        all.push(certificates.clone());
        all.extend(folders(certificates).unwrap_or_default());
    }
    all
}

impl Look {
    /// Looks at the files; the new state, if it is another one.
    fn at(&mut self, before: &State) -> Option<State> {
        let read = Read::new(&self.sources);
        if let Ok(read) = &read
            && before.current.is_some()
            && *read == self.published
        {
            let problem = self.of_published.clone();
            return (before.problem != problem).then(|| State { problem, ..before.clone() });
        }
        let current = before.current.as_deref();
        let made = read.and_then(|read| {
            let made = Serving::of(&read, &self.sources, current, UnixTime::now())?;
            Ok((read, made))
        });
        match made {
            Ok((read, (serving, problem))) => Some(self.publishes(before, read, serving, problem)),
            Err(problem) => self.rejects(before, problem.to_string()),
        }
    }

    fn publishes(
        &mut self,
        before: &State,
        read: Read,
        serving: Serving,
        problem: Option<Error>,
    ) -> State {
        let text = problem.as_ref().map(ToString::to_string);
        let is_of_policy = problem.as_ref().is_some_and(Error::is_of_policy);
        let are_new = problem.is_none() || read.has_other_files(&self.published);
        if are_new && (problem.is_none() || is_of_policy) {
            let credentials = &serving.credentials;
            self.count("ok");
            self.metrics.expiration.set(i64::try_from(credentials.not_after).unwrap_or(i64::MAX));
            let (serial, not_after) = (&credentials.serial, credentials.not_after);
            info!(serial, not_after, "credentials in use");
            if let Some(unfit) = &credentials.unfit {
                warn!(problem = %unfit, "peers refuse our certificate in one of the two roles");
            }
        }
        // Credentials that cannot be used are tried again: their time may come.
        if problem.is_none() || is_of_policy {
            (self.published, self.of_published) = (read, text.clone());
        }
        if let Some(problem) = text.as_ref().filter(|text| before.problem.as_ref() != Some(*text)) {
            self.tell(problem, is_of_policy, true);
        }
        State { current: Some(Arc::new(serving)), problem: text }
    }

    fn rejects(&self, before: &State, problem: String) -> Option<State> {
        if before.problem.as_ref() == Some(&problem) {
            return None;
        }
        self.tell(&problem, false, before.current.is_some());
        Some(State { problem: Some(problem), ..before.clone() })
    }

    fn tell(&self, problem: &str, is_of_policy: bool, keeps_old: bool) {
        match is_of_policy {
            true => {
                self.count("policy_rejected");
                error!(problem, keeps_old, "policy rejected");
            }
            false => {
                self.count("rejected");
                error!(problem, keeps_old, "credentials rejected");
            }
        }
    }

    fn count(&self, result: &'static str) {
        self.metrics.reloads.get_or_create(&ResultLabels { result }).inc();
    }
}

impl State {
    /// Why no handshake can be made, if none can.
    #[must_use]
    pub fn missing(&self, now: UnixTime) -> Option<String> {
        match &self.current {
            None => Some(self.problem.clone().unwrap_or_else(|| "no credentials".to_owned())),
            Some(current) if current.credentials.is_expired(now) => {
                Some("our certificate has expired".to_owned())
            }
            Some(_) => None,
        }
    }

    /// The set to make a handshake with, if one can be made.
    #[must_use]
    pub fn usable(&self, now: UnixTime) -> Option<Arc<Serving>> {
        self.current.clone().filter(|current| !current.credentials.is_expired(now))
    }
}
