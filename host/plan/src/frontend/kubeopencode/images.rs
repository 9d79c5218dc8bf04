//! Which images the Pod's containers run.
//!
//! May touch: the Agent's image fields.

use kubeopencode_api::agent::AgentSpec;
use kubeopencode_api::literals::{DEFAULT_ATTACH_IMAGE, DEFAULT_EXECUTOR_IMAGE};

/// The images that the Agent decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Images {
    /// Brings the agent's program; `None`: the builder's choice, else the default.
    pub(super) agent: Option<String>,
    pub(super) executor: String,
    attach: String,
}

impl Images {
    /// `agentImage` alone is the executor image: so it was before there were two.
    pub(super) fn new(spec: &AgentSpec) -> Self {
        let set = |image: &Option<String>| image.clone().filter(|image| !image.is_empty());
        let (agent, executor) = match (set(&spec.agent_image), set(&spec.executor_image)) {
            (Some(agent), None) => (None, Some(agent)),
            both => both,
        };
        Self {
            agent,
            executor: executor.unwrap_or_else(|| DEFAULT_EXECUTOR_IMAGE.to_owned()),
            attach: set(&spec.attach_image).unwrap_or_else(|| DEFAULT_ATTACH_IMAGE.to_owned()),
        }
    }

    /// What the agent's program of a Task runs in, or its client of a server.
    pub(super) fn of_task(self, attaches: bool) -> String {
        if attaches { self.attach } else { self.executor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_image_alone_is_the_executor() {
        let images = |agent: Option<&str>, executor: Option<&str>| {
            let spec = AgentSpec {
                agent_image: agent.map(Into::into),
                executor_image: executor.map(Into::into),
                ..AgentSpec::default()
            };
            let images = Images::new(&spec);
            assert_eq!(images.clone().of_task(true), DEFAULT_ATTACH_IMAGE);
            (images.agent.clone(), images.of_task(false))
        };
        assert_eq!(images(None, None), (None, DEFAULT_EXECUTOR_IMAGE.into()));
        assert_eq!(images(Some("a"), None), (None, "a".into()));
        assert_eq!(images(None, Some("e")), (None, "e".into()));
        assert_eq!(images(Some("a"), Some("e")), (Some("a".into()), "e".into()));
    }
}
