//! What the operator keeps of a Pod: 2.5 KB in place of the 96 KB of a full one.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodSchedulingGate,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{
    AGENT_CONTAINER, AGENT_NAME_ANNOTATION, APP_LABEL, CONTEXT_FILES_VOLUME, DIRECTORY_VOLUMES, LAUNCH_GATE,
    PLAN_ANNOTATION, TASK_NAME_ANNOTATION,
};
use kubeopencode_api::names::{AgentKey, Naming, TaskKey, TaskNames, TaskUid};
use serde::{Deserialize, Serialize};

use super::metadata::ours;

/// A Pod of a Task, slim.
#[derive(Clone, Debug, Default, Deserialize, Serialize, kube::Resource)]
#[resource(inherit = Pod)]
pub(crate) struct PodView {
    /// Name, UID, and the labels and annotations that mean something to the operator.
    #[serde(deserialize_with = "ours")]
    pub(crate) metadata: ObjectMeta,
    /// What of the spec matters.
    #[serde(default)]
    pub(crate) spec: PodViewSpec,
    /// What of the status matters.
    #[serde(default)]
    pub(crate) status: PodViewStatus,
}

/// What of a Pod's spec matters.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodViewSpec {
    /// Gates that keep it from being scheduled.
    pub(crate) scheduling_gates: Vec<PodSchedulingGate>,
    /// The node, once there is one.
    pub(crate) node_name: Option<String>,
    /// Seconds after which the kubelet ends it.
    pub(crate) active_deadline_seconds: Option<i64>,
    /// Only the volumes whose ConfigMaps the operator may have made.
    pub(crate) volumes: Vec<VolumeView>,
    /// Only those that run beside the agent: native sidecars, which a webhook added.
    pub(crate) init_containers: Vec<InitContainerView>,
}

/// What of an init container matters.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct InitContainerView {
    /// Its name.
    pub(crate) name: String,
    /// `Always` for a native sidecar.
    pub(crate) restart_policy: Option<String>,
}

/// The ConfigMaps of a volume.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct VolumeView {
    /// Name of the volume.
    pub(crate) name: String,
    /// A ConfigMap as a volume.
    pub(crate) config_map: Option<NameView>,
    /// Several ConfigMaps as one volume.
    pub(crate) projected: Option<ProjectedView>,
}

impl VolumeView {
    fn config_maps(&self) -> impl Iterator<Item = &str> {
        let projected = self.projected.iter().flat_map(|projected| &projected.sources);
        let sources = projected.filter_map(|source| source.config_map.as_ref());
        self.config_map.iter().chain(sources).map(|map| map.name.as_str())
    }
}

/// An object's name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct NameView {
    /// The name.
    pub(crate) name: String,
}

/// The sources of a projected volume.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ProjectedView {
    /// Its sources.
    pub(crate) sources: Vec<SourceView>,
}

/// One source of a projected volume.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SourceView {
    /// A ConfigMap.
    pub(crate) config_map: Option<NameView>,
}

/// What of a Pod's status matters.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodViewStatus {
    /// Pending, Running, Succeeded, Failed.
    pub(crate) phase: Option<String>,
    /// As in `Evicted`.
    pub(crate) reason: Option<String>,
    /// As in the words of an eviction.
    pub(crate) message: Option<String>,
    /// As in `PodScheduled`.
    pub(crate) conditions: Vec<PodCondition>,
    /// States of the containers.
    pub(crate) container_statuses: Vec<ContainerStatus>,
    /// States of the init containers.
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
}

impl InitContainerView {
    fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }
}

impl PodView {
    /// Drops what no decision depends on.
    pub(crate) fn slim(&mut self) {
        // as many as somebody likes, and nobody here asks for them
        self.metadata.finalizers = None;
        // a directory is copied into a ConfigMap of ours only between namespaces
        let is_far = self.is_far();
        let is_ours =
            |name: &str| name == CONTEXT_FILES_VOLUME || is_far && name.starts_with(DIRECTORY_VOLUMES);
        self.spec.volumes.retain(|volume| is_ours(&volume.name));
        self.spec.init_containers.retain(InitContainerView::is_sidecar);
        for status in
            self.status.container_statuses.iter_mut().chain(&mut self.status.init_container_statuses)
        {
            // what a container waits for may be its image, which is compared with the Agent's
            if status.state.as_ref().is_none_or(|state| state.waiting.is_none()) {
                status.image = String::new();
            }
            status.image_id = String::new();
            status.volume_mounts = None;
            status.resources = None;
            status.allocated_resources = None;
        }
    }

    /// The group whose Task it claims to be for, by the label that it is found by. One that has lost that label, which only
    /// its name finds, is of the group whose label it still has.
    pub(crate) fn group(&self) -> Group {
        let labels = self.labels();
        let is_its_app = |group: &Group| labels.get(APP_LABEL).is_some_and(|app| app == group.names().app);
        let has_its_label = |group: &Group| labels.contains_key(group.names().task_uid_label);
        let groups = || Group::ALL.into_iter();
        groups().find(is_its_app).or_else(|| groups().find(has_its_label)).unwrap_or(Group::KubeOpenCode)
    }

    /// UID of the Task that it was made for.
    pub(crate) fn task_uid(&self) -> Option<TaskUid> {
        self.labels().get(self.group().names().task_uid_label).cloned().map(TaskUid)
    }

    /// The Task that it was made for.
    pub(crate) fn task_key(&self) -> Option<TaskKey> {
        let (labels, group) = (self.labels(), self.group());
        let names = group.names();
        let name = self.annotations().get(TASK_NAME_ANNOTATION).or_else(|| labels.get(names.task_label))?;
        let namespace = labels.get(names.task_namespace_label).cloned().or_else(|| self.namespace())?;
        Some(TaskKey::new(group, namespace, name.clone()))
    }

    /// The Agent that it runs with, which a Pod of `kubetask.io` never has.
    pub(crate) fn pod_agent(&self) -> Option<AgentKey> {
        if self.group() != Group::KubeOpenCode {
            return None;
        }
        Some(AgentKey::new(self.namespace()?, self.annotations().get(AGENT_NAME_ANNOTATION)?.clone()))
    }

    /// Whether our gate still holds it.
    pub(crate) fn is_gated(&self) -> bool {
        self.spec.scheduling_gates.iter().any(|gate| gate.name == LAUNCH_GATE)
    }

    /// Gates of others that hold it, Kueue's for example.
    pub(crate) fn foreign_gates(&self) -> impl Iterator<Item = &str> {
        self.spec.scheduling_gates.iter().map(|gate| gate.name.as_str()).filter(|name| *name != LAUNCH_GATE)
    }

    /// How far the container `agent` has come, once the kubelet said so.
    pub(crate) fn agent_state(&self) -> Option<&ContainerState> {
        self.status.container_statuses.iter().find(|s| s.name == AGENT_CONTAINER)?.state.as_ref()
    }

    /// How the container `agent` ended. It is not started again, whatever other containers of the Pod do.
    pub(crate) fn agent_end(&self) -> Option<&ContainerStateTerminated> {
        self.agent_state()?.terminated.as_ref()
    }

    /// Whether the container `agent` runs, or ran.
    pub(crate) fn agent_has_started(&self) -> bool {
        self.agent_state().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    }

    /// Whether the agent is over: its Task is, and so is its slot. Sidecars that somebody added may still run.
    pub(crate) fn agent_is_over(&self) -> bool {
        self.is_over() || self.agent_end().is_some()
    }

    /// Whether an init container runs beside the agent, and ends after it.
    pub(crate) fn is_sidecar(&self, init_container: &str) -> bool {
        self.spec.init_containers.iter().any(|c| c.name == init_container && c.is_sidecar())
    }

    /// Whether a container has not ended yet, as far as the kubelet said. With the last one's end the phase follows by itself, a
    /// moment later.
    pub(crate) fn has_container_left(&self) -> bool {
        let statuses = &self.status.container_statuses;
        let is_left =
            |status: &ContainerStatus| status.state.as_ref().is_none_or(|state| state.terminated.is_none());
        statuses.is_empty() || statuses.iter().any(is_left)
    }

    /// Whether all its containers are over for good.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Whether it is being deleted.
    pub(crate) fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// When somebody asked for its deletion: its `deletionTimestamp` has the grace in it already. `None`: it is not being
    /// deleted, or its last state does not say it any more ([`Self::is_removed`]).
    pub(crate) fn deletion_requested(&self) -> Option<Timestamp> {
        if self.is_removed() {
            return None;
        }
        let grace = SignedDuration::from_secs(self.metadata.deletion_grace_period_seconds.unwrap_or(0));
        self.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
    }

    /// Whether this is its last state. With the kubelet's request to remove it, without grace, the API server puts the time of
    /// that removal in the place of the time of the first request.
    pub(crate) fn is_removed(&self) -> bool {
        self.is_deleting() && self.metadata.deletion_grace_period_seconds.unwrap_or(0) == 0
    }

    /// Digest of the plan that it was made from.
    pub(crate) fn plan(&self) -> Option<&str> {
        self.annotations().get(PLAN_ANNOTATION).map(String::as_str)
    }

    /// Whether it is in another namespace than the Task that it was made for.
    fn is_far(&self) -> bool {
        let namespace = self.labels().get(self.group().names().task_namespace_label);
        namespace.is_some_and(|namespace| self.metadata.namespace.as_ref() != Some(namespace))
    }

    /// Names of the ConfigMaps that the operator made for it: those of its files, and between namespaces the copies of
    /// directories, which have names that the Task's ConfigMaps are given.
    pub(crate) fn own_config_maps(&self) -> Vec<&str> {
        let (files, directories): (Vec<_>, Vec<_>) =
            self.spec.volumes.iter().partition(|volume| volume.name == CONTEXT_FILES_VOLUME);
        let mut names: Vec<_> = files.into_iter().flat_map(VolumeView::config_maps).collect();
        let directories: Vec<_> = directories.into_iter().flat_map(VolumeView::config_maps).collect();
        if let (true, Some(key), Some(uid)) = (self.is_far(), self.task_key(), self.task_uid()) {
            let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
            let given = TaskNames::new(&key, &uid, namespace, Naming::Plain);
            let given: BTreeSet<_> = (0..names.len() + directories.len()).map(|i| given.context(i)).collect();
            names.extend(directories.into_iter().filter(|name| given.contains(*name)));
        }
        names
    }

    /// `metadata.uid`, empty before the API server gave one.
    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_of_the_group_that_its_app_says_whatever_else_somebody_put_on_it() {
        let both = json!({"app": "kubetask", "kubetask.io/task": "fix", "kubetask.io/task-uid": "second",
            "kubeopencode.io/task": "fix", "kubeopencode.io/task-uid": "first"});
        let of = |labels: &serde_json::Value| {
            let annotations = json!({"kubeopencode.io/agent-name": "default"});
            let metadata = json!({"namespace": "team", "labels": labels, "annotations": annotations});
            let pod: PodView = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            (pod.task_key().map(|key| key.group), pod.task_uid().map(|uid| uid.0), pod.pod_agent().is_some())
        };
        assert_eq!(of(&both), (Some(Group::KubeTask), Some("second".into()), false));
        let mut first = both.clone();
        first["app"] = json!("kubeopencode");
        assert_eq!(of(&first), (Some(Group::KubeOpenCode), Some("first".into()), true));
        let only = json!({"kubetask.io/task": "fix", "kubetask.io/task-uid": "second"});
        assert_eq!(of(&only), (Some(Group::KubeTask), Some("second".into()), false), "found by its name");
    }

    #[test]
    fn the_config_maps_of_a_pod_are_those_that_were_made_for_it() {
        let own = |namespace: &str, files: serde_json::Value, directories: &[&str]| {
            let directories = directories
                .iter()
                .enumerate()
                .map(|(i, name)| json!({"name": format!("dir-mount-{i}"), "configMap": {"name": name}}));
            let volumes: Vec<_> =
                [json!({"name": "tools", "emptyDir": {}}), files].into_iter().chain(directories).collect();
            let mut pod: PodView = serde_json::from_value(json!({
                "metadata": {"name": "p", "namespace": namespace, "labels": {"kubeopencode.io/task": "fix",
                    "kubeopencode.io/task-uid": "01234567-89ab", "kubeopencode.io/task-namespace": "team"}},
                "spec": {"volumes": volumes},
            }))
            .unwrap();
            pod.slim();
            pod.own_config_maps().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let one = json!({"name": "context-files", "configMap": {"name": "fix-context"}});
        assert_eq!(
            own("team", one, &["guides", "fix-context-1"]),
            ["fix-context"],
            "directories are mounted as they are"
        );
        let two = json!({"name": "context-files", "projected": {"sources": [
            {"configMap": {"name": "team-fix-01234567-context"}}, {"configMap": {"name": "team-fix-01234567-context-1"}}]}});
        assert_eq!(
            own("platform", two, &["guides", "team-fix-01234567-context-2"]),
            ["team-fix-01234567-context", "team-fix-01234567-context-1", "team-fix-01234567-context-2"]
        );
    }
}
