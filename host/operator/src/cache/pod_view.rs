//! What the operator keeps of a Pod: 2.5 KB in place of the 96 KB of a full one.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodSchedulingGate};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{
    AGENT_NAME_ANNOTATION, CONTEXT_FILES_VOLUME, LAUNCH_GATE, PLAN_ANNOTATION, TASK_LABEL,
    TASK_NAME_ANNOTATION, TASK_NAMESPACE_LABEL, TASK_UID_LABEL,
};
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
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
    /// Only the volume whose ConfigMaps the operator made.
    pub(crate) volumes: Vec<VolumeView>,
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

impl PodView {
    /// Drops what no decision depends on.
    pub(crate) fn slim(&mut self) {
        self.spec.volumes.retain(|v| v.name == CONTEXT_FILES_VOLUME);
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

    /// UID of the Task that it was made for.
    pub(crate) fn task_uid(&self) -> Option<TaskUid> {
        self.labels().get(TASK_UID_LABEL).cloned().map(TaskUid)
    }

    /// The Task that it was made for.
    pub(crate) fn task_key(&self) -> Option<TaskKey> {
        let labels = self.labels();
        let name = self.annotations().get(TASK_NAME_ANNOTATION).or_else(|| labels.get(TASK_LABEL))?;
        let namespace = labels.get(TASK_NAMESPACE_LABEL).cloned().or_else(|| self.namespace())?;
        Some(TaskKey::new(Group::KubeOpenCode, namespace, name.clone()))
    }

    /// The Agent that it runs with.
    pub(crate) fn pod_agent(&self) -> Option<AgentKey> {
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

    /// Whether all its containers are over for good.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Whether it is being deleted.
    pub(crate) fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Digest of the plan that it was made from.
    pub(crate) fn plan(&self) -> Option<&str> {
        self.annotations().get(PLAN_ANNOTATION).map(String::as_str)
    }

    /// Names of the ConfigMaps that the operator made for it: those of the volume `context-files`.
    pub(crate) fn context_config_maps(&self) -> Vec<&str> {
        let volumes = self.spec.volumes.iter().filter(|v| v.name == CONTEXT_FILES_VOLUME);
        let names = volumes.flat_map(|v| {
            let projected = v.projected.iter().flat_map(|p| &p.sources).filter_map(|s| s.config_map.as_ref());
            v.config_map.iter().chain(projected)
        });
        names.map(|n| n.name.as_str()).collect()
    }

    /// `metadata.uid`, empty before the API server gave one.
    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}
