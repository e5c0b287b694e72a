//! Kubernetes Events: what people see in `kubectl describe`.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

/// So many Events wait to be written; what comes then is dropped and counted.
const MOST_WAITING: usize = 2048;

/// Good news are dropped earlier, so that bad news still find room.
const ROOM_FOR_WARNINGS: usize = MOST_WAITING / 4;

/// kube's recorder looks through all that it remembers for each Event that it writes. It remembers
/// in order to count an Event that comes again; for that the last few hundred are enough.
const REMEMBERED: usize = 256;

/// How long the end of the program waits for Events that are not written yet.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Takes Events, and writes them one after the other behind the work that they tell of: nobody
/// waits for one, and a thousand at once do not crowd out what they are about.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Told>,
    dropped: Counter,
}

enum Told {
    Event(Box<(Event, ObjectReference)>),
    /// All that came before is written.
    Flushed(oneshot::Sender<()>),
}

impl Events {
    /// Events of the operator. They are written by a task of their own, which ends with the last
    /// clone of this.
    #[must_use]
    pub fn new(client: kube::Client, dropped: Counter) -> Self {
        let (queue, told) = mpsc::channel(MOST_WAITING);
        tokio::spawn(write_all(client, told));
        Self { queue, dropped }
    }

    /// Waits until what was told so far is written, or until it takes too long.
    pub async fn flush(&self) {
        let (flushed, is_flushed) = oneshot::channel();
        let writing = async {
            if self.queue.send(Told::Flushed(flushed)).await.is_ok() {
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
        self.publish(object, EventType::Normal, reason, note);
    }

    /// Something needs attention.
    pub fn warning<K>(&self, object: &K, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, EventType::Warning, reason, note);
    }

    /// Something needs attention, about an object that is only referred to.
    pub fn warning_about(&self, object: &ObjectReference, reason: &str, note: String) {
        self.write(object, EventType::Warning, reason, note);
    }

    fn publish<K>(&self, object: &K, type_: EventType, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        self.write(&object.object_ref(&()), type_, reason, note);
    }

    fn write(&self, about: &ObjectReference, type_: EventType, reason: &str, mut note: String) {
        // The API server refuses a note of more than a kilobyte.
        if let Some((end, _)) = note.char_indices().find(|(at, _)| *at >= 1000) {
            note.truncate(end);
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: reason.to_owned(),
            secondary: None,
        };
        let room = self.queue.capacity();
        let is_crowded = matches!(event.type_, EventType::Normal) && room < ROOM_FOR_WARNINGS;
        let told = Told::Event(Box::new((event, about.clone())));
        if is_crowded || self.queue.try_send(told).is_err() {
            self.dropped.inc();
        }
    }
}

async fn write_all(client: kube::Client, mut told: mpsc::Receiver<Told>) {
    let reporter = Reporter { controller: "countersign-operator".to_owned(), instance: None };
    let mut recorder = Recorder::new(client.clone(), reporter.clone());
    let mut written = 0;
    while let Some(told) = told.recv().await {
        let Told::Event(event) = told else {
            if let Told::Flushed(flushed) = told {
                let _ = flushed.send(());
            }
            continue;
        };
        let (event, about) = *event;
        if let Err(error) = recorder.publish(&event, &about).await {
            warn!(%error, event.reason, "event not written");
        }
        written += 1;
        if written % REMEMBERED == 0 {
            recorder = Recorder::new(client.clone(), reporter.clone());
        }
    }
}
