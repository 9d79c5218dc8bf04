//! Task of `kubetask.io`: one run of an agent, whose contexts alone say what to do.

#![allow(clippy::duplicated_attributes, reason = "kube's derive wants one printcolumn a column")]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::context::Context;
use crate::task::TaskStatus;

/// One run of an agent whose contexts say what to do. It runs at most once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "kubetask.io",
    version = "v1alpha1",
    kind = "Task",
    plural = "tasks",
    namespaced,
    status = "TaskStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Pod", type_ = "string", json_path = ".status.podName"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", priority = 1),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration", priority = 1),
    selectable = ".status.phase"
)]
#[serde(rename_all = "camelCase")]
pub struct TaskSpec {
    /// Context for the agent, after the WorkspaceConfig's. Files without a mountPath are joined into
    /// `/workspace/task.md`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub contexts: Vec<Context>,
    /// Name of the WorkspaceConfig, in the Task's namespace. Default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub workspace_config_ref: Option<String>,
    /// Maximum duration from `status.startTime`, for example `90s` or `2h30m`; at least 1s. Default: `defaults.timeout` of
    /// KubeOpenCodeConfig. Then the Task fails, and its Pod is ended and kept with its logs, or deleted: `stopPolicy` of
    /// KubeOpenCodeConfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::duration")]
    pub timeout: Option<String>,
}
