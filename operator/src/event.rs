//! Kubernetes Events: what people see in `kubectl describe`.

mod recorder;
mod shares;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::core::Status;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use self::recorder::{Note, Recorder, cut};
use self::shares::Shares;
use crate::clock::Clock;
use crate::metrics::Tally;
use crate::story::story;

/// So many good news wait to be written, and so many bad ones, of which no namespace may have all; what comes
/// then is dropped and counted.
const MOST_GOOD: usize = 1536;
const MOST_BAD: usize = 512;

/// Good news are told once no Certificate waits any more, or after so long: a thousand Certificates
/// at once have the API server to themselves.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often is looked whether any waits.
const LOOK: Duration = Duration::from_millis(20);

/// The API server refuses a note of more than a kilobyte.
const LONGEST_NOTE: usize = 1000;

const NORMAL: &str = "Normal";
const WARNING: &str = "Warning";

/// How long the end of the program waits for Events that are not written yet.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Takes Events, and writes them one after the other behind the work that they tell of: nobody
/// waits for one, and a thousand at once do not crowd out what they are about.
#[derive(Clone, Debug)]
pub struct Events {
    good: Inlet,
    bad: Inlet,
    is_ending: Arc<AtomicBool>,
    dropped: Counter,
}

/// Where Events are put.
#[derive(Clone, Debug)]
struct Inlet {
    told: mpsc::Sender<Told>,
    shares: Arc<Shares>,
}

enum Told {
    Event(Box<(Note, ObjectReference)>, Share),
    /// All that came before is written.
    Flushed(oneshot::Sender<()>),
}

impl Events {
    /// Events of the operator. They are written by a task of their own, which ends with the last
    /// clone of this. `certificates` says how many of them wait.
    #[must_use]
    pub fn new(client: kube::Client, certificates: Tally, dropped: Counter) -> Self {
        let (good, good_told) = Inlet::new(MOST_GOOD);
        let (bad, bad_told) = Inlet::new(MOST_BAD);
        let is_ending = Arc::new(AtomicBool::new(false));
        let desk = Desk {
            good: good_told,
            bad: bad_told,
            certificates,
            is_ending: is_ending.clone(),
            held: Held::default(),
        };
        tokio::spawn(write_all(client, desk));
        Self { good, bad, is_ending, dropped }
    }

    /// Waits until what was told so far is written, or until it takes too long.
    pub async fn flush(&self) {
        self.is_ending.store(true, Ordering::Release);
        let (flushed, is_flushed) = oneshot::channel();
        let writing = async {
            if self.good.told.send(Told::Flushed(flushed)).await.is_ok() {
                // An error means that the writer has ended, and nothing more is written.
                let _ = is_flushed.await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, writing).await.is_err() {
            warn!("some Events were not written before the end");
        }
    }

    /// Something went as it should.
    pub fn normal<K>(&self, object: &K, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, NORMAL, reason, note);
    }

    /// Something needs attention.
    pub fn warning<K>(&self, object: &K, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, WARNING, reason, note);
    }

    /// Something needs attention, about an object that is only referred to.
    pub fn warning_about(&self, object: &ObjectReference, reason: &str, note: String) {
        self.write(object, WARNING, reason, note);
    }

    fn publish<K>(&self, object: &K, type_: &'static str, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        self.write(&object.object_ref(&()), type_, reason, note);
    }

    fn write(&self, about: &ObjectReference, type_: &'static str, reason: &str, text: String) {
        let text = cut(&text, LONGEST_NOTE).to_owned();
        let note = Note { type_, reason: reason.to_owned(), text };
        let queue = if type_ == NORMAL { &self.good } else { &self.bad };
        if !queue.put(note, about) {
            self.dropped.inc();
        }
    }
}

impl Inlet {
    fn new(most: usize) -> (Self, mpsc::Receiver<Told>) {
        let (told, receiver) = mpsc::channel(most);
        (Self { told, shares: Arc::new(Shares::new(most)) }, receiver)
    }

    /// Returns whether there was room.
    fn put(&self, note: Note, about: &ObjectReference) -> bool {
        let Some(share) = Share::of(&self.shares, about) else { return false };
        self.told.try_send(Told::Event(Box::new((note, about.clone())), share)).is_ok()
    }
}

/// The place of one Event in a queue, until it is written.
struct Share {
    shares: Arc<Shares>,
    namespace: String,
}

impl Share {
    fn of(shares: &Arc<Shares>, about: &ObjectReference) -> Option<Self> {
        let namespace = about.namespace.clone().unwrap_or_default();
        shares.take(&namespace).then(|| Self { shares: shares.clone(), namespace })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.give_back(&self.namespace);
    }
}

/// What is told, and what comes first.
struct Desk {
    good: mpsc::Receiver<Told>,
    bad: mpsc::Receiver<Told>,
    certificates: Tally,
    is_ending: Arc<AtomicBool>,
    held: Held,
}

impl Desk {
    /// What is told next, bad news first; `None` once nobody can tell any more.
    async fn next(&mut self) -> Option<Told> {
        loop {
            let is_ending = self.is_ending.load(Ordering::Acquire);
            let may_tell = is_ending || self.held.may_tell(self.certificates.waiting());
            tokio::select! {
                biased;
                Some(told) = self.bad.recv() => break Some(told),
                told = self.good.recv(), if may_tell => break told,
                () = tokio::time::sleep(LOOK), if !may_tell => self.held.go_on(),
            }
        }
    }
}

/// For how long good news were held back.
#[derive(Debug, Default)]
struct Held(Duration);

impl Held {
    fn may_tell(&mut self, waiting: usize) -> bool {
        if waiting == 0 {
            self.0 = Duration::ZERO;
        }
        waiting == 0 || self.0 >= PATIENCE
    }

    fn go_on(&mut self) {
        self.0 += LOOK;
    }
}

fn is_ending(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

async fn write_all(client: kube::Client, mut desk: Desk) {
    let (mut recorder, clock) = (Recorder::new(client), Clock::system());
    while let Some(told) = desk.next().await {
        let ((event, about), _share) = match told {
            Told::Event(event, share) => (*event, share),
            Told::Flushed(flushed) => {
                // An error means that nobody waits for it any more.
                let _ = flushed.send(());
                continue;
            }
        };
        match recorder.publish(&event, &about, clock.now()).await {
            Ok(()) => {}
            // Nothing can be made there any more, and nobody looks.
            Err(kube::Error::Api(status)) if is_ending(&status) => {
                debug!(reason = event.reason, "no event in a namespace that ends");
            }
            Err(error) => warn!(error = story(&error), reason = event.reason, "event not written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_news_wait_for_the_work_and_not_for_ever() {
        let mut held = Held::default();
        assert!(held.may_tell(0), "nothing waits");
        assert!(!held.may_tell(1));
        while !held.may_tell(1000) {
            assert!(held.0 < PATIENCE);
            held.go_on();
        }
        assert_eq!(held.0, PATIENCE);
        assert!(held.may_tell(1), "it was long enough");
        assert!(held.may_tell(0), "nothing waits any more");
        assert!(!held.may_tell(1), "the next time it is as before");
    }
}
