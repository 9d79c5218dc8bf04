//! Batch of `kubetask.io`: one Task for each list of contexts.

#![allow(clippy::duplicated_attributes, reason = "kube's derive wants one printcolumn a column")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::context::Context;

/// Many Tasks of one kind, each with contexts of its own. It runs once. Nothing acts on it yet.
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
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.progress.pending", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct BatchSpec {
    /// Context of all Tasks, after the WorkspaceConfig's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub common_context: Vec<Context>,
    /// One Task for each of these lists, which is its own context, after all other. At least one, at most 1000.
    #[schemars(length(min = 1, max = 1000), inner(length(max = 64)))]
    pub variable_contexts: Vec<Vec<Context>>,
    /// Name of the WorkspaceConfig, in the Batch's namespace. Default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub workspace_config_ref: Option<String>,
    /// Maximum number of Tasks that run at the same time, at least 1. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub parallelism: Option<i32>,
}

/// Phase of a Batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BatchPhase {
    /// None of its Tasks is created yet.
    #[default]
    Pending,
    /// Its Tasks wait in the queue.
    Queued,
    /// Its Tasks run.
    Running,
    /// The annotation `kubetask.io/pause` holds further Tasks back.
    Paused,
    /// All its Tasks are Completed.
    Completed,
    /// All its Tasks are finished and some Failed.
    Failed,
}

/// Status of a Batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchStatus {
    /// Pending, Queued, Running, Paused, Completed or Failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<BatchPhase>,
    /// When its first Tasks were created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When its last Task finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Number of its Tasks by phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Conditions of the Batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"], "maxItems" = 16))]
    pub conditions: Vec<Condition>,
}

/// Number of a Batch's Tasks by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// All of them, created or not.
    #[serde(default)]
    pub total: i32,
    /// Not launched yet.
    #[serde(default)]
    pub pending: i32,
    /// Running.
    #[serde(default)]
    pub running: i32,
    /// Completed.
    #[serde(default)]
    pub completed: i32,
    /// Failed.
    #[serde(default)]
    pub failed: i32,
}
