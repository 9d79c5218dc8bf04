//! How long to pause before a failed look at a Task is repeated: longer and longer, until one succeeds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kubeopencode_api::names::TaskUid;

const FIRST: Duration = Duration::from_millis(100);
const MAX_DOUBLINGS: u32 = 9;

/// Failed looks in a row, by Task.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    inner: Mutex<HashMap<TaskUid, u32>>,
}

impl Failures {
    /// One more failed: the pause before the next look.
    pub(crate) fn next(&self, task: &TaskUid) -> Duration {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = inner.entry(task.clone()).or_insert(0);
        let pause = FIRST * 2_u32.pow((*failures).min(MAX_DOUBLINGS));
        *failures += 1;
        pause
    }

    /// One succeeded, or the Task is gone.
    pub(crate) fn forget(&self, task: &TaskUid) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_a_success() {
        let (failures, task) = (Failures::default(), TaskUid("a".into()));
        assert_eq!([failures.next(&task), failures.next(&task)], [FIRST, FIRST * 2]);
        for _ in 0..20 {
            failures.next(&task);
        }
        assert_eq!(failures.next(&task), FIRST * 512);
        failures.forget(&task);
        assert_eq!(failures.next(&task), FIRST);
    }
}
