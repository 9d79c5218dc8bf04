//! A stale cache is the normal case: after an own write, the object is left alone until the cache shows it.
//!
//! A write is remembered as the resourceVersion that its answer carried; resource versions of one kind are ordered.
//! One that answers 409 says that the cache is behind too, and is remembered as the version after the one it was decided
//! on. What the watch does not show within [`STALE_TIMEOUT`] is tried all the same, and after each 409 later, so that a lost
//! watch costs time and never a Task, and a slow API server is not asked for what it will refuse.
//! client-go's controllers call this expectations.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the cache may stay behind an own write until the object is reconciled all the same.
pub(crate) const STALE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same after a 409, where no own write was waited for: another writer's change comes within the watch's usual time.
const FIRST_AFTER_CONFLICT: Duration = Duration::from_secs(1);
/// The same after many 409s in a row.
const MAX_AFTER_CONFLICT: Duration = Duration::from_secs(60);

/// Own writes that the watch has not shown yet, by the UID of the object.
#[derive(Debug, Default)]
pub(crate) struct PendingWrites {
    inner: Mutex<Inner>,
}

/// Two generations: the older one is dropped whole when the newer is as old as the longest timeout, so that nothing is kept
/// for an object that was deleted before the answer to its write came.
#[derive(Debug, Default)]
struct Inner {
    newer: HashMap<String, Write>,
    older: HashMap<String, Write>,
    newer_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    /// What the cache must show at least.
    version: u64,
    at: Instant,
    timeout: Duration,
}

impl PendingWrites {
    /// An own write of this object answered with this resourceVersion.
    pub(crate) fn record(&self, uid: &str, version: Option<&str>) {
        self.record_at(uid, version, Instant::now());
    }

    fn record_at(&self, uid: &str, version: Option<&str>, now: Instant) {
        let Some(version) = parsed(version) else { return };
        let mut inner = self.inner.lock();
        if inner.write(uid).is_none_or(|known| version > known.version) {
            inner.insert(uid, Write { version, at: now, timeout: STALE_TIMEOUT });
        }
    }

    /// An own write, decided on this version of the object, answered 409.
    pub(crate) fn conflicted(&self, uid: &str, cached: Option<&str>) {
        self.conflicted_at(uid, cached, Instant::now());
    }

    fn conflicted_at(&self, uid: &str, cached: Option<&str>, now: Instant) {
        let Some(cached) = parsed(cached) else { return };
        let mut inner = self.inner.lock();
        let waited_for = inner.write(uid).filter(|write| write.version > cached);
        let (version, timeout) = match waited_for {
            Some(write) => (write.version, (write.timeout * 2).min(MAX_AFTER_CONFLICT)),
            None => (cached.saturating_add(1), FIRST_AFTER_CONFLICT),
        };
        inner.insert(uid, Write { version, at: now, timeout });
    }

    /// How long to leave the object alone, since the cache, which shows this version of it or (`None`) no such object, is
    /// behind an own write; `None`: it is not.
    pub(crate) fn stale_for(&self, uid: &str, cached: Option<&str>) -> Option<Duration> {
        self.stale_for_at(uid, cached, Instant::now())
    }

    fn stale_for_at(&self, uid: &str, cached: Option<&str>, now: Instant) -> Option<Duration> {
        let write = self.inner.lock().write(uid)?;
        let is_shown = parsed(cached).is_some_and(|cached| cached >= write.version);
        let rest = write.timeout.checked_sub(now.duration_since(write.at));
        rest.filter(|rest| !is_shown && !rest.is_zero())
    }

    /// The watch said that the object is gone.
    pub(crate) fn forget(&self, uid: &str) {
        let mut inner = self.inner.lock();
        inner.newer.remove(uid);
        inner.older.remove(uid);
    }

    /// The watch listed everything anew.
    pub(crate) fn forget_all(&self) {
        *self.inner.lock() = Inner::default();
    }
}

fn parsed(version: Option<&str>) -> Option<u64> {
    version?.parse().ok()
}

impl Inner {
    fn insert(&mut self, uid: &str, write: Write) {
        if self.newer_since.is_none_or(|since| write.at.duration_since(since) >= MAX_AFTER_CONFLICT) {
            self.older = std::mem::take(&mut self.newer);
            self.newer_since = Some(write.at);
        }
        self.newer.insert(uid.to_owned(), write);
    }

    fn write(&self, uid: &str) -> Option<Write> {
        self.newer.get(uid).or_else(|| self.older.get(uid)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_left_alone_until_the_cache_shows_the_write() {
        let writes = PendingWrites::default();
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let stale_for = |cached, after| writes.stale_for_at("a", cached, start + after);
        assert_eq!(stale_for(Some("5"), ms(0)), None, "nothing written yet");
        writes.record_at("a", Some("9"), start);
        writes.record_at("a", Some("7"), start + ms(1));
        assert_eq!(stale_for(Some("8"), ms(4_000)), Some(ms(6_000)));
        assert_eq!(stale_for(None, ms(4_000)), Some(ms(6_000)), "made, and not in the cache yet");
        assert_eq!(stale_for(Some("10"), ms(4_000)), None, "numbers, not text");
        assert_eq!(stale_for(Some("8"), ms(4_000)), Some(ms(6_000)), "asking changes nothing");
        assert_eq!(stale_for(Some("8"), STALE_TIMEOUT), None, "the watch may be lost");
    }

    #[test]
    fn a_conflict_says_that_the_cache_is_behind_and_the_next_one_for_longer() {
        let (writes, start) = (PendingWrites::default(), Instant::now());
        let stale_for = |cached, at| writes.stale_for_at("a", Some(cached), at);
        writes.conflicted_at("a", Some("5"), start);
        assert_eq!(stale_for("5", start), Some(FIRST_AFTER_CONFLICT));
        assert_eq!(stale_for("6", start), None, "whatever came after it: somebody else wrote");
        let mut at = start;
        let mut waits = Vec::new();
        for _ in 0..8 {
            at += stale_for("5", at).unwrap();
            assert_eq!(stale_for("5", at), None, "it is tried again");
            writes.conflicted_at("a", Some("5"), at);
            waits.push(stale_for("5", at).unwrap().as_secs());
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        writes.conflicted_at("a", Some("6"), at);
        assert_eq!(
            stale_for("6", at),
            Some(FIRST_AFTER_CONFLICT),
            "the cache had come up to the version before"
        );
    }

    #[test]
    fn a_conflict_behind_an_own_write_waits_for_that_write() {
        let (writes, start) = (PendingWrites::default(), Instant::now());
        writes.record_at("a", Some("9"), start);
        let at = start + STALE_TIMEOUT;
        writes.conflicted_at("a", Some("5"), at);
        assert_eq!(writes.stale_for_at("a", Some("8"), at), Some(STALE_TIMEOUT * 2));
        assert_eq!(writes.stale_for_at("a", Some("9"), at), None);
    }

    #[test]
    fn a_relist_or_a_deletion_ends_the_wait() {
        let writes = PendingWrites::default();
        writes.record("a", Some("9"));
        writes.record("b", Some("9"));
        writes.forget("a");
        assert_eq!(writes.stale_for("a", None), None);
        writes.forget_all();
        assert_eq!(writes.stale_for("b", None), None);
    }

    #[test]
    fn an_answer_that_comes_after_the_deletion_is_not_kept_for_ever() {
        let (writes, start) = (PendingWrites::default(), Instant::now());
        let after = |rounds: u32| start + MAX_AFTER_CONFLICT * rounds;
        writes.forget("gone");
        writes.record_at("gone", Some("9"), start);
        writes.record_at("a", Some("9"), after(1));
        assert_eq!(writes.inner.lock().older.len(), 1);
        writes.record_at("b", Some("9"), after(2));
        let inner = writes.inner.lock();
        assert!(inner.write("gone").is_none(), "{inner:?}");
        assert!(inner.write("a").is_some(), "{inner:?}");
    }
}
