//! Command builder `opencode`: the OpenCode agent as a process of its own, as a client, and as a server.

use kubeopencode_plugin_sdk::{
    About, BuildRequest, CommandBuilder, CommandPlan, Diagnostic, EnvVar, PluginError, ServeRequest, Server,
    ServerPlan, Severity, quoted, server_builder,
};
use serde_json::{Value, json};

/// Every address of the Pod: `::` takes connections of both families, where the kernel knows IPv6 at all.
const EVERYWHERE: &str = "`test -e /proc/net/if_inet6 && echo :: || echo 0.0.0.0`";

/// The plugin.
pub struct OpenCode;

impl CommandBuilder for OpenCode {
    const ABOUT: About = About {
        name: "opencode",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        ..About::NOTHING
    };

    fn build(request: &BuildRequest) -> Result<CommandPlan, PluginError> {
        let prompt =
            request.prompt_path.as_deref().ok_or_else(|| nothing_to_do(&request.agent.workspace_dir))?;
        let program = Program { tools_dir: &request.tools_dir };
        // the prompt comes on stdin: as an argument, one that starts with `-` would be read as an option, and
        // the kernel takes no argument of more than 128 KiB
        let run = match &request.attach_to {
            None => format!("{} run < {}", program.path(), quoted(prompt)),
            Some(url) => {
                format!("{} run --attach {} < {}", program.path(), quoted(url), quoted(prompt))
            }
        };
        let command = format!("exec {} agent-run -- {run}", program.reader());
        let env = environment(
            &request.agent.workspace_dir,
            request.context_path.as_deref(),
            request.config.as_deref(),
            request.config_path.as_deref(),
        )?;
        let mut plan = CommandPlan::new(["sh", "-c", &command], env);
        plan.result_reader = Some(result_reader(request).to_string());
        plan.diagnostics.extend(model_not_set(request.config.as_deref())?);
        Ok(plan)
    }
}

impl Server for OpenCode {
    fn serve(request: &ServeRequest) -> Result<ServerPlan, PluginError> {
        let program = Program { tools_dir: &request.tools_dir };
        let command = format!("{} serve --port {} --hostname {EVERYWHERE}", program.path(), request.port);
        let env = environment(
            &request.agent.workspace_dir,
            request.context_path.as_deref(),
            request.config.as_deref(),
            request.config_path.as_deref(),
        )?;
        let command = CommandPlan::new(["sh", "-c", &command], env);
        Ok(ServerPlan { command, health_path: Some("/session/status".to_owned()) })
    }
}

struct Program<'a> {
    tools_dir: &'a str,
}

impl Program<'_> {
    fn path(&self) -> String {
        quoted(&format!("{}/opencode", self.tools_dir)).into_owned()
    }

    /// The result reader, which the host puts beside the program.
    fn reader(&self) -> String {
        quoted(&format!("{}/kubeopencode", self.tools_dir)).into_owned()
    }
}

fn nothing_to_do(workspace_dir: &str) -> PluginError {
    PluginError::invalid_config(format!(
        "the Task has nothing to do: set spec.description, or mount a context at {workspace_dir}/task.md"
    ))
}

fn environment(
    workspace_dir: &str,
    context_path: Option<&str>,
    config: Option<&str>,
    config_path: Option<&str>,
) -> Result<Vec<EnvVar>, PluginError> {
    let mut env = Vec::new();
    if let Some(path) = config_path {
        env.push(EnvVar::value("OPENCODE_CONFIG", path));
    }
    if !sets_permission(config)? {
        // nobody is there to answer a question
        env.push(EnvVar::value("OPENCODE_PERMISSION", json!({"*": "allow"}).to_string()));
    }
    // what lies in the workspace comes from a Task or a repository: its settings and plugins would win over the Agent's
    env.push(EnvVar::value("OPENCODE_DISABLE_PROJECT_CONFIG", "1"));
    env.push(EnvVar::value("OPENCODE_CONFIG_CONTENT", instructions(workspace_dir, context_path).to_string()));
    Ok(env)
}

/// The texts that the model is given besides the prompt: the contexts, and the project's own, which are no settings.
///
/// Absolute: without the project's configuration OpenCode 1.18 looks for relative ones in its own configuration
/// directory, and says nothing when they are not there. One that is missing is left out.
fn instructions(workspace_dir: &str, context_path: Option<&str>) -> Value {
    let projects = format!("{}/AGENTS.md", workspace_dir.trim_end_matches('/'));
    let texts: Vec<&str> = context_path.into_iter().chain([projects.as_str()]).collect();
    json!({"instructions": texts})
}

fn sets_permission(config: Option<&str>) -> Result<bool, PluginError> {
    Ok(parsed(config)?.get("permission").is_some())
}

/// Without a model OpenCode takes one of those that it knows, a hosted one, and nobody is asked.
fn model_not_set(config: Option<&str>) -> Result<Option<Diagnostic>, PluginError> {
    let config = parsed(config)?;
    let is_set =
        |pointer| config.pointer(pointer).and_then(Value::as_str).is_some_and(|model| !model.is_empty());
    let diagnostic = Diagnostic {
        severity: Severity::Warning,
        code: "ModelNotSet".into(),
        message: "config names no model, so OpenCode takes a hosted one of its own choice, and sends it prompt and code: \
                  set model in spec.config of the Agent, or in spec.defaults.config of KubeOpenCodeConfig"
            .into(),
    };
    Ok((!is_set("/model") && !is_set("/agent/build/model")).then_some(diagnostic))
}

/// The Agent's configuration; null where there is none.
fn parsed(config: Option<&str>) -> Result<Value, PluginError> {
    serde_json::from_str(config.unwrap_or("null"))
        .map_err(|e| PluginError::invalid_config(format!("invalid JSON in Agent config: {e}")))
}

/// OpenCode's `--format json`: one event a line.
fn result_reader(request: &BuildRequest) -> Value {
    let mut reader = json!({
        "format": "json-lines",
        // its own log says on stderr what an error event often leaves out, and nothing when all is well
        "args": ["--format", "json", "--print-logs", "--log-level", "ERROR"],
        "rules": [
            {"when": {"/part/type": "text"}, "print": "/part/text", "summary": "/part/text"},
            {"when": {"/part/type": "step-start"}},
            {"when": {"/part/type": "tool"}, "print": "/part/state/title"},
            {"when": {"/type": "error"}, "error": ["/error/data/message", "/error/name"]},
            {"when": {"/part/type": "step-finish"}, "usage": {
                "inputTokens": "/part/tokens/input",
                "outputTokens": "/part/tokens/output",
                "reasoningTokens": "/part/tokens/reasoning",
                "cacheReadTokens": "/part/tokens/cache/read",
                "costUSD": "/part/cost",
            }},
        ],
    });
    if request.attach_to.is_some() {
        reader["session"] = session(&request.task.namespace, &request.task.name);
    }
    reader
}

/// A client leaves as soon as its prompt is answered, often before it has printed the answer, and what it asked for goes
/// on without it (OpenCode 1.18: anomalyco/opencode#38661). One that misses the end of its answer waits for ever. So the
/// session is opened, read and aborted from outside, and a client whose session is idle is ended.
fn session(namespace: &str, task: &str) -> Value {
    // nobody is there to answer a question: what `opencode run` forbids in a session that it opens itself
    let permission = ["question", "plan_enter", "plan_exit"]
        .map(|permission| json!({"permission": permission, "pattern": "*", "action": "deny"}));
    json!({
        "open": "/session",
        "body": {"title": format!("{namespace}/{task}"), "permission": permission},
        "id": "/id",
        "args": ["--session", "{id}"],
        "records": "/session/{id}/message",
        "when": {"/info/role": "assistant"},
        "events": {"error": "/info/error", "part": "/parts"},
        "identity": ["/part/id", "/error"],
        "abort": "/session/{id}/abort",
        // a session that is at work stands in there
        "idle": {"status": "/session/status", "busy": "/{id}", "seconds": 30},
    })
}

server_builder!(OpenCode);

#[cfg(test)]
mod tests;
