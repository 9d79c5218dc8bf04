//! Events, for people: sent in the background, never waited for, dropped rather than piled up.
//!
//! An object reports each of its changes once, so nothing is aggregated, and nothing is kept.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use kubeopencode_api::report::cut;
use tokio::sync::mpsc;

/// Events that may wait to be sent; more are dropped.
const BACKLOG: usize = 4096;
/// Events sent at once.
const CONCURRENCY: usize = 4;
/// Longest note that the API takes, in bytes.
const MAX_NOTE: usize = 1024;
/// Longest `reportingInstance`, in characters.
const MAX_INSTANCE: usize = 128;

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Normal or Warning.
    pub(crate) type_: EventType,
    /// A word in CamelCase.
    pub(crate) reason: &'static str,
    /// For people; cut at 1024 bytes.
    pub(crate) note: String,
}

/// `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventType {
    /// `Normal`
    Normal,
    /// `Warning`
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records Events.
#[derive(Clone, Debug)]
pub(crate) struct EventRecorder {
    queue: mpsc::Sender<Event>,
    instance: String,
}

impl EventRecorder {
    /// A recorder, and the work that sends what it records. `instance` is the operator's Pod.
    pub(crate) fn new(client: Client, instance: &str) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, waiting) = mpsc::channel(BACKLOG);
        let instance = instance.chars().take(MAX_INSTANCE).collect();
        (Self { queue, instance }, send(client, waiting))
    }

    /// Sends an Event on an object in the background.
    pub(crate) fn record(&self, object: &ObjectReference, event: Note) {
        let now = Timestamp::now();
        let Note { type_, reason, note } = event;
        let name = object.name.clone().unwrap_or_default();
        let name_of_event = kubeopencode_api::names::cut(&name, 230);
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name_of_event}.{:x}", now.as_nanosecond())),
                namespace: object.namespace.clone(),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(cut(&note, MAX_NOTE).to_owned()),
            reason: Some(reason.to_owned()),
            regarding: Some(object.clone()),
            reporting_controller: Some("kubeopencode.io/controller".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(type_.as_str().to_owned()),
            ..Event::default()
        };
        if self.queue.try_send(event).is_err() {
            tracing::debug!(object = name, reason, "an Event was dropped: too many wait to be sent");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an Event is nobody's property")]
async fn send(client: Client, waiting: mpsc::Receiver<Event>) {
    use futures::StreamExt;
    let events = futures::stream::unfold(waiting, |mut waiting| async move {
        let event = waiting.recv().await?;
        Some((event, waiting))
    });
    let sent = events.for_each_concurrent(CONCURRENCY, |event| {
        let api =
            Api::<Event>::namespaced(client.clone(), event.metadata.namespace.as_deref().unwrap_or_default());
        async move {
            if let Err(error) = api.create(&PostParams::default(), &event).await {
                tracing::debug!(%error, "an Event was not taken");
            }
        }
    });
    sent.await;
}
