//! Environment variables: the agent's in the order of docs/contract.md, section 4, and all of them as Kubernetes
//! wants them.
//!
//! May touch: checked input. Must not touch: which names a plugin may use, which `validate` decides.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use kubeopencode_api::literals::SERVER_PASSWORD;
use kubeopencode_api::plugin::{self, EnvSource};

use super::layout::git_config_path;
use super::network;
use super::optional::Obstacle;
use crate::evaluated::Evaluated;
use crate::run::credential::CredentialEnv;
use crate::run::{Server, Subject};
use crate::{Command, Refusal, Run};

/// The agent's environment. Nobody may set what somebody else has set, but the Agent's podSpec has the last word.
pub(super) fn agent_env(
    run: &Run,
    contexts: &[Evaluated],
    command: &Command,
) -> Result<Vec<EnvVar>, Obstacle> {
    let mut env = Environment::default();
    let config = |twice: SetTwice| Refusal::invalid_config(twice.message);
    for variable in base_env(run) {
        env.add(variable, "KubeOpenCode", None).map_err(config)?;
    }
    let builder = format!("command builder \"{}\"", run.agent.builder);
    for variable in &command.env {
        env.add(env_var(variable), &builder, None)
            .map_err(|twice| Refusal::builder(&run.agent.builder, twice.message))?;
    }
    for credential in &run.agent.credentials {
        if let Some(CredentialEnv::Key { name, key }) = &credential.env {
            let variable = secret_var(name, &credential.secret, key, false);
            env.add(variable, &credential.described, None).map_err(config)?;
        }
    }
    if let Some(variable) = run.server().and_then(server_password) {
        env.add(variable, &format!("spec.serverConfig of {}", run.agent.described), None).map_err(config)?;
    }
    if let Some(path) = git_config_path(run, contexts) {
        env.add(var("GIT_CONFIG_GLOBAL", &path), "KubeOpenCode", None).map_err(config)?;
    }
    let last = &run.agent.pod.env;
    for (i, context) in contexts.iter().enumerate() {
        let refuse = |SetTwice { message, other }: SetTwice| Obstacle {
            refusal: context.item.plan_refused(message),
            contexts: other.into_iter().chain([i]).collect(),
        };
        for variable in &context.env {
            if last.iter().any(|own| own.name == variable.name) {
                let message = format!("environment variable {} is set by the Agent already", variable.name);
                return Err(refuse(SetTwice { message, other: None }));
            }
            let by = context.item.to_string();
            env.add(env_var(variable), &by, Some(i)).map_err(refuse)?;
        }
    }
    let mut env = env.variables;
    env.retain(|variable| last.iter().all(|own| own.name != variable.name));
    env.extend(last.iter().cloned());
    Ok(network::with_defaults(run, env))
}

/// Variables and who set them.
#[derive(Default)]
struct Environment {
    variables: Vec<EnvVar>,
    by: HashMap<String, (String, Option<usize>)>,
}

/// A variable that somebody has set already.
struct SetTwice {
    message: String,
    /// Place of the context that has.
    other: Option<usize>,
}

impl Environment {
    fn add(&mut self, variable: EnvVar, by: &str, context: Option<usize>) -> Result<(), SetTwice> {
        if let Some((before, other)) = self.by.insert(variable.name.clone(), (by.to_owned(), context)) {
            let message = format!(
                "environment variable {} is set by both {before} and {by}: change one of them",
                variable.name
            );
            return Err(SetTwice { message, other });
        }
        self.variables.push(variable);
        Ok(())
    }
}

/// What the host itself sets.
pub(super) fn base_env(run: &Run) -> Vec<EnvVar> {
    let conventions = run.conventions;
    let mut env: Vec<_> = conventions.base_env.iter().map(|(name, value)| var(name, value)).collect();
    if let Subject::Task(task) = &run.subject {
        env.push(var("TASK_NAME", &task.key.name));
        env.push(var("TASK_NAMESPACE", &task.key.namespace));
    }
    if let Some(workspace) = &conventions.workspace {
        env.push(var(workspace.variable, run.agent.workspace.as_str()));
    }
    env
}

/// What the server asks of its clients.
fn server_password(server: &Server) -> Option<EnvVar> {
    let password = server.password.as_ref()?;
    Some(secret_var(SERVER_PASSWORD, &password.name, &password.key, false))
}

/// A plugin's variable.
pub(super) fn env_var(variable: &plugin::EnvVar) -> EnvVar {
    match &variable.source {
        EnvSource::Value(value) => var(&variable.name, value),
        EnvSource::Secret(secret) => secret_var(&variable.name, &secret.name, &secret.key, secret.optional),
        // the validator lets none through
        EnvSource::Extended(_) => var(&variable.name, ""),
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
pub(super) fn verbatim(text: &str) -> String {
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
