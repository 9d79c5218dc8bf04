//! What runs in the Pod.

use kubeopencode_plugin_sdk::testing::build_request;
use kubeopencode_plugin_sdk::{BuildRequest, CommandBuilder, CommandPlan, Content, EnvVar, ErrorKind, Tools};
use serde_json::{Value, json};

use super::ClaudeCode;

fn plan(config: Option<Value>, change: impl FnOnce(&mut BuildRequest)) -> CommandPlan {
    let mut request = build_request();
    request.config_path = config.is_some().then(|| "/tools/claude-code.json".into());
    request.config = config.map(|config| config.to_string());
    change(&mut request);
    ClaudeCode::build(&request).unwrap()
}

fn files(plan: &CommandPlan) -> Vec<(&str, Value)> {
    let json = |content: &Content| serde_json::from_str(content.as_text().unwrap()).unwrap();
    plan.files.iter().map(|file| (file.path.as_str(), json(&file.content))).collect()
}

#[test]
fn a_task_runs_in_print_mode_with_its_prompt_on_stdin_and_a_reader_around_it() {
    let plan = plan(None, |_| {});
    assert_eq!(
        plan.command,
        [
            "sh",
            "-c",
            "exec /tools/kubeopencode agent-run -- /tools/claude -p --setting-sources user --strict-mcp-config \
             --permission-mode bypassPermissions < /workspace/task.md"
        ]
    );
    assert!(plan.args.is_empty() && plan.files.is_empty());
    assert_eq!(plan.tools, Tools::InitContainer(None));
    assert_eq!(plan.env, [EnvVar::value("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")]);
    let reader: Value = serde_json::from_str(&plan.result_reader.unwrap()).unwrap();
    assert_eq!(reader["args"], json!(["--output-format", "stream-json", "--verbose"]));
}

#[test]
fn settings_servers_and_contexts_are_files() {
    let servers = json!({"docs": {"type": "http", "url": "https://mcp.example.com"}});
    let config = json!({
        "model": "opus", "permissions": {"defaultMode": "acceptEdits", "deny": ["WebFetch"]}, "mcpServers": servers,
    });
    let plan = plan(Some(config), |request| {
        request.context_path = Some("/my work/.kubeopencode/context.md".into());
    });
    assert!(
        plan.command[2].ends_with(
            "/tools/claude -p --setting-sources user --strict-mcp-config --settings /tools/claude-settings.json \
             --mcp-config /tools/claude-mcp.json --append-system-prompt-file '/my work/.kubeopencode/context.md' \
             < /workspace/task.md"
        ),
        "{}",
        plan.command[2]
    );
    let permissions = json!({"defaultMode": "acceptEdits", "deny": ["WebFetch"]});
    assert_eq!(
        files(&plan),
        [
            ("/tools/claude-settings.json", json!({"model": "opus", "permissions": permissions})),
            ("/tools/claude-mcp.json", json!({"mcpServers": servers})),
        ]
    );
}

#[test]
fn a_config_of_one_kind_is_one_file() {
    for (config, path) in [
        (json!({"model": "opus"}), "/tools/claude-settings.json"),
        (json!({"mcpServers": {}}), "/tools/claude-mcp.json"),
    ] {
        let plan = plan(Some(config.clone()), |_| {});
        assert_eq!(files(&plan), [(path, config)]);
        assert!(plan.command[2].contains("--permission-mode bypassPermissions"), "{}", plan.command[2]);
    }
}

#[test]
fn the_installer_says_where_the_program_comes_from() {
    let with = |settings: Value| plan(None, |request| request.settings = settings.to_string());
    let brought = with(json!({"toolsImage": "registry.example.com/claude:2"}));
    assert_eq!(brought.tools, Tools::InitContainer(Some("registry.example.com/claude:2".into())));
    let there = with(json!({"program": "claude"}));
    assert_eq!(there.tools, Tools::None);
    assert!(there.command[2].starts_with("exec /tools/kubeopencode agent-run -- claude -p "), "{there:?}");
}

#[test]
fn what_it_cannot_do_is_said() {
    let mut request = build_request();
    request.prompt_path = None;
    let error = ClaudeCode::build(&request).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidConfig);
    assert!(
        error.message.starts_with("the Task has nothing to do: set spec.description"),
        "{}",
        error.message
    );

    let mut request = build_request();
    request.attach_to = Some("http://helper:4096".into());
    let error = ClaudeCode::build(&request).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Unsupported, "Claude Code attaches to no server: remove serverConfig")
    );
}
