//! A work queue of keys, as client-go has it: each key stands in it once however often it is enqueued, one worker at a
//! time has it, and a worker may ask for it again after a pause.
//!
//! kube's `Controller` runs the Tasks. It is not used here because a ledger, a server or a plugin is reconciled also for an
//! object that is gone, and because each reconciliation has a time limit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until, timeout};

/// A reconciliation that takes longer waits for an answer that does not come.
const MAX_RECONCILE: Duration = Duration::from_secs(60);
/// Until a reconciliation is repeated that took too long.
const RETRY_AFTER_TIMEOUT: Duration = Duration::from_secs(5);

/// Reconciles the keys that come in, and every `resync` those of `all`, until nobody can enqueue one any more.
/// `reconcile` may ask to be repeated after a pause. At most `concurrency` are in flight, and none holds up the others. Of
/// those that are due, the urgent ones come first, and then those of whose `lane` the fewest are in flight. No lane ever has
/// all places: however many keys one namespace enqueues, those of another do not wait for them.
pub(crate) async fn run_keyed<K, F>(
    mut queue: UnboundedReceiver<K>,
    resync: Duration,
    concurrency: usize,
    is_urgent: impl Fn(&K) -> bool,
    lane: impl Fn(&K) -> Option<&str>,
    all: impl Fn() -> Vec<K>,
    reconcile: impl Fn(K) -> F,
) where
    K: Clone + Ord + Display,
    F: Future<Output = Option<Duration>>,
{
    let mut resync = tokio::time::interval(resync);
    let (mut schedule, mut in_flight) = (Schedule::default(), FuturesUnordered::new());
    let most_of_lane = concurrency - concurrency / 4;
    loop {
        // whoever is urgent shows before the next one begins
        while let Ok(key) = queue.try_recv() {
            schedule.enqueue(key, Instant::now());
        }
        let has_room = in_flight.len() < concurrency;
        let next = match has_room {
            true => schedule.next(Instant::now(), &is_urgent, &lane, most_of_lane),
            false => None,
        };
        let its_time = async {
            match &next {
                // a timer counts whole milliseconds, and would take up to two of them
                Some((_, at)) if *at <= Instant::now() => {}
                Some((_, at)) => sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            key = queue.recv() => match key {
                Some(key) => schedule.enqueue(key, Instant::now()),
                None => return,
            },
            _ = resync.tick() => {
                all().into_iter().for_each(|key| schedule.enqueue(key, Instant::now()));
            }
            Some((key, pause)) = in_flight.next() => schedule.end(key, pause, Instant::now()),
            () = its_time => {
                if let Some((key, _)) = next {
                    schedule.begin(&key);
                    in_flight.push(in_time(key.clone(), reconcile(key)));
                }
            }
        }
    }
}

async fn in_time<K: Display>(
    key: K,
    reconcile: impl Future<Output = Option<Duration>>,
) -> (K, Option<Duration>) {
    let pause = timeout(MAX_RECONCILE, reconcile).await.unwrap_or_else(|_| {
        tracing::warn!(%key, "reconcile took longer than {MAX_RECONCILE:?}, requeued");
        Some(RETRY_AFTER_TIMEOUT)
    });
    (key, pause)
}

/// When each key is due. Each stands in it once, and is in flight at most once.
#[derive(Debug)]
struct Schedule<K> {
    due: BTreeMap<K, Instant>,
    in_flight: BTreeSet<K>,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), in_flight: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Schedule<K> {
    /// It is due now, and keeps its place where it is due already.
    fn enqueue(&mut self, key: K, now: Instant) {
        let at = self.due.entry(key).or_insert(now);
        *at = now.min(*at);
    }

    /// The next that may be begun: of those that are due, else the one whose time comes first.
    fn next(
        &self,
        now: Instant,
        is_urgent: impl Fn(&K) -> bool,
        lane: impl Fn(&K) -> Option<&str>,
        most_of_lane: usize,
    ) -> Option<(K, Instant)> {
        let mut lanes = HashMap::<&str, usize>::new();
        for name in self.in_flight.iter().filter_map(&lane) {
            *lanes.entry(name).or_default() += 1;
        }
        let in_lane = |key: &K| lane(key).and_then(|name| lanes.get(name)).copied().unwrap_or_default();
        let free = self.due.iter().filter_map(|(key, at)| {
            let others = in_lane(key);
            let order = match *at > now {
                true => (true, false, 0, *at),
                false => (false, !is_urgent(key), others, *at),
            };
            (others < most_of_lane && !self.in_flight.contains(key)).then_some((order, key))
        });
        free.min_by_key(|(order, _)| *order).map(|((.., at), key)| (key.clone(), at))
    }

    fn begin(&mut self, key: &K) {
        self.due.remove(key);
        self.in_flight.insert(key.clone());
    }

    /// It has ended, and is to be repeated after this pause; earlier where it was enqueued meanwhile.
    fn end(&mut self, key: K, pause: Option<Duration>, now: Instant) {
        self.in_flight.remove(&key);
        if let Some(pause) = pause {
            self.due.entry(key).or_insert(now + pause);
        }
    }
}

/// Enqueues a key after a pause.
pub(crate) fn enqueue_after<K: Send + 'static>(queue: &UnboundedSender<K>, key: K, pause: Duration) {
    let queue = queue.clone();
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        let _ = queue.send(key);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &Schedule<&'static str>, now: Instant) -> Option<(&'static str, Instant)> {
        schedule.next(now, |_| false, |_| None, 8)
    }

    fn is_wanted(key: &&'static str) -> bool {
        *key == "wanted"
    }

    fn namespace<'a>(key: &'a &'static str) -> Option<&'a str> {
        key.split_once('/').map(|(namespace, _)| namespace)
    }

    #[test]
    fn a_key_that_is_enqueued_often_is_reconciled_once_and_repeated_in_one_chain() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let pause = Duration::from_secs(60);
        for _ in 0..3 {
            schedule.enqueue("a", now);
        }
        schedule.begin(&"a");
        assert_eq!(next(&schedule, now), None, "all three were one");
        schedule.end("a", Some(pause), now);
        assert_eq!(next(&schedule, now), Some(("a", now + pause)));
        schedule.enqueue("a", now);
        assert_eq!(next(&schedule, now), Some(("a", now)), "it comes before the repetition, and replaces it");
        schedule.begin(&"a");
        schedule.end("a", None, now);
        assert_eq!(next(&schedule, now), None);
    }

    #[test]
    fn no_key_is_in_flight_twice_and_none_waits_for_another() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.enqueue("hangs", now);
        schedule.begin(&"hangs");
        schedule.enqueue("hangs", now);
        assert_eq!(next(&schedule, now), None);
        schedule.enqueue("works", now);
        assert_eq!(next(&schedule, now), Some(("works", now)));
        schedule.end("hangs", None, now);
        schedule.begin(&"works");
        assert_eq!(next(&schedule, now), Some(("hangs", now)), "it was enqueued while it was in flight");
    }

    #[test]
    fn an_urgent_key_comes_first_of_those_that_are_due_and_nobody_loses_its_place() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        schedule.enqueue("first", now);
        schedule.enqueue("wanted", after(1));
        schedule.enqueue("first", after(2));
        assert_eq!(next(&schedule, after(2)), Some(("first", now)));
        assert_eq!(schedule.next(after(2), is_wanted, |_| None, 8), Some(("wanted", after(1))));
        assert_eq!(schedule.next(now, is_wanted, |_| None, 8), Some(("first", now)), "it is not due");
    }

    #[test]
    fn many_keys_of_one_namespace_hold_up_none_of_another() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        for key in ["many/a", "many/b", "many/c", "many/d"] {
            schedule.enqueue(key, now);
        }
        let next = |schedule: &Schedule<&'static str>, seconds| {
            schedule.next(after(seconds), |_| false, namespace, 3).map(|(key, _)| key)
        };
        assert_eq!(next(&schedule, 0), Some("many/a"));
        schedule.begin(&"many/a");
        schedule.enqueue("few/a", after(1));
        schedule.enqueue("few/b", after(1));
        assert_eq!(
            next(&schedule, 1),
            Some("few/a"),
            "it came later, and nobody of its namespace is in flight"
        );
        schedule.begin(&"few/a");
        assert_eq!(next(&schedule, 1), Some("many/b"), "both have one");
        schedule.begin(&"many/b");
        schedule.begin(&"many/c");
        schedule.begin(&"few/b");
        assert_eq!(next(&schedule, 1), None, "one place is never theirs");
        schedule.end("many/a", None, after(1));
        assert_eq!(next(&schedule, 1), Some("many/d"));
    }

    #[test]
    fn an_urgent_key_whose_time_has_not_come_keeps_nobody_waiting() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        schedule.enqueue("wanted", after(60));
        schedule.enqueue("other", after(1));
        assert_eq!(schedule.next(now, is_wanted, |_| None, 8), Some(("other", after(1))));
    }
}
