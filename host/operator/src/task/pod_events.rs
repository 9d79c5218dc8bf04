//! Reads the Events of a Pod that has a node and does not begin: nothing else shows a missing Secret volume. What they
//! mean is for `start_problem` to say.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams};
use parking_lot::Mutex;

use super::start_problem::{self, StartProblem};
use crate::cache::pod_view::PodView;

/// A Pod's Events are listed at most once in this time.
pub(crate) const INTERVAL: Duration = Duration::from_secs(30);

/// When each Pod's Events were last listed, by the UID of the Pod.
#[derive(Debug, Default)]
pub(crate) struct PodEvents {
    asked: Mutex<HashMap<String, Instant>>,
}

impl PodEvents {
    /// Why the Pod does not begin; `None`: its Events were listed a short while ago, or do not say.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn start_problem(
        &self,
        client: &Client,
        pod: &PodView,
    ) -> Result<Option<StartProblem>, kube::Error> {
        if !self.take_due(pod.uid(), Instant::now()) {
            return Ok(None);
        }
        let of_pod = ListParams::default().fields(&format!("involvedObject.uid={}", pod.uid()));
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let events = Api::<Event>::namespaced(client.clone(), namespace).list(&of_pod).await?;
        Ok(start_problem::in_events(&events.items))
    }

    /// Whether they may be listed now, which then counts as done; forgets the Pods that nobody asked about for long.
    fn take_due(&self, pod_uid: &str, now: Instant) -> bool {
        let mut asked = self.asked.lock();
        asked.retain(|_, at| now.duration_since(*at) < INTERVAL);
        if asked.contains_key(pod_uid) {
            return false;
        }
        asked.insert(pod_uid.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_asked_about_once_a_round() {
        let (pod_events, now) = (PodEvents::default(), Instant::now());
        assert!(pod_events.take_due("a", now));
        assert!(!pod_events.take_due("a", now + INTERVAL / 2));
        assert!(pod_events.take_due("b", now + INTERVAL / 2));
        assert!(pod_events.take_due("a", now + INTERVAL));
    }
}
