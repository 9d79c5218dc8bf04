//! The third part of `make bench`: an operator with 200 plugins out of ConfigMaps on a real API server. How long it takes
//! from an empty cache, what a Task with twenty custom contexts costs beside one with twenty built-in ones, what Tasks
//! feel of hostile plugins and what those get, what becomes of 500 Tasks while two plugins are replaced 100 times each, and
//! how soon a plugin in each language is Ready. A time stands with its ratio to the one beside it, which was measured in the same
//! run: the plugin host alone with the same components, or the same Tasks without what is done to them.
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
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kubeopencode_api::plugin::Kind as PluginKind;
use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_api::task::Task;
use kubeopencode_plugin_host::{LimitClass, PluginHost};
use kubeopencode_tests::bench::{Latency, TestBed, until};
use kubeopencode_tests::cluster::FIELD_MANAGER;
use kubeopencode_tests::components::{config_map, sha256, with_noise};
use kubeopencode_tests::kubelet::Kubelet;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::task;
use kubeopencode_tests::process::as_f64;
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
/// Components that are loaded by the plugin host alone, for one figure.
const ALONE: usize = 5;
/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(600);
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
    /// Without an operator around it.
    host: PluginHost,
    /// What hostile plugins got.
    said: Vec<String>,
}

#[tokio::main]
async fn main() {
    let bed = TestBed::start("custom_plugins", PROBES).await;
    let host = bed.plugin_host();
    let mut bench = Bench { bed, host, said: Vec::new() };
    let own: Namespace = serde_json::from_value(json!({"metadata": {"name": OWN}})).unwrap();
    let namespaces = Api::<Namespace>::all(bench.bed.cluster.client());
    namespaces.patch(OWN, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&own)).await.unwrap();
    // what an earlier bench left when it broke off
    bench.clear().await;
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
    /// An operator with an empty cache of compiled code, once it is ready.
    async fn operator(&self) -> Program {
        let _ = std::fs::remove_dir_all(&self.bed.cache);
        self.bed.ready_operator().await
    }

    /// How long the plugin host takes for a component that it does not have, in seconds.
    fn alone(&self, component: &[u8], class: LimitClass) -> f64 {
        let started = Instant::now();
        self.host.load(component, PluginKind::ContextType, class).unwrap();
        started.elapsed().as_secs_f64()
    }

    fn plugins(&self) -> Api<Plugin> {
        Api::all(self.bed.cluster.client())
    }

    /// The component in a ConfigMap, and a Plugin of it: its types under names with this number.
    async fn install(&self, name: &str, number: usize, types: &[&str], component: &[u8]) {
        let names: Value =
            types.iter().map(|of| ((*of).to_owned(), json!(format!("{of}{number}")))).collect();
        let spec = json!({"kind": "context-type", "source": {"configMap": {"name": name}}, "names": names});
        // first, or the operator would make one without other names
        self.apply_plugin(name, &spec).await;
        self.apply_map(name, component).await;
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
            let is_served = |plugin: &&Plugin| {
                let status = plugin.status.as_ref();
                status.is_some_and(|status| status.digest.is_some() && status.digest == status.wanted)
            };
            let (serve, others): (Vec<_>, Vec<_>) = plugins.iter().partition(is_served);
            if serve.len() == number {
                return;
            }
            assert!(
                asked.elapsed() < PATIENCE,
                "waited in vain for {number} Plugins: {} serve; the first of the others: {:?}",
                serve.len(),
                others.first()
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits until a Plugin serves this component.
    async fn serves(&self, name: &str, component: &[u8]) {
        let (digest, asked) = (format!("sha256:{}", sha256(component)), Instant::now());
        loop {
            let plugin = self.plugins().get_opt(name).await.unwrap();
            let status = plugin.and_then(|plugin| plugin.status);
            if status.as_ref().and_then(|status| status.digest.as_ref()) == Some(&digest) {
                return;
            }
            assert!(
                asked.elapsed() < PATIENCE,
                "waited in vain for Plugin {name} to serve {digest}: {status:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until code of so many plugins is in the cache.
    async fn compiled(&self, number: usize) {
        let asked = Instant::now();
        loop {
            let compiled = self.in_cache();
            if compiled >= number {
                return;
            }
            assert!(
                asked.elapsed() < PATIENCE,
                "waited in vain for {number} compilations: there are {compiled}"
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// How many files of compiled code are in the cache.
    fn in_cache(&self) -> usize {
        let files = std::fs::read_dir(&self.bed.cache).unwrap().flatten();
        files.filter(|file| file.path().extension().is_some_and(|extension| extension == "cwasm")).count()
    }

    /// The start with many plugins and nothing compiled, and what Tasks with many contexts cost then.
    async fn many(&mut self) {
        let ns = self.bed.namespace().await;
        let _kubelet = Kubelet::start(&ns.client, &ns.name);
        let component = decompressed(RUST);
        for i in 0..MANY {
            self.install(&format!("many-{i}"), i, &RUST_TYPES, &with_noise(&component, i + 1)).await;
        }
        let alone = (0..ALONE)
            .map(|i| self.alone(&with_noise(&component, MANY + 1 + i), LimitClass::Default))
            .sum::<f64>()
            / as_f64(ALONE);
        let installed = Instant::now();
        let operator = self.operator().await;
        self.serve(MANY).await;
        let (ready, all_alone) = (installed.elapsed().as_secs_f64(), alone * as_f64(MANY + BUILT_IN));
        self.bed.table.ratio(
            format!("{MANY} new plugins (the host alone): to all Ready"),
            ready,
            all_alone,
            "",
        );
        drop(operator);
        // of the one that comes last
        create(&ns, "wanted", &[custom(MANY - 1)]).await;
        let started = Instant::now();
        let operator = self.operator().await;
        let sampler = operator.process.sample();
        let is_over = |name: &'static str| {
            until(&ns, name, move |history| {
                history.all(Kind::Task).any(|task| task.name() == name && is_over(task))
            })
        };
        is_over("wanted").await;
        let over = started.elapsed().as_secs_f64();
        let what = |what: &str| format!("{MANY} plugins, empty cache: {what}");
        self.bed.table.ratio(what("to the end of a Task"), over, alone * as_f64(BUILT_IN + 1), "");
        self.compiled(MANY + BUILT_IN).await;
        self.bed.table.ratio(what("to all compiled"), started.elapsed().as_secs_f64(), all_alone, "");
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
            self.bed.table.ratio(
                format!("{ITEMS} custom contexts (built-in): to Pod, {what}"),
                ours,
                beside,
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
        let operator = self.operator().await;
        let sampler = operator.process.sample();
        self.serve(2).await;
        let items = [custom(0), custom(1)];
        let calm = all_at_once(&ns, "calm", &items).await;
        let newest = [saying(&rust, &words(UPDATES)), saying(&javascript, &words(UPDATES))];
        let alone: f64 = newest.iter().map(|component| self.alone(component, LimitClass::Default)).sum();
        let started = Instant::now();
        let updates = async {
            for i in 1..=UPDATES {
                self.apply_map("storm-rust", &saying(&rust, &words(i))).await;
                self.apply_map("storm-javascript", &saying(&javascript, &words(i))).await;
            }
            let (updated, last) = (started.elapsed(), Instant::now());
            self.serves("storm-rust", &newest[0]).await;
            self.serves("storm-javascript", &newest[1]).await;
            (updated, last.elapsed().as_secs_f64())
        };
        let ((updated, served), over) = futures::join!(updates, all_at_once(&ns, "storm", &items));
        let all_say = |component: &[u8]| -> HashMap<String, String> {
            let all = (0..=UPDATES).map(words);
            all.map(|words| (format!("sha256:{}", sha256(&saying(component, &words))), words)).collect()
        };
        let say = [(type_name(0), all_say(&rust)), (type_name(1), all_say(&javascript))];
        let (completed, pure) = {
            let history = ns.record.history();
            let tasks = || history.all(Kind::Task).filter(|task| task.name().starts_with("storm-"));
            let completed = tasks().filter(|task| task.text("/status/phase") == "Completed").count();
            (completed, tasks().filter(|task| is_pure(&history, task, &say)).count())
        };
        let what = |what: &str| format!("{UPDATES} updates of two beside {STARTED} Tasks: {what}");
        self.bed.table.row(what("none lost"), format!("{completed} Completed"), "-".into(), "", "all");
        self.bed.table.row(what("none mixed"), format!("{pure} of one piece"), "-".into(), "", "all");
        let compiled = self.in_cache().saturating_sub(BUILT_IN);
        let of = format!("of {}", 2 * (UPDATES + 1));
        self.bed.table.row(what("compiled, and in the cache"), compiled.to_string(), of, "", "");
        let updated = format!("{:.1} s", updated.as_secs_f64());
        self.bed.table.row(what("applied in"), updated, "-".into(), "", "");
        self.bed.table.ratio(what("Tasks (without updates) over in"), over, calm, "");
        self.bed.table.ratio(what("newest (the host alone) after the last"), served, alone, "");
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
    are_over(ns, name, number).await;
    if !name.starts_with(HARM) {
        let (history, prefix) = (ns.record.history(), format!("{name}-"));
        let failed = history
            .all(Kind::Task)
            .find(|task| task.name().starts_with(&prefix) && task.text("/status/phase") == "Failed");
        assert!(failed.is_none(), "{}", failed.unwrap().text("/status/message"));
    }
}

/// Creates [`STARTED`] Tasks with these items as fast as [`CREATORS`] can, and gives in how many seconds all of them are over.
async fn all_at_once(ns: &TestNamespace, name: &str, items: &[Value]) -> f64 {
    let started = Instant::now();
    let each = futures::stream::iter(0..STARTED).for_each_concurrent(CREATORS, async |i| {
        create(ns, &format!("{name}-{i}"), items).await;
    });
    each.await;
    are_over(ns, name, STARTED).await;
    started.elapsed().as_secs_f64()
}

/// Waits until so many Tasks whose names begin so are over.
async fn are_over(ns: &TestNamespace, name: &str, number: usize) {
    let prefix = format!("{name}-");
    until(ns, &format!("{number} Tasks {name}-… are over"), |history| {
        let those = history.all(Kind::Task).filter(|task| task.name().starts_with(&prefix));
        those.filter(|task| is_over(task)).count() == number
    })
    .await;
}

fn is_over(task: &Revision) -> bool {
    matches!(task.text("/status/phase"), "Completed" | "Failed")
}

/// Bytes of the files in a folder, where some may just go.
fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}
