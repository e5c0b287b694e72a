//! Kubernetes Events: what people see in `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tracing::warn;

/// Writes Events; a lost one is logged and holds up nothing.
#[derive(Clone)]
pub struct Events(Recorder);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Events of the operator.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        let reporter = Reporter { controller: "countersign-operator".to_owned(), instance: None };
        Self(Recorder::new(client, reporter))
    }

    /// Something went as it should.
    pub async fn normal<K>(&self, object: &K, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, EventType::Normal, reason, note).await;
    }

    /// Something needs attention.
    pub async fn warning<K>(&self, object: &K, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, EventType::Warning, reason, note).await;
    }

    /// Something needs attention, about an object that is only referred to.
    pub async fn warning_about(&self, object: &ObjectReference, reason: &str, note: String) {
        self.write(object, EventType::Warning, reason, note).await;
    }

    async fn publish<K>(&self, object: &K, type_: EventType, reason: &str, note: String)
    where
        K: Resource<DynamicType = ()>,
    {
        self.write(&object.object_ref(&()), type_, reason, note).await;
    }

    async fn write(
        &self,
        about: &ObjectReference,
        type_: EventType,
        reason: &str,
        mut note: String,
    ) {
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
        if let Err(error) = self.0.publish(&event, about).await {
            warn!(%error, reason, "event not written");
        }
    }
}
