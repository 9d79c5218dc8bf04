//! What runs in the Pod.

use kubeopencode_plugin_sdk::testing::build_request;
use kubeopencode_plugin_sdk::{BuildRequest, CommandBuilder, CommandPlan, EnvVar, ErrorKind, Tools};
use serde_json::{Value, json};

use super::Codex;

fn plan(config: Option<Value>, change: impl FnOnce(&mut BuildRequest)) -> CommandPlan {
    let mut request = build_request();
    request.config_path = config.is_some().then(|| "/tools/codex.json".into());
    request.config = config.map(|config| config.to_string());
    change(&mut request);
    Codex::build(&request).unwrap()
}

/// The lines of its config.toml.
fn lines(plan: &CommandPlan) -> Vec<&str> {
    assert_eq!(plan.files.len(), 1);
    assert_eq!(plan.files[0].path, "/tools/config.toml");
    plan.files[0].content.as_text().unwrap().lines().collect()
}

#[test]
fn a_task_runs_without_a_terminal_with_its_prompt_on_stdin_and_a_reader_around_it() {
    let plan = plan(None, |_| {});
    assert_eq!(
        plan.command,
        [
            "sh",
            "-c",
            "exec /tools/kubeopencode agent-run -- /tools/codex exec --skip-git-repo-check \
             --dangerously-bypass-approvals-and-sandbox - < /workspace/task.md"
        ]
    );
    assert!(plan.args.is_empty());
    assert_eq!(plan.tools, Tools::InitContainer(None));
    assert_eq!(plan.env, [EnvVar::value("CODEX_HOME", "/tools")]);
    let reader: Value = serde_json::from_str(&plan.result_reader.unwrap()).unwrap();
    assert_eq!(reader["args"], json!(["--json"]));
}

#[test]
fn without_a_word_of_the_agent_the_workspace_has_no_say_and_nothing_is_told_about_the_run() {
    assert_eq!(
        lines(&plan(None, |_| {})),
        [
            r#""analytics" = {"enabled" = false}"#,
            r#""projects" = {"/workspace" = {"trust_level" = "untrusted"}}"#,
        ]
    );
    let other = json!({"projects": {"/workspace/mine": {"trust_level": "trusted"}}});
    assert_eq!(
        lines(&plan(Some(other), |_| {}))[1],
        r#""projects" = {"/workspace" = {"trust_level" = "untrusted"}, "/workspace/mine" = {"trust_level" = "trusted"}}"#
    );
    let said =
        json!({"analytics": {"enabled": true}, "projects": {"/workspace": {"trust_level": "trusted"}}});
    assert_eq!(
        lines(&plan(Some(said), |_| {})),
        [
            r#""analytics" = {"enabled" = true}"#,
            r#""projects" = {"/workspace" = {"trust_level" = "trusted"}}"#,
        ]
    );
}

#[test]
fn the_agents_config_is_toml() {
    let config = json!({
        "model": "gpt-5.6",
        "x": {"list": [1, -2.5, true, "say \"hi\"\n\u{1}\u{7f}é", {}], "a.b": []},
    });
    assert_eq!(
        lines(&plan(Some(config), |_| {}))[1..],
        [
            r#""model" = "gpt-5.6""#,
            r#""projects" = {"/workspace" = {"trust_level" = "untrusted"}}"#,
            r#""x" = {"a.b" = [], "list" = [1, -2.5, true, "say \"hi\"\n\u0001\u007Fé", {}]}"#,
        ]
    );
}

#[test]
fn contexts_are_instructions_beside_the_workspaces_own() {
    let plan = plan(None, |request| {
        request.context_path = Some("/my work/.kubeopencode/context.md".into());
    });
    assert!(
        plan.command[2].starts_with(
            "ln -sf '/my work/.kubeopencode/context.md' /tools/AGENTS.md && exec /tools/kubeopencode agent-run -- "
        ),
        "{}",
        plan.command[2]
    );
}

#[test]
fn an_agent_may_choose_a_sandbox_of_the_programs_own() {
    for config in [json!({"sandbox_mode": "workspace-write"}), json!({"default_permissions": ":workspace"})] {
        let plan = plan(Some(config), |_| {});
        assert!(
            plan.command[2].ends_with("/tools/codex exec --skip-git-repo-check - < /workspace/task.md"),
            "{}",
            plan.command[2]
        );
    }
}

#[test]
fn the_installer_says_where_the_program_comes_from() {
    let with = |settings: Value| plan(None, |request| request.settings = settings.to_string());
    let brought = with(json!({"toolsImage": "registry.example.com/codex:1"}));
    assert_eq!(brought.tools, Tools::InitContainer(Some("registry.example.com/codex:1".into())));
    let there = with(json!({"program": "codex"}));
    assert_eq!(there.tools, Tools::None);
    assert!(there.command[2].starts_with("exec /tools/kubeopencode agent-run -- codex exec "), "{there:?}");
}

#[test]
fn what_it_cannot_do_is_said() {
    let refused = |change: &dyn Fn(&mut BuildRequest)| {
        let mut request = build_request();
        change(&mut request);
        let error = Codex::build(&request).unwrap_err();
        (error.kind, error.message)
    };
    let (kind, message) = refused(&|request| request.prompt_path = None);
    assert_eq!(kind, ErrorKind::InvalidConfig);
    assert!(message.starts_with("the Task has nothing to do: set spec.description"), "{message}");
    assert_eq!(
        refused(&|request| request.attach_to = Some("http://helper:4096".into())),
        (ErrorKind::Unsupported, "Codex attaches to no server: remove serverConfig".to_owned())
    );
    let nothing = json!({"mcp_servers": {"docs": {"args": ["a", null]}}});
    assert_eq!(
        refused(&|request| request.config = Some(nothing.to_string())),
        (
            ErrorKind::InvalidConfig,
            "spec.config of the Agent: /mcp_servers/docs/args/1 is null, for which Codex's config.toml has no word: \
             leave it out"
                .to_owned()
        )
    );
}
