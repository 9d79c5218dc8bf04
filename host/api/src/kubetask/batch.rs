//! Batch of `kubetask.io`: one Task for each list of contexts.

#![allow(clippy::duplicated_attributes, reason = "kube's derive wants one printcolumn a column")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::indexes::IndexSet;

/// Most Tasks of one Batch.
pub const MAX_TASKS: usize = 1000;

/// Many Tasks of one kind, each with contexts of its own. It runs once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "kubetask.io",
    version = "v1alpha1",
    kind = "Batch",
    plural = "batches",
    namespaced,
    status = "BatchStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.progress.total"),
    printcolumn(name = "Completed", type_ = "integer", json_path = ".status.progress.completed"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.progress.failed"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.progress.running", priority = 1),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.progress.pending", priority = 1),
    selectable = ".status.phase"
)]
#[serde(rename_all = "camelCase")]
pub struct BatchSpec {
    /// Context of all Tasks, after the WorkspaceConfig's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub common_context: Vec<Context>,
    /// One Task for each of these lists, which is its own context, after all other. At least one, at most 1000.
    #[schemars(length(min = 1, max = MAX_TASKS), inner(length(max = 64)))]
    pub variable_contexts: Vec<Vec<Context>>,
    /// Name of the WorkspaceConfig, in the Batch's namespace. Default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub workspace_config_ref: Option<String>,
    /// Maximum number of its Tasks that are not over at the same time, at least 1. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub parallelism: Option<i32>,
    /// Maximum duration of each of its Tasks, from that Task's `status.startTime`; at least 1s. Default: `defaults.timeout`
    /// of KubeOpenCodeConfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::duration")]
    pub timeout: Option<String>,
}

/// Phase of a Batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BatchPhase {
    /// None of its Tasks is launched yet.
    #[default]
    Pending,
    /// None is launched, and some wait for room in the namespace.
    Queued,
    /// Some of its Tasks run or are over.
    Running,
    /// The annotation `kubetask.io/pause` holds further Tasks back.
    Paused,
    /// All its Tasks are Completed.
    Completed,
    /// All its indexes are over and some Failed.
    Failed,
}

impl BatchPhase {
    /// Whether the Batch is over: it never changes again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        }
    }
}

/// Status of a Batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchStatus {
    /// Pending, Queued, Running, Paused, Completed or Failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<BatchPhase>,
    /// When it was started: from then on its spec cannot change. Its first Tasks are made after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When its last Task finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Number of its Tasks by phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// How many of its indexes were made, in their order: the Task of an index below this was made once, and is not made
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_TASKS))]
    pub made: Option<i32>,
    /// Indexes whose Task is Completed, as in `0-11,13`.
    #[serde(default, skip_serializing_if = "IndexSet::is_empty")]
    pub completed_indexes: IndexSet,
    /// Indexes whose Task is Failed, was deleted before its end, or could not be made because its name was taken; as in `12`.
    #[serde(default, skip_serializing_if = "IndexSet::is_empty")]
    pub failed_indexes: IndexSet,
    /// Conditions of the Batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"], "maxItems" = 16))]
    pub conditions: Vec<Condition>,
}

impl BatchStatus {
    /// How many of its indexes were made.
    pub fn made(&self) -> usize {
        self.made.and_then(|made| usize::try_from(made).ok()).unwrap_or_default()
    }

    /// Whether an index is over.
    pub fn is_over(&self, index: usize) -> bool {
        self.completed_indexes.contains(index) || self.failed_indexes.contains(index)
    }
}

/// Number of a Batch's Tasks by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// All of them, created or not.
    #[serde(default)]
    pub total: i32,
    /// Not launched yet, made or not.
    #[serde(default)]
    pub pending: i32,
    /// Running.
    #[serde(default)]
    pub running: i32,
    /// Completed.
    #[serde(default)]
    pub completed: i32,
    /// Failed, indexes without a Task of theirs among them.
    #[serde(default)]
    pub failed: i32,
}
