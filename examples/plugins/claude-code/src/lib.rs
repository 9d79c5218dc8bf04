//! Command builder `claude-code`: Claude Code in print mode, `claude -p`.
//!
//! Its flags are those of code.claude.com/docs/en/cli-reference, its output that of `--output-format stream-json`.

mod output;

use kubeopencode_plugin_sdk::{
    About, BuildRequest, CommandBuilder, CommandPlan, Content, EnvVar, File, PluginError, Tools,
    command_builder, quoted,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The key of the Agent's `config` that is no setting but the content of an MCP file.
const MCP_SERVERS: &str = "mcpServers";

/// The plugin.
pub struct ClaudeCode;

/// The Plugin's `spec.config`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    program: Option<String>,
    tools_image: Option<String>,
}

impl CommandBuilder for ClaudeCode {
    const ABOUT: About = About {
        name: "claude-code",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        settings_schema: Some(include_str!("../settings.schema.json")),
        ..About::NOTHING
    };

    fn build(request: &BuildRequest) -> Result<CommandPlan, PluginError> {
        if request.attach_to.is_some() {
            return Err(PluginError::unsupported("Claude Code attaches to no server: remove serverConfig"));
        }
        let workspace = &request.agent.workspace_dir;
        let prompt = request.prompt_path.as_deref().ok_or_else(|| nothing_to_do(workspace))?;
        let settings: Settings = request.settings()?;
        let tools_dir = &request.tools_dir;
        let (tools, program) = match settings.program {
            Some(program) => (Tools::None, program),
            None => (Tools::InitContainer(settings.tools_image), format!("{tools_dir}/claude")),
        };
        let config = Config::read(request.config.as_deref())?;
        let mut words = vec![program, "-p".to_owned()];
        let mut say = |these: &[&str]| words.extend(these.iter().map(|word| (*word).to_owned()));
        // settings and servers of the workspace come from a Task or a repository: they would win over the Agent's
        say(&["--setting-sources", "user", "--strict-mcp-config"]);
        if !config.says_permission_mode() {
            // nobody is there to answer a question
            say(&["--permission-mode", "bypassPermissions"]);
        }
        let mut files = Vec::new();
        for (flag, name, content) in
            [("--settings", "settings", config.settings), ("--mcp-config", "mcp", config.mcp)]
        {
            let Some(content) = content else { continue };
            let path = format!("{tools_dir}/claude-{name}.json");
            say(&[flag, &path]);
            files.push(File { path, content: Content::Text(content.to_string()), mode: None });
        }
        if let Some(context) = &request.context_path {
            say(&["--append-system-prompt-file", context]);
        }
        let run: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        // the prompt comes on stdin: the kernel takes no argument of more than 128 KiB
        let command = format!(
            "exec {} agent-run -- {} < {}",
            quoted(&format!("{tools_dir}/kubeopencode")),
            run.join(" "),
            quoted(prompt)
        );
        // no updates of itself, no telemetry
        let env = vec![EnvVar::value("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")];
        Ok(CommandPlan {
            tools,
            files,
            result_reader: Some(output::reader().to_string()),
            ..CommandPlan::new(["sh", "-c", &command], env)
        })
    }
}

fn nothing_to_do(workspace_dir: &str) -> PluginError {
    PluginError::invalid_config(format!(
        "the Task has nothing to do: set spec.description, or mount a context at {workspace_dir}/task.md"
    ))
}

/// The Agent's `config`, as the two files that Claude Code reads.
#[derive(Default)]
struct Config {
    settings: Option<Value>,
    mcp: Option<Value>,
}

impl Config {
    fn read(config: Option<&str>) -> Result<Self, PluginError> {
        let Some(config) = config else { return Ok(Self::default()) };
        let mut settings: Map<String, Value> = serde_json::from_str(config)
            .map_err(|error| PluginError::invalid_config(format!("spec.config of the Agent: {error}")))?;
        let mcp = settings.remove(MCP_SERVERS).map(|servers| json!({ MCP_SERVERS: servers }));
        Ok(Self { settings: (!settings.is_empty()).then_some(Value::Object(settings)), mcp })
    }

    fn says_permission_mode(&self) -> bool {
        self.settings.as_ref().and_then(|settings| settings.pointer("/permissions/defaultMode")).is_some()
    }
}

command_builder!(ClaudeCode);

#[cfg(test)]
mod tests;
