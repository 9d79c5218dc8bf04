//! What plugins cost: cold load, memory of a loaded plugin and one call, with 1, 20 and 200 of them; a table with the
//! targets beside. A time of many stands with its ratio to that of one, and a time out of the cache to that without: they were
//! measured in the same run. `make bench` runs it in the release profile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{build_request, request_of, worker};
use kubeopencode_api::plugin::{Entry, EvaluateRequest, Input, Kind, Outcome, Resolved};
use kubeopencode_plugin_host::{HostOptions, LimitClass, Plugin, PluginHost};
use serde_json::{Value, json};

const CALLS: usize = 20_000;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let cache_dir = dir.path().join("cache");
        let host = PluginHost::new(HostOptions { cache_dir, worker: worker() }).unwrap();
        let plugins = host.load_built_in().unwrap();
        (host, plugins)
    };
    let (host, cold) = timed(open);
    drop(host);
    let ((host, plugins), warm) = timed(open);
    row("built-in plugins, all, empty cache", &millis(cold), "");
    let of_cold = format!("{} ({:.2}x)", millis(warm), warm.as_secs_f64() / cold.as_secs_f64());
    row("built-in plugins, all, from the cache", &of_cold, "");

    let component = fs::read(Path::new(env!("OUT_DIR")).join("built-in/text.wasm")).unwrap();
    let one = installed(&host, &component, 1, None);
    for number in [20, 200] {
        installed(&host, &component, number, Some(&one));
    }
    built_in(&plugins);
}

/// What one plugin took.
struct One {
    load: Duration,
    call: Times,
}

/// Cold load, memory and calls of so many plugins, beside those of one.
fn installed(host: &PluginHost, component: &[u8], number: u8, one: Option<&One>) -> One {
    let (anonymous, file) = memory();
    let mut loads = Vec::new();
    let mut plugins: Vec<Arc<Plugin>> = Vec::new();
    for i in 0..number {
        // a custom section makes it another component
        let unique = [component, &[0, 4, 1, b'n', number, i]].concat();
        let (plugin, time) = timed(|| host.load(&unique, Kind::ContextType, LimitClass::Default));
        plugins.push(plugin.unwrap());
        loads.push(time);
    }
    loads.sort();
    let item = request_of("Text", "Use tabs.");
    let mut turn = plugins.iter().cycle();
    let call = calls(|| turn.next().is_some_and(|plugin| plugin.evaluate(item.clone()).is_ok()));
    let (anonymous_now, file_now) = memory();
    let each = |before: u64, now: u64| now.saturating_sub(before) / u64::from(number);
    let what = |what| format!("{number} plugins: {what}");
    let load = loads[loads.len() / 2];
    let ratio = |ours: f64, of_one: Option<f64>| match of_one {
        Some(of_one) => format!(" ({:.2}x)", ours / of_one),
        None => String::new(),
    };
    let of_one = ratio(load.as_secs_f64(), one.map(|one| one.load.as_secs_f64()));
    row(&what("cold load of one, p50"), &format!("{}{of_one}", millis(load)), "< 150 ms");
    row(&what("memory of one"), &format!("{} KiB", each(anonymous, anonymous_now)), "< 1024 KiB");
    row(&what("pages of its code in memory"), &format!("{} KiB", each(file, file_now)), "");
    let of_one = ratio(call.p50, one.map(|one| one.call.p50));
    row(&what("one call, each in turn"), &format!("{call}{of_one}"), "p99 < 100 µs");
    One { load, call }
}

fn built_in(plugins: &[Arc<Plugin>]) {
    let named = |name: &str| plugins.iter().find(|plugin| plugin.type_named(name).is_some()).unwrap();
    let entries = (0..8).map(|i| Entry { key: format!("{i}.md"), value: vec![b'x'; 2048] }).collect();
    let mut map = request_of("ConfigMap", json!({"name": "rules"}));
    map.inputs = vec![Input { id: "rules".into(), value: Resolved::ConfigMap(entries) }];
    let mounted = |type_name, payload: Value| EvaluateRequest {
        mount_path: Some("there".into()),
        ..request_of(type_name, payload)
    };
    for (what, name, item) in [
        ("Text", "Text", request_of("Text", "Use tabs.")),
        ("ConfigMap, 8 keys of 2 KiB", "ConfigMap", map),
        ("Git", "Git", mounted("Git", json!({"repository": "https://git.example/org/repo"}))),
        ("URL", "URL", mounted("URL", json!({"source": "https://files.example/a"}))),
        ("Runtime", "Runtime", request_of("Runtime", json!({}))),
        ("File", "File", request_of("File", json!({"name": "a", "source": {"inline": "x"}}))),
    ] {
        let plugin = named(name);
        // what asks for something first has not done its work
        let times = calls(|| matches!(plugin.evaluate(item.clone()), Ok(Outcome::Ready(_))));
        row(&format!("one call of {what}"), &times.to_string(), "p99 < 100 µs");
    }
    let opencode = named("opencode");
    let item = build_request();
    let times = calls(|| opencode.build(&item).is_ok());
    row("one call of opencode", &times.to_string(), "p99 < 100 µs");
}

fn row(what: &str, found: &str, target: &str) {
    println!("{what:45} {found:>34}   {target}");
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// What calls took, in microseconds.
struct Times {
    p50: f64,
    p99: f64,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} µs p50, {:.1} µs p99", self.p50, self.p99)
    }
}

fn calls(mut call: impl FnMut() -> bool) -> Times {
    let mut times: Vec<Duration> = (0..CALLS)
        .map(|_| {
            let (ok, time) = timed(&mut call);
            assert!(ok);
            time
        })
        .collect();
    times.sort();
    let micros = |share: usize| times[CALLS * share / 100].as_secs_f64() * 1e6;
    Times { p50: micros(50), p99: micros(99) }
}

/// Memory of this process in KiB: that no file backs, and that one does.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (field("RssAnon:"), field("RssFile:"))
}
