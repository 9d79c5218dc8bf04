//! A WorkspaceConfig as an Agent.
//!
//! May touch: the WorkspaceConfig. Must not touch: Tasks.

use kubeopencode_api::agent::{Agent, AgentPodSpec, AgentSpec};
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_plan::frontend::kubeopencode::agent_alone;

use super::contexts::{Becomes, Part, items, normal, parts};
use super::layers::{COPIED, MOVED};
use super::metadata::kept;
use super::objects::{ConfigMaps, Read};
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
    /// The texts of it that such a program looks for in the prompt: the beginning of each prompt.
    pub(super) texts: Vec<Part>,
}

/// The Agent that does what the WorkspaceConfig did, and what its Tasks are held against.
///
/// # Errors
/// Contexts that cannot be.
pub(super) fn migrate(
    read: &Read<WorkspaceConfig>,
    config_maps: &ConfigMaps,
    warnings: &mut Warnings,
) -> Result<(Agent, Known), Problems> {
    let Read { place, object, value, key } = read;
    let spec = &object.spec;
    let contexts = items(&spec.default_contexts, "spec.defaultContexts", place)?;
    let had_entrypoint = spec.agent_image.is_some();
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
    let mut texts = Vec::new();
    for part in parts(contexts.clone(), &key.namespace, config_maps) {
        let (field, path) = (&part.field, part.path());
        match (&part.becomes, path) {
            (_, Some(path)) if had_entrypoint && is_in_a_home(&path) => {
                warnings.say(place, format!("{field}: {}", home(&path, "set HOME in spec.podSpec.env")));
            }
            (_, Some(_)) => {}
            (Becomes::Text(_), None) if had_entrypoint => {
                warnings.say(place, format!("{field}: {COPIED}"));
                texts.push(part);
            }
            (Becomes::Item(_, Some(why)), None) if had_entrypoint => {
                warnings.say(place, format!("{field}: {why}, {MOVED}"));
            }
            (_, None) => warnings.say(place, format!("{field}: it is for all Tasks, {MOVED}")),
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
        suspend: had_entrypoint.then_some(true),
        ..AgentSpec::default()
    };
    let agent = Agent { metadata: kept(value, place, warnings), spec: agent, status: None };
    let mut placed = agent.clone();
    placed.metadata.namespace = Some(key.namespace.clone());
    if let Err(refusal) = agent_alone(&placed, &settings()) {
        warnings.say(place, format!("spec: as it stands, no Task of it can run: {refusal}"));
    }
    Ok((agent, Known { agent: placed, had_entrypoint, texts }))
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
