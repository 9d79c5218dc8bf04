//! The Batches that were read last.
//!
//! The cache keeps no contexts of a large Batch, and the Tasks of one Batch are launched one after another: without this each
//! launch would read the whole Batch again.

use std::collections::VecDeque;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kubeopencode_api::kubetask::batch::Batch;
use parking_lot::Mutex;

use super::item::Item;

/// How much is kept, and the largest of it, as JSON in bytes: decoded it may take forty times that, where it is made for it.
const MAX_KEPT: usize = 1 << 20;
const MAX_BYTES: usize = 256 << 10;

/// The oldest first.
#[derive(Debug, Default)]
pub(crate) struct RecentBatches(Mutex<VecDeque<Arc<Item<Batch>>>>);

impl RecentBatches {
    /// The whole Batch of which the cache has this metadata.
    pub(crate) fn get(&self, of: &ObjectMeta) -> Option<Arc<Item<Batch>>> {
        let is_it = |batch: &&Arc<Item<Batch>>| {
            let known = batch.meta();
            known.uid == of.uid && known.generation == of.generation
        };
        self.0.lock().iter().find(is_it).cloned()
    }

    /// Keeps a Batch that was read, unless it is too large for that.
    pub(crate) fn keep(&self, batch: Item<Batch>) -> Arc<Item<Batch>> {
        let batch = Arc::new(batch);
        if batch.bytes() <= MAX_BYTES {
            let mut recent = self.0.lock();
            recent.retain(|known| known.meta().uid != batch.meta().uid);
            recent.push_back(Arc::clone(&batch));
            let mut bytes: usize = recent.iter().map(|known| known.bytes()).sum();
            while bytes > MAX_KEPT
                && let Some(oldest) = recent.pop_front()
            {
                bytes -= oldest.bytes();
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn batch(uid: &str, generation: i64, text: &str) -> Item<Batch> {
        let metadata = json!({"name": "b", "namespace": "n", "uid": uid, "generation": generation});
        let file = json!({"type": "File", "file": {"name": "f", "source": {"inline": text}}});
        let batch = json!({"metadata": metadata, "spec": {"variableContexts": [[file]]}});
        serde_json::from_value(batch).unwrap()
    }

    #[test]
    fn the_last_few_are_kept_as_they_were_read() {
        let (recent, of) =
            (RecentBatches::default(), |uid, generation| batch(uid, generation, "").meta().clone());
        let large = "x".repeat(MAX_BYTES - 1024);
        for uid in ["a", "b", "c", "d", "e"] {
            recent.keep(batch(uid, 1, &large));
        }
        assert!(recent.get(&of("a", 1)).is_none(), "the oldest went");
        assert!(recent.get(&of("b", 1)).is_some());
        recent.keep(batch("b", 2, &large));
        assert!(recent.get(&of("b", 1)).is_none(), "it changed since");
        assert!(recent.get(&of("b", 2)).is_some() && recent.get(&of("c", 1)).is_some());
    }

    #[test]
    fn many_that_are_not_so_large_are_kept_beside_each_other() {
        let (recent, text) = (RecentBatches::default(), "x".repeat(8 << 10));
        let batches: Vec<_> = (0..100).map(|i| recent.keep(batch(&i.to_string(), 1, &text))).collect();
        assert!(batches.iter().all(|batch| recent.get(batch.meta()).is_some()));
    }

    #[test]
    fn a_large_one_is_read_again_each_time() {
        let recent = RecentBatches::default();
        let large = recent.keep(batch("a", 1, &"x".repeat(MAX_BYTES)));
        assert!(large.get().is_ok());
        assert!(recent.get(large.meta()).is_none());
    }
}
