//! What to do next about a Batch, from what is known of its indexes. Pure.
//!
//! An index is over when the Batch's status says so, and only one that is not over is looked at. Its Task is made first and
//! counted then: `status.made` says of which indexes there was a Task. A crash between the two leaves a Task, which is found
//! by its name; and a Task does not go before it is counted, as it has its finalizer from the first moment.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use kubeopencode_api::kubetask::batch::{Batch, BatchPhase, BatchStatus};
use kubeopencode_api::literals::PAUSE_ANNOTATION;
use kubeopencode_api::task::Phase;

/// How long the cache may not show a Task that was made, until the API server is asked for it.
pub(super) const UNSEEN: SignedDuration = SignedDuration::from_secs(10);

/// Most Tasks that are made in one go: between two of them the status is written.
const MAX_AT_ONCE: usize = 100;

/// What is known of an index that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The cache shows its Task, which is in this phase.
    Shown(Phase),
    /// Its Task was made, or the API server had it, at this time; the cache does not show it.
    Made(Timestamp),
    /// A Task of somebody else had its name when it was tried, and may have gone since: until the Batch has counted the
    /// index, another operator may make its Task.
    Contested,
    /// A Task of somebody else had its name, and the Batch had counted the index: it has no Task.
    Taken,
    /// There was a Task, which was not over, and the API server has it no more.
    Gone,
}

impl Known {
    /// Whether its Task counts for `parallelism`.
    pub(super) fn is_open(self) -> bool {
        match self {
            Self::Shown(phase) => !phase.is_terminal(),
            Self::Made(_) | Self::Contested => true,
            Self::Taken | Self::Gone => false,
        }
    }
}

/// What of a Batch a decision looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// How many Tasks it is to have.
    pub(super) total: usize,
    /// How many of them may be open at a time.
    pub(super) parallelism: usize,
    /// Whether it is to make no further Task for now.
    pub(super) is_paused: bool,
    /// Whether it is being deleted.
    pub(super) is_deleting: bool,
    /// Its status.
    pub(super) status: &'a BatchStatus,
    /// `metadata.generation`
    pub(super) generation: Option<i64>,
    /// `metadata.name`
    pub(super) name: &'a str,
}

/// The status of a Batch that has none.
static NO_STATUS: LazyLock<BatchStatus> = LazyLock::new(BatchStatus::default);

impl<'a> Facts<'a> {
    /// Of this Batch.
    pub(super) fn of(batch: &'a Batch) -> Self {
        let total = batch.spec.variable_contexts.len();
        let annotations = batch.metadata.annotations.as_ref();
        let pause = annotations.and_then(|annotations| annotations.get(PAUSE_ANNOTATION));
        let parallelism = batch.spec.parallelism.and_then(|most| usize::try_from(most).ok());
        Self {
            total,
            parallelism: parallelism.unwrap_or(total),
            is_paused: pause.is_some_and(|value| value == "true"),
            is_deleting: batch.metadata.deletion_timestamp.is_some(),
            status: batch.status.as_ref().unwrap_or_else(|| &NO_STATUS),
            generation: batch.metadata.generation,
            name: batch.metadata.name.as_deref().unwrap_or_default(),
        }
    }

    /// Whether nothing is to be done for it, ever.
    pub(super) fn is_done(&self) -> bool {
        self.is_deleting || self.status.phase.is_some_and(BatchPhase::is_terminal)
    }

    /// The indexes that are not over.
    pub(super) fn open_indexes(&self) -> impl Iterator<Item = usize> {
        let status = self.status;
        (0..self.total).filter(move |index| !status.is_over(*index))
    }
}

/// What one operator learnt of a Batch's indexes and no watch shows. Safety needs none of it: a name that is tried again is
/// found again.
#[derive(Debug, Default)]
pub(super) struct Learnt(BTreeMap<usize, Known>);

impl Learnt {
    /// This is so.
    pub(super) fn learn(&mut self, index: usize, known: Known) {
        let is_contested = self.0.get(&index) == Some(&Known::Contested);
        // who went is somebody else's
        let known = if is_contested && known == Known::Gone { Known::Taken } else { known };
        self.0.insert(index, known);
    }

    /// All that is known of the indexes that are not over: what the cache shows, and beside that what was learnt. Whose Task
    /// the cache has shown, and shows no more, is asked for at once.
    pub(super) fn with(
        &mut self,
        batch: &Facts<'_>,
        shown: impl Fn(usize) -> Option<Known>,
    ) -> BTreeMap<usize, Known> {
        self.0.retain(|index, _| !batch.status.is_over(*index));
        let mut known = BTreeMap::new();
        for index in batch.open_indexes() {
            if let Some(shown) = shown(index) {
                self.0.insert(index, Known::Made(Timestamp::UNIX_EPOCH));
                known.insert(index, shown);
            } else if let Some(learnt) = self.0.get(&index) {
                known.insert(index, *learnt);
            }
        }
        known
    }
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    /// Ask the API server whether the Tasks of these indexes are there, then decide again.
    pub(super) ask: Vec<usize>,
    /// Make the Tasks of these indexes, in this order, if the Batch is still as it is known.
    pub(super) make: Vec<usize>,
}

/// Decides.
pub(super) fn decide(batch: &Facts<'_>, known: &BTreeMap<usize, Known>, now: Timestamp) -> Next {
    let mut next = Next::default();
    if batch.is_done() {
        return next;
    }
    let (made, mut open) = (batch.status.made(), 0);
    for index in batch.open_indexes() {
        match known.get(&index) {
            Some(Known::Made(at)) if now.duration_since(*at) >= UNSEEN => {
                open += 1;
                next.ask.push(index);
            }
            Some(Known::Contested) | None if index < made => {
                open += 1;
                next.ask.push(index);
            }
            Some(known) => open += usize::from(known.is_open()),
            None => next.make.push(index),
        }
    }
    // what may be made stands in the status first: from then on the spec is what it is
    let may_make = batch.status.start_time.is_some() && !batch.is_paused;
    let room = if may_make { batch.parallelism.saturating_sub(open).min(MAX_AT_ONCE) } else { 0 };
    next.make.truncate(room);
    next
}

#[cfg(test)]
mod tests;
