//! Why a Task cannot go on as it is, in the words that users see.
//!
//! May touch: words. Must not touch: the decision whether waiting may help, which is the operator's.

use kubeopencode_api::condition::{Reason, TaskCondition};
use kubeopencode_api::names::AgentKey;

/// Why a Task cannot go on as it is: what stands in its conditions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The condition that becomes False.
    pub condition: TaskCondition,
    /// Its reason.
    pub reason: Reason,
    /// Its message: object, field and remedy.
    pub message: String,
}

impl Refusal {
    /// The Agent is missing, or this Task must not use it.
    pub fn agent(message: impl Into<String>) -> Self {
        Self { condition: TaskCondition::Accepted, reason: Reason::AgentError, message: message.into() }
    }

    /// There is no such Agent.
    pub fn agent_not_found(agent: &AgentKey) -> Self {
        let AgentKey { namespace, name } = agent;
        Self::agent(format!(
            "agent \"{name}\" not found in namespace \"{namespace}\": create it, or name another in spec.agentRef"
        ))
    }

    /// The operator does not look where the Agent is.
    pub fn agent_not_watched(agent: &AgentKey) -> Self {
        let AgentKey { namespace, name } = agent;
        Self::agent(format!(
            "agent \"{name}\" is in namespace \"{namespace}\", which this operator does not watch: name another in spec.agentRef, or \
             add the namespace to watchNamespaces of the chart"
        ))
    }

    /// The WorkspaceConfig is missing, or makes no sense.
    pub fn workspace_config(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { condition: TaskCondition::Accepted, reason: Reason::WorkspaceConfigError, message }
    }

    /// The spec of Task or Agent makes no sense.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self { condition: TaskCondition::Accepted, reason: Reason::InvalidConfig, message: message.into() }
    }

    /// A context cannot be resolved.
    pub fn context(message: impl Into<String>) -> Self {
        Self { condition: TaskCondition::Contexts, reason: Reason::ContextError, message: message.into() }
    }

    /// A plugin is missing, failed, or asked for what it must not have.
    pub fn plugin(message: impl Into<String>) -> Self {
        Self { condition: TaskCondition::Contexts, reason: Reason::PluginError, message: message.into() }
    }

    /// The command builder asked for what it must not have.
    pub(crate) fn builder(name: &str, message: impl std::fmt::Display) -> Self {
        Self {
            condition: TaskCondition::Ready,
            reason: Reason::PluginError,
            message: format!("command builder \"{name}\": {message}"),
        }
    }
}
