//! The built-in plugins through the host: what a user's items come to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod common;

use std::thread;

use common::{assert_others_work, host, inline, request};
use kubeopencode_api::plugin::{
    Action, BuildRequest, Diagnostic, Entry, EnvVar, ErrorKind, Input, Kind, MAX_INPUT_BYTES, Mode, Outcome,
    Plan, PluginError, Required, Requirement, Resolved, ServeRequest, Severity, Tools,
};
use kubeopencode_api::report::ResultReader;
use kubeopencode_plugin_host::CallError;
use serde_json::json;

#[test]
fn they_say_who_they_are() {
    for name in ["Text", "ConfigMap"] {
        let plugin = host().context_type(name).unwrap();
        assert_eq!((plugin.kind(), plugin.descriptor().name.as_str()), (Kind::ContextType, name));
        assert!(plugin.descriptor().capabilities.is_empty());
        assert!(plugin.digest().starts_with("sha256:") && plugin.digest().len() == 71);
    }
    let opencode = host().command_builder("opencode").unwrap();
    assert!(opencode.has_server());
    assert!(host().context_type("opencode").is_none() && host().command_builder("Text").is_none());
}

#[test]
fn a_text_is_handed_over_as_written() {
    let text = host().context_type("Text").unwrap();
    for words in ["", "Use tabs.\n", "</context> \u{0} 日本"] {
        assert_eq!(text.evaluate(&request(words)).unwrap(), inline(words));
    }
}

#[test]
fn a_payload_that_does_not_fit_is_the_users_to_change() {
    let config_map = host().context_type("ConfigMap").unwrap();
    let error = config_map.evaluate(&request(json!({"name": "rules", "keys": 1}))).unwrap_err();
    let CallError::Plugin(PluginError { kind, message, field }) = error else { panic!("{error:?}") };
    assert_eq!((kind, field.as_deref()), (ErrorKind::InvalidConfig, Some("")));
    assert!(
        message.starts_with(r#"not what context-type "ConfigMap" takes: "#) && message.contains("keys"),
        "{message}"
    );
    assert_eq!(config_map.check_payload(&json!({"name": 5})).unwrap_err().field, "/name");
}

#[test]
fn a_config_map_is_asked_for_and_then_laid_out() {
    let plugin = host().context_type("ConfigMap").unwrap();
    let mut request = request(json!({"name": "rules"}));
    let need = Required { id: "rules".into(), what: Requirement::ConfigMap("rules".into()) };
    assert_eq!(plugin.evaluate(&request).unwrap(), Outcome::Needs(vec![need]));

    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    let entries = vec![entry("b.md", "two"), entry("a.md", "</file>")];
    request.inputs = vec![Input { id: "rules".into(), value: Resolved::ConfigMap(entries) }];
    let file = |name: &str, text: &str| Action::InlineFile { name: name.into(), text: text.into() };
    let actions = vec![file("a.md", "</file>"), file("b.md", "two")];
    assert_eq!(plugin.evaluate(&request).unwrap(), Outcome::Ready(Plan { actions, ..Plan::default() }));

    request.inputs[0].value = Resolved::Missing;
    let CallError::Plugin(error) = plugin.evaluate(&request).unwrap_err() else { panic!() };
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unsatisfied, "ConfigMap rules not found"));

    request.payload = json!({"name": "rules", "optional": true});
    let diagnostics = vec![Diagnostic {
        severity: Severity::Info,
        code: "OptionalSkipped".into(),
        message: "ConfigMap rules not found".into(),
    }];
    assert_eq!(plugin.evaluate(&request).unwrap(), Outcome::Ready(Plan { diagnostics, ..Plan::default() }));
}

#[test]
fn a_config_map_as_large_as_they_get_passes_and_a_larger_one_is_refused() {
    let plugin = host().context_type("ConfigMap").unwrap();
    let mut request = request(json!({"name": "rules", "key": "k"}));
    let mut answer = |bytes: usize| {
        let entries = vec![Entry { key: "k".into(), value: vec![b'x'; bytes] }];
        request.inputs = vec![Input { id: "rules".into(), value: Resolved::ConfigMap(entries) }];
        plugin.evaluate(&request)
    };
    assert_eq!(answer(MAX_INPUT_BYTES - 1).unwrap(), inline(&"x".repeat(MAX_INPUT_BYTES - 1)));
    assert_eq!(answer(MAX_INPUT_BYTES), Err(CallError::InputTooLarge { limit: MAX_INPUT_BYTES }));
}

fn build_request() -> BuildRequest {
    BuildRequest {
        task_name: "task".into(),
        task_namespace: "team".into(),
        task_uid: "7f7e5f0c-5d49-4b8e-9c36-0d6c7a2f5b11".into(),
        agent_name: "default".into(),
        agent_namespace: "team".into(),
        workspace_dir: "/workspace".into(),
        tools_dir: "/tools".into(),
        prompt_path: Some("/workspace/task.md".into()),
        context_path: Some("/workspace/.kubeopencode/context.md".into()),
        mode: Mode::Run,
        config: Some(r#"{"model": "a/b"}"#.into()),
        config_path: Some("/tools/opencode.json".into()),
        extensions: vec![],
    }
}

#[test]
fn opencode_runs_with_config_context_and_a_reader_that_the_pod_understands() {
    let opencode = host().command_builder("opencode").unwrap();
    let plan = opencode.build(&build_request()).unwrap();
    let command = "exec /tools/kubeopencode agent-run -- /tools/opencode run < /workspace/task.md";
    assert_eq!(plan.command, ["sh", "-c", command]);
    assert_eq!(
        plan.env,
        [
            EnvVar::value("OPENCODE_CONFIG", "/tools/opencode.json"),
            EnvVar::value("OPENCODE_PERMISSION", r#"{"*":"allow"}"#),
            EnvVar::value("OPENCODE_CONFIG_CONTENT", r#"{"instructions":[".kubeopencode/context.md"]}"#),
        ]
    );
    assert_eq!(plan.tools, Tools::InitContainer(None));
    let reader: ResultReader = serde_json::from_str(&plan.result_reader.unwrap()).unwrap();
    reader.check().unwrap();

    let nothing = BuildRequest { prompt_path: None, ..build_request() };
    let CallError::Plugin(error) = opencode.build(&nothing).unwrap_err() else { panic!() };
    assert_eq!(error.kind, ErrorKind::InvalidConfig);
    assert!(error.message.contains("spec.description"), "{}", error.message);

    for (config, words) in [("{", "invalid JSON in Agent config: "), ("[]", "[] is not of type \"object\"")] {
        let request = BuildRequest { config: Some(config.into()), ..build_request() };
        let CallError::Plugin(error) = opencode.build(&request).unwrap_err() else { panic!() };
        assert_eq!(error.kind, ErrorKind::InvalidConfig);
        assert!(error.message.contains(words), "{}", error.message);
    }
}

#[test]
fn opencode_serves() {
    let request = ServeRequest {
        agent_name: "default".into(),
        agent_namespace: "team".into(),
        workspace_dir: "/workspace".into(),
        tools_dir: "/tools".into(),
        context_path: None,
        port: 4096,
        config: None,
        config_path: None,
        extensions: vec![],
    };
    let plan = host().command_builder("opencode").unwrap().serve(&request).unwrap();
    assert_eq!(plan.command.command, ["sh", "-c", "/tools/opencode serve --port 4096 --hostname 0.0.0.0"]);
    assert_eq!(plan.health_path.as_deref(), Some("/session/status"));
}

#[test]
fn kinds_are_not_mixed_up() {
    let text = host().context_type("Text").unwrap();
    assert_eq!(text.build(&build_request()), Err(CallError::NoSuchFunction("build")));
    let opencode = host().command_builder("opencode").unwrap();
    assert_eq!(opencode.evaluate(&request("x")), Err(CallError::NoSuchFunction("evaluate")));
}

#[test]
fn calls_run_at_the_same_time() {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| assert_others_work(host())));
        }
    });
}
