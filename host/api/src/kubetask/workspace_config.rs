//! WorkspaceConfig of `kubetask.io`: how the Tasks of a namespace are executed.

#![allow(clippy::duplicated_attributes, reason = "kube's derive wants one printcolumn a column")]

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::context::Context;
use crate::agent::{Credential, Scheduling};

/// How the Tasks of a namespace are executed, and the context that they share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "kubetask.io",
    version = "v1alpha1",
    kind = "WorkspaceConfig",
    plural = "workspaceconfigs",
    namespaced,
    status = "WorkspaceConfigStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.agentImage"),
    printcolumn(name = "ServiceAccount", type_ = "string", json_path = ".spec.serviceAccountName"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceConfigSpec {
    /// Image that the agent runs in, by its own entrypoint. Default: OpenCode in the default executor image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub agent_image: Option<String>,
    /// Context for all Tasks, before that of Batch and Task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub default_contexts: Vec<Context>,
    /// ServiceAccount of the Pods. Default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Secrets for the agent, as environment variables or files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub credentials: Vec<Credential>,
    /// Further labels of the Pods. `app`, `kubetask.io/*` and `kubeopencode.io/*` are ignored, with a condition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "string", "maxLength": 63}, "maxProperties" = 64))]
    pub pod_labels: BTreeMap<String, String>,
    /// Where the Pods may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
}

/// Nothing yet; the subresource is there so that a later version may report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceConfigStatus {}
