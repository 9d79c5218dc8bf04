//! The third part of `make bench`: an operator with 200 plugins out of ConfigMaps on a real API server. How long it takes
//! from an empty cache, what a Task with twenty custom contexts costs beside one with twenty built-in ones, what Tasks
//! feel of hostile plugins and what those get, what becomes of 500 Tasks while two plugins are replaced 100 times each, and
//! how soon a plugin in each language is Ready.
//!
//! `cargo bench --bench custom_plugins -- many hostile storm languages` runs some of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot go on says so by panicking"
)]

#[path = "custom_plugins/hostile.rs"]
mod hostile;
#[path = "custom_plugins/languages.rs"]
mod languages;

use std::collections::HashMap;
use std::fs::DirEntry;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kubeopencode_api::plugin::Kind as PluginKind;
use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_api::task::Task;
use kubeopencode_tests::bench::{Latency, TestBed, millis, until};
use kubeopencode_tests::cluster::FIELD_MANAGER;
use kubeopencode_tests::components::{config_map, sha256, with_noise};
use kubeopencode_tests::kubelet::Kubelet;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::task;
use kubeopencode_tests::program::Program;
use kubeopencode_tests::record::{History, Kind, Revision};
use serde_json::{Value, json};

use hostile::HARM;

/// Plugins that are there.
const MANY: usize = 200;
/// Components that the program brings, which are compiled too.
const BUILT_IN: usize = 7;
/// Context items of a Task that has many.
const ITEMS: usize = 20;
/// Such Tasks, ten a second, of each kind.
const TASKS: usize = 50;
/// Updates of each of two plugins, and Tasks that start meanwhile.
const UPDATES: usize = 100;
const STARTED: usize = 500;
/// Clients that create Tasks at once.
const CREATORS: usize = 10;
/// The operator's own namespace.
const OWN: &str = "kubeopencode-system";
const PROBES: u16 = 18_083;

/// Components of the plugin host's own tests, a context type `Fixture` each, compressed.
const RUST: &[u8] = include_bytes!("../../host/plugin-host/tests/fixtures/1.0.0/rust.wasm.zst");
/// What the fixture in Rust has; the one in JavaScript has the first alone.
const RUST_TYPES: [&str; 2] = ["Fixture", "FixtureSettings"];
const JAVASCRIPT: &[u8] = include_bytes!("../../host/plugin-host/tests/fixtures/1.0.0/javascript.wasm.zst");

struct Bench {
    bed: TestBed,
    /// What hostile plugins got.
    said: Vec<String>,
}

#[tokio::main]
async fn main() {
    let bed = TestBed::start("custom_plugins", PROBES).await;
    let mut bench = Bench { bed, said: Vec::new() };
    let own: Namespace = serde_json::from_value(json!({"metadata": {"name": OWN}})).unwrap();
    let namespaces = Api::<Namespace>::all(bench.bed.cluster.client());
    namespaces.patch(OWN, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&own)).await.unwrap();
    if bench.bed.wants("many") {
        bench.many().await;
    }
    if bench.bed.wants("hostile") {
        bench.hostile().await;
    }
    if bench.bed.wants("storm") {
        bench.storm().await;
    }
    if bench.bed.wants("languages") {
        bench.languages().await;
    }
    bench.bed.print("beside it", "");
    for said in &bench.said {
        println!("\n{said}");
    }
}

impl Bench {
    /// An operator with an empty cache of compiled code.
    fn operator(&self) -> Program {
        let _ = std::fs::remove_dir_all(&self.bed.cache);
        self.bed.operator()
    }

    fn plugins(&self) -> Api<Plugin> {
        Api::all(self.bed.cluster.client())
    }

    /// The component in a ConfigMap, and a Plugin of it: its types under names with this number.
    async fn install(&self, name: &str, number: usize, types: &[&str], component: &[u8]) {
        self.apply_map(name, component).await;
        let names: Value =
            types.iter().map(|of| ((*of).to_owned(), json!(format!("{of}{number}")))).collect();
        let spec = json!({"kind": "context-type", "source": {"configMap": {"name": name}}, "names": names});
        self.apply_plugin(name, &spec).await;
    }

    async fn apply_plugin(&self, name: &str, spec: &Value) {
        let plugin = json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Plugin", "metadata": {"name": name}, "spec": spec});
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.plugins().patch(name, &params, &Patch::Apply(&plugin)).await.unwrap();
    }

    async fn apply_map(&self, name: &str, component: &[u8]) {
        self.apply(&config_map(name, PluginKind::ContextType, "plugin.wasm.zst", &compressed(component)))
            .await;
    }

    async fn apply(&self, map: &Value) {
        let maps = Api::<ConfigMap>::namespaced(self.bed.cluster.client(), OWN);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let name = map["metadata"]["name"].as_str().unwrap();
        maps.patch(name, &params, &Patch::Apply(map)).await.unwrap();
    }

    async fn clear(&self) {
        let maps = Api::<ConfigMap>::namespaced(self.bed.cluster.client(), OWN);
        maps.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
        self.plugins().delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    }

    /// Waits until so many Plugins serve.
    async fn serve(&self, number: usize) {
        let asked = Instant::now();
        loop {
            let plugins = self.plugins().list(&ListParams::default()).await.unwrap();
            let serves = |plugin: &&Plugin| {
                let status = plugin.status.as_ref();
                status.is_some_and(|status| status.digest.is_some() && status.digest == status.wanted)
            };
            if plugins.iter().filter(serves).count() == number {
                return;
            }
            assert!(asked.elapsed() < Duration::from_secs(600), "waited ten minutes for {number} Plugins");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits until code of so many plugins is in the cache.
    async fn compiled(&self, number: usize) {
        let asked = Instant::now();
        while std::fs::read_dir(&self.bed.cache).unwrap().filter(is_compiled).count() < number {
            assert!(
                asked.elapsed() < Duration::from_secs(600),
                "waited ten minutes for {number} compilations"
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// The start with many plugins and nothing compiled, and what Tasks with many contexts cost then.
    async fn many(&mut self) {
        let ns = self.bed.namespace().await;
        let _kubelet = Kubelet::start(&ns.client, &ns.name);
        let component = decompressed(RUST);
        for i in 0..MANY {
            self.install(&format!("many-{i}"), i, &RUST_TYPES, &with_noise(&component, i + 1)).await;
        }
        let installed = Instant::now();
        let operator = self.operator();
        self.serve(MANY).await;
        self.bed.table.row(
            format!("{MANY} new plugins: to all Ready"),
            seconds(installed.elapsed()),
            "-".into(),
            "",
            "",
        );
        drop(operator);
        // of the one that comes last
        create(&ns, "wanted", &[custom(MANY - 1)]).await;
        let started = Instant::now();
        let operator = self.operator();
        let sampler = operator.process.sample();
        let is_over = |name: &'static str| {
            until(&ns, name, move |history| {
                history.all(Kind::Task).any(|task| task.name() == name && is_over(task))
            })
        };
        is_over("wanted").await;
        self.bed.table.row(
            format!("{MANY} plugins, empty cache: to the end of a Task"),
            seconds(started.elapsed()),
            "-".into(),
            "",
            "",
        );
        self.compiled(MANY + BUILT_IN).await;
        let what = |what: &str| format!("{MANY} plugins, empty cache: {what}");
        self.bed.table.row(what("to all Ready"), seconds(started.elapsed()), "-".into(), "", "");
        let peak = format!("{:.0} MiB", sampler.most());
        self.bed.table.row(what("most memory, compilations included"), peak, "-".into(), "", "< 1024 MiB");
        let now = format!("{:.0} MiB", operator.process.memory());
        self.bed.table.row(what("memory then"), now, "-".into(), "", "");

        let custom: Vec<_> = (0..ITEMS).map(custom).collect();
        let built_in: Vec<_> = (0..ITEMS).map(|i| json!({"type": "Text", "text": format!("{i}")})).collect();
        let mut medians = Vec::new();
        for (name, items) in [("first", &custom), ("built-in", &built_in), ("custom", &custom)] {
            let mark = self.bed.cluster.audit.mark();
            every_tenth_of_a_second(&ns, name, TASKS, |_| items.clone()).await;
            let latency = Latency::of(&self.bed.cluster.audit.all_writes_since(mark, &ns.name));
            medians.push((latency.pod(50), latency.pod(99)));
        }
        for (what, ours, beside) in [("p50", medians[2].0, medians[1].0), ("p99", medians[2].1, medians[1].1)]
        {
            self.bed.table.row(
                format!("{ITEMS} custom contexts (built-in beside): to Pod, {what}"),
                millis(ours),
                millis(beside),
                "",
                "",
            );
        }
        drop(operator);
        self.clear().await;
        ns.clear_away().await;
    }

    /// Two plugins that are replaced again and again while Tasks of both start.
    async fn storm(&mut self) {
        let ns = self.bed.namespace().await;
        let _kubelet = Kubelet::start(&ns.client, &ns.name);
        let (rust, javascript) = (decompressed(RUST), decompressed(JAVASCRIPT));
        self.install("storm-rust", 0, &RUST_TYPES, &saying(&rust, &words(0))).await;
        self.install("storm-javascript", 1, &["Fixture"], &saying(&javascript, &words(0))).await;
        let operator = self.operator();
        let sampler = operator.process.sample();
        self.serve(2).await;
        let items = [custom(0), custom(1)];
        let started = Instant::now();
        let updates = async {
            for i in 1..=UPDATES {
                self.apply_map("storm-rust", &saying(&rust, &words(i))).await;
                self.apply_map("storm-javascript", &saying(&javascript, &words(i))).await;
            }
            started.elapsed()
        };
        let tasks = async {
            let each = futures::stream::iter(0..STARTED).for_each_concurrent(CREATORS, async |i| {
                create(&ns, &format!("storm-{i}"), &items).await;
            });
            each.await;
            until(&ns, "all Tasks are over", |history| {
                history.all(Kind::Task).filter(|task| is_over(task)).count() == STARTED
            })
            .await;
            started.elapsed()
        };
        let (updated, over) = futures::join!(updates, tasks);
        self.serve(2).await;
        let newest = started.elapsed();
        let all_say = |component: &[u8]| -> HashMap<String, String> {
            let all = (0..=UPDATES).map(words);
            all.map(|words| (format!("sha256:{}", sha256(&saying(component, &words))), words)).collect()
        };
        let say = [(type_name(0), all_say(&rust)), (type_name(1), all_say(&javascript))];
        let (completed, pure) = {
            let history = ns.record.history();
            let tasks = || history.all(Kind::Task);
            let completed = tasks().filter(|task| task.text("/status/phase") == "Completed").count();
            (completed, tasks().filter(|task| is_pure(&history, task, &say)).count())
        };
        let what = |what: &str| format!("{UPDATES} updates of two beside {STARTED} Tasks: {what}");
        self.bed.table.row(what("none lost"), format!("{completed} Completed"), "-".into(), "", "all");
        self.bed.table.row(what("none mixed"), format!("{pure} of one piece"), "-".into(), "", "all");
        let compiled = std::fs::read_dir(&self.bed.cache).unwrap().filter(is_compiled).count() - BUILT_IN;
        let of = format!("of {}", 2 * (UPDATES + 1));
        self.bed.table.row(what("compiled"), compiled.to_string(), of, "", "");
        self.bed.table.row(what("applied in"), seconds(updated), "-".into(), "", "");
        self.bed.table.row(what("Tasks over in"), seconds(over), "-".into(), "", "");
        self.bed.table.row(what("newest serves after"), seconds(newest), "-".into(), "", "");
        let peak = format!("{:.0} MiB", sampler.most());
        self.bed.table.row(what("most memory, compilations included"), peak, "-".into(), "", "< 1024 MiB");
        self.bed.table.row(
            what("cache"),
            format!("{} MiB", size(&self.bed.cache) >> 20),
            "-".into(),
            "",
            "< 512 MiB",
        );
        drop(operator);
        self.clear().await;
        ns.clear_away().await;
    }
}

fn type_name(number: usize) -> String {
    format!("Fixture{number}")
}

/// The fixture with these five letters in the place of those with which each word of its answer begins. Both languages have
/// them once, with their number before them.
fn saying(component: &[u8], words: &str) -> Vec<u8> {
    const OWN_WORDS: &[u8] = b"\x05word ";
    let all = component.windows(OWN_WORDS.len()).enumerate();
    let own: Vec<_> = all.filter(|(_, bytes)| *bytes == OWN_WORDS).map(|(at, _)| at + 1).collect();
    let ([at], 5) = (&own[..], words.len()) else { panic!("\"{words}\" in {} places", own.len()) };
    [&component[..*at], words.as_bytes(), &component[at + 5..]].concat()
}

/// What both plugins say after so many updates.
fn words(update: usize) -> String {
    format!("{update:04}:")
}

/// Whether what the agent reads is, for each type, what the component gives whose digest the Task names; `say` has the words of
/// each digest.
fn is_pure(history: &History, task: &Revision, say: &[(String, HashMap<String, String>)]) -> bool {
    let map = history.get(Kind::ConfigMap, &format!("{}-context", task.name()));
    let text = map.map(|map| map.text("/data/workspace-.kubeopencode-context.md")).unwrap_or_default();
    say.iter().all(|(type_, words)| {
        let used = task.list("/status/plugins").iter().find(|used| used["type"] == type_.as_str());
        let words = used.and_then(|used| words.get(used["digest"].as_str()?));
        words.is_some_and(|words| text.contains(&format!("type=\"{type_}\">\n{words}")))
    })
}

/// An item of that type.
fn custom(number: usize) -> Value {
    json!({"type": type_name(number), "config": {"deed": "hash"}})
}

fn compressed(component: &[u8]) -> Vec<u8> {
    zstd::encode_all(component, 3).unwrap()
}

fn decompressed(component: &[u8]) -> Vec<u8> {
    zstd::decode_all(component).unwrap()
}

async fn create(ns: &TestNamespace, name: &str, items: &[Value]) {
    let contexts = Value::from(items.to_vec());
    let task = task(name).description("Count the stars.").spec(&format!("contexts: {contexts}"));
    let task: Task = serde_json::from_value(task.json()).unwrap();
    ns.tasks().create(&PostParams::default(), &task).await.unwrap();
}

/// Creates Tasks, each with its items, and waits until all of them are over.
async fn every_tenth_of_a_second(
    ns: &TestNamespace,
    name: &str,
    number: usize,
    items: impl Fn(usize) -> Vec<Value>,
) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for i in 0..number {
        ticks.tick().await;
        create(ns, &format!("{name}-{i}"), &items(i)).await;
    }
    let prefix = format!("{name}-");
    until(ns, "all Tasks are over", |history| {
        let those = history.all(Kind::Task).filter(|task| task.name().starts_with(&prefix));
        those.filter(|task| is_over(task)).count() == number
    })
    .await;
    if !name.starts_with(HARM) {
        let history = ns.record.history();
        let failed = history
            .all(Kind::Task)
            .find(|task| task.name().starts_with(&prefix) && task.text("/status/phase") == "Failed");
        assert!(failed.is_none(), "{}", failed.unwrap().text("/status/message"));
    }
}

fn is_over(task: &Revision) -> bool {
    matches!(task.text("/status/phase"), "Completed" | "Failed")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn is_compiled(file: &std::io::Result<DirEntry>) -> bool {
    file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "cwasm")
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
