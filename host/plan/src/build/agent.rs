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
use crate::run::Run;
use crate::run::credential::CredentialEnv;

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
        image_pull_policy: pull_policy(run),
        command,
        args,
        working_dir: run.working_dir(),
        env: Some(layout.env.clone()),
        env_from: some(env_from.collect()),
        resources: run.agent.pod.resources.clone(),
        security_context: Some(run.agent.pod.security_context()),
        volume_mounts: some(agent_mounts(layout)),
        ..Container::default()
    }
}

/// Of every image but the system's. Left out, the API server decides by the tag: `Always` for `latest` and for none.
pub(super) fn pull_policy(run: &Run) -> Option<String> {
    run.agent.image_pull_policy.map(|policy| policy.as_str().to_owned())
}
