//! `make bench`: how fast Tasks are launched and what it costs, next to a bare client that sends the same requests to
//! the same API server in the same run. Times are those of the API server's audit log.
//!
//! The figures of a controller-runtime operator that does this job, measured on the same kind of machine (two cores,
//! etcd and kube-apiserver beside it), stand in the last column.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot go on says so by panicking"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use kubeopencode_api::task::Task;
use kubeopencode_tests::audit::{Entry, Mark};
use kubeopencode_tests::cluster::{Cluster, from_environment};
use kubeopencode_tests::kubelet::Kubelet;
use kubeopencode_tests::namespace::{TEAM, TestNamespace, make_namespace};
use kubeopencode_tests::objects::{Builder, task};
use kubeopencode_tests::program::{self, Program};
use kubeopencode_tests::record::{History, Kind};
use serde_json::{Value, json};

/// Tasks of the steady part, ten a second.
const STEADY: usize = 150;
/// Tasks of the burst.
const BURST: usize = 1000;
/// Tasks that are there in the end.
const MANY: usize = 5000;
/// Tasks that wait for each other.
const QUEUE: usize = 30;
/// Requests under way at once: the operator's own bound on looks at Tasks.
const CONCURRENCY: usize = 64;
const PROBES: u16 = 18_081;

/// A Task that says what is to be done, and a context.
fn counts_stars() -> Builder<Task> {
    let context = "contexts: [{name: project, type: Text, text: This project counts stars.}]";
    task("t").description("Count the stars.").spec(context)
}

fn main() {
    // cargo's own arguments (--bench) are of no use here
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(bench());
}

struct Row(&'static str, String, String, &'static str);

struct Bench {
    cluster: Cluster,
    executable: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
    rows: Vec<Row>,
}

async fn bench() {
    let cluster = Cluster::control_plane().await;
    let executable = program::build();
    let cache = executable.with_file_name("plugin-cache-of-bench");
    let kubeconfig = PathBuf::from(from_environment("KUBEOPENCODE_TEST_OPERATOR_KUBECONFIG"));
    let mut bench = Bench { cluster, executable, kubeconfig, cache, rows: Vec::new() };
    let started = Instant::now();
    bench.steady().await;
    bench.queue().await;
    let bare = bench.bare_burst().await;
    bench.many(bare).await;
    bench.print(started.elapsed());
}

impl Bench {
    fn row(&mut self, what: &'static str, ours: String, bare: String, reference: &'static str) {
        eprintln!("{what}: {ours} (bare client: {bare})");
        self.rows.push(Row(what, ours, bare, reference));
    }

    fn operator(&self) -> Program {
        Program::start(&self.executable, &self.kubeconfig, &self.cache, PROBES)
    }

    /// A namespace without kubelet, with an Agent in it.
    async fn namespace(&self) -> TestNamespace {
        let namespace = make_namespace(&self.cluster.client()).await;
        let ns = TestNamespace::start(&self.cluster, None, &namespace).await;
        ns.apply(TEAM).await;
        ns
    }

    /// Ten Tasks a second, from their creation to their end: latency, writes, idle memory.
    async fn steady(&mut self) {
        let ns = self.namespace().await;
        let _kubelet = Kubelet::start(&ns.client, &ns.name);
        let operator = self.operator();
        operator.is_ready().await;
        self.row("idle memory", format!("{:.0} MiB", operator.process.memory()), "-".into(), "40 MiB");
        let mark = self.cluster.audit.mark();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        for i in 0..STEADY {
            ticks.tick().await;
            create(&ns, i).await;
        }
        until(&ns, "all Tasks are over", |history| {
            history.all(Kind::Task).filter(|task| task.text("/status/phase") == "Completed").count() == STEADY
        })
        .await;
        drop(operator);
        let entries = self.cluster.audit.all_writes_since(mark, &ns.name);
        let ours = Latency::of(&entries);
        let writes = self.cluster.audit.writes_since(mark, &ns.name);
        let conflicts = writes.iter().filter(|entry| entry.code() == 409).count();

        let bare_ns = self.namespace().await;
        let template = Template::of(&ns).await;
        let mark = self.cluster.audit.mark();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        for i in 0..STEADY {
            ticks.tick().await;
            let task = create(&bare_ns, i).await;
            template.launch(&bare_ns, &task).await;
        }
        let bare = Latency::of(&self.cluster.audit.all_writes_since(mark, &bare_ns.name));
        self.row("10/s: created to Pod, p50", ms(ours.pod(50)), ms(bare.pod(50)), "12.5-18 ms");
        self.row("10/s: created to Pod, p99", ms(ours.pod(99)), ms(bare.pod(99)), "25-29 ms");
        self.row(
            "10/s: created to gate off, p50",
            ms(ours.gate(50)),
            ms(bare.gate(50)),
            "12.5-18 ms (no gate)",
        );
        self.row(
            "10/s: created to gate off, p99",
            ms(ours.gate(99)),
            ms(bare.gate(99)),
            "25-29 ms (no gate)",
        );
        let per_task = as_f64(writes.len()) / as_f64(STEADY);
        self.row(
            "writes per Task, to its end",
            format!("{per_task:.2}, {conflicts} conflicts"),
            "-".into(),
            "5.0-5.4 up to Running",
        );
        ns.clear_away().await;
        bare_ns.clear_away().await;
    }

    /// Tasks of an Agent that runs one at a time: from the end of one to the Pod of the next.
    async fn queue(&mut self) {
        let ns = self.namespace().await;
        let _kubelet = Kubelet::start(&ns.client, &ns.name);
        let operator = self.operator();
        operator.is_ready().await;
        let mark = self.cluster.audit.mark();
        ns.create_tasks(counts_stars().agent("one-at-a-time"), QUEUE).await;
        until(&ns, "all Tasks are over", |history| {
            history.all(Kind::Task).filter(|task| task.text("/status/phase") == "Completed").count() == QUEUE
        })
        .await;
        drop(operator);
        let entries = self.cluster.audit.all_writes_since(mark, &ns.name);
        let mut made: Vec<Timestamp> = entries
            .iter()
            .filter(|entry| entry.summary() == "create pods 201")
            .map(|entry| entry.stage_timestamp)
            .collect();
        made.sort();
        // the kubelet's last word on a Pod comes before the next Pod is made
        let ends: Vec<Timestamp> = entries
            .iter()
            .filter(|entry| entry.summary() == "patch pods/status 200")
            .map(|entry| entry.stage_timestamp)
            .collect();
        let waits = made.iter().skip(1).filter_map(|made| {
            let end = ends.iter().filter(|end| *end < made).max()?;
            Some(made.duration_since(*end).as_secs_f64())
        });
        let mut waits: Vec<f64> = waits.collect();
        waits.sort_by(f64::total_cmp);
        self.row("queue: end of one to Pod of next, p50", ms(percentile(&waits, 50)), "-".into(), "4-8 s");
        self.row("queue: end of one to Pod of next, p99", ms(percentile(&waits, 99)), "-".into(), "4-8 s");
        ns.clear_away().await;
    }

    /// The bare client: creates a burst of Tasks and launches each as soon as it is there. Says launches per second.
    async fn bare_burst(&mut self) -> f64 {
        let ns = self.namespace().await;
        let template = {
            let operator = self.operator();
            operator.is_ready().await;
            create(&ns, BURST).await;
            until(&ns, "one Task is launched", |history| history.all(Kind::Pod).any(|pod| !pod.is_gated()))
                .await;
            Template::of(&ns).await
        };
        let mark = self.cluster.audit.mark();
        futures::stream::iter(0..BURST)
            .for_each_concurrent(CONCURRENCY, async |i| {
                let task = create(&ns, i).await;
                template.launch(&ns, &task).await;
            })
            .await;
        let speed = self.speed(mark, &ns.name);
        ns.clear_away().await;
        speed
    }

    /// From the first Task to the last gate, launches per second.
    fn speed(&self, mark: Mark, namespace: &str) -> f64 {
        let entries = self.cluster.audit.all_writes_since(mark, namespace);
        let times = |summary: &str| {
            entries
                .iter()
                .filter(|entry| entry.summary() == summary)
                .map(|entry| entry.stage_timestamp)
                .collect::<Vec<_>>()
        };
        let (created, opened) = (times("create tasks 201"), times("patch pods 200"));
        let (first, last) = (created.iter().min().unwrap(), opened.iter().max().unwrap());
        as_f64(opened.len()) / last.duration_since(*first).as_secs_f64()
    }

    /// The burst, then more Tasks until there are many: memory, processor time, restart.
    async fn many(&mut self, bare: f64) {
        let ns = self.namespace().await;
        let operator = self.operator();
        operator.is_ready().await;
        let before = operator.process.processor();
        let mark = self.cluster.audit.mark();
        let burst = async |from: usize, to: usize| {
            let created = futures::stream::iter(from..to)
                .for_each_concurrent(CONCURRENCY, async |i| drop(create(&ns, i).await));
            created.await;
            let launched =
                |history: &History| history.all(Kind::Pod).filter(|pod| !pod.is_gated()).count() == to;
            until(&ns, &format!("{to} Pods may be scheduled"), launched).await;
        };
        burst(0, BURST).await;
        let ours = self.speed(mark, &ns.name);
        let latency = Latency::of(&self.cluster.audit.all_writes_since(mark, &ns.name));
        self.row(
            "burst of 1000: launches per second",
            format!("{ours:.0}/s ({:.2} of bare)", ours / bare),
            format!("{bare:.0}/s"),
            "36-47/s",
        );
        self.row("burst of 1000: created to gate off, p50", ms(latency.gate(50)), "-".into(), "");
        self.row("burst of 1000: created to gate off, p99", ms(latency.gate(99)), "-".into(), "");
        burst(BURST, MANY).await;
        self.row(
            "memory with 5000 Tasks and Pods",
            format!("{:.0} MiB", operator.process.memory()),
            "-".into(),
            "185 MiB",
        );
        self.row(
            "processor time for 5000 launches",
            format!("{:.1} s", operator.process.processor() - before),
            "-".into(),
            "22-28 s",
        );
        drop(operator);
        let mark = self.cluster.audit.mark();
        create(&ns, MANY).await;
        let started = Timestamp::now();
        let operator = self.operator();
        let launched =
            |history: &History| history.all(Kind::Pod).filter(|pod| !pod.is_gated()).count() == MANY + 1;
        until(&ns, "the Task that waited is launched", launched).await;
        let entries = self.cluster.audit.all_writes_since(mark, &ns.name);
        let made = entries.iter().find(|entry| entry.summary() == "create pods 201").unwrap().stage_timestamp;
        let restart = format!("{:.2} s", made.duration_since(started).as_secs_f64());
        self.row("restart at 5000: process start to next Pod", restart, "-".into(), "1.4-2.3 s");
        let memory = format!("{:.0} MiB", operator.process.memory());
        self.row("memory after that restart", memory, "-".into(), "");
    }

    fn print(&self, took: Duration) {
        println!("\n{:<44} {:>26} {:>14}   reference", "", "ours", "bare client");
        for Row(what, ours, bare, reference) in &self.rows {
            println!("{what:<44} {ours:>26} {bare:>14}   {reference}");
        }
        println!(
            "\n{:.0} s; reference: a controller-runtime operator on the same kind of machine",
            took.as_secs_f64()
        );
    }
}

async fn create(ns: &TestNamespace, i: usize) -> Task {
    let mut task: Task = serde_json::from_value(counts_stars().json()).unwrap();
    task.metadata.name = Some(format!("t-{i}"));
    ns.tasks().create(&PostParams::default(), &task).await.unwrap()
}

async fn until(ns: &TestNamespace, what: &str, is_so: impl Fn(&History) -> bool) {
    let found = ns.record.wait(Duration::from_secs(600), |history| is_so(history).then_some(())).await;
    found.unwrap_or_else(|()| panic!("waited ten minutes in vain: {what}"));
}

/// What the operator made for one Task, to be made again by the bare client for others.
struct Template {
    client: Client,
    task: String,
    pod: Value,
    map: Value,
    status: Value,
}

impl Template {
    async fn of(ns: &TestNamespace) -> Self {
        let (name, mut pod, mut map, status) = {
            let history = ns.record.history();
            let pod = history.all(Kind::Pod).find(|pod| !pod.is_gated()).unwrap();
            let name = pod.annotation("kubeopencode.io/task-name").to_owned();
            let born =
                history.revisions(Kind::Pod).find(|born| born.uid() == pod.uid()).unwrap().object.clone();
            let map = history.get(Kind::ConfigMap, &format!("{name}-context")).unwrap().object.clone();
            let recorded = history
                .revisions(Kind::Task)
                .find(|task| task.name() == name && !task.text("/status/podUID").is_empty());
            (name, born, map, recorded.unwrap().object["status"].clone())
        };
        for object in [&mut pod, &mut map] {
            for field in ["uid", "resourceVersion", "creationTimestamp", "namespace", "generation"] {
                object["metadata"].as_object_mut().unwrap().remove(field);
            }
        }
        pod.as_object_mut().unwrap().remove("status");
        Self { client: ns.client.clone(), task: name, pod, map, status }
    }

    /// The launch as the operator does it: three requests at once, then two, one after the other.
    async fn launch(&self, ns: &TestNamespace, task: &Task) {
        let (name, uid) = (task.name_any(), task.uid().0);
        let of_task = |value: &Value| {
            let mut value = value.clone();
            value["metadata"]["ownerReferences"][0]["uid"] = json!(uid);
            value["metadata"]["labels"]["kubeopencode.io/task-uid"] = json!(uid);
            serde_json::from_str::<Value>(&value.to_string().replace(&self.task, &name)).unwrap()
        };
        let claim = json!({"metadata": {
            "resourceVersion": task.resource_version(), "finalizers": ["kubeopencode.io/task-cleanup"],
            "labels": {"kubeopencode.io/agent": "default"},
        }});
        let (namespace, post, patch) = (&ns.name, PostParams::default(), PatchParams::default());
        let tasks = Api::<Task>::namespaced(self.client.clone(), namespace);
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let (map, pod): (ConfigMap, Pod) = (
            serde_json::from_value(of_task(&self.map)).unwrap(),
            serde_json::from_value(of_task(&self.pod)).unwrap(),
        );
        let claim = Patch::Merge(&claim);
        let (claimed, map, pod) = futures::join!(
            tasks.patch(&name, &patch, &claim),
            maps.create(&post, &map),
            pods.create(&post, &pod)
        );
        let (claimed, pod) = (claimed.unwrap(), pod.unwrap());
        map.unwrap();
        let mut status = self.status.clone();
        status["podUID"] = json!(pod.uid());
        status["podName"] = json!(pod.name_any());
        let record = json!({"metadata": {"resourceVersion": claimed.resource_version()}, "status": status});
        tasks.patch_status(&name, &patch, &Patch::Merge(&record)).await.unwrap();
        let open = json!({"metadata": {"uid": pod.uid()}, "spec": {"schedulingGates": [{"$patch": "delete", "name": "kubeopencode.io/launch"}]}});
        pods.patch(&pod.name_any(), &patch, &Patch::Strategic(&open)).await.unwrap();
    }
}

/// From the creation of each Task to its Pod and to the end of its gate, in seconds, sorted.
struct Latency {
    pod: Vec<f64>,
    gate: Vec<f64>,
}

impl Latency {
    fn of(entries: &[Entry]) -> Self {
        let times = |summary: &str| -> HashMap<String, Timestamp> {
            let those = entries.iter().filter(|entry| entry.summary() == summary);
            those
                .map(|entry| (entry.name().trim_end_matches("-pod").to_owned(), entry.stage_timestamp))
                .collect()
        };
        let (created, made, opened) =
            (times("create tasks 201"), times("create pods 201"), times("patch pods 200"));
        let since = |later: &HashMap<String, Timestamp>| {
            let waits = created
                .iter()
                .filter_map(|(task, created)| Some(later.get(task)?.duration_since(*created).as_secs_f64()));
            let mut waits: Vec<f64> = waits.collect();
            waits.sort_by(f64::total_cmp);
            waits
        };
        Self { pod: since(&made), gate: since(&opened) }
    }

    fn pod(&self, percent: usize) -> f64 {
        percentile(&self.pod, percent)
    }

    fn gate(&self, percent: usize) -> f64 {
        percentile(&self.gate, percent)
    }
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

fn ms(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1000.0)
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
