//! Agent: how Tasks are executed. Images, credentials, limits, shared context.

#![allow(clippy::duplicated_attributes, reason = "kube's derive wants one printcolumn a column")]

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, HostAlias, LocalObjectReference, PodDNSConfig, PodSecurityContext,
    ResourceRequirements, SecurityContext, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::config::PullPolicy;
use crate::context::ContextItem;
use crate::git::AgentGit;
use crate::literals::{DEFAULT_COMMAND_BUILDER, DEFAULT_SERVER_PORT, DEFAULT_WORKSPACE_DIR};

/// How Tasks are executed: images, credentials, limits and the context that they share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "kubeopencode.io",
    version = "v1alpha1",
    kind = "Agent",
    plural = "agents",
    shortname = "ag",
    category = "kubeopencode",
    namespaced,
    status = "AgentStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.running"),
    printcolumn(name = "Limit", type_ = "integer", json_path = ".spec.maxConcurrentTasks"),
    printcolumn(
        name = "Server",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='ServerReady')].status"
    ),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.executorImage", priority = 1),
    printcolumn(
        name = "ServiceAccount",
        type_ = "string",
        json_path = ".spec.serviceAccountName",
        priority = 1
    ),
    printcolumn(name = "Quota", type_ = "integer", json_path = ".spec.quota.maxTaskStarts", priority = 1),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// Image of the init container that copies the agent's program to `/tools`. Without `executorImage` it is the image
    /// that the agent runs in, and the default image provides the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub agent_image: Option<String>,
    /// Image that the agent runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub executor_image: Option<String>,
    /// Image of a Task's Pod that attaches to the server of a server-mode Agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub attach_image: Option<String>,
    /// When the images of the agent, its program and the plugins are pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Working directory of the agent. Default `/workspace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1024),
        regex(pattern = r"^/"),
        extend("x-kubernetes-validations" = [{
            "rule": "!self.matches('^/+(tools|git|tmp|proc|sys|dev)?/*$')",
            "message": "workspaceDir must not be /, /tools, /git, /tmp, /proc, /sys or /dev"
        }])
    )]
    pub workspace_dir: Option<String>,
    /// Replaces the command that the command builder makes. The exit code alone then decides how the Task ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("items" = {"type": "string", "maxLength": 65536}))]
    pub command: Vec<String>,
    /// Plugin that builds the agent's command. Default `opencode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::plugin::PLUGIN_NAME), length(max = 63))]
    pub command_builder: Option<String>,
    /// Configuration of the agent's program: an object, or JSON text, which is kept byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::any")]
    pub config: Option<Value>,
    /// Context for all Tasks of this Agent, before their own; at most 64 items with those of the Task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub contexts: Vec<ContextItem>,
    /// Secrets for the agent, as environment variables or files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub credentials: Vec<Credential>,
    /// What holds for Git in the agent's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<AgentGit>,
    /// Further settings of the Pod: labels, scheduling, runtime class, resources, security. At most 512 KiB as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_spec: Option<AgentPodSpec>,
    /// ServiceAccount of the Pods.
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: String,
    /// Globs (`*`, `?`, `[..]`) of the namespaces whose Tasks may use this Agent. Empty: all. The Agent's own is
    /// always allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("items" = {"type": "string", "maxLength": 253}))]
    pub allowed_namespaces: Vec<String>,
    /// Where contexts of Tasks may be mounted, as patterns (`*`, `?`, `[..]`): a place and all below it; a relative one lies
    /// under `workspaceDir`. Unset: Tasks of other namespaces in the workspace only, those of the Agent's own wherever no
    /// program and no setting of the image lies. `[]`: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("items" = {"type": "string", "minLength": 1, "maxLength": 1024}))]
    pub task_mount_paths: Option<Vec<String>>,
    /// Maximum number of Tasks that run at the same time, 0 to 1000; 0 or unset: unlimited, and with a quota 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub max_concurrent_tasks: Option<i32>,
    /// Maximum number of Tasks that start within a sliding window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// `timeout` of Tasks that set none: maximum duration from `status.startTime`, for example `90s` or `2h30m`; at least 1s.
    /// A change holds for Tasks that run, too. Default: `defaults.timeout` of KubeOpenCodeConfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::duration")]
    pub timeout: Option<String>,
    /// Duration without any output of the agent, for example `15m`, at least 1s, after which it is ended and its Task fails
    /// (`IdleTimeout`). An agent prints nothing while a tool of it works: choose it longer than that takes. It holds for Tasks
    /// that start later. Default: `defaults.idleTimeout` of KubeOpenCodeConfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::duration")]
    pub idle_timeout: Option<String>,
    /// No Task of this Agent starts while this is true: they are Queued with the reason `AgentSuspended`. What runs goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Runs a persistent server that Tasks attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_config: Option<ServerConfig>,
}

/// Most entries of `status.admitted`, and of `status.taskStartHistory`: the maximum of `maxConcurrentTasks` and
/// `quota.maxTaskStarts`. An entry has up to 435 bytes, so that both lists have 870 KB of the 1.5 MiB of an object in etcd.
pub const MAX_ENTRIES: usize = 1000;

impl AgentSpec {
    /// `workspaceDir`, or its default.
    pub fn workspace_dir(&self) -> &str {
        self.workspace_dir.as_deref().unwrap_or(DEFAULT_WORKSPACE_DIR)
    }

    /// `commandBuilder`, or its default.
    pub fn command_builder(&self) -> &str {
        self.command_builder.as_deref().unwrap_or(DEFAULT_COMMAND_BUILDER)
    }

    /// `maxConcurrentTasks`, if it limits anything.
    pub fn capacity(&self) -> Option<usize> {
        self.max_concurrent_tasks.and_then(|max| usize::try_from(max).ok()).filter(|max| *max > 0)
    }

    /// `suspend`, or its default.
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or(false)
    }

    /// Whether a Task needs a slot of this Agent before it starts.
    pub fn is_limited(&self) -> bool {
        self.capacity().is_some() || self.quota.is_some() || self.is_suspended()
    }
}

/// A Secret for the agent. No key and no mountPath: all keys as environment variables. No key, with mountPath: a
/// directory of all keys. A key with `env`, `mountPath` or both: that variable, that file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// Name of the credential, unique in the Agent.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The Secret, in the Agent's namespace.
    pub secret_ref: SecretRef,
    /// Environment variable that gets the key's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub env: Option<String>,
    /// File that gets the key's value, or directory that gets all keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub mount_path: Option<String>,
    /// Permission bits of the files, 0 to 0777. Default 0600, or 0444 in a Pod without `fsGroup`: readable by the agent's
    /// user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub file_mode: Option<i32>,
}

/// A Secret, or one key of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One key; without it, all keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Further settings of the Pods of Tasks and of the server, passed on unchanged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentPodSpec {
    /// Further labels. `app` and `kubeopencode.io/*` are ignored, with the condition reason `LabelsIgnored`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "string", "maxLength": 63}, "maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Further annotations, at most 64 of at most 32768 characters. `kubectl.kubernetes.io/default-container` and
    /// `kubeopencode.io/*` are ignored, with the condition reason `LabelsIgnored`. Pods of Tasks have
    /// `cluster-autoscaler.kubernetes.io/safe-to-evict: "false"` and `karpenter.sh/do-not-disrupt: "true"` unless another
    /// value stands here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "string", "maxLength": 32768}, "maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Where the Pod may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// How Pods spread over the cluster, as in a Pod; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Name of the scheduler. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub scheduler_name: Option<String>,
    /// Name of the PriorityClass. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Seconds that the containers have to end, 1 to 86400. Default: 30, which is Kubernetes' own, and 10 of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub termination_grace_period_seconds: Option<i64>,
    /// Name of the RuntimeClass, for example `gvisor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub runtime_class_name: Option<String>,
    /// Resources of every container, init containers too. These run one after the other, before the agent, so the Pod as a
    /// whole asks for no more than one of them. At most 8 KiB as JSON. Default: `defaults.resources` of KubeOpenCodeConfig.
    #[serde(default, deserialize_with = "resources", skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Security context of every container; replaces the default. At most 8 KiB as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Security context of the Pod; replaces the default, which is `defaults.podSecurityContext` of KubeOpenCodeConfig, else
    /// `fsGroup: 65532`, and nothing where `securityContext.runAsUser` is 0: root needs no group, and with one ssh refuses
    /// its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Secrets for pulling images. Default: `defaults.imagePullSecrets` of KubeOpenCodeConfig.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Further environment variables of the agent's container; they win over those that KubeOpenCode sets. Init containers
    /// get `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` and `ALL_PROXY` of them, in either spelling, and those that name
    /// certificate authorities (`SSL_CERT_FILE`, `GIT_SSL_CAINFO`, …) where one of `volumeMounts` holds the file; these have
    /// at most 8 KiB as JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Further volumes; at most 64.
    #[serde(default, deserialize_with = "volumes", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub volumes: Vec<Volume>,
    /// Further volume mounts of the agent's container, each of at most 4 KiB as JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Further lines of the containers' `/etc/hosts`, as in a Pod; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub host_aliases: Vec<HostAlias>,
    /// Name servers, search domains and options beside those of the cluster, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<PodDNSConfig>,
}

/// Where a Pod may run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "string", "maxLength": 63}, "maxProperties" = 64))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the Pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Affinity of the Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
}

/// Maximum number of Task starts within a sliding window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Starts within the window, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub max_task_starts: i32,
    /// Length of the window in seconds, 60 to 86400.
    #[schemars(range(min = 60, max = 86400))]
    pub window_seconds: i32,
}

/// A persistent server that Tasks attach to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerConfig {
    /// Port of the server. Default 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Key of a Secret with the server's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<PasswordRef>,
}

impl ServerConfig {
    /// `port`, or its default.
    pub fn port(&self) -> u16 {
        self.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_SERVER_PORT)
    }
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Status of an Agent: the Tasks that hold its slots, and its server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Tasks that hold a slot, one entry per Task UID. Written before the Pod is created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub admitted: Vec<TaskStart>,
    /// Number of `admitted`, for people: absent while the Agent never had a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<i64>,
    /// Starts within the quota's window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub task_start_history: Vec<TaskStart>,
    /// The server of a server-mode Agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_status: Option<ServerStatus>,
    /// Accepted; with a server also ServerReady and ServerHealthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"], "maxItems" = 16))]
    pub conditions: Vec<Condition>,
}

/// A Task that was admitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStart {
    /// `metadata.uid` of the Task.
    #[serde(rename = "taskUID", default)]
    #[schemars(length(max = 64))]
    pub task_uid: String,
    /// Namespace of the Task.
    #[schemars(length(max = 63))]
    pub task_namespace: String,
    /// Name of the Task.
    #[schemars(length(max = 253))]
    pub task_name: String,
    /// When it was admitted.
    pub start_time: Time,
}

/// The server of a server-mode Agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Name of the Deployment.
    #[schemars(length(max = 253))]
    pub deployment_name: String,
    /// Name of the Service.
    #[schemars(length(max = 63))]
    pub service_name: String,
    /// Address of the server inside the cluster.
    #[schemars(length(max = 512))]
    pub url: String,
    /// Number of ready replicas.
    #[serde(default)]
    pub ready_replicas: i32,
}

/// Reads resources as the API server takes them: `cpu: 2` is as good as `cpu: "2"`.
pub(crate) fn resources<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ResourceRequirements>, D::Error> {
    let Some(mut value) = Option::<Value>::deserialize(deserializer)? else { return Ok(None) };
    for part in ["limits", "requests"] {
        let Some(quantities) = value.get_mut(part).and_then(Value::as_object_mut) else { continue };
        for quantity in quantities.values_mut() {
            if let Value::Number(number) = quantity {
                *quantity = Value::String(number.to_string());
            }
        }
    }
    serde_json::from_value(value).map(Some).map_err(serde::de::Error::custom)
}

/// Most entries of `podSpec.volumes`. One takes 3 KB in memory, however little was written of it.
const MAX_VOLUMES: usize = 64;

/// Reads no more volumes than there may be.
fn volumes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Volume>, D::Error> {
    deserializer.deserialize_seq(Volumes)
}

struct Volumes;

impl<'de> Visitor<'de> for Volumes {
    type Value = Vec<Volume>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut volumes = Vec::new();
        while let Some(volume) = entries.next_element()? {
            if volumes.len() == MAX_VOLUMES {
                return Err(A::Error::custom(format!("at most {MAX_VOLUMES} volumes are allowed")));
            }
            volumes.push(volume);
        }
        Ok(volumes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_may_be_written_as_numbers() {
        let spec: AgentPodSpec =
            serde_json::from_str(r#"{"resources": {"limits": {"cpu": 2, "memory": "1Gi"}}}"#).unwrap();
        let limits = spec.resources.unwrap().limits.unwrap();
        assert_eq!((limits["cpu"].0.as_str(), limits["memory"].0.as_str()), ("2", "1Gi"));
    }

    #[test]
    fn more_volumes_than_there_may_be_are_not_read() {
        let read = |number: usize| {
            let volumes = vec![serde_json::json!({"name": "v"}); number];
            serde_json::from_value::<AgentPodSpec>(serde_json::json!({"volumes": volumes}))
        };
        assert_eq!(read(MAX_VOLUMES).unwrap().volumes.len(), 64);
        assert_eq!(read(MAX_VOLUMES + 1).unwrap_err().to_string(), "at most 64 volumes are allowed");
    }
}
