//! What was shown of Tasks, and what of an event is new.
//!
//! May touch: Tasks as they were seen. Must not touch: a client.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;
use kubeopencode_api::names::{TaskKey, TaskUid};
use kubeopencode_api::task::Task;

type Key = (TaskKey, TaskUid);

fn key(task: &Task) -> Key {
    (task.key(), task.uid())
}

/// What there is to say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A Task is new, or another than it was.
    Now(Task),
    /// It was deleted, or does not have the labels any more that were asked for; as it was last.
    Gone(Task),
}

/// Each Task as it was last shown.
#[derive(Debug)]
pub(crate) struct Shown {
    tasks: BTreeMap<Key, Task>,
    /// Those of a list that is not complete yet.
    listed: BTreeSet<Key>,
}

impl Shown {
    /// These were.
    pub(crate) fn new(tasks: Vec<Task>) -> Self {
        let tasks = tasks.into_iter().map(|task| (key(&task), task)).collect();
        Self { tasks, listed: BTreeSet::new() }
    }

    /// What an event of the watch changes. A list that is complete tells what went while nobody watched.
    pub(crate) fn see(&mut self, event: Event<Task>) -> Vec<Change> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(task) => {
                self.listed.insert(key(&task));
                self.changed(task)
            }
            Event::Apply(task) => self.changed(task),
            Event::InitDone => {
                let known = self.tasks.keys();
                let gone: Vec<_> = known.filter(|known| !self.listed.contains(*known)).cloned().collect();
                gone.iter().filter_map(|known| self.tasks.remove(known)).map(Change::Gone).collect()
            }
            Event::Delete(task) => {
                let was_shown = self.tasks.remove(&key(&task)).is_some();
                was_shown.then_some(Change::Gone(task)).into_iter().collect()
            }
        }
    }

    fn changed(&mut self, task: Task) -> Vec<Change> {
        let what = |task: &Task| (task.metadata.deletion_timestamp.clone(), task.status.clone());
        if self.tasks.get(&key(&task)).is_some_and(|known| what(known) == what(&task)) {
            return Vec::new();
        }
        self.tasks.insert(key(&task), task.clone());
        vec![Change::Now(task)]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::tests::task;

    fn named(name: &str, phase: &str) -> Task {
        let mut task = task(json!({"phase": phase}));
        task.metadata.name = Some(name.to_owned());
        task
    }

    #[test]
    fn only_what_is_new_is_told() {
        let first = named("first", "Pending");
        let mut shown = Shown::new(vec![first.clone()]);
        assert_eq!(shown.see(Event::Init), []);
        assert_eq!(shown.see(Event::InitApply(first.clone())), []);
        assert_eq!(shown.see(Event::InitDone), []);
        let mut labelled = first.clone();
        labelled.metadata.resource_version = Some("7".to_owned());
        assert_eq!(shown.see(Event::Apply(labelled)), []);
        let running = named("first", "Running");
        assert_eq!(shown.see(Event::Apply(running.clone())), [Change::Now(running.clone())]);
        let mut deleted = running;
        deleted.metadata.deletion_timestamp = deleted.metadata.creation_timestamp.clone();
        assert_eq!(shown.see(Event::Apply(deleted.clone())), [Change::Now(deleted.clone())]);
        assert_eq!(shown.see(Event::Delete(deleted.clone())), [Change::Gone(deleted.clone())]);
        assert_eq!(shown.see(Event::Delete(deleted)), []);
    }

    #[test]
    fn what_went_while_nobody_watched_is_told_after_the_next_list() {
        let [first, second] = ["first", "second"].map(|name| named(name, "Pending"));
        let mut another = first.clone();
        another.metadata.uid = Some("u-2".to_owned());
        let mut shown = Shown::new(vec![first.clone(), second.clone()]);
        shown.see(Event::Init);
        assert_eq!(shown.see(Event::InitApply(another.clone())), [Change::Now(another)]);
        assert_eq!(shown.see(Event::InitDone), [Change::Gone(first), Change::Gone(second)]);
    }
}
