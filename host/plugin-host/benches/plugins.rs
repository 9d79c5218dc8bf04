//! What plugins cost: cold load, load from the cache, one call, memory of a loaded plugin; a table with the targets
//! beside. `cargo test -p kubeopencode-plugin-host --bench plugins` takes the profile of tests and images.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use kubeopencode_api::plugin::{
    BuildRequest, Entry, EvaluateRequest, Input, Kind, Mode, Origin, Resolved, TaskView,
};
use kubeopencode_plugin_host::{HostOptions, LimitClass, Plugin, PluginHost};
use serde_json::{Value, json};

const CALLS: usize = 20_000;
const PLUGINS: u8 = 24;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let cache = tempfile::tempdir()?;
    let open = || {
        let worker = env!("CARGO_BIN_EXE_compile-worker").into();
        PluginHost::new(HostOptions { cache_dir: cache.path().join("cache"), worker })
    };
    let component = fs::read(Path::new(env!("OUT_DIR")).join("built-in/text.wasm"))?;

    let (host, cold) = timed(open);
    drop(host?);
    let (host, warm) = timed(open);
    let host = host?;
    row("three built-in plugins, empty cache", millis(cold), "");
    row("three built-in plugins, from the cache", millis(warm), "");

    let before = anonymous_memory()?;
    let mut loads = Vec::new();
    let mut kept: Vec<Arc<Plugin>> = Vec::new();
    for i in 0..PLUGINS {
        // a custom section makes it another component
        let unique = [&component[..], &[0, 3, 1, b'n', i]].concat();
        let (plugin, time) = timed(|| host.load(&unique, Kind::ContextType, LimitClass::Default));
        kept.push(plugin?);
        loads.push(time);
    }
    loads.sort();
    row("one plugin, cold", millis(loads[loads.len() / 2]), "< 150 ms");
    let each = (anonymous_memory()? - before) / u64::from(PLUGINS);
    row("memory of a loaded plugin", format!("{each} KiB"), "< 1024 KiB");

    let text = host.context_type("Text").ok_or("Text")?;
    calls("Text", || text.evaluate(&item(json!("Use tabs."))).is_ok());
    let config_map = host.context_type("ConfigMap").ok_or("ConfigMap")?;
    let mut request = item(json!({"name": "rules"}));
    let entries = (0..8).map(|i| Entry { key: format!("{i}.md"), value: vec![b'x'; 2048] }).collect();
    request.inputs = vec![Input { id: "rules".into(), value: Resolved::ConfigMap(entries) }];
    calls("ConfigMap, 8 keys of 2 KiB", || config_map.evaluate(&request).is_ok());
    let opencode = host.command_builder("opencode").ok_or("opencode")?;
    let request = build();
    calls("opencode", || opencode.build(&request).is_ok());
    Ok(())
}

fn row(what: &str, found: String, target: &str) {
    println!("{what:45} {found:>24}   {target}");
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

fn calls(what: &str, mut call: impl FnMut() -> bool) {
    let mut times: Vec<Duration> = (0..CALLS)
        .map(|_| {
            let (ok, time) = timed(&mut call);
            assert!(ok, "{what} failed");
            time
        })
        .collect();
    times.sort();
    let micros = |share: usize| times[CALLS * share / 100].as_secs_f64() * 1e6;
    let found = format!("{:.1} µs p50, {:.1} µs p99", micros(50), micros(99));
    row(&format!("one call of {what}"), found, "p99 < 100 µs");
}

/// Memory of this process that no file backs, in KiB.
fn anonymous_memory() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn item(payload: Value) -> EvaluateRequest {
    EvaluateRequest {
        task: TaskView {
            name: "task".into(),
            namespace: "team".into(),
            uid: "7f7e5f0c-5d49-4b8e-9c36-0d6c7a2f5b11".into(),
            labels: vec![],
            agent_name: "default".into(),
            agent_namespace: "team".into(),
            workspace_dir: "/workspace".into(),
        },
        origin: Origin::Task,
        item_name: None,
        mount_path: None,
        file_mode: None,
        payload,
        inputs: vec![],
        extensions: vec![],
    }
}

fn build() -> BuildRequest {
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
        config: Some(r#"{"model":"a/b"}"#.into()),
        config_path: Some("/tools/opencode.json".into()),
        extensions: vec![],
    }
}
