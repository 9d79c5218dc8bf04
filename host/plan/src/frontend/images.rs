//! Which images the Pod's containers run.
//!
//! May touch: the image fields of Agent and settings.

use kubeopencode_api::agent::AgentSpec;
use kubeopencode_api::config::Defaults;
use kubeopencode_api::literals::{DEFAULT_AGENT_IMAGE, DEFAULT_ATTACH_IMAGE, DEFAULT_EXECUTOR_IMAGE};

/// The images that the Agent decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Images {
    /// Brings the agent's program; `None`: the builder's choice, else the default.
    pub(super) agent: Option<String>,
    /// That default.
    pub(super) default_agent: String,
    pub(super) executor: String,
    attach: String,
}

impl Images {
    /// An Agent's `agentImage` alone is the executor image: so it was before there were two. The settings never had one
    /// image for both.
    pub(super) fn new(spec: &AgentSpec, defaults: &Defaults) -> Self {
        let or = |default: &Option<String>, own: &str| default.clone().unwrap_or_else(|| own.to_owned());
        let set = |image: &Option<String>| image.clone().filter(|image| !image.is_empty());
        let (agent, executor) = match (set(&spec.agent_image), set(&spec.executor_image)) {
            (Some(agent), None) => (None, Some(agent)),
            both => both,
        };
        Self {
            agent,
            default_agent: or(&defaults.agent_image, DEFAULT_AGENT_IMAGE),
            executor: executor.unwrap_or_else(|| or(&defaults.executor_image, DEFAULT_EXECUTOR_IMAGE)),
            attach: set(&spec.attach_image)
                .unwrap_or_else(|| or(&defaults.attach_image, DEFAULT_ATTACH_IMAGE)),
        }
    }

    /// Those of an Agent that names none.
    pub(super) fn of_settings(defaults: &Defaults) -> Self {
        Self::new(&AgentSpec::default(), defaults)
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
            let images = Images::new(&spec, &Defaults::default());
            assert_eq!(images.clone().of_task(true), DEFAULT_ATTACH_IMAGE);
            (images.agent.clone(), images.of_task(false))
        };
        assert_eq!(images(None, None), (None, DEFAULT_EXECUTOR_IMAGE.into()));
        assert_eq!(images(Some("a"), None), (None, "a".into()));
        assert_eq!(images(None, Some("e")), (None, "e".into()));
        assert_eq!(images(Some("a"), Some("e")), (Some("a".into()), "e".into()));
    }

    #[test]
    fn the_settings_say_what_an_agent_leaves_out() {
        let defaults = Defaults {
            agent_image: Some("da".into()),
            executor_image: Some("de".into()),
            attach_image: Some("dt".into()),
            ..Defaults::default()
        };
        let images = Images::new(&AgentSpec::default(), &defaults);
        assert_eq!((images.agent.as_ref(), images.default_agent.as_str()), (None, "da"));
        assert_eq!((images.clone().of_task(false), images.of_task(true)), ("de".into(), "dt".into()));
        let spec = AgentSpec { agent_image: Some("a".into()), ..AgentSpec::default() };
        let images = Images::new(&spec, &defaults);
        assert_eq!((images.default_agent.clone(), images.of_task(false)), ("da".into(), "a".into()));
    }
}
