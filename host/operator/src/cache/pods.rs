//! The Pods of Tasks as the watch shows them, found by the UID of their Task.
//!
//! A Pod that was deleted after it had ended leaves its last state behind until the Task has read it: nobody else
//! knows any more how it ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::runtime::watcher::Event;
use kubeopencode_api::names::{TaskKey, TaskUid};
use parking_lot::RwLock;

use crate::cache::pod_view::PodView;

/// By the UID of the Task, then by the UID of the Pod.
type ByTask = HashMap<TaskUid, BTreeMap<String, Arc<PodView>>>;

/// The Pods of Tasks, as the watch shows them.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: ByTask,
    /// Filled between Init and InitDone.
    incoming: ByTask,
    /// Ended Pods that are gone, by the UID of the Task.
    last: HashMap<TaskUid, Arc<PodView>>,
}

/// What a watch event means for the Tasks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// Nothing.
    Nobody,
    /// This Task.
    Task(TaskKey),
    /// The list is complete: every Task may have lost or gained Pods.
    Everybody,
}

impl Pods {
    /// Takes in a watch event and says whom it concerns.
    pub(crate) fn apply(&self, event: &Event<PodView>) -> Touched {
        let mut inner = self.inner.write();
        let touched = |pod: &PodView| pod.task_key().map_or(Touched::Nobody, Touched::Task);
        match event {
            Event::Init => {
                inner.incoming = ByTask::default();
                Touched::Nobody
            }
            Event::InitApply(pod) => {
                insert(&mut inner.incoming, pod);
                Touched::Nobody
            }
            Event::InitDone => {
                inner.known = std::mem::take(&mut inner.incoming);
                Touched::Everybody
            }
            Event::Apply(pod) => {
                insert(&mut inner.known, pod);
                touched(pod)
            }
            Event::Delete(pod) => {
                if let Some(uid) = pod.task_uid() {
                    if let Some(of_task) = inner.known.get_mut(&uid) {
                        of_task.remove(pod.uid());
                        if of_task.is_empty() {
                            inner.known.remove(&uid);
                        }
                    }
                    if pod.agent_is_over() && !pod.is_gated() {
                        inner.last.insert(uid, Arc::new(pod.clone()));
                    }
                }
                touched(pod)
            }
        }
    }

    /// The Pods of a Task, oldest UID order.
    pub(crate) fn of(&self, task: &TaskUid) -> Vec<Arc<PodView>> {
        self.inner.read().known.get(task).map(|pods| pods.values().cloned().collect()).unwrap_or_default()
    }

    /// The last state of a Pod of the Task that ended and is gone.
    pub(crate) fn last_of(&self, task: &TaskUid, pod_uid: &str) -> Option<Arc<PodView>> {
        self.inner.read().last.get(task).filter(|pod| pod.uid() == pod_uid).cloned()
    }

    /// The Task is over or gone: its Pod's last state is of no more use.
    pub(crate) fn forget(&self, task: &TaskUid) {
        self.inner.write().last.remove(task);
    }

    /// Only these Tasks may still read a last state.
    pub(crate) fn forget_all_but(&self, known: impl Fn(&TaskUid) -> bool) {
        self.inner.write().last.retain(|task, _| known(task));
    }

    /// The Tasks with a Pod that is not over.
    pub(crate) fn tasks_with_live_pods(&self) -> Vec<TaskKey> {
        let inner = self.inner.read();
        let live = inner.known.values().filter_map(|pods| pods.values().find(|pod| !pod.is_over()));
        live.filter_map(|pod| pod.task_key()).collect()
    }

    /// The Tasks that have Pods, with the Task's key.
    pub(crate) fn tasks(&self) -> Vec<(TaskUid, TaskKey)> {
        let inner = self.inner.read();
        let tasks = inner.known.iter().filter_map(|(uid, pods)| {
            let key = pods.values().next()?.task_key()?;
            Some((uid.clone(), key))
        });
        tasks.collect()
    }
}

fn insert(pods: &mut ByTask, pod: &PodView) {
    if let Some(uid) = pod.task_uid() {
        pods.entry(uid).or_default().insert(pod.uid().to_owned(), Arc::new(pod.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, phase: &str) -> PodView {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": uid, "labels": {
                "kubeopencode.io/task": "t", "kubeopencode.io/task-uid": "task"}},
            "status": {"phase": phase}
        }))
        .unwrap()
    }

    #[test]
    fn a_relist_replaces_what_was_known() {
        let pods = Pods::default();
        let task = TaskUid("task".into());
        pods.apply(&Event::Apply(pod("a", "Running")));
        pods.apply(&Event::Init);
        pods.apply(&Event::InitApply(pod("b", "Running")));
        assert_eq!(pods.of(&task)[0].uid(), "a", "the old list holds until the new one is complete");
        assert_eq!(pods.apply(&Event::InitDone), Touched::Everybody);
        assert_eq!(pods.of(&task).iter().map(|p| p.uid().to_owned()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn an_ended_pod_leaves_its_last_state_behind() {
        let pods = Pods::default();
        let task = TaskUid("task".into());
        pods.apply(&Event::Apply(pod("a", "Running")));
        pods.apply(&Event::Delete(pod("a", "Succeeded")));
        assert!(pods.of(&task).is_empty());
        assert_eq!(pods.last_of(&task, "a").unwrap().uid(), "a");
        assert!(pods.last_of(&task, "b").is_none());
        pods.apply(&Event::Delete(pod("c", "Running")));
        assert!(pods.last_of(&task, "c").is_none(), "nobody knows how a running Pod ended");
    }
}
