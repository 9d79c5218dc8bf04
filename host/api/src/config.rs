//! KubeOpenCodeConfig: settings of the system, for the cluster or for a namespace.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::network::TaskNetwork;

/// Settings of the system. The one named `default` in a Task's namespace is read first, then the one in the
/// operator's, field by field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "kubeopencode.io",
    version = "v1alpha1",
    kind = "KubeOpenCodeConfig",
    plural = "kubeopencodeconfigs",
    shortname = "ktc",
    category = "kubeopencode",
    namespaced,
    status = "KubeOpenCodeConfigStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct KubeOpenCodeConfigSpec {
    /// Image of the init containers. Taken from the namespace where the Pod runs, then from the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_image: Option<SystemImage>,
    /// Retention of finished Tasks. Default: they are never deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<Cleanup>,
    /// Seconds that a Task waits for an Agent, ConfigMap, ServiceAccount or plugin that is missing, 0 to 3600. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub dependency_grace_seconds: Option<i32>,
    /// Seconds from the launch after which a Task fails whose agent has not started; 0 = never. Default 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub start_timeout_seconds: Option<i32>,
    /// What stopping a Task does with its Pod. Default `DeletePod`; `KeepPod` ends it and keeps its logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_policy: Option<StopPolicy>,
    /// Keep the agent's last message in `status.result.summary`. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_summary: Option<bool>,
    /// Whether the contexts of Tasks may name Secrets. Default `Allow`. `Deny` of the Task's namespace or of the operator's
    /// holds, whatever the other says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_secret_refs: Option<TaskSecretRefs>,
    /// Where Git and URL contexts of Tasks may be fetched from. Default: everywhere but loopback and link-local addresses. A
    /// namespace's own config can only allow less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_network: Option<TaskNetwork>,
}

/// Image of the init containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemImage {
    /// The image. Default `quay.io/kubeopencode/kubeopencode:latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,
    /// When it is pulled. Default `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
}

/// When an image is pulled. Default `IfNotPresent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// Before every start.
    Always,
    /// Never.
    Never,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
}

impl PullPolicy {
    /// The word as it stands in a Pod.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::Never => "Never",
            Self::IfNotPresent => "IfNotPresent",
        }
    }
}

/// Retention of finished Tasks. With both rules the time is applied first, then the number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cleanup {
    /// Seconds after `status.completionTime` until a finished Task is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Maximum number of finished Tasks that are kept in a namespace; the first to finish are deleted first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_retained_tasks: Option<i32>,
}

/// What stopping a Task does with its Pod: `DeletePod`, the default, deletes it and its logs; `KeepPod` ends it and
/// keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StopPolicy {
    /// Delete the Pod gracefully, and its logs with it.
    #[default]
    DeletePod,
    /// End the containers and keep the Pod with its logs.
    KeepPod,
}

/// Whether the contexts of Tasks may name Secrets. Default `Allow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaskSecretRefs {
    /// Secrets of the Task's own namespace.
    #[default]
    Allow,
    /// None.
    Deny,
}

/// Nothing yet; the subresource is there so that a later version may report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KubeOpenCodeConfigStatus {}
