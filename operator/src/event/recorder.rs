//! Writes Events. One that comes again with the same text is counted; another text is another Event, since
//! a text that is not written is one that nobody reads.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};

/// Who reports.
const REPORTER: &str = "countersign-operator";

/// An Event that comes again within this time is counted, and not written anew.
const JOINED_FOR: SignedDuration = SignedDuration::from_mins(6);

/// So many Events are remembered.
const MOST_REMEMBERED: usize = 512;

/// Longest name of an object, and longest reason (Kubernetes' own limits).
const LONGEST_NAME: usize = 253;
const LONGEST_REASON: usize = 128;

/// Something to tell of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Note {
    pub(super) type_: &'static str,
    pub(super) reason: String,
    pub(super) text: String,
}

/// Writes Events, one after the other.
pub(super) struct Recorder {
    client: Client,
    written: HashMap<(String, Note), Event>,
    /// Tells apart Events about one object within one second, which is what the clock tells apart.
    next: u32,
}

impl Recorder {
    pub(super) fn new(client: Client) -> Self {
        // Another replica begins elsewhere: both may write about one object in the same second.
        let next = RandomState::new().hash_one(REPORTER) as u32;
        Self { client, written: HashMap::new(), next }
    }

    /// Writes one Event, or counts it.
    pub(super) async fn publish(
        &mut self,
        note: &Note,
        about: &ObjectReference,
        now: Timestamp,
    ) -> kube::Result<()> {
        self.written.retain(|_, event| last_seen(event) + JOINED_FOR > now);
        if self.written.len() >= MOST_REMEMBERED {
            self.forget_largest();
        }
        let key = (key_of(about), note.clone());
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Some(before) = self.written.get(&key) {
            let again = again(before, now);
            let patch = Patch::Merge(&again);
            match events.patch(&again.name_any(), &PatchParams::default(), &patch).await {
                Ok(_) => {
                    self.written.insert(key, again);
                    return Ok(());
                }
                // It was deleted, or is too old to be there.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        self.next = self.next.wrapping_add(1);
        let event = first(note, about, now, self.next);
        events.create(&PostParams::default(), &event).await?;
        self.written.insert(key, event);
        Ok(())
    }

    /// The Events of the namespace with most of them are forgotten: those of others are counted on.
    fn forget_largest(&mut self) {
        let mut counts = HashMap::<_, usize>::new();
        for event in self.written.values() {
            *counts.entry(event.metadata.namespace.clone()).or_default() += 1;
        }
        let largest = counts.into_iter().max_by_key(|(_, count)| *count);
        if let Some((namespace, _)) = largest {
            self.written.retain(|_, event| event.metadata.namespace != namespace);
        }
    }
}

fn key_of(about: &ObjectReference) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    [&about.kind, &about.namespace, &about.name, &about.uid].map(text).join("/")
}

fn last_seen(event: &Event) -> Timestamp {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    series.or(first).unwrap_or(Timestamp::MIN)
}

/// The same Event once more.
fn again(before: &Event, now: Timestamp) -> Event {
    let count = before.series.as_ref().map_or(1, |series| series.count) + 1;
    let series = Some(EventSeries { count, last_observed_time: MicroTime(now) });
    Event { series, ..before.clone() }
}

fn first(note: &Note, about: &ObjectReference, now: Timestamp, number: u32) -> Event {
    let end = format!(".{:x}{number:08x}", now.as_second());
    let name = cut(about.name.as_deref().unwrap_or(REPORTER), LONGEST_NAME - end.len());
    let reason = cut(&note.reason, LONGEST_REASON).to_owned();
    Event {
        action: Some(reason.clone()),
        reason: Some(reason),
        event_time: Some(MicroTime(now)),
        regarding: Some(about.clone()),
        note: Some(note.text.clone()),
        metadata: ObjectMeta {
            namespace: about.namespace.clone(),
            name: Some(name.trim_end_matches(['-', '.']).to_owned() + &end),
            ..ObjectMeta::default()
        },
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(REPORTER.to_owned()),
        type_: Some(note.type_.to_owned()),
        ..Event::default()
    }
}

/// The beginning of a text, in whole characters.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= most);
    &text[..end.last().unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(name: &str) -> ObjectReference {
        ObjectReference {
            name: Some(name.to_owned()),
            namespace: Some("shop".to_owned()),
            ..ObjectReference::default()
        }
    }

    fn note() -> Note {
        Note { type_: "Warning", reason: "Wrong".to_owned(), text: "it is".to_owned() }
    }

    #[test]
    fn an_event_about_an_object_with_the_longest_name_has_a_name_that_is_allowed() {
        let now: Timestamp = "2026-05-05T12:00:00Z".parse().unwrap();
        for name in ["web".to_owned(), "a".repeat(253), format!("{}.{}", "a".repeat(235), "b")] {
            let event = first(&note(), &about(&name), now, 7);
            let found = event.metadata.name.clone().unwrap();
            assert!(found.len() <= 253 && !found.contains(".."), "{found}");
            assert_eq!(event.regarding.unwrap().name.as_deref(), Some(name.as_str()));
        }
    }

    #[test]
    fn events_of_one_second_have_names_of_their_own() {
        let now: Timestamp = "2026-05-05T12:00:00Z".parse().unwrap();
        let [one, two] = [7, 8].map(|number| first(&note(), &about("web"), now, number));
        assert_ne!(one.metadata.name, two.metadata.name);
    }

    #[test]
    fn an_event_that_comes_again_is_counted() {
        let now: Timestamp = "2026-05-05T12:00:00Z".parse().unwrap();
        let later = now + SignedDuration::from_secs(60);
        let event = first(&note(), &about("web"), now, 7);
        let twice = again(&again(&event, now), later);
        assert_eq!((twice.series.as_ref().unwrap().count, last_seen(&twice)), (3, later));
        assert_eq!(twice.metadata.name, event.metadata.name);
    }

    #[tokio::test]
    async fn namespace_with_most_events_is_forgotten_first() {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let mut recorder = Recorder::new(Client::try_from(config).unwrap());
        let now: Timestamp = "2026-05-05T12:00:00Z".parse().unwrap();
        for (namespace, name) in [("noisy", "a"), ("noisy", "b"), ("quiet", "c")] {
            let namespace = Some(namespace.to_owned());
            let about = ObjectReference { namespace, ..about(name) };
            let event = first(&note(), &about, now, 7);
            recorder.written.insert((key_of(&about), note()), event);
        }
        recorder.forget_largest();
        let left = recorder.written.values().map(|event| event.metadata.namespace.as_deref());
        assert_eq!(Vec::from_iter(left), [Some("quiet")]);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, most, expected) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("aäb", 2, "a"), ("ä", 1, "")]
        {
            assert_eq!(cut(text, most), expected);
        }
    }
}
