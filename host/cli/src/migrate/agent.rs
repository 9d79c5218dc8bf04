//! A WorkspaceConfig as an Agent.
//!
//! May touch: the WorkspaceConfig. Must not touch: Tasks.

use kubeopencode_api::agent::{Agent, AgentPodSpec, AgentSpec};
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_plan::frontend::kubeopencode::agent_alone;

use super::contexts::{items, normal};
use super::layers::MOVED;
use super::metadata::kept;
use super::objects::Read;
use super::run::settings;
use super::warnings::Warnings;
use crate::render::objects::Problems;

/// An Agent of the files, with the namespace that it goes to: what its Tasks are held against.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) agent: Agent,
    /// It was a WorkspaceConfig whose image runs its own entrypoint. There was a home of the image's own, and there need be no
    /// prompt.
    pub(super) had_entrypoint: bool,
}

/// The Agent that does what the WorkspaceConfig did.
///
/// # Errors
/// Contexts that cannot be.
pub(super) fn migrate(read: &Read<WorkspaceConfig>, warnings: &mut Warnings) -> Result<Agent, Problems> {
    let Read { place, object, value, .. } = read;
    let spec = &object.spec;
    let contexts = items(&spec.default_contexts, "spec.defaultContexts", place)?;
    if let Some(image) = &spec.agent_image {
        warnings.say(
            place,
            format!(
                "spec.agentImage: {image} is run by its own ENTRYPOINT, of which an Agent knows nothing: write it in \
                 spec.command, and remove spec.suspend, which holds the Tasks back until then. It works in a volume at \
                 /workspace, which hides what the image has there, and HOME is /tmp"
            ),
        );
    }
    for (field, item) in &contexts {
        match &item.mount_path {
            None => warnings.say(place, format!("{field}: it is for all Tasks, {MOVED}")),
            Some(path) if spec.agent_image.is_some() && is_in_a_home(path) => {
                warnings.say(place, format!("{field}: {}", home(path, "set HOME in spec.podSpec.env")));
            }
            Some(_) => {}
        }
    }
    let pod_spec = AgentPodSpec {
        labels: spec.pod_labels.clone(),
        scheduling: spec.scheduling.clone(),
        ..AgentPodSpec::default()
    };
    let agent = AgentSpec {
        executor_image: spec.agent_image.clone(),
        service_account_name: spec.service_account_name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned()),
        contexts: contexts.into_iter().map(|(_, item)| item).collect(),
        credentials: spec.credentials.clone(),
        pod_spec: Some(pod_spec).filter(|pod| *pod != AgentPodSpec::default()),
        suspend: spec.agent_image.is_some().then_some(true),
        ..AgentSpec::default()
    };
    let agent = Agent { metadata: kept(value, place, warnings), spec: agent, status: None };
    if let Err(refusal) = agent_alone(&placed(&agent, read), &settings()) {
        warnings.say(place, format!("spec: as it stands, no Task of it can run: {refusal}"));
    }
    Ok(agent)
}

/// The Agent in the namespace that it goes to.
pub(super) fn placed<K>(agent: &Agent, read: &Read<K>) -> Agent {
    let mut agent = agent.clone();
    agent.metadata.namespace = Some(read.key.namespace.clone());
    agent
}

/// Whether a program may look for the file by `~`.
pub(super) fn is_in_a_home(path: &str) -> bool {
    let path = normal(path);
    ["/home/", "/root/"].iter().any(|home| path.starts_with(home))
}

/// What is said of such a file.
pub(super) fn home(path: &str, remedy: &str) -> String {
    format!(
        "mountPath {path} lies in a home directory, and HOME is /tmp, not the image's: {remedy}, or no program finds it at ~"
    )
}
