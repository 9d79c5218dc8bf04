//! The built-in plugins through the host: what a user's items come to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod common;

use std::thread;

use common::items::Items;
use common::{
    agent, assert_others_work, build_request, command_builder, context_type, host, inline, ready, request_of,
};
use kubeopencode_api::context::BuiltInType;
use kubeopencode_api::plugin::{
    Action, BuildRequest, Capability, ConfigMapRead, Diagnostic, Entry, EnvVar, ErrorKind, GitFetch, Header,
    HttpRequest, Input, Kind, MAX_INPUT_BYTES, MountPathRule, Outcome, Plan, PluginError, Required,
    Requirement, Resolved, SecretKey, ServeRequest, Severity, Tools, UrlFetch,
};
use kubeopencode_api::report::ResultReader;
use kubeopencode_plan::Granted;
use kubeopencode_plugin_host::CallError;
use serde_json::{Value, json};

#[test]
fn a_toolchain_without_the_target_is_told_in_one_line() {
    // any program that does not print the folder of a target
    let said = common::guests::look_for_target("echo".as_ref(), ".".as_ref());
    assert_eq!(
        said.unwrap_err(),
        "Rust's target wasm32-wasip2 is not installed. Run: rustup target add wasm32-wasip2"
    );
}

#[test]
fn an_environment_that_changes_the_hosts_profile_packs_no_other_guests() {
    for variable in
        ["CARGO_PROFILE_RELEASE_OPT_LEVEL", "CARGO_INCREMENTAL", "CARGO_BUILD_TARGET", "RUSTFLAGS"]
    {
        assert!(common::guests::is_for_the_outer_cargo(variable), "{variable}");
    }
    // where cargo is, and what a release says to the guests' compiler
    for variable in ["CARGO_HOME", "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", "PATH"] {
        assert!(!common::guests::is_for_the_outer_cargo(variable), "{variable}");
    }
}

#[test]
fn they_say_who_they_are_and_what_they_may_want() {
    let (git, url, secret) = (Capability::Git, Capability::Url, Capability::Secret);
    let (optional, required, ignored) =
        (MountPathRule::Optional, MountPathRule::Required, MountPathRule::Ignored);
    let wants: [(&str, &[Capability], &[&str], MountPathRule); 6] = [
        ("ConfigMap", &[], &[], optional),
        ("File", &[secret], &["/source/secretKeyRef/name"], optional),
        ("Git", &[git, secret], &["/secretRef/name"], required),
        ("Runtime", &[], &[], ignored),
        ("Text", &[], &[], optional),
        ("URL", &[url, secret], &["/secretRef/name"], required),
    ];
    for (name, capabilities, secret_fields, mount_path) in wants {
        let plugin = context_type(name);
        let type_ = &plugin.types()[0];
        let descriptor = type_.descriptor();
        assert_eq!((plugin.kind(), descriptor.name.as_str()), (Kind::ContextType, name));
        assert!(plugin.digest().starts_with("sha256:") && plugin.digest().len() == 71);
        assert_eq!(descriptor.capabilities, capabilities, "{name}");
        let marked: Vec<_> = type_.secret_fields().iter().map(ToString::to_string).collect();
        assert_eq!(marked, secret_fields, "{name}");
        assert_eq!(descriptor.mount_path, mount_path, "{name}");
        assert_eq!(descriptor.default_name.as_deref(), (name == "Runtime").then_some("runtime"));
    }
    let names: Vec<_> = wants.iter().map(|(name, ..)| *name).collect();
    let mut known: Vec<_> = BuiltInType::ALL.iter().map(|type_| type_.name).collect();
    known.sort_unstable_by_key(|name| name.to_lowercase());
    assert_eq!(known, names, "what the API knows beside the descriptors");
    let opencode = command_builder("opencode");
    assert!(opencode.has_server());
    let type_ = &opencode.types()[0];
    assert!(type_.descriptor().capabilities.is_empty() && type_.secret_fields().is_empty());
}

#[test]
fn a_text_is_handed_over_as_written() {
    let text = context_type("Text");
    for words in ["", "Use tabs.\n", "</context> \u{0} 日本"] {
        assert_eq!(text.evaluate(request_of("Text", words)).unwrap(), inline(words));
    }
}

#[test]
fn a_payload_that_does_not_fit_is_the_users_to_change() {
    let config_map = context_type("ConfigMap");
    let error =
        config_map.evaluate(request_of("ConfigMap", json!({"name": "rules", "keys": 1}))).unwrap_err();
    let CallError::Plugin(PluginError { kind, message, field }) = error else { panic!("{error:?}") };
    assert_eq!((kind, field.as_deref()), (ErrorKind::InvalidConfig, Some("")));
    assert!(
        message.starts_with(r#"not what context-type "ConfigMap" takes: "#) && message.contains("keys"),
        "{message}"
    );
    assert_eq!(config_map.types()[0].check_payload(&json!({"name": 5})).unwrap_err().field, "/name");
}

#[test]
fn a_config_map_is_asked_for_and_then_laid_out() {
    let plugin = context_type("ConfigMap");
    let mut request = request_of("ConfigMap", json!({"name": "rules"}));
    let need = Required { id: "rules".into(), what: Requirement::ConfigMap(ConfigMapRead::all("rules")) };
    assert_eq!(plugin.evaluate(request.clone()).unwrap(), Outcome::Needs(vec![need]));

    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    let entries = vec![entry("b.md", "two"), entry("a.md", "</file>")];
    request.inputs = vec![Input { id: "rules".into(), value: Resolved::ConfigMap(entries) }];
    let file = |name: &str, text: &str| Action::InlineFile { name: name.into(), text: text.into() };
    let actions = vec![file("a.md", "</file>"), file("b.md", "two")];
    assert_eq!(
        plugin.evaluate(request.clone()).unwrap(),
        Outcome::Ready(Plan { actions, ..Plan::default() })
    );

    request.inputs[0].value = Resolved::Missing;
    let CallError::Plugin(error) = plugin.evaluate(request.clone()).unwrap_err() else { panic!() };
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unsatisfied, "ConfigMap rules not found"));

    request.payload = json!({"name": "rules", "optional": true});
    let diagnostics = vec![Diagnostic {
        severity: Severity::Info,
        code: "OptionalSkipped".into(),
        message: "ConfigMap rules not found".into(),
    }];
    assert_eq!(plugin.evaluate(request).unwrap(), Outcome::Ready(Plan { diagnostics, ..Plan::default() }));
}

#[test]
fn a_config_map_as_large_as_they_get_passes() {
    let plugin = context_type("ConfigMap");
    let mut request = request_of("ConfigMap", json!({"name": "rules", "key": "k"}));
    let bytes = MAX_INPUT_BYTES - 1;
    let entries = vec![Entry { key: "k".into(), value: vec![b'x'; bytes] }];
    request.inputs = vec![Input { id: "rules".into(), value: Resolved::ConfigMap(entries) }];
    assert_eq!(plugin.evaluate(request).unwrap(), inline(&"x".repeat(bytes)));
}

#[test]
fn git_and_url_fill_in_what_is_left_out() {
    let mut item = request_of(
        "Git",
        json!({"repository": "https://git.example/org/repo", "secretRef": {"name": "git"}}),
    );
    item.mount_path = Some("repo".into());
    item.file_mode = Some(0o400);
    let clone = GitFetch {
        repository: "https://git.example/org/repo".into(),
        r#ref: "HEAD".into(),
        sub_path: String::new(),
        depth: 1,
        submodules: false,
        credentials: Some("git".into()),
        path: "repo".into(),
        mode: Some(0o400),
    };
    assert_eq!(context_type("Git").evaluate(item.clone()).unwrap(), ready(Action::FetchGit(clone)));

    item.payload = json!({"source": "https://files.example/a", "headers": {"B": "2", "A": "1"}});
    item.type_name = "URL".into();
    let download = UrlFetch {
        request: HttpRequest {
            url: "https://files.example/a".into(),
            body: None,
            headers: vec![Header::value("A", "1"), Header::value("B", "2")],
            credentials: None,
            sha256: None,
            insecure_skip_tls_verify: false,
            timeout_seconds: 30,
        },
        unpack: false,
        path: "repo".into(),
        mode: Some(0o400),
    };
    assert_eq!(context_type("URL").evaluate(item).unwrap(), ready(Action::FetchUrl(download)));
}

#[test]
fn what_mount_path_means_is_the_types_word() {
    let items = Items::of(json!([
        {"type": "Git", "git": {"repository": "https://a/b"}},
        {"type": "URL", "url": {"source": "https://a/b"}, "mountPath": ""},
        {"type": "Runtime", "mountPath": "ignored"},
    ]));
    for (i, words) in [
        "spec.contexts[0] of Task team/task: git context requires mountPath to be specified",
        "spec.contexts[1] of Task team/task: url context requires mountPath to be specified",
    ]
    .into_iter()
    .enumerate()
    {
        let plugin = context_type(items.type_of(i));
        assert_eq!(items.plan(i, &plugin, &Granted::none()).unwrap_err(), words);
    }
    let runtime = items.plan(2, &context_type("Runtime"), &Granted::none()).unwrap();
    assert!(format!("{runtime:?}").contains("KubeOpenCode Runtime Context"), "{runtime:?}");
}

#[test]
fn payloads_out_of_range_are_told_where() {
    for (name, payload, field) in [
        ("Git", json!({"repository": "https://a/b", "depth": -1}), "/depth"),
        ("Git", json!({"repository": ""}), "/repository"),
        ("Git", json!({"repository": "https://a/b", "secretRef": {}}), "/secretRef"),
        ("URL", json!({"source": "ftp://a/b"}), "/source"),
        ("URL", json!({"source": "https://a/b", "timeout": 0}), "/timeout"),
        ("URL", json!({"source": "https://a/b", "timeout": 3601}), "/timeout"),
        ("URL", json!({"source": "https://a/b", "sha256": "abc"}), "/sha256"),
        ("URL", json!({"source": "https://a/b", "headers": {"A": 1}}), "/headers/A"),
        ("Runtime", json!({"verbose": true}), ""),
        ("File", json!({"name": "f", "source": {}}), "/source"),
        (
            "File",
            json!({"name": "f", "source": {"inline": "x", "secretKeyRef": {"name": "s", "key": "k"}}}),
            "/source",
        ),
        (
            "File",
            json!({"name": "f", "source": {"configMapKeyRef": {"name": "c"}}}),
            "/source/configMapKeyRef",
        ),
    ] {
        let error = context_type(name).types()[0].check_payload(&payload).unwrap_err();
        assert_eq!(error.field, field, "{name} {payload}: {error}");
    }
}

#[test]
fn runtime_is_about_this_place_wherever_it_is_mounted() {
    let mut item = request_of("Runtime", json!({}));
    item.mount_path = Some("ignored".into());
    let Outcome::Ready(plan) = context_type("Runtime").evaluate(item).unwrap() else { panic!() };
    let [Action::Inline(text)] = &plan.actions[..] else { panic!("{plan:?}") };
    for words in
        ["KubeOpenCode Runtime Context", "TASK_NAME", "TASK_NAMESPACE", "WORKSPACE_DIR", "kubectl get task"]
    {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn a_file_is_a_text_a_config_maps_key_or_a_secrets() {
    let file = context_type("File");
    let item = |source: Value| request_of("File", json!({"name": "notes.md", "source": source}));
    assert_eq!(file.evaluate(item(json!({"inline": "a"}))).unwrap(), inline("a"));
    let secret = SecretKey { name: "keys".into(), key: "ssh".into(), optional: false };
    let from_secret = item(json!({"secretKeyRef": {"name": "keys", "key": "ssh"}}));
    assert_eq!(file.evaluate(from_secret).unwrap(), ready(Action::InlineSecret(secret)));

    let mut from_map = item(json!({"configMapKeyRef": {"name": "rules", "key": "a.md"}}));
    let read = ConfigMapRead { name: "rules".into(), keys: vec!["a.md".into()] };
    let need = Required { id: "rules".into(), what: Requirement::ConfigMap(read) };
    assert_eq!(file.evaluate(from_map.clone()).unwrap(), Outcome::Needs(vec![need]));
    let entries = vec![Entry { key: "a.md".into(), value: b"one".into() }];
    from_map.inputs = vec![Input { id: "rules".into(), value: Resolved::ConfigMap(entries) }];
    assert_eq!(file.evaluate(from_map.clone()).unwrap(), inline("one"));
    from_map.inputs[0].value = Resolved::ConfigMap(vec![]);
    let CallError::Plugin(error) = file.evaluate(from_map).unwrap_err() else { panic!() };
    assert_eq!(error.message, "key a.md not found in ConfigMap rules");
}

/// Every built-in type as users write it, through the PlanValidator: it takes what the plugins answer.
#[test]
fn the_plan_validator_takes_what_they_answer() {
    let items = Items::of(json!([
        {"type": "Text", "text": "a"},
        {"type": "Runtime", "mountPath": "ignored"},
        {"type": "ConfigMap", "configMap": {"name": "rules"}},
        {"type": "ConfigMap", "configMap": {"name": "rules", "key": "a.md"}, "mountPath": "a.md"},
        {"type": "ConfigMap", "configMap": {"name": "rules"}, "mountPath": "/etc/rules"},
        {"type": "Git", "mountPath": "repo", "git": {"repository": "git@git.example:a/b", "ref": ""}},
        {"type": "Git", "mountPath": "/opt/repo", "git": {
            "repository": "https://git.example/a/b", "path": "docs", "secretRef": {"name": "git"}}},
        {"type": "URL", "mountPath": "a.json", "url": {
            "source": "https://files.example/a", "headers": {"A": "b"}, "secretRef": {"name": "files"}}},
        {"type": "URL", "mountPath": "/opt/a", "url": {"source": "http://files.example/a.zip", "unpack": true}},
        {"type": "File", "file": {"name": "f", "source": {"inline": "x"}}},
        {"type": "File", "mountPath": "f", "file": {"name": "f", "source": {
            "configMapKeyRef": {"name": "rules", "key": "a.md"}}}},
        {"type": "File", "mountPath": "/etc/f", "file": {"name": "f", "source": {
            "secretKeyRef": {"name": "keys", "key": "ssh"}}}},
        {"type": "File", "mountPath": "g", "file": {"name": "g", "source": {
            "configMapKeyRef": {"name": "rules", "key": "none", "optional": true}}}},
    ]));
    for i in 0..items.len() {
        let type_ = items.type_of(i);
        let plugin = context_type(type_);
        items.plan(i, &plugin, &Granted::built_in(plugin.types()[0].descriptor())).unwrap();
    }
}

#[test]
fn opencode_runs_with_config_context_and_a_reader_that_the_pod_understands() {
    let opencode = command_builder("opencode");
    let plan = opencode.build(&build_request()).unwrap();
    let command = "exec /tools/kubeopencode agent-run -- /tools/opencode run < /workspace/task.md";
    assert_eq!(plan.command, ["sh", "-c", command]);
    assert_eq!(
        plan.env,
        [
            EnvVar::value("OPENCODE_CONFIG", "/tools/opencode.json"),
            EnvVar::value("OPENCODE_PERMISSION", r#"{"*":"allow"}"#),
            EnvVar::value("OPENCODE_DISABLE_PROJECT_CONFIG", "1"),
            EnvVar::value(
                "OPENCODE_CONFIG_CONTENT",
                r#"{"instructions":["/workspace/.kubeopencode/context.md","/workspace/AGENTS.md"]}"#
            ),
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
        agent: agent(),
        tools_dir: "/tools".into(),
        context_path: None,
        port: 4096,
        config: None,
        config_path: None,
        settings: json!({}),
        extensions: vec![],
    };
    let plan = command_builder("opencode").serve(&request).unwrap();
    assert_eq!(
        plan.command.command,
        [
            "sh",
            "-c",
            "/tools/opencode serve --port 4096 --hostname `test -e /proc/net/if_inet6 && echo :: || echo 0.0.0.0`"
        ]
    );
    assert_eq!(plan.health_path.as_deref(), Some("/session/status"));
}

#[test]
fn kinds_are_not_mixed_up() {
    let text = context_type("Text");
    assert_eq!(text.build(&build_request()), Err(CallError::NoSuchFunction("build")));
    let opencode = command_builder("opencode");
    assert_eq!(opencode.evaluate(request_of("opencode", "x")), Err(CallError::NoSuchFunction("evaluate")));
}

#[test]
fn calls_run_at_the_same_time() {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| assert_others_work(host())));
        }
    });
}
