//! The Pods of Tasks as the watch shows them, found by the UID of the Task that they claim. Whose they are, the places of
//! that Task say.
//!
//! A Pod that was deleted after it had ended leaves its last state behind until the Task has read it: nobody else
//! knows any more how it ended.

use std::collections::HashMap;
use std::sync::Arc;

use kube::runtime::watcher::Event;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{TaskKey, TaskUid};
use parking_lot::RwLock;

use crate::cache::pod_places::PodPlaces;
use crate::cache::pod_view::PodView;

/// By the UID of the Task, those of one in the order of their UIDs.
type ByTask = HashMap<TaskUid, Vec<Arc<PodView>>>;

/// The Pods of Tasks, as the watch shows them.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: Index,
    /// Filled between Init and InitDone.
    incoming: Index,
    /// Ended Pods that are gone.
    last: ByTask,
}

/// Pods by what they claim, each once, whatever becomes of its labels.
#[derive(Debug, Default)]
struct Index {
    by_task: ByTask,
    /// The Task that a Pod claims, by the UID of the Pod.
    claims: HashMap<String, TaskUid>,
}

impl Index {
    fn get(&self, pod_uid: &str) -> Option<&Arc<PodView>> {
        self.by_task.get(self.claims.get(pod_uid)?)?.iter().find(|pod| pod.uid() == pod_uid)
    }

    /// Takes a Pod in and gives back what was known of it.
    fn insert(&mut self, pod: &PodView) -> Option<Arc<PodView>> {
        let before = self.remove(pod.uid());
        if let Some(task) = pod.task_uid() {
            self.claims.insert(pod.uid().to_owned(), task.clone());
            put(self.by_task.entry(task).or_default(), pod);
        }
        before
    }

    fn remove(&mut self, pod_uid: &str) -> Option<Arc<PodView>> {
        let task = self.claims.remove(pod_uid)?;
        let of_task = self.by_task.get_mut(&task)?;
        let place = of_task.iter().position(|pod| pod.uid() == pod_uid);
        let pod = place.map(|place| of_task.remove(place));
        if of_task.is_empty() {
            self.by_task.remove(&task);
        }
        pod
    }
}

/// Takes a Pod in, in place of what was known of it.
fn put(pods: &mut Vec<Arc<PodView>>, pod: &PodView) {
    pods.retain(|known| known.uid() != pod.uid());
    let place = pods.partition_point(|known| known.uid() < pod.uid());
    pods.insert(place, Arc::new(pod.clone()));
}

/// What a watch event means for the Tasks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// These: mostly the one that the Pod claims, and where its labels changed, the one that it claimed before.
    Tasks(Vec<TaskKey>),
    /// The list is complete: every Task may have lost or gained Pods.
    Everybody,
}

impl Pods {
    /// Takes in a watch event and says whom it concerns. `may_be_its_tasks` says of a Pod that ended and is gone whether
    /// its Task may still ask for it.
    pub(crate) fn apply(
        &self,
        event: &Event<PodView>,
        may_be_its_tasks: impl FnOnce(&PodView) -> bool,
    ) -> Touched {
        let mut inner = self.inner.write();
        let touched = |pod: &PodView, before: Option<Arc<PodView>>| {
            let before = before.filter(|before| before.task_uid() != pod.task_uid());
            let before = before.and_then(|before| before.task_key());
            Touched::Tasks(pod.task_key().into_iter().chain(before).collect())
        };
        match event {
            Event::Init => {
                inner.incoming = Index::default();
                Touched::Tasks(Vec::new())
            }
            Event::InitApply(pod) => {
                inner.incoming.insert(pod);
                Touched::Tasks(Vec::new())
            }
            Event::InitDone => {
                inner.known = std::mem::take(&mut inner.incoming);
                Touched::Everybody
            }
            Event::Apply(pod) => touched(pod, inner.known.insert(pod)),
            Event::Delete(pod) => {
                let before = inner.known.remove(pod.uid());
                if let Some(task) = pod.task_uid().filter(|_| pod.agent_is_over() && !pod.is_gated())
                    && may_be_its_tasks(pod)
                {
                    put(inner.last.entry(task).or_default(), pod);
                }
                touched(pod, before)
            }
        }
    }

    /// The Pods of a Task, in the order of their UIDs.
    pub(crate) fn of(&self, places: &PodPlaces) -> Vec<Arc<PodView>> {
        let mut pods = self.at(places);
        pods.retain(|pod| places.hold(pod));
        pods
    }

    /// These, and what else is at their places and claims the Task.
    pub(crate) fn at(&self, places: &PodPlaces) -> Vec<Arc<PodView>> {
        let inner = self.inner.read();
        let claim_it = inner.known.by_task.get(&places.uid).into_iter().flatten();
        claim_it.filter(|pod| places.fit(pod)).cloned().collect()
    }

    /// Whether this Pod is known as one that is not over.
    pub(crate) fn knows_live(&self, pod: &PodView) -> bool {
        self.inner.read().known.get(pod.uid()).is_some_and(|known| !known.is_over())
    }

    /// The last state of a Pod of the Task that ended and is gone.
    pub(crate) fn last_of(&self, task: &TaskUid, pod_uid: &str) -> Option<Arc<PodView>> {
        self.inner.read().last.get(task)?.iter().find(|pod| pod.uid() == pod_uid).cloned()
    }

    /// The Task is over or gone: its Pod's last state is of no more use.
    pub(crate) fn forget(&self, task: &TaskUid) {
        self.inner.write().last.remove(task);
    }

    /// Of the group's Tasks only these may still read a last state.
    pub(crate) fn forget_all_but(&self, group: Group, known: impl Fn(&TaskUid) -> bool) {
        let mut inner = self.inner.write();
        inner.last.retain(|task, pods| !pods.iter().any(|pod| pod.group() == group) || known(task));
    }

    /// The Tasks with a Pod that is not over.
    pub(crate) fn tasks_with_live_pods(&self) -> Vec<TaskKey> {
        let inner = self.inner.read();
        let live = inner.known.by_task.values().filter_map(|pods| pods.iter().find(|pod| !pod.is_over()));
        live.filter_map(|pod| pod.task_key()).collect()
    }

    /// All that claim a Task, in the order of namespaces and names.
    pub(crate) fn all(&self) -> Vec<Arc<PodView>> {
        let mut all: Vec<_> = self.inner.read().known.by_task.values().flatten().cloned().collect();
        all.sort_by(|a, b| {
            let place = |pod: &PodView| (pod.metadata.namespace.clone(), pod.metadata.name.clone());
            place(a).cmp(&place(b))
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubeopencode_api::group::Group;

    fn pod(uid: &str, phase: &str) -> PodView {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "t-pod", "namespace": "n", "uid": uid, "labels": {
                "kubeopencode.io/task": "t", "kubeopencode.io/task-uid": "task"}},
            "status": {"phase": phase}
        }))
        .unwrap()
    }

    fn task() -> TaskUid {
        TaskUid("task".into())
    }

    fn of_task(pods: &Pods) -> Vec<String> {
        let places = PodPlaces::new(TaskKey::new(Group::KubeOpenCode, "n", "t"), task()).and_in("n");
        pods.of(&places).iter().map(|pod| pod.uid().to_owned()).collect()
    }

    #[test]
    fn a_relist_replaces_what_was_known() {
        let pods = Pods::default();
        let apply = |event: Event<PodView>| pods.apply(&event, |_| true);
        apply(Event::Apply(pod("a", "Running")));
        apply(Event::Init);
        apply(Event::InitApply(pod("b", "Running")));
        assert_eq!(of_task(&pods), ["a"], "the old list holds until the new one is complete");
        assert_eq!(apply(Event::InitDone), Touched::Everybody);
        assert_eq!(of_task(&pods), ["b"]);
    }

    #[test]
    fn a_pod_that_only_claims_the_task_is_not_one_of_its_pods() {
        let (pods, mut forged) = (Pods::default(), pod("forged", "Running"));
        forged.metadata.namespace = Some("elsewhere".into());
        pods.apply(&Event::Apply(forged), |_| true);
        assert_eq!((of_task(&pods).len(), pods.all().len()), (0, 1));
        pods.apply(&Event::Apply(pod("a", "Running")), |_| true);
        assert_eq!(of_task(&pods), ["a"]);
    }

    #[test]
    fn a_pod_whose_label_is_taken_away_is_no_longer_known_as_it_was() {
        let pods = Pods::default();
        pods.apply(&Event::Apply(pod("a", "Running")), |_| true);
        let mut other = pod("a", "Running");
        let labels = other.metadata.labels.as_mut().unwrap();
        labels.insert("kubeopencode.io/task".into(), "other".into());
        labels.insert("kubeopencode.io/task-uid".into(), "other".into());
        let key = |name: &str| TaskKey::new(Group::KubeOpenCode, "n", name);
        assert_eq!(pods.apply(&Event::Apply(other), |_| true), Touched::Tasks(vec![key("other"), key("t")]));
        assert_eq!((of_task(&pods).len(), pods.all().len()), (0, 1));
        let mut none = pod("a", "Running");
        none.metadata.labels = None;
        pods.apply(&Event::Apply(none), |_| true);
        assert!(pods.all().is_empty());
    }

    #[test]
    fn an_ended_pod_leaves_its_last_state_behind() {
        let pods = Pods::default();
        let gone = |uid, phase, may| pods.apply(&Event::Delete(pod(uid, phase)), |_| may);
        pods.apply(&Event::Apply(pod("a", "Running")), |_| true);
        gone("a", "Succeeded", true);
        assert_eq!(of_task(&pods), [""; 0]);
        assert_eq!(pods.last_of(&task(), "a").unwrap().uid(), "a");
        assert!(pods.last_of(&task(), "b").is_none());
        gone("b", "Failed", true);
        assert!(pods.last_of(&task(), "a").is_some(), "another one takes nothing away");
        gone("c", "Running", true);
        assert!(pods.last_of(&task(), "c").is_none(), "nobody knows how a running Pod ended");
        gone("d", "Failed", false);
        assert!(pods.last_of(&task(), "d").is_none(), "nobody asks for it");
        pods.forget(&task());
        assert!(pods.last_of(&task(), "a").is_none());
    }
}
