//! Keys that somebody named to be looked at: gathered, looked at once each, and again after a pause.
//!
//! May touch: channels and timers. Must not touch: what a look does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kubeopencode_api::names::ObjectKey;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until, timeout};

/// A look that takes longer waits for an answer that does not come.
const MOST_LOOK: Duration = Duration::from_secs(60);
/// Until a look is repeated that took too long.
const AFTER_SILENCE: Duration = Duration::from_secs(5);

/// Looks at keys that were named, and in every `round` at `everybody`, until nobody can name one any more. A look may say
/// that it wants to be repeated after a pause. At most `at_once` are under way, and none holds up the others.
pub(crate) async fn look_at_named<F>(
    mut named: UnboundedReceiver<ObjectKey>,
    round: Duration,
    at_once: usize,
    everybody: impl Fn() -> Vec<ObjectKey>,
    look: impl Fn(ObjectKey) -> F,
) where
    F: Future<Output = Option<Duration>>,
{
    let mut round = tokio::time::interval(round);
    let (mut schedule, mut looks) = (Schedule::default(), FuturesUnordered::new());
    loop {
        let next = schedule.next().filter(|_| looks.len() < at_once);
        let its_time = async {
            match &next {
                Some((_, at)) => sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            key = named.recv() => match key {
                Some(key) => schedule.name(key, Instant::now()),
                None => return,
            },
            _ = round.tick() => {
                everybody().into_iter().for_each(|key| schedule.name(key, Instant::now()));
            }
            Some((key, pause)) = looks.next() => schedule.end(key, pause, Instant::now()),
            () = its_time => {
                if let Some((key, _)) = next {
                    schedule.begin(&key);
                    looks.push(in_time(key.clone(), look(key)));
                }
            }
        }
    }
}

async fn in_time(
    key: ObjectKey,
    look: impl Future<Output = Option<Duration>>,
) -> (ObjectKey, Option<Duration>) {
    let pause = timeout(MOST_LOOK, look).await.unwrap_or_else(|_| {
        tracing::warn!(agent = %key, "a look took longer than {MOST_LOOK:?} and is repeated");
        Some(AFTER_SILENCE)
    });
    (key, pause)
}

/// Who is to be looked at when. Each key stands in it once, however often it was named, and is looked at by one at a time.
#[derive(Debug, Default)]
struct Schedule {
    due: BTreeMap<ObjectKey, Instant>,
    under_way: BTreeSet<ObjectKey>,
}

impl Schedule {
    fn name(&mut self, key: ObjectKey, now: Instant) {
        self.due.insert(key, now);
    }

    /// The next that may be begun.
    fn next(&self) -> Option<(ObjectKey, Instant)> {
        let free = self.due.iter().filter(|(key, _)| !self.under_way.contains(*key));
        free.min_by_key(|(_, at)| **at).map(|(key, at)| (key.clone(), *at))
    }

    fn begin(&mut self, key: &ObjectKey) {
        self.due.remove(key);
        self.under_way.insert(key.clone());
    }

    /// It has ended, and is to be repeated after this pause; earlier where it was named meanwhile.
    fn end(&mut self, key: ObjectKey, pause: Option<Duration>, now: Instant) {
        self.under_way.remove(&key);
        if let Some(pause) = pause {
            self.due.entry(key).or_insert(now + pause);
        }
    }
}

/// Names a key after a pause.
pub(crate) fn name_later(names: &UnboundedSender<ObjectKey>, key: ObjectKey, pause: Duration) {
    let names = names.clone();
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        let _ = names.send(key);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("team", name)
    }

    #[test]
    fn who_is_named_often_is_looked_at_once_and_repeated_in_one_chain() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let pause = Duration::from_secs(60);
        for _ in 0..3 {
            schedule.name(key("a"), now);
        }
        schedule.begin(&key("a"));
        assert_eq!(schedule.next(), None, "all three were one");
        schedule.end(key("a"), Some(pause), now);
        assert_eq!(schedule.next(), Some((key("a"), now + pause)));
        schedule.name(key("a"), now);
        assert_eq!(
            schedule.next(),
            Some((key("a"), now)),
            "a name comes before the repetition, and replaces it"
        );
        schedule.begin(&key("a"));
        schedule.end(key("a"), None, now);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn nobody_is_looked_at_twice_at_a_time_and_nobody_waits_for_another() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.name(key("hangs"), now);
        schedule.begin(&key("hangs"));
        schedule.name(key("hangs"), now);
        assert_eq!(schedule.next(), None);
        schedule.name(key("works"), now);
        assert_eq!(schedule.next(), Some((key("works"), now)));
        schedule.end(key("hangs"), None, now);
        schedule.begin(&key("works"));
        assert_eq!(schedule.next(), Some((key("hangs"), now)), "it was named while it was looked at");
    }
}
