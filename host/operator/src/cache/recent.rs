//! The large objects that were read last.
//!
//! The cache keeps a part of them alone, and those who want one whole come one after another: without this each launch of a Task
//! would read its Agent, its WorkspaceConfig or its Batch again.

use std::collections::VecDeque;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use parking_lot::Mutex;

use super::item::{Item, Kind};

/// How much of a kind is kept, and the heaviest of it, in bytes: a Batch of a thousand short files is lighter. What is made for it
/// takes ten times that once it is decoded, Agents full of volumes twenty times.
const MAX_KEPT: usize = 3 << 20;
const MAX_WEIGHT: usize = MAX_KEPT / 4;

/// Those of a kind, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent<K: Kind>(Mutex<VecDeque<Arc<Item<K>>>>);

impl<K: Kind> Recent<K> {
    /// The whole of what the cache shows, where nobody has to be asked for it: nothing was dropped, or nothing can be read, or it was
    /// read before.
    pub(crate) fn whole(&self, cached: &Arc<Item<K>>) -> Option<Arc<Item<K>>> {
        if cached.is_whole() || cached.get().is_err() {
            return Some(Arc::clone(cached));
        }
        self.get(cached.meta())
    }

    /// The whole object of which the cache has this metadata.
    fn get(&self, of: &ObjectMeta) -> Option<Arc<Item<K>>> {
        let is_it = |object: &&Arc<Item<K>>| {
            let known = object.meta();
            known.uid == of.uid && known.generation == of.generation
        };
        self.0.lock().iter().find(is_it).cloned()
    }

    /// Keeps an object that was read, unless it is too heavy for that.
    pub(crate) fn keep(&self, object: Item<K>) -> Arc<Item<K>> {
        let object = Arc::new(object);
        if object.weight() <= MAX_WEIGHT {
            let mut recent = self.0.lock();
            recent.retain(|known| known.meta().uid != object.meta().uid);
            recent.push_back(Arc::clone(&object));
            let mut weight: usize = recent.iter().map(|known| known.weight()).sum();
            while weight > MAX_KEPT
                && let Some(oldest) = recent.pop_front()
            {
                weight -= oldest.weight();
            }
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::kubetask::batch::Batch;
    use serde_json::{Value, json};

    use super::*;

    fn batch(uid: &str, generation: i64, text: &str) -> Item<Batch> {
        let file = json!({"type": "File", "file": {"name": "f", "source": {"inline": text}}});
        with_contexts(uid, generation, json!([[file]]))
    }

    fn with_contexts(uid: &str, generation: i64, contexts: Value) -> Item<Batch> {
        let metadata = json!({"name": "b", "namespace": "n", "uid": uid, "generation": generation});
        let batch = json!({"metadata": metadata, "spec": {"variableContexts": contexts}});
        serde_json::from_value(batch).unwrap()
    }

    /// As the cache keeps a large one.
    fn in_part(mut batch: Item<Batch>) -> Arc<Item<Batch>> {
        batch.slim(|batch| batch.spec.variable_contexts = Vec::new());
        Arc::new(batch)
    }

    #[test]
    fn the_last_few_are_kept_as_they_were_read() {
        let (recent, of) = (Recent::default(), |uid, generation| batch(uid, generation, "").meta().clone());
        let large = "x".repeat(MAX_WEIGHT - 1024);
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
        let (recent, text) = (Recent::default(), "x".repeat(8 << 10));
        let batches: Vec<_> = (0..100).map(|i| recent.keep(batch(&i.to_string(), 1, &text))).collect();
        assert!(batches.iter().all(|batch| recent.get(batch.meta()).is_some()));
    }

    #[test]
    fn a_heavy_one_is_read_again_each_time() {
        let recent = Recent::default();
        let text = batch("text", 1, &"x".repeat(MAX_WEIGHT));
        // 60 KB as text
        let config = vec![json!({}); 20_000];
        let values = with_contexts("values", 1, json!([[{"type": "Jira", "config": config}]]));
        for (uid, heavy) in [("text", text), ("values", values)] {
            assert!(recent.keep(heavy).get().is_ok());
            assert!(recent.whole(&in_part(batch(uid, 1, ""))).is_none(), "{uid}");
        }
    }

    #[test]
    fn what_is_kept_whole_is_not_asked_for_and_what_is_kept_in_part_once() {
        let recent = Recent::default();
        let small = Arc::new(batch("small", 1, "x"));
        assert!(Arc::ptr_eq(&recent.whole(&small).unwrap(), &small));
        let part = |generation| in_part(batch("large", generation, "x"));
        assert!(recent.whole(&part(1)).is_none(), "nobody has read it");
        let whole = recent.keep(batch("large", 1, "x"));
        assert!(Arc::ptr_eq(&recent.whole(&part(1)).unwrap(), &whole));
        assert!(recent.whole(&part(2)).is_none(), "it changed since");
    }

    #[test]
    fn what_cannot_be_read_would_be_no_better_if_it_were_read_again() {
        let broken = in_part(with_contexts("broken", 1, json!("none")));
        assert!(broken.get().is_err());
        assert!(Arc::ptr_eq(&Recent::default().whole(&broken).unwrap(), &broken));
    }
}
