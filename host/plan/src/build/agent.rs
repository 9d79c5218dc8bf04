//! The container that runs the agent, and environment variables as Kubernetes wants them.
//!
//! May touch: the layout. Must not touch: other containers.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, SecretEnvSource, SecretKeySelector,
};
use kubeopencode_api::literals::AGENT_CONTAINER;
use kubeopencode_api::plugin::{self, EnvSource};

use super::layout::{Layout, git_config_path};
use super::roots::clones;
use super::some;
use super::volumes::agent_mounts;
use crate::resolved::credentials::Env;

/// Images of agents are pulled like the system's own by default, whatever their tag.
pub(super) const PULL_POLICY: &str = "IfNotPresent";

/// The worker.
pub(super) fn container(layout: &Layout<'_>) -> Container {
    let resolved = layout.resolved;
    let literal = |words: &[String]| some(words.iter().map(|word| verbatim(word)).collect());
    let (command, args) = match resolved.argv.is_empty() {
        true => (literal(&layout.command.command), literal(&layout.command.args)),
        // the Agent's own words may use Kubernetes' `$(NAME)`
        false => (Some(resolved.argv.clone()), None),
    };
    let all_keys = resolved.credentials.iter().filter(|credential| credential.env == Some(Env::All));
    let env_from = all_keys.map(|credential| EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: credential.secret.clone(), optional: None }),
        ..EnvFromSource::default()
    });
    Container {
        name: AGENT_CONTAINER.to_owned(),
        image: Some(resolved.images.executor.clone()),
        image_pull_policy: Some(PULL_POLICY.to_owned()),
        command,
        args,
        working_dir: Some(resolved.workspace.as_str().to_owned()),
        env: Some(env(layout)),
        env_from: some(env_from.collect()),
        resources: resolved.pod.spec.resources.clone(),
        security_context: Some(resolved.pod.security_context()),
        volume_mounts: Some(agent_mounts(layout)),
        ..Container::default()
    }
}

/// The environment, in the order of the contract; the Agent's podSpec has the last word.
fn env(layout: &Layout<'_>) -> Vec<EnvVar> {
    let resolved = layout.resolved;
    let mut env = base_env(layout);
    env.extend(layout.command.env.iter().map(env_var));
    for credential in &resolved.credentials {
        if let Some(Env::Key { name, key }) = &credential.env {
            env.push(secret_var(name, &credential.secret, key, false));
        }
    }
    if clones(layout.contexts).next().is_some() {
        env.push(var("GIT_CONFIG_GLOBAL", &git_config_path()));
    }
    env.extend(layout.contexts.iter().flat_map(|context| &context.env).map(env_var));
    let last = &resolved.pod.spec.env;
    env.retain(|variable| last.iter().all(|other| other.name != variable.name));
    env.extend(last.iter().cloned());
    env
}

/// What the host itself sets.
pub(super) fn base_env(layout: &Layout<'_>) -> Vec<EnvVar> {
    let resolved = layout.resolved;
    vec![
        var("HOME", "/tmp"),
        var("SHELL", "/bin/bash"),
        var("TASK_NAME", &resolved.task.name),
        var("TASK_NAMESPACE", &resolved.task.namespace),
        var("WORKSPACE_DIR", resolved.workspace.as_str()),
    ]
}

/// A plugin's variable.
pub(super) fn env_var(variable: &plugin::EnvVar) -> EnvVar {
    match &variable.source {
        EnvSource::Value(value) => var(&variable.name, value),
        EnvSource::Secret(secret) => secret_var(&variable.name, &secret.name, &secret.key, secret.optional),
    }
}

/// A variable with exactly this value.
pub(super) fn var(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(verbatim(value)), value_from: None }
}

/// A variable from a key of a Secret.
pub(super) fn secret_var(name: &str, secret: &str, key: &str, optional: bool) -> EnvVar {
    let (secret, key) = (secret.to_owned(), key.to_owned());
    let selector = SecretKeySelector { name: secret, key, optional: optional.then_some(true) };
    let source = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

/// Kubelet expands `$(NAME)` in values and commands and reads `$$` as `$`: what must stay as it is doubles its `$`.
fn verbatim(text: &str) -> String {
    match text.contains("$(") || text.contains("$$") {
        true => text.replace('$', "$$"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::verbatim;

    #[test]
    fn values_survive_kubelets_expansion() {
        for (written, in_pod) in
            [("a $HOME b", "a $HOME b"), ("$(HOME)", "$$(HOME)"), ("$$x", "$$$$x"), ("$x $(y)", "$$x $$(y)")]
        {
            assert_eq!(verbatim(written), in_pod);
        }
    }
}
