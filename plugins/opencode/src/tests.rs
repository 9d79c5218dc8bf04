//! What runs in the Pod.

use kubeopencode_plugin_sdk::testing::{build_request, serve_request};
use kubeopencode_plugin_sdk::{CommandBuilder, EnvSource, EnvVar, ErrorKind, Server, Tools};
use serde_json::{Value, json};

use super::OpenCode;

fn env(vars: &[EnvVar]) -> Vec<(&str, &str)> {
    vars.iter()
        .map(|var| match &var.source {
            EnvSource::Value(value) => (var.name.as_str(), value.as_str()),
            _ => panic!("{} is from elsewhere", var.name),
        })
        .collect()
}

#[test]
fn a_task_runs_with_its_prompt_on_stdin_and_a_reader_around_it() {
    let plan = OpenCode::build(&build_request()).unwrap();
    assert_eq!(
        plan.command,
        ["sh", "-c", "exec /tools/kubeopencode agent-run -- /tools/opencode run < /workspace/task.md"]
    );
    assert!(plan.args.is_empty() && plan.files.is_empty());
    assert_eq!(plan.tools, Tools::InitContainer(None));
    assert_eq!(
        env(&plan.env),
        [
            ("OPENCODE_PERMISSION", r#"{"*":"allow"}"#),
            ("OPENCODE_DISABLE_PROJECT_CONFIG", "1"),
            ("OPENCODE_CONFIG_CONTENT", r#"{"instructions":["/workspace/AGENTS.md"]}"#),
        ]
    );
    let reader: Value = serde_json::from_str(&plan.result_reader.unwrap()).unwrap();
    assert_eq!(reader["args"], json!(["--format", "json", "--print-logs", "--log-level", "ERROR"]));
    assert_eq!(reader.get("session"), None, "only a client has one");
}

#[test]
fn without_a_model_the_agents_owner_is_told_to_whom_the_code_goes() {
    for (config, warns) in [
        (None, true),
        (Some(r#"{"model":""}"#), true),
        (Some(r#"{"model":"a/b"}"#), false),
        (Some(r#"{"agent":{"build":{"model":"a/b"}}}"#), false),
    ] {
        let mut request = build_request();
        request.config = config.map(str::to_owned);
        let codes: Vec<_> =
            OpenCode::build(&request).unwrap().diagnostics.into_iter().map(|d| d.code).collect();
        assert_eq!(codes, if warns { vec!["ModelNotSet".to_owned()] } else { vec![] }, "{config:?}");
    }
}

#[test]
fn config_and_context_become_environment() {
    let mut request = build_request();
    request.config = Some(r#"{"model":"a/b"}"#.into());
    request.config_path = Some("/tools/opencode.json".into());
    request.context_path = Some("/workspace/.kubeopencode/context.md".into());
    let plan = OpenCode::build(&request).unwrap();
    assert_eq!(
        env(&plan.env),
        [
            ("OPENCODE_CONFIG", "/tools/opencode.json"),
            ("OPENCODE_PERMISSION", r#"{"*":"allow"}"#),
            ("OPENCODE_DISABLE_PROJECT_CONFIG", "1"),
            (
                "OPENCODE_CONFIG_CONTENT",
                r#"{"instructions":["/workspace/.kubeopencode/context.md","/workspace/AGENTS.md"]}"#
            ),
        ]
    );
}

#[test]
fn a_config_that_sets_permission_keeps_it() {
    let mut request = build_request();
    request.config = Some(r#"{"permission":{"bash":"deny"}}"#.into());
    request.config_path = Some("/tools/opencode.json".into());
    let plan = OpenCode::build(&request).unwrap();
    let names: Vec<_> = env(&plan.env).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["OPENCODE_CONFIG", "OPENCODE_DISABLE_PROJECT_CONFIG", "OPENCODE_CONFIG_CONTENT"]);
}

#[test]
fn a_task_without_a_prompt_is_told_where_to_write_it() {
    let mut request = build_request();
    request.prompt_path = None;
    let error = OpenCode::build(&request).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidConfig);
    assert_eq!(
        error.message,
        "the Task has nothing to do: set spec.description, or mount a context at /workspace/task.md"
    );
}

#[test]
fn a_client_attaches_and_odd_paths_are_quoted() {
    let mut request = build_request();
    request.attach_to = Some("http://helper.team.svc.cluster.local:4096".into());
    request.prompt_path = Some("/my work/task.md".into());
    let plan = OpenCode::build(&request).unwrap();
    assert_eq!(
        plan.command[2],
        "exec /tools/kubeopencode agent-run -- /tools/opencode run \
         --attach http://helper.team.svc.cluster.local:4096 < '/my work/task.md'"
    );
    let reader: Value = serde_json::from_str(&plan.result_reader.unwrap()).unwrap();
    let title = format!("{}/{}", request.task.namespace, request.task.name);
    assert_eq!(reader.pointer("/session/body/title"), Some(&json!(title)));
    assert_eq!(reader.pointer("/session/args"), Some(&json!(["--session", "{id}"])));
}

#[test]
fn a_server_listens_where_it_is_told() {
    let plan = OpenCode::serve(&serve_request()).unwrap();
    assert_eq!(
        plan.command.command,
        [
            "sh",
            "-c",
            "/tools/opencode serve --port 4096 --hostname `test -e /proc/net/if_inet6 && echo :: || echo 0.0.0.0`"
        ]
    );
    assert_eq!(plan.health_path.as_deref(), Some("/session/status"));
    assert_eq!(plan.command.result_reader, None);
    assert!(
        env(&plan.command.env).contains(&("OPENCODE_DISABLE_PROJECT_CONFIG", "1")),
        "{:?}",
        plan.command.env
    );
}
