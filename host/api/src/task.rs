//! Task: one run of an agent.

#![allow(clippy::duplicated_attributes, reason = "kube's derive wants one printcolumn a column")]

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::ContextItem;
use crate::group::Group;
use crate::names::{AgentKey, TaskKey, TaskUid};
use crate::report::Usage;

/// One run of an agent: a prompt and what the agent should know. It runs at most once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "kubeopencode.io",
    version = "v1alpha1",
    kind = "Task",
    plural = "tasks",
    shortname = "tk",
    namespaced,
    status = "TaskStatus",
    derive = "PartialEq",
    derive = "Default",
    category = "kubeopencode",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".status.agentRef.name"),
    printcolumn(name = "Pod", type_ = "string", json_path = ".status.podName"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Agent-NS", type_ = "string", json_path = ".status.agentRef.namespace", priority = 1),
    printcolumn(name = "Pod-NS", type_ = "string", json_path = ".status.podNamespace", priority = 1),
    printcolumn(name = "Queue", type_ = "integer", json_path = ".status.queuePosition", priority = 1),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration", priority = 1),
    selectable = ".status.phase"
)]
#[serde(rename_all = "camelCase")]
pub struct TaskSpec {
    /// The prompt; it becomes `task.md` in the workspace. With the text of `contexts` at most 1,048,576 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1048576))]
    pub description: Option<String>,
    /// Context for the agent, after the Agent's own; at most 64 items with those of the Agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub contexts: Vec<ContextItem>,
    /// The Agent: a name, or `{name, namespace}`. Default: `default` in the Task's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::agent_ref")]
    pub agent_ref: Option<Value>,
    /// Maximum duration from `status.startTime`, for example `90s` or `2h30m`; at least 1s. Default: `timeout` of the Agent.
    /// Then the Task fails, and its Pod is ended and kept with its logs, or deleted: `stopPolicy` of KubeOpenCodeConfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::duration")]
    pub timeout: Option<String>,
}

/// A duration as the API has it: hours, minutes and seconds, in this order, at least 1s. `None` where it is none, which
/// the API server refuses.
pub fn timeout_of(text: &str) -> Option<SignedDuration> {
    let (mut rest, mut seconds) = (text, 0);
    for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        if number.len() > 6 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        seconds += number.parse::<i64>().ok()? * length;
        rest = after;
    }
    (rest.is_empty() && seconds > 0).then(|| SignedDuration::from_secs(seconds))
}

/// The same as the flag of a program.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub fn timeout_flag(text: &str) -> Result<SignedDuration, String> {
    timeout_of(text).ok_or_else(|| format!("\"{text}\" is no duration; write it as 90s, 4m or 1h30m"))
}

impl Task {
    /// Namespace and name.
    pub fn key(&self) -> TaskKey {
        TaskKey::of(Group::KubeOpenCode, self)
    }

    /// `metadata.uid`, empty before the API server gave one.
    pub fn uid(&self) -> TaskUid {
        TaskUid(self.metadata.uid.clone().unwrap_or_default())
    }

    /// Its phase; Pending while no status says otherwise.
    pub fn phase(&self) -> Phase {
        self.status.as_ref().and_then(|status| status.phase).unwrap_or_default()
    }

    /// Whether it is over.
    pub fn is_terminal(&self) -> bool {
        self.phase().is_terminal()
    }

    /// UID of the one Pod that may run for it, once that is recorded.
    pub fn pod_uid(&self) -> Option<&str> {
        self.status.as_ref()?.pod_uid.as_deref()
    }

    /// Its conditions.
    pub fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    /// The Agent that its status names.
    pub fn recorded_agent(&self) -> Option<AgentKey> {
        self.status.as_ref()?.recorded_agent()
    }
}

/// Phase of a Task.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Phase {
    /// Not launched yet; a condition says what it waits for.
    #[default]
    Pending,
    /// Waits in the queue.
    Queued,
    /// Its Pod has been launched.
    Running,
    /// The agent succeeded, or the user stopped the Task.
    Completed,
    /// Anything else; the conditions say why.
    Failed,
}

impl Phase {
    /// Whether the Task is over: such a Task never changes again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// The word as it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        }
    }
}

/// Status of a Task. Conditions are the truth; `phase` is derived from them and never goes back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// `metadata.generation` that this status was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pending, Queued, Running, Completed or Failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Reason of the condition that decided the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Message of the condition that decided the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub message: Option<String>,
    /// The Agent that the Task runs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_ref: Option<AgentReference>,
    /// Name of the Task's Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pod_name: Option<String>,
    /// Namespace of the Task's Pod: the Agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub pod_namespace: Option<String>,
    /// UID of the one Pod that may run for this Task; never changes once set.
    #[serde(default, rename = "podUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pod_uid: Option<String>,
    /// When the Pod was launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the agent's container started. Where the Task is over and this is absent, the agent never ran, and the Task can
    /// safely be run again. Where nobody knows whether it ran, it is the time of the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_started: Option<Time>,
    /// When the Task ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Time from start to completion, for example `1m30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub duration: Option<String>,
    /// Position in the Agent's queue, 1 = next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<i64>,
    /// The plugins that the Pod was made with, by the digest of their bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub plugins: Vec<UsedPlugin>,
    /// What the agent reported at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
    /// Tokens and costs, as the agent reported them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Accepted, Contexts, Queued, Ready, Started, Succeeded, Stopped, Finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"], "maxItems" = 16))]
    pub conditions: Vec<Condition>,
}

impl TaskStatus {
    /// The Agent that it names.
    pub fn recorded_agent(&self) -> Option<AgentKey> {
        let agent = self.agent_ref.as_ref()?;
        Some(AgentKey::new(&agent.namespace, &agent.name))
    }
}

/// An Agent by name and namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct AgentReference {
    /// Name of the Agent.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Namespace of the Agent.
    #[schemars(length(max = 63))]
    pub namespace: String,
}

/// A plugin that a Task's Pod was made with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsedPlugin {
    /// The context type, or the name of the command builder.
    #[serde(rename = "type")]
    #[schemars(length(max = 253))]
    pub type_: String,
    /// `sha256:` and the digest of the component.
    #[schemars(length(max = 128))]
    pub digest: String,
    /// What the component says its version is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
}

/// What the agent reported at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskResult {
    /// The agent's last message, at most 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub summary: Option<String>,
    /// The agent's own error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_schema_allows_them() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("2h30m", Some(9000)),
            ("1m", Some(60)),
            ("0s", None),
            ("5", None),
            ("1d", None),
            ("", None),
            ("5 minutes", None),
            ("1.5h", None),
            ("500ms", None),
            ("30m2h", None),
            ("h", None),
            ("1000000s", None),
            ("999999h999999m999999s", Some(3_660_996_339)),
        ] {
            assert_eq!(timeout_of(text).map(|d| d.as_secs()), seconds, "{text}");
        }
    }
}
