//! Command builder `codex`: OpenAI's Codex CLI without a terminal, `codex exec`.
//!
//! Its flags and keys are those of developers.openai.com/codex/cli, its output that of `codex exec --json`.

mod output;
mod toml;

use kubeopencode_plugin_sdk::{
    About, BuildRequest, CommandBuilder, CommandPlan, PluginError, Tools, command_builder, quoted,
};
use serde_json::{Map, Value};

/// Keys that say what it may do without asking.
const LIMITS: [&str; 2] = ["approval_policy", "sandbox_mode"];
/// The key with words for the model beside the prompt.
const INSTRUCTIONS: &str = "developer_instructions";

/// The plugin.
pub struct Codex;

impl CommandBuilder for Codex {
    const ABOUT: About = About {
        name: "codex",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        ..About::NOTHING
    };

    fn build(request: &BuildRequest) -> Result<CommandPlan, PluginError> {
        if request.attach_to.is_some() {
            return Err(PluginError::unsupported("Codex CLI attaches to no server: remove serverConfig"));
        }
        let workspace = &request.agent.workspace_dir;
        let prompt = request.prompt_path.as_deref().ok_or_else(|| {
            PluginError::invalid_config(format!(
                "the Task has nothing to do: set spec.description, or mount a context at {workspace}/task.md"
            ))
        })?;
        let mut config: Map<String, Value> = match &request.config {
            None => Map::new(),
            Some(config) => serde_json::from_str(config)
                .map_err(|error| PluginError::invalid_config(format!("spec.config of the Agent: {error}")))?,
        };
        // a workspace is a Git repository or not
        let mut words = vec!["codex".to_owned(), "exec".to_owned(), "--skip-git-repo-check".to_owned()];
        if LIMITS.iter().all(|key| !config.contains_key(*key)) {
            // nobody is there to answer a question, and the Pod is the sandbox
            words.push("--dangerously-bypass-approvals-and-sandbox".to_owned());
        }
        if let Some(context) = &request.context_path {
            let before = match config.get(INSTRUCTIONS).and_then(Value::as_str) {
                Some(words) => format!("{words}\n"),
                None => String::new(),
            };
            let words = format!("{before}Read {context} before you begin: it is what you work with.");
            config.insert(INSTRUCTIONS.to_owned(), Value::String(words));
        }
        for (key, value) in &config {
            let value = toml::inline(value).map_err(|problem| {
                PluginError::invalid_config(format!("spec.config.{key} of the Agent: {problem}"))
            })?;
            words.extend(["-c".to_owned(), format!("{key}={value}")]);
        }
        let run: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        // the prompt comes on stdin: the kernel takes no argument of more than 128 KiB
        let command = format!(
            "exec {} agent-run -- {} < {}",
            quoted(&format!("{}/kubeopencode", request.tools_dir)),
            run.join(" "),
            quoted(prompt)
        );
        Ok(CommandPlan {
            tools: Tools::None,
            result_reader: Some(output::reader().to_string()),
            ..CommandPlan::new(["sh", "-c", &command], Vec::new())
        })
    }
}

command_builder!(Codex);

#[cfg(test)]
mod tests;
