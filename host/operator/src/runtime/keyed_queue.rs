//! A work queue of keys, as client-go has it: each key stands in it once however often it is enqueued, one worker at a
//! time has it, and a worker may ask for it again after a pause.
//!
//! kube's `Controller` runs the Tasks. It is not used here because a ledger, a server or a plugin is reconciled also for an
//! object that is gone, and because each reconciliation has a time limit.

use std::collections::{BTreeMap, BTreeSet};
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
/// those that are due, the urgent ones come first.
pub(crate) async fn run_keyed<K, F>(
    mut queue: UnboundedReceiver<K>,
    resync: Duration,
    concurrency: usize,
    is_urgent: impl Fn(&K) -> bool,
    all: impl Fn() -> Vec<K>,
    reconcile: impl Fn(K) -> F,
) where
    K: Clone + Ord + Display,
    F: Future<Output = Option<Duration>>,
{
    let mut resync = tokio::time::interval(resync);
    let (mut schedule, mut in_flight) = (Schedule::default(), FuturesUnordered::new());
    loop {
        // whoever is urgent shows before the next one begins
        while let Ok(key) = queue.try_recv() {
            schedule.enqueue(key, Instant::now());
        }
        let has_room = in_flight.len() < concurrency;
        let next = if has_room { schedule.next(Instant::now(), &is_urgent) } else { None };
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

    /// The next that may be begun.
    fn next(&self, now: Instant, is_urgent: impl Fn(&K) -> bool) -> Option<(K, Instant)> {
        let free = self.due.iter().filter(|(key, _)| !self.in_flight.contains(*key));
        let order = |(key, at): &(&K, &Instant)| (**at > now, !is_urgent(key), **at);
        free.min_by_key(order).map(|(key, at)| (key.clone(), *at))
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

    #[test]
    fn a_key_that_is_enqueued_often_is_reconciled_once_and_repeated_in_one_chain() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let pause = Duration::from_secs(60);
        for _ in 0..3 {
            schedule.enqueue("a", now);
        }
        schedule.begin(&"a");
        assert_eq!(schedule.next(now, |_| false), None, "all three were one");
        schedule.end("a", Some(pause), now);
        assert_eq!(schedule.next(now, |_| false), Some(("a", now + pause)));
        schedule.enqueue("a", now);
        assert_eq!(
            schedule.next(now, |_| false),
            Some(("a", now)),
            "it comes before the repetition, and replaces it"
        );
        schedule.begin(&"a");
        schedule.end("a", None, now);
        assert_eq!(schedule.next(now, |_| false), None);
    }

    #[test]
    fn no_key_is_in_flight_twice_and_none_waits_for_another() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.enqueue("hangs", now);
        schedule.begin(&"hangs");
        schedule.enqueue("hangs", now);
        assert_eq!(schedule.next(now, |_| false), None);
        schedule.enqueue("works", now);
        assert_eq!(schedule.next(now, |_| false), Some(("works", now)));
        schedule.end("hangs", None, now);
        schedule.begin(&"works");
        assert_eq!(
            schedule.next(now, |_| false),
            Some(("hangs", now)),
            "it was enqueued while it was in flight"
        );
    }

    #[test]
    fn an_urgent_key_comes_first_of_those_that_are_due_and_nobody_loses_its_place() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        schedule.enqueue("first", now);
        schedule.enqueue("wanted", after(1));
        schedule.enqueue("first", after(2));
        assert_eq!(schedule.next(after(2), |_| false), Some(("first", now)));
        assert_eq!(schedule.next(after(2), |key| *key == "wanted"), Some(("wanted", after(1))));
        assert_eq!(schedule.next(now, |key| *key == "wanted"), Some(("first", now)), "it is not due");
    }
}
