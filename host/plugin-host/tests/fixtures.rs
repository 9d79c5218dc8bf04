//! Plugins that were compiled once, in each language, load and work for ever.
//!
//! `fixtures/<version of the interface>/<language>.wasm.zst`, from the sources beside them; `fixtures/README.md` says how. None
//! is ever changed or removed: a new version of the interface adds its own directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod common;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use common::{agent, build_request, host, inline, request_of};
use kubeopencode_api::names::hex;
use kubeopencode_api::plugin::{
    CommandPlan, ConfigMapRead, Entry, ErrorKind, EvaluateRequest, File, Input, Kind, Outcome, PluginError,
    Required, Requirement, Resolved, Tools,
};
use kubeopencode_plugin_host::{CallError, LimitClass, Plugin};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Version of the interface and language, the class that it needs, and the end of what it says when it crashes.
const FIXTURES: [(&str, LimitClass, &str); 5] = [
    ("1.0.0/go", LimitClass::Default, "no idea how to crash"),
    ("1.0.0/javascript", LimitClass::Default, "cannot read property 'here' of undefined"),
    ("1.0.0/python", LimitClass::Large, "ValueError: no idea how to crash"),
    ("1.0.0/rust", LimitClass::Default, "no idea how to crash"),
    ("1.1.0/rust", LimitClass::Default, "no idea how to crash"),
];

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn load(name: &str, kind: Kind, class: LimitClass) -> Arc<Plugin> {
    let component = zstd::decode_all(fs::File::open(dir().join(format!("{name}.wasm.zst"))).unwrap());
    host().load(&component.unwrap(), kind, class).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn deed(name: &str) -> EvaluateRequest {
    request_of("Fixture", json!({"deed": name}))
}

#[test]
fn the_fixtures_are_those_that_were_committed() {
    let sums = fs::read_to_string(dir().join("SHA256SUMS")).unwrap();
    let mut found = String::new();
    for (name, ..) in FIXTURES {
        let file = format!("{name}.wasm.zst");
        let digest = hex(&Sha256::digest(fs::read(dir().join(&file)).unwrap()));
        writeln!(found, "{digest}  {file}").unwrap();
    }
    assert_eq!(found, sums);
}

#[test]
fn context_types_of_each_language_are_called() {
    for (name, class, last_words) in FIXTURES {
        let plugin = load(name, Kind::ContextType, class);
        let descriptor = plugin.type_named("Fixture").unwrap().descriptor();
        assert_eq!((descriptor.version.as_str(), descriptor.description.as_str()), ("1.0.0", "A fixture"));

        let hashed = plugin.evaluate(deed("hash")).unwrap();
        assert!(format!("{hashed:?}").contains("word 7"), "{name}: {hashed:?}");
        assert_eq!(plugin.evaluate(deed("hash")).unwrap(), hashed, "{name}: the same in each call");

        // 2026-01-02T03:04:05Z, when the Task was created
        assert_eq!(plugin.evaluate(deed("time")).unwrap(), inline("1767323045"), "{name}");

        let read = ConfigMapRead { name: "rules".into(), keys: vec!["a.md".into()] };
        let need = Required { id: "rules".into(), what: Requirement::ConfigMap(read) };
        assert_eq!(plugin.evaluate(deed("read")).unwrap(), Outcome::Needs(vec![need]), "{name}");
        let entries = vec![Entry { key: "a.md".into(), value: "Use tabs: 日本".into() }];
        let inputs = vec![Input { id: "rules".into(), value: Resolved::ConfigMap(entries) }];
        let answer = plugin.evaluate(EvaluateRequest { inputs, ..deed("read") });
        assert_eq!(answer.unwrap(), inline("Use tabs: 日本"), "{name}");

        let refusal = PluginError {
            kind: ErrorKind::InvalidConfig,
            message: "as asked".into(),
            field: Some("/deed".into()),
        };
        assert_eq!(plugin.evaluate(deed("refuse")), Err(CallError::Plugin(refusal)), "{name}");

        let error = plugin.evaluate(deed("crash")).unwrap_err();
        let CallError::Trap { words: Some(words), .. } = &error else { panic!("{name}: {error}") };
        assert!(words.contains(last_words), "{name}: {error}");
        println!("{name}: {error}");
    }
}

#[test]
fn command_builders_of_each_language_are_called() {
    for (name, class, _) in FIXTURES {
        let plugin = load(name, Kind::CommandBuilder, class);
        let mut request = build_request();
        request.config = None;
        for (attach_to, where_) in [(None, "alone"), (Some("http://helper:4096"), "http://helper:4096")] {
            request.attach_to = attach_to.map(str::to_owned);
            let settings = File { path: "/tools/fixture.json".into(), content: b"{}".to_vec(), mode: None };
            let plan = CommandPlan {
                tools: Tools::None,
                command: vec!["fixture".into()],
                args: vec!["task".into(), where_.into(), "/workspace/task.md".into()],
                env: vec![],
                files: vec![settings],
                result_reader: None,
                diagnostics: vec![],
                extensions: vec![],
            };
            assert_eq!(plugin.build(&request).unwrap(), plan, "{name}");
        }
        assert!(!plugin.has_server());
    }
}

#[test]
fn a_component_of_two_types_is_asked_for_each_of_them() {
    let plugin = load("1.0.0/rust", Kind::ContextType, LimitClass::Default);
    let names: Vec<_> = plugin.types().iter().map(|type_| type_.descriptor().name.as_str()).collect();
    assert_eq!(names, ["Fixture", "FixtureSettings"]);
    let with = |settings: Value| EvaluateRequest { settings, ..request_of("FixtureSettings", json!({})) };
    assert_eq!(plugin.evaluate(with(json!({"url": "x", "a": 1}))).unwrap(), inline(r#"{"a":1,"url":"x"}"#));
    assert_eq!(plugin.evaluate(with(json!({}))).unwrap(), inline("{}"));
    let error = plugin.evaluate(with(json!({"url": 5}))).unwrap_err().to_string();
    assert!(
        error.starts_with(r#"not what context-type "FixtureSettings" takes: settings: /url: 5 is not"#),
        "{error}"
    );
    let nobody = request_of("Nothing", json!({}));
    assert_eq!(plugin.evaluate(nobody), Err(CallError::NoSuchType("Nothing".into())));
    let of_server = EvaluateRequest { task: None, agent: agent(), ..deed("time") };
    assert_eq!(plugin.evaluate(of_server).unwrap(), inline("0"));
}
