//! `make bench`: how fast Tasks are launched and what it costs, next to a bare client that sends the same requests to
//! the same API server in the same run. Times are those of the API server's audit log.
//!
//! The figures of a controller-runtime operator that does this job, measured on the same kind of machine (two cores;
//! etcd, kube-apiserver and load beside it), stand in the column before the goals. `cargo bench --bench launch -- steady
//! queue burst-1000 burst-5000` runs some of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot go on says so by panicking"
)]

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use http::header::{ACCEPT, HeaderValue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{GetParams, Patch, PatchParams, PostParams, Request};
use kube::core::request::Error;
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::task::Task;
use kubeopencode_tests::audit::{Entry, Mark};
use kubeopencode_tests::bench::{
    Latency, TestBed, completed, millis as ms, percentile, until, up_to_running,
};
use kubeopencode_tests::cluster::from_environment;
use kubeopencode_tests::kubelet::Kubelet;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{Builder, task};
use kubeopencode_tests::process::{as_f64, own_processor, processor_by_pid_file};
use kubeopencode_tests::program::Program;
use kubeopencode_tests::record::Kind;
use serde_json::{Value, json};

/// Tasks of the steady part, ten a second.
const STEADY: usize = 150;
/// Tasks of the two bursts, which are there in the end.
const BURST: usize = 1000;
const MANY: usize = 5000;
/// Tasks for the last look at memory.
const MOST: usize = 10_000;
/// Tasks that wait for each other.
const QUEUE: usize = 30;
/// Clients that create Tasks at once in a burst.
const CREATORS: usize = 50;
/// Launches of the bare client at once, as many as the operator has in one namespace.
const LAUNCHES: usize = 12;
const PROBES: u16 = 18_081;
/// An answer that is the object's metadata.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// A Task that says what is to be done, and a context.
fn counts_stars() -> Builder<Task> {
    let context = "contexts: [{name: project, type: Text, text: This project counts stars.}]";
    task("t").description("Count the stars.").spec(context)
}

/// A burst of Tasks, as the API server's record has it.
struct Burst {
    /// Launches per second, from the first Task to the last gate.
    speed: f64,
    /// In how many seconds the Tasks were created.
    creation: f64,
    /// Processor time for each Task, in seconds.
    cost: Cost,
    /// The operator's writes for each Task up to Running, and its reads.
    writes: f64,
    reads: f64,
    /// Events that the operator sent before the last gate was off.
    events: usize,
}

/// Processor time in seconds, children excluded.
#[derive(Clone, Copy)]
struct Cost {
    operator: f64,
    api_server: f64,
    etcd: f64,
    controller_manager: f64,
    /// Of this program, which creates Tasks, watches, and is the bare client.
    load: f64,
}

impl Cost {
    /// What was spent since then, for each of these Tasks.
    fn per_task(self, now: Self, tasks: usize) -> Self {
        let each = |now: f64, before: f64| (now - before) / as_f64(tasks);
        Self {
            operator: each(now.operator, self.operator),
            api_server: each(now.api_server, self.api_server),
            etcd: each(now.etcd, self.etcd),
            controller_manager: each(now.controller_manager, self.controller_manager),
            load: each(now.load, self.load),
        }
    }
}

struct Bench {
    bed: TestBed,
    /// Where the control plane keeps the numbers of its processes.
    pids: PathBuf,
}

#[tokio::main]
async fn main() {
    let bed = TestBed::start("launch", PROBES).await;
    let audit_log = PathBuf::from(from_environment("KUBEOPENCODE_TEST_AUDIT_LOG"));
    let pids = audit_log.ancestors().nth(2).unwrap().join("pids");
    let mut bench = Bench { bed, pids };
    if bench.bed.wants("steady") {
        bench.steady().await;
    }
    if bench.bed.wants("queue") {
        bench.queue().await;
    }
    for (tasks, speed, creation) in [(BURST, "82/s", "0.7 s"), (MANY, "82/s", "4.2 s")] {
        if bench.bed.wants(&format!("burst-{tasks}")) {
            bench.bursts(tasks, speed, creation).await;
        }
    }
    bench.bed.print("bare client", "the other");
    println!("the other: a controller-runtime operator on the same kind of machine");
}

impl Bench {
    fn cost(&self, operator: Option<&Program>) -> Cost {
        Cost {
            operator: operator.map_or(0.0, |operator| operator.process.processor()),
            api_server: processor_by_pid_file(&self.pids.join("kube-apiserver")),
            etcd: processor_by_pid_file(&self.pids.join("etcd")),
            controller_manager: processor_by_pid_file(&self.pids.join("kube-controller-manager")),
            load: own_processor(),
        }
    }

    /// Ten Tasks a second, from their creation to their end: latency, writes, idle memory.
    async fn steady(&mut self) {
        let ns = self.bed.namespace().await;
        let _kubelet = Kubelet::start(&ns.client, &ns.name);
        let operator = self.bed.ready_operator().await;
        let idle = memory(&operator);
        self.bed.table.row("memory, idle", idle, "-".into(), "39 MiB", "< 25 MiB");
        let mark = self.bed.cluster.audit.mark();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        for i in 0..STEADY {
            ticks.tick().await;
            create(&ns, i).await;
        }
        completed(&ns, STEADY).await;
        drop(operator);
        let entries = self.bed.cluster.audit.all_writes_since(mark, &ns.name);
        let ours = Latency::of(&entries);
        let writes = self.bed.cluster.audit.writes_since(mark, &ns.name);
        let conflicts = writes.iter().filter(|entry| entry.code() == 409).count();
        let events = self.bed.cluster.audit.events_since(mark, &ns.name).len();
        let reads = self.bed.cluster.audit.reads_since(mark, &ns.name).len();

        let bare_ns = self.bed.namespace().await;
        // what it writes for a Task is no less work for the API server than beside the operator
        let _kubelet_of_bare = Kubelet::start(&bare_ns.client, &bare_ns.name);
        let template = Template::of(&ns).await;
        let mark = self.bed.cluster.audit.mark();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        for i in 0..STEADY {
            ticks.tick().await;
            let task = create(&bare_ns, i).await;
            template.read(&bare_ns).await;
            template.launch(&bare_ns, &task).await;
        }
        let bare = Latency::of(&self.bed.cluster.audit.all_writes_since(mark, &bare_ns.name));
        self.bed.table.row("10/s: created to Pod, p50", ms(ours.pod(50)), ms(bare.pod(50)), "9.4 ms", "");
        self.bed.table.row(
            "10/s: created to Pod, p99",
            ms(ours.pod(99)),
            ms(bare.pod(99)),
            "22.0 ms",
            "<= 11 ms",
        );
        self.bed.table.row(
            "10/s: created to gate off, p50",
            ms(ours.gate(50)),
            ms(bare.gate(50)),
            "no gate",
            "",
        );
        self.bed.table.row(
            "10/s: created to gate off, p99",
            ms(ours.gate(99)),
            ms(bare.gate(99)),
            "no gate",
            "",
        );
        let per_task = |count: usize| format!("{:.2}", as_f64(count) / as_f64(STEADY));
        let first = format!("{}, {conflicts} conflicts", per_task(up_to_running(&writes)));
        self.bed.table.row("10/s: writes per Task up to Running", first, "-".into(), "5", "5");
        self.bed.table.row(
            "10/s: writes per Task to its end, conflicts too",
            per_task(writes.len()),
            "-".into(),
            "",
            "",
        );
        self.bed.table.row("10/s: Events per Task", per_task(events), "-".into(), "", "");
        self.bed.table.row("10/s: reads per Task", per_task(reads), "-".into(), "", "");
        ns.clear_away().await;
        bare_ns.clear_away().await;
    }

    /// Tasks of an Agent that runs one at a time: from the end of one to the Pod of the next.
    async fn queue(&mut self) {
        let ns = self.bed.namespace().await;
        let _kubelet = Kubelet::start(&ns.client, &ns.name);
        let operator = self.bed.ready_operator().await;
        let mark = self.bed.cluster.audit.mark();
        ns.create_many(counts_stars().agent("one-at-a-time"), QUEUE).await;
        completed(&ns, QUEUE).await;
        drop(operator);
        let entries = self.bed.cluster.audit.all_writes_since(mark, &ns.name);
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
        let (half, most) = (percentile(&waits, 50), percentile(&waits, 99));
        self.bed.table.row(
            "queue: end of one to Pod of next, p50",
            ms(half),
            "-".into(),
            "3.9-8.5 s",
            "17-22 ms kept",
        );
        self.bed.table.row("queue: end of one to Pod of next, p99", ms(most), "-".into(), "", "");
        ns.clear_away().await;
    }

    /// A burst, of the bare client and of the operator: speed and processor time. After the large one also memory and restart.
    async fn bursts(&mut self, tasks: usize, speed: &'static str, creation: &'static str) {
        let template = {
            let ns = self.bed.namespace().await;
            let operator = self.bed.ready_operator().await;
            create(&ns, 0).await;
            until(&ns, "one Task is launched", |history| history.all(Kind::Pod).any(|pod| !pod.is_gated()))
                .await;
            let template = Template::of(&ns).await;
            drop(operator);
            ns.clear_away().await;
            template
        };
        let bare = self.bare_burst(&template, tasks).await;
        let ns = self.bed.namespace().await;
        let operator = self.bed.ready_operator().await;
        let ours = self.burst(&ns, &operator, tasks).await;
        let speed_of_ours = format!("{:.0}/s ({:.2} of bare)", ours.speed, ours.speed / bare.speed);
        self.bed.table.row(
            format!("burst of {tasks}: launches per second"),
            speed_of_ours,
            format!("{:.0}/s", bare.speed),
            speed,
            "0.95 of bare",
        );
        self.bed.table.row(
            format!("burst of {tasks}: created by {CREATORS} clients in"),
            format!("{:.1} s", ours.creation),
            format!("{:.1} s", bare.creation),
            creation,
            "<= 2x the other's",
        );
        let what = |what: &str| format!("burst of {tasks}: {what}");
        let writes = format!("{:.2}", ours.writes);
        self.bed.table.row(what("writes per Task up to Running"), writes, "-".into(), "5", "5");
        self.bed.table.row(what("reads per Task"), format!("{:.2}", ours.reads), "-".into(), "", "");
        self.bed.table.row(
            what("Events before the last gate is off"),
            ours.events.to_string(),
            "-".into(),
            "",
            "none in the first minute",
        );
        let (ours, bare) = (ours.cost, bare.cost);
        for (process, ours, bare, other, goal) in [
            ("operator", ms(ours.operator), "-".into(), "3.0 ms", "<= 1.0 ms"),
            ("API server", ms(ours.api_server), ms(bare.api_server), "11.5 ms", "<= 11.5 ms"),
            ("etcd", ms(ours.etcd), ms(bare.etcd), "2.3 ms", ""),
            ("controllers", ms(ours.controller_manager), ms(bare.controller_manager), "", ""),
            ("this program", ms(ours.load), ms(bare.load), "", ""),
        ] {
            self.bed.table.row(what(&format!("processor time per Task, {process}")), ours, bare, other, goal);
        }
        if tasks == MANY {
            self.many(&ns, operator).await;
        } else {
            drop(operator);
        }
        ns.clear_away().await;
    }

    /// Creates a burst of Tasks and launches each as soon as it is there, as many at once as the operator.
    async fn bare_burst(&self, template: &Template, tasks: usize) -> Burst {
        let ns = self.bed.namespace().await;
        let (mark, before) = (self.bed.cluster.audit.mark(), self.cost(None));
        let (created, to_launch) = futures::channel::mpsc::unbounded();
        let creation = async {
            let created = &created;
            let each = futures::stream::iter(0..tasks).for_each_concurrent(CREATORS, async |i| {
                created.unbounded_send(create(&ns, i).await).unwrap();
            });
            each.await;
            created.close_channel();
        };
        let launches =
            to_launch.for_each_concurrent(LAUNCHES, async |task| template.launch(&ns, &task).await);
        futures::join!(creation, launches);
        let cost = before.per_task(self.cost(None), tasks);
        let burst = self.recorded(mark, &ns.name, cost);
        ns.clear_away().await;
        burst
    }

    async fn burst(&self, ns: &TestNamespace, operator: &Program, tasks: usize) -> Burst {
        let (mark, before) = (self.bed.cluster.audit.mark(), self.cost(Some(operator)));
        create_many(ns, 0..tasks).await;
        let cost = before.per_task(self.cost(Some(operator)), tasks);
        self.recorded(mark, &ns.name, cost)
    }

    fn recorded(&self, mark: Mark, namespace: &str, cost: Cost) -> Burst {
        let entries = self.bed.cluster.audit.all_writes_since(mark, namespace);
        let times = |summary: &str| {
            let those = entries.iter().filter(|entry| entry.summary() == summary);
            let mut times: Vec<Timestamp> = those.map(|entry| entry.stage_timestamp).collect();
            times.sort();
            times
        };
        let (created, opened) = (times("create tasks 201"), times("patch pods 200"));
        let first = created.first().unwrap();
        let since = |later: &[Timestamp]| later.last().unwrap().duration_since(*first).as_secs_f64();
        let audit = &self.bed.cluster.audit;
        let each = |count: usize| as_f64(count) / as_f64(opened.len());
        let is_early = |event: &&Entry| Some(&event.stage_timestamp) < opened.last();
        Burst {
            speed: as_f64(opened.len()) / since(&opened),
            creation: since(&created),
            cost,
            writes: each(up_to_running(&audit.writes_since(mark, namespace))),
            reads: each(audit.reads_since(mark, namespace).len()),
            events: audit.events_since(mark, namespace).iter().filter(is_early).count(),
        }
    }

    /// What it takes that many Tasks run.
    async fn many(&mut self, ns: &TestNamespace, operator: Program) {
        self.bed.table.row(
            "memory with 5000 Tasks and Pods",
            memory(&operator),
            "-".into(),
            "186 MiB",
            "< 45 MiB",
        );
        drop(operator);
        let mark = self.bed.cluster.audit.mark();
        create(ns, MANY).await;
        let started = Timestamp::now();
        let operator = self.bed.operator();
        launched(ns, MANY + 1).await;
        let entries = self.bed.cluster.audit.all_writes_since(mark, &ns.name);
        let made = entries.iter().find(|entry| entry.summary() == "create pods 201").unwrap().stage_timestamp;
        let restart = format!("{:.2} s", made.duration_since(started).as_secs_f64());
        self.bed.table.row(
            "restart at 5000: process start to next Pod",
            restart,
            "-".into(),
            "1.43 s",
            "< 1 s",
        );
        self.bed.table.row("memory after that restart", memory(&operator), "-".into(), "", "");
        create_many(ns, MANY + 1..MOST).await;
        self.bed.table.row("memory with 10000 Tasks and Pods", memory(&operator), "-".into(), "", "64 MiB");
    }
}

/// All that is resident, and what of it is no page of a file.
fn memory(operator: &Program) -> String {
    format!("{:.0} MiB ({:.0} own)", operator.process.memory(), operator.process.own_memory())
}

/// Creates these Tasks as many clients do, and waits until each one's Pod may be scheduled.
async fn create_many(ns: &TestNamespace, tasks: std::ops::Range<usize>) {
    let end = tasks.end;
    futures::stream::iter(tasks).for_each_concurrent(CREATORS, async |i| drop(create(ns, i).await)).await;
    launched(ns, end).await;
}

async fn launched(ns: &TestNamespace, tasks: usize) {
    until(ns, &format!("{tasks} Pods may be scheduled"), |history| {
        history.all(Kind::Pod).filter(|pod| !pod.is_gated()).count() == tasks
    })
    .await;
}

async fn create(ns: &TestNamespace, i: usize) -> Task {
    let mut task: Task = serde_json::from_value(counts_stars().json()).unwrap();
    task.metadata.name = Some(format!("t-{i}"));
    ns.tasks().create(&PostParams::default(), &task).await.unwrap()
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
        Self { client: ns.cluster.operators_kind_of_client(), task: name, pod, map, status }
    }

    /// The read that the Agent's context takes. In a burst one serves several launches.
    async fn read(&self, ns: &TestNamespace) {
        let maps = Request::new(ConfigMap::url_path(&(), Some(&ns.name)));
        let request = maps.get("team-conventions", &GetParams::default()).unwrap();
        self.client.request::<ConfigMap>(request).await.unwrap();
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
        let tasks = Request::new(Task::url_path(&(), Some(namespace)));
        let maps = Request::new(ConfigMap::url_path(&(), Some(namespace)));
        let pods = Request::new(Pod::url_path(&(), Some(namespace)));
        let (map, pod): (ConfigMap, Pod) = (
            serde_json::from_value(of_task(&self.map)).unwrap(),
            serde_json::from_value(of_task(&self.pod)).unwrap(),
        );
        let (made, claimed, _) = futures::join!(
            self.send(pods.create(&post, serde_json::to_vec(&pod).unwrap())),
            self.send(tasks.patch(&name, &patch, &Patch::Merge(&claim))),
            self.send(maps.create(&post, serde_json::to_vec(&map).unwrap()))
        );
        let (pod, pod_uid) = (pod.name_any(), &made["metadata"]["uid"]);
        let mut status = self.status.clone();
        status["podUID"] = pod_uid.clone();
        status["podName"] = json!(pod);
        let revision = &claimed["metadata"]["resourceVersion"];
        let record = json!({"metadata": {"resourceVersion": revision}, "status": status});
        self.send(tasks.patch_subresource("status", &name, &patch, &Patch::Merge(&record))).await;
        let open = json!({"metadata": {"uid": pod_uid}, "spec": {"schedulingGates": [{"$patch": "delete", "name": "kubeopencode.io/launch"}]}});
        self.send(pods.patch(&pod, &patch, &Patch::Strategic(&open))).await;
    }

    /// The answer is the object's metadata, as the operator asks for it.
    async fn send(&self, request: Result<http::Request<Vec<u8>>, Error>) -> Value {
        let mut request = request.unwrap();
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
        self.client.request(request).await.unwrap()
    }
}
