//! Whose Pod it is. A label that anybody may write says which Task a Pod claims; it is that Task's where namespace and
//! name, too, are what the operator itself gives.

use std::collections::BTreeSet;

use kubeopencode_api::names::{Naming, TaskKey, TaskNames, TaskUid};

use super::pod_view::PodView;
use super::task_view::TaskRef;

/// Namespace and name of a Pod.
type Place = (String, String);

/// The places where the Pods of one Task may be: both names, in each namespace that it may have been launched in.
#[derive(Clone, Debug)]
pub(crate) struct PodPlaces {
    /// The Task.
    pub(crate) key: TaskKey,
    /// Its UID.
    pub(crate) uid: TaskUid,
    launch: Launch,
    places: BTreeSet<Place>,
}

/// What is known of a Task's launch.
#[derive(Clone, Debug)]
enum Launch {
    /// Nothing: the Task is gone.
    Unknown,
    /// No Pod of it was recorded.
    None,
    /// The one Pod that may run, by its UID.
    Recorded(String, Place),
}

impl PodPlaces {
    /// None, of a Task of which no more is known.
    pub(crate) fn new(key: TaskKey, uid: TaskUid) -> Self {
        Self { key, uid, launch: Launch::Unknown, places: BTreeSet::new() }
    }

    /// Those in the namespaces that the Task itself names: of its Pod, of its Agent, and where something was made for it.
    pub(crate) fn of(task: TaskRef<'_>) -> Self {
        let status = task.status;
        let pod_namespace = status.and_then(|status| status.pod_namespace.clone());
        let launch = task.pod_uid().map_or(Launch::None, |uid| {
            let name = status.and_then(|status| status.pod_name.clone()).unwrap_or_default();
            Launch::Recorded(uid.to_owned(), (pod_namespace.clone().unwrap_or_default(), name))
        });
        let agents = task.recorded_agent().map(|agent| agent.namespace);
        let made_in = task.made_in().map(|made_in| made_in.namespace);
        let named = [pod_namespace, agents, made_in].into_iter().flatten();
        let none = Self { launch, ..Self::new(task.key(), task.uid()) };
        named.fold(none, |places, namespace| places.and_in(&namespace))
    }

    /// And those in this namespace.
    pub(crate) fn and_in(mut self, namespace: &str) -> Self {
        for naming in [Naming::Plain, Naming::WithUid] {
            let name = TaskNames::new(&self.key, &self.uid, namespace, naming).pod();
            self.places.insert((namespace.to_owned(), name));
        }
        self
    }

    /// Of these, those in namespaces that are watched, and where the recorded Pod is: the Task's author may have named any other,
    /// and nobody may ask there.
    pub(crate) fn only_where(mut self, is_watched: impl Fn(&str) -> bool) -> Self {
        let launch = &self.launch;
        let is_recorded =
            |of: &String| matches!(launch, Launch::Recorded(_, (namespace, _)) if namespace == of);
        self.places.retain(|(namespace, _)| is_watched(namespace) || is_recorded(namespace));
        self
    }

    /// Whether a Pod is at one of the places, and has the Task's UID or is the recorded one.
    pub(crate) fn fit(&self, pod: &PodView) -> bool {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let place = (part(&pod.metadata.namespace), part(&pod.metadata.name));
        let is_of_it = || pod.group() == self.key.group && pod.task_uid().as_ref() == Some(&self.uid);
        self.places.contains(&place) && (self.is_recorded(pod) || is_of_it())
    }

    /// Whether a Pod is the Task's: it fits, and it is the recorded one or the launch gate still holds it.
    pub(crate) fn hold(&self, pod: &PodView) -> bool {
        let is_unknown = matches!(self.launch, Launch::Unknown);
        self.fit(pod) && (is_unknown || self.is_recorded(pod) || pod.is_gated())
    }

    fn is_recorded(&self, pod: &PodView) -> bool {
        matches!(&self.launch, Launch::Recorded(uid, _) if uid == pod.uid())
    }

    /// Where to ask for what the cache does not show: the recorded Pod's place, or all of them.
    pub(crate) fn to_ask(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_asked = |place: &&Place| match &self.launch {
            Launch::Recorded(_, recorded) => recorded == *place,
            Launch::Unknown | Launch::None => true,
        };
        self.places.iter().filter(is_asked).map(|(namespace, name)| (namespace.as_str(), name.as_str()))
    }
}

/// The Task whose Pod it is by its own word, with the Pod's place, if the operator gives such a name to a Pod of that Task
/// there.
pub(crate) fn claimed(pod: &PodView) -> Option<PodPlaces> {
    let namespace = pod.metadata.namespace.as_deref()?;
    let places = PodPlaces::new(pod.task_key()?, pod.task_uid()?).and_in(namespace);
    places.hold(pod).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::task_view::TaskView;
    use kubeopencode_api::group::Group;
    use serde_json::{Value, json};

    const UID: &str = "01234567-89ab";

    fn pod(place: &str, uid: &str, gated: bool, labels: Value) -> PodView {
        let (namespace, name) = place.split_once('/').unwrap();
        let gates = if gated { json!([{"name": "kubeopencode.io/launch"}]) } else { json!([]) };
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name, "uid": uid, "labels": labels},
            "spec": {"schedulingGates": gates},
        }))
        .unwrap()
    }

    fn labels() -> Value {
        json!({"kubeopencode.io/task": "fix", "kubeopencode.io/task-uid": UID})
    }

    /// Which of these Pods are those of a Task with this status.
    fn held(status: Value, namespaces: &[&str], pods: &[PodView]) -> Vec<String> {
        let task = json!({"metadata": {"name": "fix", "namespace": "team", "uid": UID}, "status": status});
        let task: TaskView = serde_json::from_value(task).unwrap();
        let places = PodPlaces::of(task.task_ref(Group::KubeOpenCode));
        let places = namespaces.iter().fold(places, |places, namespace| places.and_in(namespace));
        pods.iter().filter(|pod| places.hold(pod)).map(|pod| pod.uid().to_owned()).collect()
    }

    #[test]
    fn of_the_namespaces_that_a_task_names_the_watched_ones_count_and_that_of_its_pod() {
        let asked = |status: Value| -> Vec<String> {
            let annotations = json!({"kubeopencode.io/made-in": "elsewhere=1"});
            let metadata =
                json!({"name": "fix", "namespace": "team", "uid": UID, "annotations": annotations});
            let task: TaskView =
                serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap();
            let places = PodPlaces::of(task.task_ref(Group::KubeOpenCode)).and_in("team");
            let places = places.only_where(|namespace| namespace == "team");
            places.to_ask().map(|(namespace, _)| namespace.to_owned()).collect()
        };
        assert_eq!(asked(json!({})), ["team", "team"], "by both names");
        let task = TaskKey::new(Group::KubeOpenCode, "team", "fix");
        let pod = TaskNames::new(&task, &TaskUid(UID.to_owned()), "before", Naming::Plain).pod();
        let recorded = json!({"podUID": "p", "podNamespace": "before", "podName": pod});
        assert_eq!(asked(recorded), ["before"]);
    }

    #[test]
    fn a_label_alone_makes_no_pod_the_tasks() {
        let pods = [
            pod("team/fix-pod", "plain", true, labels()),
            pod("team/fix-01234567-pod", "with-uid", true, labels()),
            pod("team/forged", "another-name", true, labels()),
            pod("debug/fix-pod", "a-copy", true, labels()),
            pod("team/fix-pod", "no-label", true, json!({})),
            pod("team/fix-pod", "older-task", true, json!({"kubeopencode.io/task-uid": "another"})),
            pod("platform/team-fix-01234567-pod", "far", true, labels()),
        ];
        assert_eq!(held(json!({}), &["team"], &pods), ["plain", "with-uid"]);
        let open = [pod("team/fix-pod", "open", false, labels())];
        assert_eq!(held(json!({}), &["team"], &open), [""; 0], "nobody recorded it");
        assert_eq!(held(json!({}), &["team", "platform"], &pods), ["plain", "with-uid", "far"]);
        assert_eq!(held(json!({}), &[], &pods), [""; 0]);
    }

    #[test]
    fn the_recorded_pod_is_known_by_its_uid_and_nothing_else_without_our_gate_is_the_tasks() {
        let status = json!({"podUID": "a", "podName": "fix-pod", "podNamespace": "team", "phase": "Running"});
        let pods = [
            pod("team/fix-pod", "a", false, json!({})),
            pod("team/fix-01234567-pod", "gated", true, labels()),
            pod("team/fix-01234567-pod", "runs", false, labels()),
            // whoever may write the status cannot make any Pod the Task's
            pod("team/another", "a", false, labels()),
            pod("elsewhere/fix-pod", "a", false, labels()),
        ];
        assert_eq!(held(status, &[], &pods), ["a", "gated"]);
    }

    #[test]
    fn only_the_recorded_pods_place_is_asked_for() {
        let places = |recorded: Option<&str>| {
            let key = TaskKey::new(Group::KubeOpenCode, "team", "fix");
            let place = |name: &str| ("team".to_owned(), name.to_owned());
            let launch = recorded.map_or(Launch::None, |name| Launch::Recorded("a".to_owned(), place(name)));
            PodPlaces { launch, ..PodPlaces::new(key, TaskUid(UID.into())).and_in("team") }
        };
        let asked = |places: &PodPlaces| places.to_ask().map(|(_, name)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(asked(&places(None)), ["fix-01234567-pod", "fix-pod"]);
        assert_eq!(asked(&places(Some("fix-pod"))), ["fix-pod"]);
        assert_eq!(asked(&places(Some("another"))), [""; 0]);
    }

    #[test]
    fn who_claims_a_task_has_the_name_for_it() {
        let far = json!({"kubeopencode.io/task": "fix", "kubeopencode.io/task-uid": UID, "kubeopencode.io/task-namespace": "team"});
        for (place, labels, expected) in [
            ("team/fix-pod", labels(), Some("team/fix")),
            ("debug/fix-pod", labels(), Some("debug/fix")),
            ("platform/team-fix-01234567-pod", far.clone(), Some("team/fix")),
            ("platform/fix-pod", far, None),
            ("team/forged", labels(), None),
            ("team/fix-pod", json!({"kubeopencode.io/task": "fix"}), None),
        ] {
            let claimed = claimed(&pod(place, "a", false, labels)).map(|places| places.key.to_string());
            assert_eq!(claimed.as_deref(), expected, "{place}");
        }
    }
}
