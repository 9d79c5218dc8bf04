//! Command builder `codex`: the Codex CLI without a terminal, `codex exec`.
//!
//! Its flags are those of `codex-rs/exec/src/cli.rs` in openai/codex, its output that of `codex-rs/exec/src/exec_events.rs`; all of it was
//! tried with rust-v0.163.0.

mod output;
mod toml;

use kubeopencode_plugin_sdk::{
    About, BuildRequest, CommandBuilder, CommandPlan, Content, EnvVar, File, PluginError, Tools,
    command_builder, quoted,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The keys of the Agent's `config` that choose a sandbox of Codex's own.
const SANDBOXES: [&str; 2] = ["sandbox_mode", "default_permissions"];

/// The plugin.
pub struct Codex;

/// The Plugin's `spec.config`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    program: Option<String>,
    tools_image: Option<String>,
}

impl CommandBuilder for Codex {
    const ABOUT: About = About {
        name: "codex",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        settings_schema: Some(include_str!("../settings.schema.json")),
        ..About::NOTHING
    };

    fn build(request: &BuildRequest) -> Result<CommandPlan, PluginError> {
        if request.attach_to.is_some() {
            return Err(PluginError::unsupported("Codex attaches to no server: remove serverConfig"));
        }
        let workspace = &request.agent.workspace_dir;
        let prompt = request.prompt_path.as_deref().ok_or_else(|| nothing_to_do(workspace))?;
        let settings: Settings = request.settings()?;
        let tools_dir = &request.tools_dir;
        let (tools, program) = match settings.program {
            Some(program) => (Tools::None, program),
            None => (Tools::InitContainer(settings.tools_image), format!("{tools_dir}/codex")),
        };
        let config = config(request.config.as_deref(), workspace)?;
        let mut words = vec![program.as_str(), "exec", "--skip-git-repo-check"];
        if !SANDBOXES.iter().any(|key| config.contains_key(*key)) {
            // nobody is there to answer a question, and the Pod is the sandbox
            words.push("--dangerously-bypass-approvals-and-sandbox");
        }
        // the prompt comes on stdin: the kernel takes no argument of more than 128 KiB
        words.push("-");
        let run: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        let mut command = format!(
            "exec {} agent-run -- {} < {}",
            quoted(&format!("{tools_dir}/kubeopencode")),
            run.join(" "),
            quoted(prompt)
        );
        if let Some(context) = &request.context_path {
            // no flag names a file of instructions that are added to Codex's own
            let instructions = format!("{tools_dir}/AGENTS.md");
            command = format!("ln -sf {} {} && {command}", quoted(context), quoted(&instructions));
        }
        let config = Content::Text(toml::lines(&config)?);
        Ok(CommandPlan {
            tools,
            files: vec![File { path: format!("{tools_dir}/config.toml"), content: config, mode: None }],
            result_reader: Some(output::reader().to_string()),
            // it writes there, too, and puts no helpers of its own below /tmp, where HOME is
            ..CommandPlan::new(["sh", "-c", &command], vec![EnvVar::value("CODEX_HOME", tools_dir)])
        })
    }
}

fn nothing_to_do(workspace_dir: &str) -> PluginError {
    PluginError::invalid_config(format!(
        "the Task has nothing to do: set spec.description, or mount a context at {workspace_dir}/task.md"
    ))
}

/// The Agent's `config`, with what holds unless it says otherwise.
fn config(config: Option<&str>, workspace: &str) -> Result<Map<String, Value>, PluginError> {
    let mut config: Map<String, Value> = serde_json::from_str(config.unwrap_or("{}"))
        .map_err(|error| PluginError::invalid_config(format!("spec.config of the Agent: {error}")))?;
    // no telemetry
    config.entry("analytics").or_insert_with(|| json!({"enabled": false}));
    // a project that nobody spoke of is trusted as soon as it may be written to: its .codex/config.toml comes from a Task
    // or a repository, would win over the Agent's, and names programs that are run
    let projects = config.entry("projects").or_insert_with(|| json!({}));
    if let Some(projects) = projects.as_object_mut() {
        projects.entry(workspace).or_insert_with(|| json!({"trust_level": "untrusted"}));
    }
    Ok(config)
}

command_builder!(Codex);

#[cfg(test)]
mod tests;
