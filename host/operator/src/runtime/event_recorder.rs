//! Events, for people: sent in the background, never waited for, dropped rather than piled up. Launches come first: what a
//! burst has to tell is told when it is over.
//!
//! An object reports each of its changes once, so nothing is aggregated, and nothing is kept.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use kubeopencode_api::report::cut;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::runtime::api_error::words;

/// Events that may wait to be sent, about 1 KB each; more are dropped. A burst of 5,000 Tasks has one for each.
const BACKLOG: usize = 8192;
/// Events sent at once.
const CONCURRENCY: usize = 2;
/// How long an Event waits for launches to be over. Where they never are, people hear of things a minute later, and
/// launches go on nearly as fast: an API server pays as much for an Event as for any write of a launch.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Between two Events that did not wait for launches any longer.
const TRICKLE: Duration = Duration::from_millis(200);
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
    queue: mpsc::Sender<(Instant, Event)>,
    instance: String,
    /// How many launches are under way.
    launches: watch::Sender<usize>,
}

/// Events wait while it is there, for [`MAX_DELAY`] at most.
#[derive(Debug)]
pub(crate) struct Precedence(watch::Sender<usize>);

impl Drop for Precedence {
    fn drop(&mut self) {
        self.0.send_if_modified(|launches| {
            *launches -= 1;
            *launches == 0
        });
    }
}

impl EventRecorder {
    /// A recorder, and the work that sends what it records. `instance` is the operator's Pod.
    pub(crate) fn new(client: Client, instance: &str) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, waiting) = mpsc::channel(BACKLOG);
        let instance = instance.chars().take(MAX_INSTANCE).collect();
        let launches = watch::Sender::new(0);
        let under_way = launches.subscribe();
        (Self { queue, instance, launches }, send(client, waiting, under_way))
    }

    /// What comes before Events begins.
    pub(crate) fn precede(&self) -> Precedence {
        // nobody waits for one more
        self.launches.send_if_modified(|launches| {
            *launches += 1;
            false
        });
        Precedence(self.launches.clone())
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
                // where the Events of objects without a namespace are
                namespace: Some(object.namespace.clone().unwrap_or_else(|| "default".to_owned())),
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
        if self.queue.try_send((Instant::now(), event)).is_err() {
            tracing::debug!(object = name, reason, "an Event was dropped: too many wait to be sent");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an Event is nobody's property")]
async fn send(client: Client, waiting: mpsc::Receiver<(Instant, Event)>, launches: watch::Receiver<usize>) {
    use futures::StreamExt;
    let events = futures::stream::unfold((waiting, launches), |(mut waiting, mut launches)| async move {
        let (recorded, event) = waiting.recv().await?;
        wait_for_launches(&mut launches, recorded).await;
        Some((event, (waiting, launches)))
    });
    let sent = events.for_each_concurrent(CONCURRENCY, |event| {
        let api =
            Api::<Event>::namespaced(client.clone(), event.metadata.namespace.as_deref().unwrap_or_default());
        async move {
            if let Err(error) = api.create(&PostParams::default(), &event).await {
                tracing::debug!(error = words(&error), "an Event was not taken");
            }
        }
    });
    sent.await;
}

/// Waits until no launch is under way, and no longer than an Event that was recorded then may wait; [`TRICKLE`] at least,
/// while launches are.
async fn wait_for_launches(launches: &mut watch::Receiver<usize>, recorded: Instant) {
    let none = launches.wait_for(|launches| *launches == 0);
    let latest = (recorded + MAX_DELAY).max(Instant::now() + TRICKLE);
    let _ = tokio::time::timeout_at(latest, none).await;
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_event_waits_for_the_launches_of_a_burst_and_a_minute_at_most() {
        let launches = watch::Sender::new(2);
        let (first, second) = (Precedence(launches.clone()), Precedence(launches.clone()));
        let (mut seen, recorded) = (launches.subscribe(), Instant::now());
        assert!(wait_for_launches(&mut seen, recorded).now_or_never().is_none());
        drop(first);
        assert!(wait_for_launches(&mut seen, recorded).now_or_never().is_none(), "one is under way");
        wait_for_launches(&mut seen, recorded).await;
        assert_eq!(recorded.elapsed().as_secs(), MAX_DELAY.as_secs());
        let late = Instant::now();
        wait_for_launches(&mut seen, recorded).await;
        assert_eq!(late.elapsed(), TRICKLE, "others are late too, and launches come first");
        drop(second);
        wait_for_launches(&mut seen, Instant::now()).now_or_never().unwrap();
    }

    #[test]
    fn events_are_woken_by_the_end_of_the_last_launch_alone() {
        let (queue, _waiting) = mpsc::channel(1);
        let recorder = EventRecorder { queue, instance: String::new(), launches: watch::Sender::new(0) };
        let seen = recorder.launches.subscribe();
        let (first, second) = (recorder.precede(), recorder.precede());
        drop(first);
        assert!(!seen.has_changed().unwrap());
        drop(second);
        assert!(seen.has_changed().unwrap());
    }
}
