//! The container that runs the agent.
//!
//! May touch: the layout. Must not touch: other containers.

use k8s_openapi::api::core::v1::{Container, EnvFromSource, SecretEnvSource};
use kubeopencode_api::literals::AGENT_CONTAINER;

use super::env::verbatim;
use super::layout::Layout;
use super::reader;
use super::some;
use super::volumes::agent_mounts;
use crate::run::credential::CredentialEnv;

/// Images of agents are pulled like the system's own by default, whatever their tag.
pub(super) const PULL_POLICY: &str = "IfNotPresent";

/// The worker; the Agent's server is one too, under another name.
pub(super) fn container(layout: &Layout<'_>) -> Container {
    let run = layout.run;
    let literal = |words: &[String]| some(words.iter().map(|word| verbatim(word)).collect());
    let (command, args) = match run.agent.argv.is_empty() {
        true => (literal(&layout.command.command), literal(&layout.command.args)),
        // the Agent's own words may use Kubernetes' `$(NAME)`
        false => (Some(run.agent.argv.clone()), None),
    };
    let command = match reader::is_guarded(run, layout.command) {
        true => command.map(|command| reader::guard().into_iter().chain(command).collect()),
        false => command,
    };
    let all_keys =
        run.agent.credentials.iter().filter(|credential| credential.env == Some(CredentialEnv::All));
    let env_from = all_keys.map(|credential| EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: credential.secret.clone(), optional: None }),
        ..EnvFromSource::default()
    });
    Container {
        name: AGENT_CONTAINER.to_owned(),
        image: Some(run.agent.image.clone()),
        image_pull_policy: Some(PULL_POLICY.to_owned()),
        command,
        args,
        working_dir: run.working_dir(),
        env: Some(layout.env.clone()),
        env_from: some(env_from.collect()),
        resources: run.agent.pod.resources.clone(),
        security_context: Some(run.agent.pod.security_context()),
        volume_mounts: Some(agent_mounts(layout)),
        ..Container::default()
    }
}
