//! How long to pause before a failed reconciliation is repeated: longer and longer, until one succeeds.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

const MAX_DOUBLINGS: u32 = 9;

/// Failures in a row, by key.
#[derive(Debug)]
pub(crate) struct Failures<K> {
    first: Duration,
    inner: Mutex<HashMap<K, u32>>,
}

impl<K: Clone + Eq + Hash> Failures<K> {
    /// None so far; the first pause is this one.
    pub(crate) fn starting_with(first: Duration) -> Self {
        Self { first, inner: Mutex::default() }
    }

    /// One more failed: the pause before the next try.
    pub(crate) fn next(&self, key: &K) -> Duration {
        let mut inner = self.inner.lock();
        let failures = inner.entry(key.clone()).or_insert(0);
        let pause = self.first * 2_u32.pow((*failures).min(MAX_DOUBLINGS));
        *failures += 1;
        pause
    }

    /// Whether the last one failed.
    pub(crate) fn has(&self, key: &K) -> bool {
        self.inner.lock().contains_key(key)
    }

    /// One succeeded, or the object is gone.
    pub(crate) fn forget(&self, key: &K) {
        self.inner.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_a_success() {
        const FIRST: Duration = Duration::from_millis(100);
        let (failures, task) = (Failures::starting_with(FIRST), "a");
        assert_eq!([failures.next(&task), failures.next(&task)], [FIRST, FIRST * 2]);
        for _ in 0..20 {
            failures.next(&task);
        }
        assert_eq!(failures.next(&task), FIRST * 512);
        assert!(failures.has(&task));
        failures.forget(&task);
        assert!(!failures.has(&task));
        assert_eq!(failures.next(&task), FIRST);
    }
}
