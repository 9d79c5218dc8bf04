//! KubeOpenCodeConfig: settings of the system, for the cluster or for a namespace.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the system. The one named `default` in a Task's namespace is read first, then the one in the
/// operator's, field by field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "kubeopencode.io",
    version = "v1alpha1",
    kind = "KubeOpenCodeConfig",
    plural = "kubeopencodeconfigs",
    shortname = "ktc",
    namespaced,
    status = "KubeOpenCodeConfigStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeOpenCodeConfigSpec {
    /// Image of the init containers. Read in the namespace where the Pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_image: Option<SystemImage>,
    /// When finished Tasks are deleted. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<Cleanup>,
    /// Seconds that a Task waits for an Agent, ConfigMap, ServiceAccount or plugin that is missing, 0 to 3600. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub dependency_grace_seconds: Option<i32>,
    /// Seconds after which a Pod that has not started fails the Task; 0 = never. Default 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub start_timeout_seconds: Option<i32>,
    /// What stopping a Task does with its Pod. Default `DeletePod`; `KeepPod` ends it and keeps its logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_policy: Option<StopPolicy>,
    /// Keep the agent's last words in `status.result.summary`. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_summary: Option<bool>,
    /// Whether the contexts of Tasks may name Secrets. Default `Allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_secret_refs: Option<TaskSecretRefs>,
}

/// Image of the init containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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

/// When finished Tasks are deleted. Both may be set: first the time, then the number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cleanup {
    /// Seconds after `status.completionTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Most finished Tasks that a namespace keeps; the oldest go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_retained_tasks: Option<i32>,
}

/// What stopping a Task does with its Pod: `DeletePod`, the default, deletes it and its logs; `KeepPod` ends it and
/// keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StopPolicy {
    /// Delete it gracefully; its logs are lost.
    #[default]
    DeletePod,
    /// End it and keep it with its logs.
    KeepPod,
}

/// Whether the contexts of Tasks may name Secrets. Default `Allow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaskSecretRefs {
    /// They may, in the Task's own namespace.
    #[default]
    Allow,
    /// They may not.
    Deny,
}

/// Nothing yet; the subresource is there so that a later version may report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KubeOpenCodeConfigStatus {}
