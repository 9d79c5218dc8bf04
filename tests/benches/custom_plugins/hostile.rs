//! Hostile plugins, each in a ConfigMap: what the Tasks that ask one get and what its Plugin says, and what ordinary Tasks
//! beside feel of it.

#[path = "../../../host/plugin-host/tests/common/bomb.rs"]
mod bomb;
#[path = "../../../host/plugin-host/build/guests.rs"]
mod guests;

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use kubeopencode_api::plugin::Kind as PluginKind;
use kubeopencode_plugin_host::LimitClass;
use kubeopencode_tests::audit::Entry;
use kubeopencode_tests::bench::Latency;
use kubeopencode_tests::components::{
    INLINE, component, config_map, endless, of_wasi_0_3, speechless, with_noise,
};
use kubeopencode_tests::kubelet::Kubelet;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::process::as_f64;
use kubeopencode_tests::record::Kind;
use serde_json::{Value, json};

use super::{BUILT_IN, Bench, PATIENCE, compressed, every_tenth_of_a_second};

/// Tasks beside a plugin that hangs, as many as ask that plugin.
const BESIDE_ONE: usize = 100;
/// The same beside each of the others.
const BESIDE: usize = 20;
/// Tasks that may fail begin so.
pub(super) const HARM: &str = "harm";

/// What was written of Tasks without and with somebody hostile beside them.
#[derive(Default)]
struct Compared {
    without: Vec<Entry>,
    beside: Vec<Entry>,
}

impl Bench {
    /// All of it.
    pub(super) async fn hostile(&mut self) {
        let ns = self.bed.namespace().await;
        let _kubelet = Kubelet::start(&ns.client, &ns.name);
        self.apply_map("endless", &endless("Endless1")).await;
        let operator = self.operator().await;
        let sampler = operator.process.sample();
        self.serve(1).await;
        ordinary(&ns, "warm", BESIDE_ONE, async {}).await;
        let harm = every_tenth_of_a_second(&ns, HARM, BESIDE_ONE, |_| vec![json!({"type": "Endless1"})]);
        let hangs = compared(&ns, "endless", BESIDE_ONE, harm).await;
        self.rows("a plugin that hangs", &hangs);

        let mut all = Compared::default();
        self.that_are_asked(&ns, &mut all).await;
        self.that_are_none(&ns, &mut all).await;
        self.rows("all hostile plugins", &all);
        let peak = format!("{:.0} MiB", sampler.most());
        self.bed.table.row(
            "most memory beside hostile plugins, compilations included",
            peak,
            "-".into(),
            "",
            "< 1024 MiB",
        );

        // the last good bytes, after a death and with nothing compiled; alone, since a bomb would be compiled before
        self.clear().await;
        let good = component("Turncoat", INLINE, "hello");
        let alone = self.alone(&good, LimitClass::Default);
        self.apply_map("turncoat", &good).await;
        self.says("turncoat", "Ready", "True").await;
        self.apply_map("turncoat", b"\0asm\x01\0\0\0").await;
        let why = self.says("turncoat", "Compiled", "False").await;
        drop(operator);
        let started = Instant::now();
        let operator = self.operator().await;
        every_tenth_of_a_second(&ns, "turncoat", 1, |_| vec![json!({"type": "Turncoat"})]).await;
        self.tell("good bytes, then bad ones, and the operator is killed", "1 of 1 Tasks Completed", &why);
        self.bed.table.ratio(
            "good, then bad, killed: to the end of a Task",
            started.elapsed().as_secs_f64(),
            alone * as_f64(BUILT_IN + 1),
            "",
        );
        drop(operator);
        self.clear().await;
        ns.clear_away().await;
    }

    /// The hostile guest of the plugin host's tests, once for each of its deeds: a plugin of its own, whose calls nobody has
    /// paused before.
    async fn that_are_asked(&mut self, ns: &TestNamespace, all: &mut Compared) {
        let component = guest();
        let deeds = [
            ("endless loop", json!(["loop"])),
            ("endless loop in every third call", json!(["behave", "behave", "loop"])),
            ("recursion", json!(["recurse"])),
            ("memory growth", json!(["grow"])),
            ("log flood", json!(["flood"])),
            ("huge result", json!([{"huge": 2 << 20}])),
            ("huge number of empty results", json!([{"many": 100_000}])),
            ("panic", json!(["panic"])),
            ("last words on standard error", json!([{"complain": ["at step 1", "at step 2"]}])),
            ("end of the program", json!([{"exit": 3}])),
            ("a connection", json!([{"connect": "127.0.0.1:80"}])),
            ("needs that never end", json!(["need-for-ever"])),
            ("needs that shrink", json!(["need-others"])),
            ("needs without measure", json!([{"need-many": 17}])),
            ("path outside", json!([{"write": "/etc/passwd"}])),
            ("reserved env", json!([{"set-env": "LD_PRELOAD"}])),
            ("ungranted image", json!([{"run": "evil.example/miner:latest"}])),
            ("foreign Secret", json!([{"mount-secret": "production"}])),
        ];
        for (i, (what, deeds)) in deeds.iter().enumerate() {
            let plugin = format!("hostile-{i}");
            self.install(&plugin, i, &["Hostile"], &with_noise(&component, i + 1)).await;
            self.says(&plugin, "Ready", "True").await;
            let name = format!("{HARM}-{i}");
            let items = |task: usize| {
                let deed = deeds.as_array().and_then(|deeds| deeds.get(task % deeds.len()));
                vec![json!({"type": format!("Hostile{i}"), "config": deed})]
            };
            let harm = every_tenth_of_a_second(ns, &name, BESIDE, items);
            let each = compared(ns, &i.to_string(), BESIDE, harm).await;
            self.row(what, &each);
            let healthy = self.condition(&plugin, "Healthy").await;
            let healthy = healthy.map_or_else(|| "nothing of its health".into(), |(_, words)| words);
            self.tell(what, &became_of(ns, &name), &healthy);
            all.without.extend(each.without);
            all.beside.extend(each.beside);
        }
    }

    /// What is never asked, because it is no plugin.
    async fn that_are_none(&mut self, ns: &TestNamespace, all: &mut Compared) {
        let component = guest();
        let mut part = map("part", "plugin.wasm", &component);
        part["metadata"]["annotations"] =
            json!({"kubeopencode.io/plugin-name": "part", "kubeopencode.io/plugin-part": "2/2"});
        let zeros = zstd::encode_all(std::io::repeat(0).take(4 << 30), 1).unwrap();
        let packed = |name: &str, component: &[u8]| map(name, "plugin.wasm.zst", &compressed(component));
        for (what, name, map) in [
            ("core module", "module", packed("module", &wat::parse_str("(module)").unwrap())),
            ("no WebAssembly", "script", packed("script", b"#!/bin/sh")),
            ("truncated bytes", "truncated", packed("truncated", &component[..component.len() / 2])),
            ("no world", "worldless", packed("worldless", &wat::parse_str("(component)").unwrap())),
            ("WASI 0.3", "wasi", packed("wasi", &of_wasi_0_3())),
            (
                "wrong world",
                "world",
                config_map("world", PluginKind::CommandBuilder, "plugin.wasm.zst", &compressed(&component)),
            ),
            ("compile bomb", "bomb", packed("bomb", &bomb::bomb())),
            ("a descriptor that never comes", "speechless", packed("speechless", &speechless())),
            ("4 GiB of zeros as zstd", "zeros", map("zeros", "plugin.wasm.zst", &zeros)),
            ("a part that is missing", "part", part),
        ] {
            let mut why = String::new();
            let harm = async {
                self.apply(&map).await;
                why = self.says(name, "Ready", "False").await;
            };
            let each = compared(ns, name, BESIDE, harm).await;
            self.row(what, &each);
            self.tell(what, "none is asked", &why);
            all.without.extend(each.without);
            all.beside.extend(each.beside);
        }
    }

    /// A row about Tasks beside one hostile plugin.
    fn row(&mut self, what: &str, compared: &Compared) {
        self.percentile(what, compared, 50, "");
    }

    /// Rows about many Tasks beside hostile plugins.
    fn rows(&mut self, what: &str, compared: &Compared) {
        self.percentile(what, compared, 50, "");
        self.percentile(what, compared, 99, "<= 2x");
    }

    fn percentile(&mut self, what: &str, compared: &Compared, percent: usize, goal: &'static str) {
        let [beside, without] =
            [&compared.beside, &compared.without].map(|entries| Latency::of(entries).pod(percent));
        self.bed.table.ratio(format!("beside {what} (without): to Pod, p{percent}"), beside, without, goal);
    }

    /// What a hostile plugin got, in the words that people read.
    fn tell(&mut self, what: &str, tasks: &str, plugin: &str) {
        let said = format!("{what}\n    its Tasks: {tasks}\n    its Plugin: {plugin}");
        eprintln!("{said}");
        self.said.push(said);
    }

    /// A condition of a Plugin: its status, and that with its reason and message.
    async fn condition(&self, plugin: &str, type_: &str) -> Option<(String, String)> {
        let status = self.plugins().get_opt(plugin).await.unwrap()?.status?;
        let found = status.conditions.into_iter().find(|condition| condition.type_ == type_)?;
        let words = format!("{type_}={} {}: {}", found.status, found.reason, found.message);
        Some((found.status, words))
    }

    /// Waits until a condition of a Plugin is so, and gives its words.
    async fn says(&self, plugin: &str, type_: &str, is: &str) -> String {
        let asked = Instant::now();
        loop {
            if let Some((status, words)) = self.condition(plugin, type_).await
                && status == is
            {
                return words;
            }
            if asked.elapsed() > PATIENCE {
                let now = self.plugins().get_opt(plugin).await.unwrap();
                panic!("waited in vain for Plugin {plugin} to say {type_}={is}: {now:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The hostile guest of the plugin host's tests.
fn guest() -> Vec<u8> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let built = guests::build(&plugins, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests"), &["hostile"]);
    std::fs::read(built.unwrap().join("hostile.wasm")).unwrap()
}

/// A ConfigMap with these bytes as a context type.
fn map(name: &str, key: &str, bytes: &[u8]) -> Value {
    config_map(name, PluginKind::ContextType, key, bytes)
}

/// Ordinary Tasks, first alone and then beside `harm`.
async fn compared(ns: &TestNamespace, id: &str, number: usize, harm: impl Future<Output = ()>) -> Compared {
    Compared {
        without: ordinary(ns, &format!("alone-{id}"), number, async {}).await,
        beside: ordinary(ns, &format!("beside-{id}"), number, harm).await,
    }
}

/// What was written of ordinary Tasks while something else was done.
async fn ordinary(
    ns: &TestNamespace,
    name: &str,
    number: usize,
    beside: impl Future<Output = ()>,
) -> Vec<Entry> {
    let mark = ns.cluster.audit.mark();
    let text = |_| vec![json!({"type": "Text", "text": "hello"})];
    futures::join!(every_tenth_of_a_second(ns, name, number, text), beside);
    let prefix = format!("{name}-");
    let mut entries = ns.cluster.audit.all_writes_since(mark, &ns.name);
    entries.retain(|entry| entry.name().starts_with(&prefix));
    entries
}

/// How many of the Tasks of a hostile plugin failed, and what the first of them was told.
fn became_of(ns: &TestNamespace, name: &str) -> String {
    let history = ns.record.history();
    let tasks = (0..BESIDE).filter_map(|i| history.get(Kind::Task, &format!("{name}-{i}")));
    let failed: Vec<_> = tasks.filter(|task| task.text("/status/phase") == "Failed").collect();
    let first = failed.first().map(|task| task.text("/status/message")).unwrap_or_default();
    format!("{} of {BESIDE} Failed, the first with: {first}", failed.len())
}
