//! What says how the agent of a Task is run.

use std::borrow::Cow;

use kubeopencode_api::names::{AgentKey, ObjectKey};

/// What says how the agent of a Task is run. An Agent and a WorkspaceConfig of one name have nothing to do with each
/// other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Runner {
    /// An Agent, whose limits hold for its Tasks.
    Agent(AgentKey),
    /// A WorkspaceConfig in the Task's namespace, there or not. It has no limits.
    Workspace(ObjectKey),
}

impl Runner {
    /// The namespace that the Pod runs in.
    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Agent(agent) => &agent.namespace,
            Self::Workspace(workspace) => &workspace.namespace,
        }
    }

    /// The Agent, if it is one.
    pub(crate) fn agent(&self) -> Option<&AgentKey> {
        match self {
            Self::Agent(agent) => Some(agent),
            Self::Workspace(_) => None,
        }
    }

    /// What tells it from others of its namespace: its Tasks' Pods want the same resources.
    pub(crate) fn line(&self) -> Cow<'_, str> {
        match self {
            Self::Agent(agent) => Cow::Borrowed(&agent.name),
            // no name has a space in it
            Self::Workspace(workspace) => Cow::Owned(format!("WorkspaceConfig {}", workspace.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_config_is_never_taken_for_an_agent_of_its_name() {
        let agent = Runner::Agent(AgentKey::new("team", "default"));
        let workspace = Runner::Workspace(ObjectKey::new("team", "default"));
        assert_eq!((agent.namespace(), workspace.namespace()), ("team", "team"));
        assert_eq!(agent.agent().map(|agent| agent.name.as_str()), Some("default"));
        assert_eq!(workspace.agent(), None);
        assert_ne!(agent.line(), workspace.line());
    }
}
