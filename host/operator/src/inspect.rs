//! Asks the Events of a Pod that has a node and does not begin: a missing Secret volume is told nowhere else.
//!
//! May touch: Events, to read. Must not touch: what they mean (`observe`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams};

use crate::observe::{Trouble, trouble_in_events};
use crate::view::PodView;

/// A Pod's Events are listed at most this often.
pub(crate) const ROUND: Duration = Duration::from_secs(30);

/// When each Pod's Events were last listed, by the UID of the Pod.
#[derive(Debug, Default)]
pub(crate) struct Inspections {
    asked: Mutex<HashMap<String, Instant>>,
}

impl Inspections {
    /// Why the Pod does not begin; `None`: it was asked a short while ago, or its Events tell nothing.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn ask(&self, client: &Client, pod: &PodView) -> Result<Option<Trouble>, kube::Error> {
        if !self.is_due(pod.uid(), Instant::now()) {
            return Ok(None);
        }
        let of_pod = ListParams::default().fields(&format!("involvedObject.uid={}", pod.uid()));
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let events = Api::<Event>::namespaced(client.clone(), namespace).list(&of_pod).await?;
        Ok(trouble_in_events(&events.items))
    }

    /// Remembers that it is asked now, and forgets whom nobody asked about for long.
    fn is_due(&self, pod_uid: &str, now: Instant) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, at| now.duration_since(*at) < ROUND);
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
        let (inspections, now) = (Inspections::default(), Instant::now());
        assert!(inspections.is_due("a", now));
        assert!(!inspections.is_due("a", now + ROUND / 2));
        assert!(inspections.is_due("b", now + ROUND / 2));
        assert!(inspections.is_due("a", now + ROUND));
    }
}
