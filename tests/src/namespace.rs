//! A namespace for one scenario, with a kubelet, the record, and operators that come and go.
//!
//! Whatever a scenario shows, at its end the record is checked against the invariants. When something fails, the
//! namespace says what was there: Tasks, Pods, Events, and what the operator wrote.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::task::Task as KubeTask;
use kubeopencode_api::literals::STOP_ANNOTATION;
use kubeopencode_api::task::{Phase, Task};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::audit::{AuditLog, Entry, Mark};
use crate::cluster::{Cluster, FIELD_MANAGER, Plugins};
use crate::faults::Faults;
use crate::invariants::{left_behind, violations};
use crate::kubelet::Kubelet;
use crate::objects::{AnyTask, Builder, Objects};
use crate::operator::{Operator, Setup};
use crate::record::{History, Kind, Recorder, Revision};

/// How long a scenario waits for a fact before it gives up: less than a minute, so that what the operator only finds in
/// its rounds counts as missed.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// The same with real nodes, which pull images and end Pods in their own time.
const PATIENCE_WITH_NODES: Duration = Duration::from_secs(180);

/// How long Kubernetes may take to collect what has lost its owner: the controller manager learns of new kinds every 30 s,
/// and collects nothing until it has listed them.
const COLLECTION_PATIENCE: Duration = Duration::from_secs(120);

/// How long the deletion of a namespace may take, with Pods that end in their own time.
const NAMESPACE_PATIENCE: Duration = Duration::from_secs(180);

/// Lines of a container's log that a failed test shows.
const LAST_LINES: i64 = 20;

/// ServiceAccount, ConfigMap and Agent that most scenarios need.
pub const TEAM: &str = include_str!("../fixtures/team.yaml");

/// A namespace where a scenario runs.
pub struct TestNamespace {
    /// The cluster.
    pub cluster: Cluster,
    /// A client with all rights.
    pub client: Client,
    /// Its name.
    pub name: String,
    /// What happened so far.
    pub record: Recorder,
    /// The plugins of operators that are started here.
    host: Option<Arc<Plugins>>,
    mark: Mark,
    tolerated: Mutex<Vec<&'static str>>,
    kubelet: Option<Kubelet>,
}

/// Runs a scenario in a namespace of its own and checks the invariants afterwards. `worker` is the program that compiles
/// plugins; without it the scenario runs on the whole cluster, with the operator that is installed there.
///
/// # Panics
/// When the scenario does, or when an invariant is broken.
pub async fn scenario(worker: Option<&str>, run: impl AsyncFnOnce(&TestNamespace)) {
    scenario_in(worker, async |[ns]: &[TestNamespace; 1]| run(ns).await).await;
}

/// Runs a scenario between two namespaces: the first has the Tasks, the second the Agent and its Pods. The invariants are
/// checked on both together.
///
/// # Panics
/// When the scenario does, or when an invariant is broken.
pub async fn between_namespaces(worker: Option<&str>, run: impl AsyncFnOnce(&TestNamespace, &TestNamespace)) {
    scenario_in(worker, async |[team, platform]: &[TestNamespace; 2]| run(team, platform).await).await;
}

/// Runs a scenario in so many namespaces; the invariants are checked on all together.
///
/// # Panics
/// When the scenario does, or when an invariant is broken.
pub async fn scenario_in<const N: usize>(worker: Option<&str>, run: impl AsyncFnOnce(&[TestNamespace; N])) {
    let (cluster, host) = match worker {
        Some(worker) => (Cluster::control_plane().await, Some(crate::cluster::plugin_host(worker).await)),
        None => (Cluster::whole().await, None),
    };
    let client = cluster.client();
    let started = futures::future::join_all((0..N).map(async |_| {
        let name = make_namespace(&client).await;
        TestNamespace::start(&cluster, host.clone(), &name).await
    }));
    let Ok(namespaces) = <[TestNamespace; N]>::try_from(started.await) else {
        unreachable!("as many as asked for")
    };
    let outcome = AssertUnwindSafe(run(&namespaces)).catch_unwind().await;
    let checked = AssertUnwindSafe(check_invariants(&namespaces.each_ref())).catch_unwind().await;
    let is_well = outcome.is_ok() && matches!(&checked, Ok(found) if found.is_empty());
    for ns in namespaces {
        if !is_well {
            eprintln!("{}", ns.describe().await);
        }
        // the one with the Tasks first: their Pods are in the other one
        ns.tear_down().await;
    }
    if let Some(panic) = outcome.as_ref().err().or(checked.as_ref().err()) {
        // once more at the end: what a namespace has to say is long, and a log is read from its end
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        eprintln!("--- the test failed: {}", words.unwrap_or("see above"));
    }
    match (outcome, checked) {
        (Ok(()), Ok(found)) => assert!(found.is_empty(), "{found:#?}"),
        (Err(panic), _) | (_, Err(panic)) => std::panic::resume_unwind(panic),
    }
}

/// What breaks an invariant, by the record of these namespaces taken together, or what their kubelets found wrong.
pub async fn check_invariants(namespaces: &[&TestNamespace]) -> Vec<String> {
    for ns in namespaces {
        ns.record.catch_up().await;
    }
    let merged = || {
        let histories: Vec<_> = namespaces.iter().map(|ns| ns.record.history()).collect();
        History::merged(&histories)
    };
    let tolerated: Vec<_> = namespaces.iter().flat_map(|ns| ns.tolerated.lock().unwrap().clone()).collect();
    let counts = |violation: &String| tolerated.iter().all(|known| !violation.starts_with(known));
    let mut changes: Vec<_> = namespaces.iter().map(|ns| ns.record.changes()).collect();
    let settled = async {
        loop {
            for changed in &mut changes {
                changed.borrow_and_update();
            }
            if !left_behind(&merged()).iter().any(counts) {
                return;
            }
            let next = changes.iter_mut().map(|changed| changed.changed().boxed());
            let _ = futures::future::select_all(next).await;
        }
    };
    let _ = tokio::time::timeout(COLLECTION_PATIENCE, settled).await;
    let mut found = violations(&merged());
    found.extend(namespaces.iter().filter_map(|ns| ns.kubelet.as_ref()).flat_map(Kubelet::violations));
    found.retain(counts);
    found
}

/// Starts an operator to which things happen, and which sees these namespaces; the first is its own.
pub fn operator_of(namespaces: &[&TestNamespace], faults: &Faults) -> Operator {
    operator_in(namespaces, Setup { faults: faults.clone(), ..Setup::default() })
}

/// The same with whatever is special about it.
pub fn operator_in(namespaces: &[&TestNamespace], setup: Setup) -> Operator {
    let names: Vec<_> = namespaces.iter().map(|ns| ns.name.clone()).collect();
    let first = namespaces.first().expect("a namespace");
    Operator::start(&first.cluster, &names, &first.host(), setup)
}

/// A namespace with a fresh name.
pub async fn make_namespace(client: &Client) -> String {
    let namespace = json!({"metadata": {"generateName": "test-"}});
    let namespace = serde_json::from_value(namespace).unwrap();
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap().name_any()
}

impl TestNamespace {
    /// Starts the record of a namespace and, where operators will be started here, a kubelet.
    pub async fn start(cluster: &Cluster, host: Option<Arc<Plugins>>, namespace: &str) -> Self {
        let client = cluster.client();
        Self {
            record: Recorder::start(&client, namespace).await,
            kubelet: host.is_some().then(|| Kubelet::start(&client, namespace)),
            mark: cluster.audit.mark(),
            tolerated: Mutex::default(),
            cluster: cluster.clone(),
            name: namespace.to_owned(),
            client,
            host,
        }
    }

    /// What breaks an invariant here.
    pub async fn check_invariants(&self) -> Vec<String> {
        check_invariants(&[self]).await
    }

    /// The kubelet.
    ///
    /// # Panics
    /// On a whole cluster, which has its own.
    pub fn kubelet(&self) -> &Kubelet {
        self.kubelet.as_ref().expect("a whole cluster has kubelets of its own")
    }

    fn host(&self) -> Arc<Plugins> {
        self.host.clone().expect("on a whole cluster the chart's operator works")
    }

    /// This scenario breaks an invariant by hand: a violation that begins so is none of the operator's.
    pub fn tolerate(&self, violation: &'static str) {
        self.tolerated.lock().unwrap().push(violation);
    }

    /// Ends the scenario. Where an operator is installed, it lets go of the Tasks, so that the namespace goes; elsewhere
    /// nothing may wait for an operator or a kubelet that is about to go itself.
    pub async fn tear_down(self) {
        if self.host.is_none() {
            self.goes().await;
            return;
        }
        self.release().await;
        let _ = self.namespaces().delete(&self.name, &DeleteParams::background()).await;
    }

    /// Removes all of it where no operator is (any more).
    pub async fn clear_away(self) {
        self.record.catch_up().await;
        self.release().await;
        self.goes().await;
    }

    async fn goes(&self) {
        // a scenario may have deleted it already
        let _ = self.namespaces().delete(&self.name, &DeleteParams::background()).await;
        let is_gone = |there: Option<&Namespace>| there.is_none();
        let gone = await_condition(self.namespaces(), &self.name, is_gone);
        tokio::time::timeout(NAMESPACE_PATIENCE, gone).await.expect("the namespace can be deleted").unwrap();
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    /// Takes the finalizers off all Tasks and removes all Pods at once.
    pub async fn release(&self) {
        self.release_but("").await;
    }

    /// Removes all Tasks and Pods but this Task and its Pod, where no operator is (any more). Agents keep nobody in
    /// mind who went.
    pub async fn clear_but(&self, task: &str) {
        self.release_but(task).await;
        let others = ListParams::default().fields(&format!("metadata.name!={task}"));
        // a Batch would have a Task that went count as failed, and the next operator would go on with it
        let _ = self.api::<Batch>().delete_collection(&DeleteParams::background(), &others).await;
        let _ = self.tasks().delete_collection(&DeleteParams::background(), &others).await;
        let _ = self.api::<KubeTask>().delete_collection(&DeleteParams::background(), &others).await;
        let stays = |entry: &Value| entry["taskName"] == task;
        let agents: Vec<_> = self.record.history().all(Kind::Agent).cloned().collect();
        for agent in agents {
            let admitted = agent.list("/status/admitted");
            if !admitted.iter().all(stays) {
                let left: Vec<_> = admitted.iter().filter(|entry| stays(entry)).collect();
                let patch = Patch::Merge(json!({"status": {"admitted": left}}));
                self.agents().patch_status(agent.name(), &PatchParams::default(), &patch).await.unwrap();
            }
        }
        let pod = format!("{task}-pod");
        self.until("the namespace is clear", |history| {
            let tasks = history.tasks().all(|other| other.name() == task);
            let pods = history.all(Kind::Pod).all(|other| other.name() == pod);
            let slots =
                history.all(Kind::Agent).all(|agent| agent.list("/status/admitted").iter().all(stays));
            (tasks && pods && slots).then_some(())
        })
        .await;
    }

    async fn release_but(&self, task: &str) {
        let held: Vec<(Kind, String)> = {
            let history = self.record.history();
            let is_ours =
                |finalizer: &Value| Group::ALL.iter().any(|group| finalizer == group.names().finalizer);
            let has_finalizer = |task: &&Arc<Revision>| task.list("/metadata/finalizers").iter().any(is_ours);
            let held = history.tasks().filter(has_finalizer).filter(|held| held.name() != task);
            held.map(|task| (task.kind, task.name().to_owned())).collect()
        };
        let patch = json!({"metadata": {"finalizers": null}});
        let released = futures::stream::iter(held).for_each_concurrent(16, async |(kind, task)| {
            let tasks =
                Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.name, &kind.resource());
            let _ = tasks.patch(&task, &PatchParams::default(), &Patch::Merge(&patch)).await;
        });
        released.await;
        let at_once = DeleteParams::default().grace_period(0);
        let others = ListParams::default().fields(&format!("metadata.name!={task}-pod"));
        let _ = self.pods().delete_collection(&at_once, &others).await;
    }

    /// Puts a label on the namespace.
    pub async fn label_namespace(&self, key: &str, value: &str) {
        let patch = json!({"metadata": {"labels": {key: value}}});
        self.namespaces().patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Deletes the namespace and waits until it is gone.
    pub async fn delete_namespace(&self) {
        self.goes().await;
    }

    /// Starts an operator.
    pub fn operator(&self) -> Operator {
        self.operator_with(&Faults::none())
    }

    /// Starts an operator to which things happen.
    pub fn operator_with(&self, faults: &Faults) -> Operator {
        operator_of(&[self], faults)
    }

    /// Starts an operator that works only while it holds the leader lease.
    pub fn candidate(&self, identity: &str) -> Operator {
        self.start_operator(Setup { candidate: Some(identity.to_owned()), ..Setup::default() })
    }

    /// Starts an operator with whatever is special about it.
    pub fn start_operator(&self, setup: Setup) -> Operator {
        operator_in(&[self], setup)
    }

    /// The Tasks.
    pub fn tasks(&self) -> Api<Task> {
        self.api()
    }

    /// The Agents.
    pub fn agents(&self) -> Api<Agent> {
        self.api()
    }

    /// The Pods.
    pub fn pods(&self) -> Api<Pod> {
        self.api()
    }

    /// The objects of a kind.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// `kubectl apply --server-side`.
    ///
    /// # Panics
    /// When the API server refuses an object.
    pub async fn apply(&self, objects: impl Objects) {
        for object in objects.objects() {
            self.apply_one(&object).await.unwrap_or_else(|error| panic!("{error}\n{object:#}"));
        }
    }

    /// The same, with the API server's refusal.
    ///
    /// # Errors
    /// The API server's.
    pub async fn try_apply(&self, objects: impl Objects) -> Result<(), kube::Error> {
        for object in objects.objects() {
            self.apply_one(&object).await?;
        }
        Ok(())
    }

    async fn apply_one(&self, object: &Value) -> Result<(), kube::Error> {
        let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let api =
            Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.name, &resource_of(&object));
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.map(drop)
    }

    /// Makes Tasks `<name>-0` … as fast as the API server takes them.
    pub async fn create_tasks(&self, task: Builder<Task>, count: usize) {
        let api = self.tasks();
        let task: Task = serde_json::from_value(task.json()).unwrap();
        let made = (0..count).map(|i| {
            let (mut task, api) = (task.clone(), api.clone());
            task.metadata.name = Some(format!("{}-{i}", task.name_any()));
            async move { drop(api.create(&PostParams::default(), &task).await.unwrap()) }
        });
        all_of(made).await;
    }

    /// Writes into the status of Tasks `<name>-0` … that they are Completed, as an operator did long ago.
    pub async fn end_tasks(&self, name: &str, count: usize) {
        let api = self.tasks();
        let condition = json!({
            "type": "Succeeded", "status": "True", "reason": "Completed", "message": "The agent ended successfully",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = json!({"status": {
            "phase": "Completed", "completionTime": "2026-01-01T00:00:00Z", "conditions": [condition],
        }});
        let ended = (0..count).map(|i| {
            let (api, status) = (api.clone(), Patch::Merge(status.clone()));
            async move {
                drop(
                    api.patch_status(&format!("{name}-{i}"), &PatchParams::default(), &status).await.unwrap(),
                );
            }
        });
        all_of(ended).await;
    }

    /// Waits until the record shows it.
    ///
    /// # Panics
    /// After some time, saying what was waited for.
    pub async fn until<T>(&self, what: &str, look: impl FnMut(&History) -> Option<T>) -> T {
        let patience = if self.host.is_some() { PATIENCE } else { PATIENCE_WITH_NODES };
        let found = self.record.wait(patience, look).await;
        found.unwrap_or_else(|()| panic!("waited {patience:?} in vain: {what}"))
    }

    /// Waits until a Task looks so.
    pub async fn until_task(&self, name: &str, what: &str, is_so: impl Fn(&Task) -> bool) -> Task {
        self.until_object(Kind::Task, name, what, is_so).await
    }

    /// The same for a Task of `kubetask.io`.
    pub async fn until_kubetask(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&KubeTask) -> bool,
    ) -> KubeTask {
        self.until_object(Kind::KubeTask, name, what, is_so).await
    }

    async fn until_object<K: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
        what: &str,
        is_so: impl Fn(&K) -> bool,
    ) -> K {
        self.until(&format!("{kind:?} {name} {what}"), |history| {
            let object = history.get(kind, name)?;
            let object: K = serde_json::from_value(object.object.clone()).unwrap();
            is_so(&object).then_some(object)
        })
        .await
    }

    /// Waits until a Task is in a phase.
    ///
    /// # Panics
    /// When it ended in another one, or after some time.
    pub async fn phase(&self, name: &str, phase: Phase) -> Task {
        self.until_task(name, &format!("is {phase:?}"), |task| has_phase(task, phase)).await
    }

    /// The same for a Task of `kubetask.io`.
    ///
    /// # Panics
    /// As [`Self::phase`].
    pub async fn kubetask_phase(&self, name: &str, phase: Phase) -> KubeTask {
        self.until_kubetask(name, &format!("is {phase:?}"), |task| has_phase(task, phase)).await
    }

    /// Waits until the agent's container in a Pod runs.
    pub async fn agent_runs(&self, pod: &str) {
        let runs = |pod: &Value| pod["status"]["containerStatuses"][0]["state"].get("running").is_some();
        self.until(&format!("the agent in Pod {pod} runs"), |history| {
            runs(&history.get(Kind::Pod, pod)?.object).then_some(())
        })
        .await;
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, kind: Kind, name: &str) {
        self.until(&format!("{kind:?} {name} is gone"), |history| {
            history.get(kind, name).is_none().then_some(())
        })
        .await;
    }

    /// Waits until the API server enforces a ResourceQuota.
    pub async fn quota_is_in_force(&self, name: &str) {
        let counted = |quota: Option<&ResourceQuota>| {
            quota.and_then(|quota| quota.status.as_ref()?.used.as_ref()).is_some_and(|used| !used.is_empty())
        };
        let enforced = await_condition(self.api::<ResourceQuota>(), name, counted);
        tokio::time::timeout(PATIENCE, enforced).await.expect("the quota is counted").unwrap();
    }

    /// Puts `kubeopencode.io/stop: "true"` on a Task.
    pub async fn stop_task(&self, name: &str) {
        self.annotate(name, STOP_ANNOTATION, "true").await;
    }

    /// Puts an annotation on a Task.
    pub async fn annotate(&self, name: &str, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.tasks().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Deletes a Task as `kubectl delete --wait=false` does.
    pub async fn delete_task(&self, name: &str) {
        self.tasks().delete(name, &DeleteParams::background()).await.unwrap();
    }

    /// What the operator wrote since the namespace was made, but for Events.
    pub fn writes(&self) -> Vec<Entry> {
        self.cluster.audit.writes_since(self.mark, &self.name)
    }

    /// Everything that explains a failure.
    pub async fn describe(&self) -> String {
        let mut text = format!("--- namespace {}\n", self.name);
        {
            let history = self.record.history();
            for kind in [Kind::Task, Kind::KubeTask, Kind::Batch, Kind::Agent] {
                for object in history.all(kind) {
                    text += &format!(
                        "--- {kind:?} {}\n{}",
                        object.name(),
                        serde_norway::to_string(&object.object).unwrap()
                    );
                }
            }
            for pod in history.all(Kind::Pod) {
                let gate = if pod.is_gated() { " gated" } else { "" };
                text += &format!("--- Pod {} {}{gate} {}\n", pod.name(), pod.uid(), pod.object["status"]);
            }
            text += "--- what happened to Tasks and Pods\n";
            let mut revisions: Vec<_> = history
                .revisions
                .iter()
                .filter(|r| !matches!(r.kind, Kind::ConfigMap | Kind::Event))
                .collect();
            revisions.sort_by_key(|revision| revision.version);
            let start = revisions.len().saturating_sub(200);
            for revision in &revisions[start..] {
                text += &format!("{}\n", line(revision));
            }
        }
        for event in self.record.history().all(Kind::Event) {
            let about = event.text("/regarding/name");
            text += &format!("Event {about}: {} {}\n", event.text("/reason"), event.text("/note"));
        }
        text += &format!("--- writes of the operator: {:#?}\n", AuditLog::count(&self.writes()));
        if self.kubelet.is_none() {
            text += &self.last_words().await;
        }
        text
    }

    /// The last lines of each container of the Pods that a real kubelet runs here.
    async fn last_words(&self) -> String {
        let mut text = String::new();
        let Ok(pods) = self.pods().list(&ListParams::default()).await else { return text };
        for pod in pods {
            let name = pod.name_any();
            let spec = pod.spec.unwrap_or_default();
            let containers = spec.init_containers.into_iter().flatten().chain(spec.containers);
            for container in containers.map(|container| container.name) {
                let params = LogParams {
                    container: Some(container.clone()),
                    tail_lines: Some(LAST_LINES),
                    timestamps: true,
                    ..LogParams::default()
                };
                let log = self.pods().logs(&name, &params).await.unwrap_or_else(|error| error.to_string());
                text += &format!("--- log of {name}, {container}\n{log}\n");
            }
        }
        text
    }
}

/// Whether a Task is in this phase, and panics where it ended in another one.
fn has_phase(task: &impl AnyTask, phase: Phase) -> bool {
    let now = task.status().and_then(|status| status.phase).unwrap_or_default();
    assert!(now == phase || !now.is_terminal(), "a Task is {now:?} instead of {phase:?}: {task:#?}");
    now == phase
}

/// A revision on one line.
fn line(revision: &Revision) -> String {
    let Revision { kind, version, gone, .. } = revision;
    let more = match kind {
        Kind::Pod if revision.is_gated() => "gated".to_owned(),
        Kind::Pod => revision.text("/status/phase").to_owned(),
        Kind::Task | Kind::KubeTask | Kind::Batch => {
            let deleting =
                if revision.text("/metadata/deletionTimestamp").is_empty() { "" } else { " deleting" };
            format!("{} {}{deleting}", revision.text("/status/phase"), revision.text("/status/podUID"))
        }
        Kind::Agent => format!("admitted {}", revision.list("/status/admitted").len()),
        Kind::ConfigMap | Kind::Event => String::new(),
    };
    let gone = if *gone { " gone" } else { "" };
    format!("{version} {kind:?} {} {} {more}{gone}", revision.name(), revision.uid())
}

fn resource_of(object: &DynamicObject) -> ApiResource {
    let types = object.types.clone().expect("apiVersion and kind");
    ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap())
}

/// Sends requests, so many at once that the API server is busy and nobody runs out of connections.
async fn all_of(requests: impl Iterator<Item = impl Future<Output = ()>>) {
    futures::stream::iter(requests).buffer_unordered(64).collect::<()>().await;
}
