//! Reads the Events of Pods that have a node and do not begin: nothing else shows a missing Secret volume. What they
//! mean is for `start_problem` to say.
//!
//! One list for all such Pods of a namespace; the pauses between two lists grow while no other Pod falls silent there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::start_problem::{StartProblem, ToldByEvents};
use crate::cache::pod_view::PodView;

/// Pause between the first two lists of a namespace's Events; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// Longest pause between two lists.
const MAX_PAUSE: Duration = Duration::from_secs(480);
/// Until somebody asks again whose namespace is being listed.
const WHILE_LISTING: Duration = Duration::from_secs(1);
/// Events in one answer, whose largest are as large as etcd takes them: 48 MB of those.
const PAGE: u32 = 32;
/// Answers of one list, and the Warnings about Pods that are in them: what there is beyond is not looked at.
const MAX_PAGES: usize = 128;
const MAX_WARNINGS: usize = PAGE as usize * MAX_PAGES;

/// What the Events of each namespace said.
#[derive(Debug, Default)]
pub(crate) struct PodEvents {
    namespaces: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Round>>>>,
}

impl PodEvents {
    /// Why the Pod does not begin, as far as its Events say; and when to ask again.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn start_problem(
        &self,
        client: &Client,
        pod: &PodView,
    ) -> Result<(Option<StartProblem>, Duration), kube::Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let round = self.round(namespace);
        // a list of many large Events takes long, and whoever waits for it here keeps a place from others
        let Ok(mut round) = round.try_lock() else { return Ok((None, WHILE_LISTING)) };
        if round.take_due(pod.uid(), Instant::now()) {
            let (problems, are_all) = problems(client, namespace).await?;
            if round.is_first_cut(are_all) {
                tracing::warn!(
                    namespace,
                    "there are more than {MAX_WARNINGS} Warnings about Pods, and the others are not read: of a Task there that does \
                     not start, `kubectl describe pod` says why"
                );
            }
            round.listed(problems, Instant::now());
        }
        Ok((round.problems.get(pod.uid()).cloned(), round.pause_from(Instant::now())))
    }

    /// The namespace's round. Those that nobody asked about for long are forgotten.
    fn round(&self, namespace: &str) -> Arc<tokio::sync::Mutex<Round>> {
        let (mut namespaces, now) = (self.namespaces.lock(), Instant::now());
        namespaces.retain(|_, round| !round.try_lock().is_ok_and(|round| round.is_forgotten(now)));
        Arc::clone(namespaces.entry(namespace.to_owned()).or_default())
    }
}

/// The problems of a namespace's Pods, by the UID of the Pod, and whether all Warnings about Pods were read.
async fn problems(
    client: &Client,
    namespace: &str,
) -> Result<(HashMap<String, StartProblem>, bool), kube::Error> {
    let api = Api::<Event>::namespaced(client.clone(), namespace);
    let warnings = ListParams::default().fields("involvedObject.kind=Pod,type=Warning").limit(PAGE);
    let mut told = ToldByEvents::default();
    let mut page = warnings.clone();
    for _ in 0..MAX_PAGES {
        let list = api.list(&page).await?;
        list.items.iter().for_each(|event| told.hear(event));
        match list.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => page = warnings.clone().continue_token(&more),
            None => return Ok((told.problems(), true)),
        }
    }
    Ok((told.problems(), false))
}

/// The lists of one namespace's Events.
#[derive(Debug, Default)]
struct Round {
    problems: HashMap<String, StartProblem>,
    /// The Pods that were asked about before the last list, and those since then.
    known: HashSet<String>,
    asked: HashSet<String>,
    last: Option<(Instant, Duration)>,
    /// Whether there was more than was read the last time.
    was_cut: bool,
}

impl Round {
    /// Whether the Events are to be listed for this Pod. One that falls silent ends the long pauses.
    fn take_due(&mut self, pod_uid: &str, now: Instant) -> bool {
        let is_new = self.asked.insert(pod_uid.to_owned()) && !self.known.contains(pod_uid);
        let Some((at, pause)) = &mut self.last else { return true };
        if is_new {
            *pause = FIRST_PAUSE;
        }
        now.duration_since(*at) >= *pause
    }

    fn listed(&mut self, problems: HashMap<String, StartProblem>, now: Instant) {
        self.problems = problems;
        self.known = std::mem::take(&mut self.asked);
        let pause = self.last.map_or(FIRST_PAUSE, |(at, pause)| {
            if now.duration_since(at) > pause + FIRST_PAUSE {
                FIRST_PAUSE
            } else {
                (pause * 2).min(MAX_PAUSE)
            }
        });
        self.last = Some((now, pause));
    }

    /// Whether a list leaves something out, and the one before did not.
    fn is_first_cut(&mut self, are_all: bool) -> bool {
        !std::mem::replace(&mut self.was_cut, !are_all) && !are_all
    }

    /// Until the next list.
    fn pause_from(&self, now: Instant) -> Duration {
        self.last
            .map_or(FIRST_PAUSE, |(at, pause)| (at + pause).saturating_duration_since(now))
            .max(Duration::from_secs(1))
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        self.last.is_some_and(|(at, pause)| now.duration_since(at) > pause + MAX_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::runtime::test_client::answered_by;

    #[tokio::test]
    async fn nobody_waits_for_a_list_that_takes_long() {
        let client = answered_by(|_| pending::<(u16, String)>());
        let pod = |uid: &str| -> PodView {
            let metadata = serde_json::json!({"name": uid, "namespace": "team", "uid": uid});
            serde_json::from_value(serde_json::json!({"metadata": metadata})).unwrap()
        };
        let (events, first, second) = (PodEvents::default(), pod("first"), pod("second"));
        let mut lists = std::pin::pin!(events.start_problem(&client, &first));
        assert!(futures::poll!(lists.as_mut()).is_pending());
        assert_eq!(events.start_problem(&client, &second).await.unwrap(), (None, WHILE_LISTING));
    }

    #[tokio::test]
    async fn what_is_beyond_the_pages_is_left_out_and_told_once() {
        let server = |more: &'static str| {
            answered_by(move |_| {
                let metadata = serde_json::json!({"continue": more});
                let list = serde_json::json!({"apiVersion": "v1", "kind": "EventList", "metadata": metadata, "items": []});
                ready((200, list.to_string()))
            })
        };
        let mut round = Round::default();
        for (more, is_told) in [("", false), ("more", true), ("more", false), ("", false), ("more", true)] {
            let (_, are_all) = problems(&server(more), "team").await.unwrap();
            assert_eq!(round.is_first_cut(are_all), is_told, "{more:?}");
        }
    }

    #[test]
    fn all_pods_of_a_namespace_share_a_list_and_the_pauses_grow() {
        let (mut round, mut now) = (Round::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(round.take_due("a", now));
            round.listed(HashMap::new(), now);
            assert!(!round.take_due("a", now));
            pauses.push(round.pause_from(now).as_secs());
            now += round.pause_from(now);
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 480, 480]);
    }

    #[test]
    fn a_pod_that_falls_silent_is_answered_from_the_last_list_and_listed_for_soon() {
        let (mut round, mut now) = (Round::default(), Instant::now());
        for _ in 0..4 {
            assert!(round.take_due("a", now));
            round.listed(HashMap::new(), now);
            now += round.pause_from(now);
        }
        round.listed(HashMap::new(), now);
        assert!(!round.take_due("b", now));
        assert_eq!(round.pause_from(now), FIRST_PAUSE);
        assert!(round.take_due("b", now + FIRST_PAUSE));
    }
}
