//! KubeOpenCodeConfig: settings of the system, for the cluster or for a namespace.

#![allow(clippy::duplicated_attributes, reason = "kube's derive wants one printcolumn a column")]

use k8s_openapi::api::core::v1::{LocalObjectReference, PodSecurityContext, ResourceRequirements};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    printcolumn(name = "TTL", type_ = "integer", json_path = ".spec.cleanup.ttlSecondsAfterFinished"),
    printcolumn(name = "Retained", type_ = "integer", json_path = ".spec.cleanup.maxRetainedTasks"),
    printcolumn(name = "StopPolicy", type_ = "string", json_path = ".spec.stopPolicy"),
    printcolumn(name = "SecretRefs", type_ = "string", json_path = ".spec.taskSecretRefs"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.systemImage.image", priority = 1),
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
    /// What stopping a Task, and its timeout, do with its Pod: `DeletePod` deletes it and its logs, `KeepPod` ends it and
    /// keeps them. Default: `DeletePod` for a stop, `KeepPod` for a timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_policy: Option<StopPolicy>,
    /// Keep the agent's last message in `status.result.summary`. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_summary: Option<bool>,
    /// Whether the contexts of Tasks may name Secrets. Default `Allow`. `Deny` of the Task's namespace or of the operator's
    /// holds, whatever the other says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_secret_refs: Option<TaskSecretRefs>,
    /// What holds where an Agent does not say it. Taken from the namespace where the Pod runs, then from the operator's,
    /// field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
    /// The proxies behind which the cluster is, for every container of a Pod. Taken from the namespace where the Pod runs,
    /// then from the operator's, field by field; an empty text is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Certificate authorities that every container of a Pod trusts, in the place of those of its image: the bundle holds
    /// the public ones too where they are needed. Taken from the namespace where the Pod runs, then from the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// Where Git and URL contexts of Tasks may be fetched from. Default: everywhere but loopback and link-local addresses. A
    /// namespace's own config can only allow less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_network: Option<TaskNetwork>,
}

/// The proxies behind which the cluster is. A container gets them as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in upper
/// and lower case, unless the Agent sets the variable itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proxy {
    /// Proxy of http addresses, for example `http://proxy.example.com:3128`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub http: Option<String>,
    /// Proxy of https addresses; mostly the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub https: Option<String>,
    /// Hosts, domains (`.example.com`) and networks that are reached directly, separated by commas. YAML takes the word
    /// for a boolean: write the key in quotes, `"no"`. Those of the cluster
    /// itself are added: `localhost`, `127.0.0.1`, `::1`, `.svc`, the cluster's domain and its API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub no: Option<String>,
}

/// Certificate authorities in PEM form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// The key of a ConfigMap that holds them. It has to be in every namespace where Pods of agents run.
    pub config_map: CaBundleKey,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaBundleKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What holds where an Agent does not say it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Defaults {
    /// Image of the init container that copies the agent's program to `/tools`. Default
    /// `quay.io/kubeopencode/kubeopencode-agent-opencode:latest`, in a release its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub agent_image: Option<String>,
    /// Image that the agent runs in. Default `quay.io/kubeopencode/kubeopencode-agent-devbox:latest`, in a release its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub executor_image: Option<String>,
    /// Image of a Task's Pod that attaches to the server of a server-mode Agent. Default
    /// `quay.io/kubeopencode/kubeopencode-agent-attach:latest`, in a release its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub attach_image: Option<String>,
    /// When these images, and those that an Agent names, are pulled. Default: `Always` for the tag `latest` and without a
    /// tag, else `IfNotPresent`, which is the rule of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Secrets for pulling images, in the namespace where the Pod runs, for Agents that name none; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// `timeout` of Tasks that set none and whose Agent sets none, for example `2h`; at least 1s. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::duration")]
    pub timeout: Option<String>,
    /// `idleTimeout` of Agents that set none, for example `30m`; at least 1s. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::duration")]
    pub idle_timeout: Option<String>,
    /// Configuration of the agent's program, which an Agent's `config` is merged over: objects field by field, a null takes
    /// a field away, everything else replaces what stands here. Taken as a whole from one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::any_object")]
    pub config: Option<Value>,
    /// Resources of every container, for Agents that set none. Taken as a whole from one place.
    #[serde(default, deserialize_with = "crate::agent::resources", skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Security context of the Pod, for Agents that set none. Without it `fsGroup: 65532`; `{}` where the namespace's policy
    /// gives out groups, as OpenShift's does. Taken as a whole from one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
}

/// Image of the init containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemImage {
    /// The image. Default `quay.io/kubeopencode/kubeopencode:latest`, in a release its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,
    /// When it is pulled. Default `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
}

/// When an image is pulled. Default for the system image `IfNotPresent`; for others `Always` where the tag is `latest` or
/// missing, else `IfNotPresent`.
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
    /// Maximum number of finished Tasks that are kept in a namespace; the first to finish are deleted first. A Batch counts
    /// as one, and goes with its Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_retained_tasks: Option<i32>,
}

/// What becomes of the Pod of a Task that ends before its agent has: `DeletePod` deletes it and its logs, `KeepPod` ends it
/// and keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StopPolicy {
    /// Delete the Pod gracefully, and its logs with it.
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
