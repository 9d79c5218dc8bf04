//! A stale cache is the normal case: after an own write, the object is left alone until the cache shows it.
//!
//! A write is remembered as the resourceVersion that its answer carried; resource versions of one kind are ordered.
//! What the watch does not show within [`PATIENCE`] is forgotten, so that a lost watch costs time and never a Task.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an own write is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Own writes that the watch has not shown yet, by the UID of the object.
#[derive(Debug, Default)]
pub struct Written {
    inner: Mutex<HashMap<String, Write>>,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    version: u64,
    at: Instant,
}

impl Written {
    /// An own write of this object answered with this resourceVersion.
    pub fn record(&self, uid: &str, version: Option<&str>) {
        let Some(version) = version.and_then(|v| v.parse().ok()) else { return };
        let mut inner = self.lock();
        let write = inner.entry(uid.to_owned()).or_insert(Write { version, at: Instant::now() });
        if version > write.version {
            *write = Write { version, at: Instant::now() };
        }
    }

    /// Whether the cache, which shows this version of the object or (`None`) no such object, is behind an own write.
    pub fn is_ahead_of(&self, uid: &str, cached: Option<&str>) -> bool {
        let mut inner = self.lock();
        let Some(write) = inner.get(uid) else { return false };
        let seen = cached.and_then(|v| v.parse::<u64>().ok()).is_some_and(|v| v >= write.version);
        let stale = !seen && write.at.elapsed() < PATIENCE;
        if !stale {
            inner.remove(uid);
        }
        stale
    }

    /// The watch said that the object is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// The watch listed everything anew.
    pub fn forget_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Write>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_left_alone_until_the_cache_shows_the_write() {
        let written = Written::default();
        assert!(!written.is_ahead_of("a", Some("5")), "nothing written yet");
        written.record("a", Some("9"));
        written.record("a", Some("7"));
        assert!(written.is_ahead_of("a", Some("8")));
        assert!(written.is_ahead_of("a", None), "made, and not in the cache yet");
        assert!(!written.is_ahead_of("a", Some("10")), "numbers, not text");
        assert!(!written.is_ahead_of("a", Some("8")), "once seen it is forgotten");
    }

    #[test]
    fn a_relist_or_a_deletion_ends_the_wait() {
        let written = Written::default();
        written.record("a", Some("9"));
        written.record("b", Some("9"));
        written.forget("a");
        assert!(!written.is_ahead_of("a", None));
        written.forget_all();
        assert!(!written.is_ahead_of("b", None));
    }
}
