//! `make attacks`: what a neighbour feels of each attack on another namespace, and what the operator comes to need for it; in the end
//! the memory of an operator that starts in a cluster with as much as one may hold. Fails where that is more than a quarter of the
//! chart's limit, or where a neighbour's Tasks take more than twice as long as alone.
//!
//! `cargo bench --bench attacks -- burst quota memory` runs some of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot go on says so by panicking"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::StreamExt;
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, PostParams};
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::task::Task;
use kubeopencode_tests::bench::{Latency, TestBed, completed, millis, percentile};
use kubeopencode_tests::kubelet::Kubelet;
use kubeopencode_tests::namespace::{TestNamespace, make_namespace};
use kubeopencode_tests::objects::{Builder, config, config_map, foreign_pod, task};
use serde_json::{Value, json};

/// The neighbour's Tasks, five a second.
const TASKS: usize = 200;
const PACE: Duration = Duration::from_millis(200);
/// By how much they may take longer beside an attack.
const AS_LONG: f64 = 2.0;
/// Most memory of the operator, in MiB: a quarter of the chart's limit.
const MOST: f64 = 256.0;
/// What a cluster holds for the last part: Tasks as `kubectl apply` writes them, Tasks as large as they may be, Pods of others.
const APPLIED: usize = 5000;
const LARGEST: usize = 350;
const FOREIGN: usize = 4000;
/// Requests of an attacker at once.
const AT_ONCE: usize = 16;
/// What `kubectl apply` keeps.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const PROBES: u16 = 18_084;

/// What somebody does in a namespace of his own, on purpose or not.
#[derive(Clone, Copy)]
enum Attack {
    Burst,
    Quota,
    Contexts,
    Depth,
    Broken,
    Ghosts,
    Stops,
    Large,
    Pods,
}

impl Attack {
    const ALL: [Self; 9] = [
        Self::Burst,
        Self::Quota,
        Self::Contexts,
        Self::Depth,
        Self::Broken,
        Self::Ghosts,
        Self::Stops,
        Self::Large,
        Self::Pods,
    ];

    /// The part of the bench, and what is done.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Burst => ("burst", "2,000 Tasks at once"),
            Self::Quota => ("quota", "1,000 Tasks in a ResourceQuota of two Pods"),
            Self::Contexts => ("contexts", "48 Tasks with 60 MB of a ConfigMap each"),
            Self::Depth => ("depth", "200 Tasks that are nested 5,000 levels deep"),
            Self::Broken => ("broken", "1,000 Tasks that can never run"),
            Self::Ghosts => ("ghosts", "500 Tasks in line that are deleted at once"),
            Self::Stops => ("stops", "1,000 Tasks that are stopped at once"),
            Self::Large => ("large", "100 Tasks of 1.4 MB"),
            Self::Pods => ("pods", "300 Pods of somebody else with 250 KB each"),
        }
    }

    async fn begin(self, ns: &TestNamespace) {
        match self {
            Self::Burst => ns.create_many(task("burst"), 2000).await,
            Self::Quota => {
                let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "2"}}});
                ns.apply(quota).await;
                ns.quota_is_in_force("small").await;
                ns.create_many(task("quota"), 1000).await;
            }
            Self::Contexts => {
                ns.apply(config_map("big", &[("a", &"y".repeat(950_000))])).await;
                let items = ["{type: ConfigMap, configMap: {name: big, key: a}}"; 63].join(", ");
                ns.create_many(task("contexts").spec(&format!("contexts: [{items}]")), 48).await;
            }
            Self::Depth => {
                let deep = format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000));
                many(200, async |i| create_deep(ns, i, &deep).await).await;
            }
            Self::Broken => {
                let items = "contexts: [{type: Text, text: a, mountPath: x.md}, {type: Text, text: b, mountPath: ./x.md}]";
                ns.create_many(task("broken").spec(items), 1000).await;
            }
            Self::Ghosts => {
                let ghost = task("ghost").agent("one-at-a-time");
                many(500, async |i| {
                    let name = create(&ns.tasks(), &ghost, i).await;
                    ns.tasks().delete(&name, &DeleteParams::background()).await.unwrap();
                })
                .await;
            }
            Self::Stops => {
                ns.create_many(task("stops"), 1000).await;
                many(1000, async |i| ns.stop_task(&format!("stops-{i}")).await).await;
            }
            Self::Large => ns.create_many(large("large"), 100).await,
            Self::Pods => many(300, async |i| create_foreign(&ns.pods(), i).await).await,
        }
    }
}

/// How the neighbour's Tasks did.
struct Felt {
    latency: Latency,
    /// How long the API server took for each of its Tasks, in seconds, sorted.
    creates: Vec<f64>,
    /// Most memory that the operator had, in MiB.
    memory: f64,
}

struct Bench {
    bed: TestBed,
    is_good: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut bench = Bench { bed: TestBed::start("attacks", PROBES).await, is_good: true };
    let attacks: Vec<_> =
        Attack::ALL.into_iter().filter(|attack| bench.bed.wants(attack.words().0)).collect();
    if !attacks.is_empty() {
        bench.attacks(&attacks).await;
    }
    if bench.bed.wants("memory") {
        bench.memory().await;
    }
    bench.bed.print("its creates", "");
    if bench.is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Bench {
    async fn attacks(&mut self, attacks: &[Attack]) {
        let alone = self.neighbour_of(None).await;
        let most = alone.latency.gate(99) * AS_LONG;
        self.row("a neighbour alone", &alone, most);
        for attack in attacks {
            let felt = self.neighbour_of(Some(*attack)).await;
            self.row(attack.words().1, &felt, most);
        }
    }

    /// `longest`: how long a neighbour's Task may take, p99.
    fn row(&mut self, what: &str, felt: &Felt, longest: f64) {
        let Felt { latency, creates, memory } = felt;
        let (is_late, is_large) = (latency.gate(99) > longest, *memory > MOST);
        self.is_good &= !is_late && !is_large;
        let verdict = |is_too_much| if is_too_much { "TOO MUCH" } else { "" };
        let (half, most) = (millis(latency.gate(50)), millis(latency.gate(99)));
        let creates = millis(percentile(creates, 99));
        self.bed.table.row(
            format!("{what}: gate off p50, p99"),
            format!("{half}, {most}"),
            creates,
            verdict(is_late),
            "p99 <= 2 x alone",
        );
        self.bed.table.row(
            format!("{what}: most memory"),
            format!("{memory:.0} MiB"),
            "-".into(),
            verdict(is_large),
            "< 256 MiB",
        );
    }

    /// Tasks of somebody else, while this happens beside him.
    async fn neighbour_of(&self, attack: Option<Attack>) -> Felt {
        let (calm, busy) = (self.bed.namespace().await, self.bed.namespace().await);
        let _kubelet = Kubelet::start(&calm.client, &calm.name);
        let operator = self.bed.ready_operator().await;
        let mark = self.bed.cluster.audit.mark();
        let neighbour = async {
            let (mut creates, mut ticks) = (Vec::new(), tokio::time::interval(PACE));
            for i in 0..TASKS {
                ticks.tick().await;
                let asked = Instant::now();
                create(&calm.tasks(), &task("t"), i).await;
                creates.push(asked.elapsed().as_secs_f64());
            }
            completed(&calm, TASKS).await;
            creates.sort_by(f64::total_cmp);
            creates
        };
        let beside = async {
            if let Some(attack) = attack {
                attack.begin(&busy).await;
            }
        };
        let (creates, ()) = futures::join!(neighbour, beside);
        let latency = Latency::of(&self.bed.cluster.audit.all_writes_since(mark, &calm.name));
        let memory = operator.process.peak_memory();
        drop(operator);
        calm.clear_away().await;
        busy.clear_away().await;
        Felt { latency, creates, memory }
    }

    /// An operator that starts where there is as much as there may be. Nothing of it is cleared away: it goes with the control plane.
    async fn memory(&mut self) {
        let calm = self.bed.namespace().await;
        let _kubelet = Kubelet::start(&calm.client, &calm.name);
        // nobody records what is there: it would be this program's memory
        let full = make_namespace(&calm.client).await;
        let settings: KubeOpenCodeConfig =
            serde_json::from_value(config("dependencyGraceSeconds: 3600").json()).unwrap();
        let configs = Api::<KubeOpenCodeConfig>::namespaced(calm.client.clone(), &full);
        configs.create(&PostParams::default(), &settings).await.unwrap();
        let tasks = Api::<Task>::namespaced(calm.client.clone(), &full);
        let applied = task("applied").agent("none").annotation(LAST_APPLIED, &"a".repeat(256_000));
        many(APPLIED, async |i| drop(create(&tasks, &applied, i).await)).await;
        let largest = large("largest");
        many(LARGEST, async |i| drop(create(&tasks, &largest, i).await)).await;
        let pods = Api::<Pod>::namespaced(calm.client.clone(), &full);
        many(FOREIGN, async |i| create_foreign(&pods, i).await).await;
        let mark = self.bed.cluster.audit.mark();
        let operator = self.bed.operator();
        create(&calm.tasks(), &task("good"), 0).await;
        completed(&calm, 1).await;
        let asked = Instant::now();
        loop {
            let writes = self.bed.cluster.audit.writes_since(mark, &full);
            let told = writes.iter().filter(|write| write.summary() == "patch tasks/status 200").count();
            if told >= APPLIED + LARGEST {
                break;
            }
            assert!(asked.elapsed() < Duration::from_secs(900), "{told} Tasks say what they wait for");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let (most, now) = (operator.process.peak_memory(), operator.process.memory());
        self.is_good &= most < MOST;
        self.bed.table.row(
            format!("{APPLIED} Tasks of 256 KB, {LARGEST} of 1.4 MB, {FOREIGN} Pods: most memory"),
            format!("{most:.0} MiB ({now:.0} now)"),
            "-".into(),
            "",
            "< 256 MiB",
        );
    }
}

/// Does something so many times.
async fn many(count: usize, each: impl AsyncFn(usize)) {
    futures::stream::iter(0..count).for_each_concurrent(AT_ONCE, async |i| each(i).await).await;
}

/// Makes a Task `<name>-<i>`, and gives its name.
async fn create(tasks: &Api<Task>, like: &Builder<Task>, i: usize) -> String {
    let mut object = like.json();
    let name = format!("{}-{i}", object["metadata"]["name"].as_str().unwrap());
    object["metadata"]["name"] = Value::from(name.as_str());
    tasks.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    name
}

/// A Task that is nearly as large as it may be.
fn large(name: &str) -> Builder<Task> {
    let contexts = json!([{"type": "Jira", "config": "c".repeat(1_400_000)}]);
    task(name).agent("none").set("/spec/contexts", contexts)
}

/// As text: no library here writes one as deep.
async fn create_deep(ns: &TestNamespace, i: usize, deep: &str) {
    let spec = format!(r#"{{"description": "x", "contexts": [{{"type": "Jira", "config": {deep}}}]}}"#);
    let body = format!(
        r#"{{"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task", "metadata": {{"name": "deep-{i}"}}, "spec": {spec}}}"#
    );
    let path = format!("/apis/kubeopencode.io/v1alpha1/namespaces/{}/tasks", ns.name);
    let request =
        Request::post(path).header("content-type", "application/json").body(body.into_bytes()).unwrap();
    ns.client.request_text(request).await.unwrap();
}

async fn create_foreign(pods: &Api<Pod>, i: usize) {
    pods.create(&PostParams::default(), &foreign_pod(i)).await.unwrap();
}
