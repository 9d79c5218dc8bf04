//! Events on Tasks, for people: told in the background, never waited for, dropped rather than piled up.
//!
//! A Task tells each of its phases once, so nothing is aggregated, and nothing is kept.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::report::cut;
use kubeopencode_api::task::{Phase, Task, TaskStatus};
use tokio::sync::mpsc;

/// Events that may wait to be sent; more are dropped.
const BACKLOG: usize = 4096;
/// Events sent at once.
const CONCURRENCY: usize = 4;
/// Longest note that the API takes, in bytes.
const MAX_NOTE: usize = 1024;
/// Longest `reportingInstance`, in characters.
const MAX_INSTANCE: usize = 128;

/// Tells Events.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Event>,
    instance: String,
}

impl Events {
    /// A teller and the work that sends what it tells. `instance` is the operator's Pod.
    pub fn new(client: Client, instance: &str) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, waiting) = mpsc::channel(BACKLOG);
        let instance = instance.chars().take(MAX_INSTANCE).collect();
        (Self { queue, instance }, send(client, waiting))
    }

    /// A Task came into the phase that `new` says.
    pub fn phase(&self, task: &Task, new: &TaskStatus) {
        let reason = new.reason.as_deref().unwrap_or_default();
        let (warning, word) = match new.phase {
            Some(Phase::Queued) if reason == Reason::QuotaExceeded.as_str() => (false, "QuotaExceeded"),
            Some(Phase::Queued) => (false, "Queued"),
            Some(Phase::Running) => (false, "PodCreated"),
            Some(Phase::Completed) if reason == Reason::UserStopped.as_str() => (false, "Stopped"),
            Some(Phase::Completed) => (false, "Completed"),
            Some(Phase::Failed) if reason == Reason::Timeout.as_str() => (true, "Timeout"),
            Some(Phase::Failed) if reason == Reason::PluginError.as_str() => (true, "PluginFailed"),
            Some(Phase::Failed) if reason == Reason::PodCreationError.as_str() => (true, "PodCreationFailed"),
            Some(Phase::Failed) => (true, "Failed"),
            Some(Phase::Pending) | None => return,
        };
        let message = new.message.as_deref().unwrap_or_default();
        let note = if word == "Failed" { format!("{reason}: {message}") } else { message.to_owned() };
        self.tell(task, warning, word, note);
    }

    /// Something went wrong with a Task.
    pub fn warning(&self, task: &Task, reason: &str, note: String) {
        self.tell(task, true, reason, note);
    }

    fn tell(&self, task: &Task, warning: bool, reason: &str, note: String) {
        let now = Timestamp::now();
        let reference: ObjectReference = task.object_ref(&());
        let name = kubeopencode_api::names::cut(&task.name_any(), 230);
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: task.namespace(),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(cut(&note, MAX_NOTE).to_owned()),
            reason: Some(reason.to_owned()),
            regarding: Some(reference),
            reporting_controller: Some("kubeopencode.io/controller".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(if warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        if self.queue.try_send(event).is_err() {
            tracing::debug!(task = %task.name_any(), reason, "an Event was dropped: too many wait to be sent");
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
