//! How much memory evaluations, and the launches that come of them, may hold: what users write must not decide it.
//!
//! Nearly every Task is light: what it holds is so little that as many as are looked at at the same time need no budget.
//! A Task that outgrows that gives back all it has, waits for its part of the budget, and begins again. It takes the most
//! that it can come to need at once and never asks for more while it holds something: nobody waits for each other. Light
//! ones never wait for heavy ones. Where the caches show that a Task is heavy, its part is taken before its objects are read:
//! those who wait would hold them.
//!
//! May touch: counts of bytes. Must not touch: what the bytes are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of text, files and reads that a light evaluation holds: 64 of them, in the four copies that a launch may have,
/// are 32 MiB.
pub(crate) const LIGHT: usize = 128 << 10;
/// What a heavy one needs at most: 4 MiB of text and files and what the plugin that is asked reads and answers, as texts
/// and in its memory; later the ConfigMaps, and the requests that carry them.
const HEAVY: usize = 16 << 20;
/// Bytes that all heavy ones have together.
const BUDGET: usize = 64 << 20;
/// Weight of objects for which one part of it is enough: texts of 1.4 MB, or 16,000 values. A heavier one takes several. Of what
/// is made for it, a value takes five times what it weighs, in each of three copies.
const OF_A_PART: usize = 2 << 20;
/// Parts of the heaviest: never two of those at the same time, and one part is left to others, who would else wait for one whose
/// requests hang, and it for them.
const MOST_PARTS: usize = BUDGET / HEAVY - 1;
/// ConfigMaps that are read at the same time. How big one is shows when it is there: 1 MiB at most, held three times
/// while it is decoded.
const READS: usize = 8;
/// How long one waits for memory. Who does not get it goes away and leaves its worker to others.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// The memory of all evaluations. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    heavy: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

/// A part of the budget, until all that share it have dropped it.
#[derive(Clone, Debug)]
pub struct Held {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { heavy: Arc::new(Semaphore::new(BUDGET / HEAVY)), reads: Arc::new(Semaphore::new(READS)) }
    }

    /// All that a heavy evaluation of this weight and its launch may need. `None`: others have it.
    pub(crate) async fn heavy(&self, weight: usize) -> Option<Held> {
        let parts = (1 + weight / OF_A_PART).min(MOST_PARTS);
        take(&self.heavy, parts).await
    }

    /// The reading of one ConfigMap. `None`: others are reading.
    pub(crate) async fn read(&self) -> Option<Held> {
        take(&self.reads, 1).await
    }
}

async fn take(of: &Arc<Semaphore>, parts: usize) -> Option<Held> {
    let parts = u32::try_from(parts).ok()?;
    let permit = tokio::time::timeout(MAX_WAIT, Arc::clone(of).acquire_many_owned(parts)).await;
    permit.ok()?.ok().map(|permit| Held { _permit: Arc::new(permit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heavy_evaluations_together_stay_within_the_budget_and_nobody_waits_for_long() {
        let memory = Memory::new();
        let mut held = Vec::new();
        for _ in 0..BUDGET / HEAVY {
            held.push(memory.heavy(0).await.unwrap());
        }
        assert!(memory.heavy(0).await.is_none());
        assert!(memory.read().await.is_some(), "reads are counted by themselves");
        held.pop();
        assert!(memory.heavy(0).await.is_some());
    }

    #[tokio::test]
    async fn the_heaviest_are_launched_one_after_the_other() {
        let memory = Memory::new();
        let heaviest = memory.heavy(100 << 20).await.unwrap();
        let of_its_server = heaviest.clone();
        drop(heaviest);
        assert!(memory.heavy(100 << 20).await.is_none(), "its server still has its parts");
        let other = memory.heavy(OF_A_PART - 1).await.expect("a part is left to others");
        drop(of_its_server);
        let third = memory.heavy(OF_A_PART).await.expect("three parts are left, and it takes two");
        assert!(memory.heavy(100 << 20).await.is_none());
        drop((other, third));
        assert!(memory.heavy(100 << 20).await.is_some());
    }
}
