//! A namespace for one scenario, with a kubelet, the record, and operators that come and go.
//!
//! Whatever a scenario shows, at its end the record is checked against the invariants. When something fails, the
//! namespace says what was there: Tasks, Pods, Events, and what the operator wrote.

mod clear;
mod describe;
mod waits;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::literals::STOP_ANNOTATION;
use kubeopencode_api::task::{Phase, Task};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::audit::{Entry, Mark};
use crate::cluster::{Cluster, FIELD_MANAGER, Plugins};
use crate::faults::Faults;
use crate::invariants::{left_behind, violations};
use crate::kubelet::Kubelet;
use crate::objects::{Builder, Objects};
use crate::operator::{Operator, Setup};
use crate::record::{History, Recorder};

/// How long a scenario waits for a fact before it gives up: less than a minute, so that what the operator only finds in
/// its rounds counts as missed.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// How long Kubernetes may take to collect what has lost its owner: the controller manager learns of new kinds every 30 s,
/// and collects nothing until it has listed them.
const COLLECTION_PATIENCE: Duration = Duration::from_secs(120);

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
    let tolerated: Vec<_> = namespaces.iter().flat_map(|ns| ns.tolerated.lock().clone()).collect();
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
        self.tolerated.lock().push(violation);
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    /// Puts a label on the namespace.
    pub async fn label_namespace(&self, key: &str, value: &str) {
        let patch = json!({"metadata": {"labels": {key: value}}});
        self.namespaces().patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
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

    /// Makes objects `<name>-0` … as fast as the API server takes them.
    pub async fn create_many<K>(&self, object: Builder<K>, count: usize)
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let api: Api<K> = self.api();
        let object: K = serde_json::from_value(object.json()).unwrap();
        let made = (0..count).map(|i| {
            let (mut object, api) = (object.clone(), api.clone());
            object.meta_mut().name = Some(format!("{}-{i}", object.name_any()));
            async move { drop(api.create(&PostParams::default(), &object).await.unwrap()) }
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

    /// Makes a Task whose agent goes on until the Task is stopped, and waits until it is Running.
    pub async fn runs(&self, task: Builder<Task>) {
        let task = task.does("run-on");
        let name = task.json()["metadata"]["name"].as_str().unwrap().to_owned();
        self.apply(task).await;
        self.phase(&name, Phase::Running).await;
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
}

fn resource_of(object: &DynamicObject) -> ApiResource {
    let types = object.types.clone().expect("apiVersion and kind");
    ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap())
}

/// Sends requests, so many at once that the API server is busy and nobody runs out of connections.
async fn all_of(requests: impl Iterator<Item = impl Future<Output = ()>>) {
    futures::stream::iter(requests).buffer_unordered(64).collect::<()>().await;
}
