//! Which objects of a kind changed, by UID and generation: what was written to their status concerns nobody.

use std::collections::HashMap;

use kube::Resource;
use kube::runtime::watcher::Event;
use kubeopencode_api::names::ObjectKey;

type Generation = (Option<String>, Option<i64>);

/// What was seen last, and during a list.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    known: HashMap<ObjectKey, Generation>,
    listed: HashMap<ObjectKey, Generation>,
}

impl Changed {
    /// The objects that came, went or changed by this event. Those of a list are told with its end: until then the cache
    /// shows the list before.
    pub(crate) fn by<K: Resource>(&mut self, event: &Event<K>) -> Vec<ObjectKey> {
        let generation = |object: &K| (object.meta().uid.clone(), object.meta().generation);
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                self.listed.insert(ObjectKey::of(object), generation(object));
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.known, std::mem::take(&mut self.listed));
                let changed =
                    self.known.iter().filter(|(key, generation)| before.get(key) != Some(generation));
                let gone = before.keys().filter(|key| !self.known.contains_key(key));
                return changed.map(|(key, _)| key).chain(gone).cloned().collect();
            }
            Event::Apply(object) => {
                let (key, generation) = (ObjectKey::of(object), generation(object));
                if self.known.insert(key.clone(), generation.clone()) != Some(generation) {
                    return vec![key];
                }
            }
            Event::Delete(object) => {
                let key = ObjectKey::of(object);
                self.known.remove(&key);
                return vec![key];
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, generation: i64) -> ConfigMap {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "generation": generation}
        }))
        .unwrap()
    }

    fn names(keys: Vec<ObjectKey>) -> Vec<String> {
        keys.into_iter().map(|key| key.name).collect()
    }

    #[test]
    fn what_happened_while_nobody_watched_is_found_by_the_next_list() {
        let mut changed = Changed::default();
        let mut list = |objects: &[(&str, i64)]| {
            let mut found = changed.by(&Event::<ConfigMap>::Init);
            for (name, generation) in objects {
                found.extend(changed.by(&Event::InitApply(object(name, *generation))));
            }
            assert!(found.is_empty(), "the cache does not show them yet: {found:?}");
            let mut found = names(changed.by(&Event::<ConfigMap>::InitDone));
            found.sort();
            found
        };
        assert_eq!(list(&[("a", 1), ("b", 1), ("c", 1)]), ["a", "b", "c"]);
        assert_eq!(list(&[("a", 1), ("b", 2)]), ["b", "c"], "changed, and gone");
        assert!(list(&[("a", 1), ("b", 2)]).is_empty());
    }

    #[test]
    fn a_status_concerns_nobody() {
        let mut changed = Changed::default();
        assert_eq!(names(changed.by(&Event::Apply(object("a", 1)))), ["a"]);
        assert!(changed.by(&Event::Apply(object("a", 1))).is_empty());
        assert_eq!(names(changed.by(&Event::Apply(object("a", 2)))), ["a"]);
        assert_eq!(names(changed.by(&Event::Delete(object("a", 2)))), ["a"]);
        assert_eq!(names(changed.by(&Event::Apply(object("a", 2)))), ["a"], "it came again");
    }
}
