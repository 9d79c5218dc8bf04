//! A stale cache is the normal case: after an own write, the object is left alone until the cache shows it.
//!
//! A write is remembered as the resourceVersion that its answer carried; resource versions of one kind are ordered.
//! What the watch does not show within [`STALE_TIMEOUT`] is forgotten, so that a lost watch costs time and never a Task.
//! client-go's controllers call this expectations.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the cache may stay behind an own write until the object is reconciled all the same.
pub(crate) const STALE_TIMEOUT: Duration = Duration::from_secs(10);

/// Own writes that the watch has not shown yet, by the UID of the object.
#[derive(Debug, Default)]
pub(crate) struct PendingWrites {
    inner: Mutex<Inner>,
}

/// Two generations: the older one is dropped whole when the newer is as old as the timeout, so that nothing is kept for
/// an object that was deleted before the answer to its write came.
#[derive(Debug, Default)]
struct Inner {
    newer: HashMap<String, Write>,
    older: HashMap<String, Write>,
    newer_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    version: u64,
    at: Instant,
}

impl PendingWrites {
    /// An own write of this object answered with this resourceVersion.
    pub(crate) fn record(&self, uid: &str, version: Option<&str>) {
        self.record_at(uid, version, Instant::now());
    }

    fn record_at(&self, uid: &str, version: Option<&str>, now: Instant) {
        let Some(version) = version.and_then(|v| v.parse().ok()) else { return };
        let mut inner = self.inner.lock();
        if inner.newer_since.is_none_or(|since| now.duration_since(since) >= STALE_TIMEOUT) {
            inner.older = std::mem::take(&mut inner.newer);
            inner.newer_since = Some(now);
        }
        if inner.write(uid).is_none_or(|known| version > known.version) {
            inner.newer.insert(uid.to_owned(), Write { version, at: now });
        }
    }

    /// Whether the cache, which shows this version of the object or (`None`) no such object, is behind an own write.
    pub(crate) fn is_stale(&self, uid: &str, cached: Option<&str>) -> bool {
        let Some(write) = self.inner.lock().write(uid) else { return false };
        let shown = cached.and_then(|v| v.parse::<u64>().ok()).is_some_and(|v| v >= write.version);
        !shown && write.at.elapsed() < STALE_TIMEOUT
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

impl Inner {
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
        assert!(!writes.is_stale("a", Some("5")), "nothing written yet");
        writes.record("a", Some("9"));
        writes.record("a", Some("7"));
        assert!(writes.is_stale("a", Some("8")));
        assert!(writes.is_stale("a", None), "made, and not in the cache yet");
        assert!(!writes.is_stale("a", Some("10")), "numbers, not text");
        assert!(writes.is_stale("a", Some("8")), "asking changes nothing");
    }

    #[test]
    fn a_relist_or_a_deletion_ends_the_wait() {
        let writes = PendingWrites::default();
        writes.record("a", Some("9"));
        writes.record("b", Some("9"));
        writes.forget("a");
        assert!(!writes.is_stale("a", None));
        writes.forget_all();
        assert!(!writes.is_stale("b", None));
    }

    #[test]
    fn an_answer_that_comes_after_the_deletion_is_not_kept_for_ever() {
        let (writes, start) = (PendingWrites::default(), Instant::now());
        let after = |rounds: u32| start + STALE_TIMEOUT * rounds;
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
