//! A scheduler and a kubelet for an API server that has neither: they bind, run, end and remove Pods as the real ones
//! do, without delay. A gated Pod is never touched; the API server would not let it be bound either.
//!
//! What the agent does in a Pod is said by the annotation [`AGENT_DOES`] of its Task. Other containers, which a test had
//! injected, run until the Pod is ended; native sidecars end after the agent, and badly.

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, Request};
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::task::Task as KubeTask;
use kubeopencode_api::literals::{APP_LABEL, LAUNCH_GATE, TASK_NAME_ANNOTATION, TASK_NAMESPACE_LABEL};
use kubeopencode_api::task::Task;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::cluster::NODE;

/// Annotation of a Task, or of a Batch for its Tasks: `succeed` (as without it), `fail`, `report-error`, `run-on`, `end-well-on-sigterm` (run on until
/// then), `never-start`, `pull-fails`, and `unscheduled`.
pub const AGENT_DOES: &str = "tests.kubeopencode.io/agent-does";

/// Runs until it is dropped. What it finds wrong is a violation like those of the record: whoever checks the invariants
/// of a scenario asks for it.
#[derive(Debug)]
pub struct Kubelet {
    task: JoinHandle<()>,
    pods: UnboundedSender<Seen>,
    violations: watch::Receiver<Vec<String>>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An event of the watch of Pods.
type Seen = Result<Event<Pod>, watcher::Error>;

impl Kubelet {
    /// Takes care of the Pods of Tasks in one namespace.
    pub fn start(client: &Client, namespace: &str) -> Self {
        // whatever becomes of their labels
        let pods = watcher::watcher(Api::namespaced(client.clone(), namespace), watcher::Config::default());
        let (by_hand, more) = unbounded_channel();
        let more = futures::stream::unfold(more, async |mut more| Some((more.recv().await?, more)));
        let (found, violations) = watch::channel(Vec::new());
        let task = tokio::spawn(run(
            futures::stream::select(pods, more),
            client.clone(),
            Violations(Arc::new(found)),
        ));
        Self { task, pods: by_hand, violations }
    }

    /// What it found wrong so far: Pods that do what no Pod does, requests that failed, and its own panics.
    pub fn violations(&self) -> Vec<String> {
        self.violations.borrow().clone()
    }

    /// Waits until it found something wrong.
    pub async fn until_violation(&self) {
        let mut violations = self.violations.clone();
        violations.wait_for(|found| !found.is_empty()).await.expect("the kubelet runs");
    }

    /// Shows it a Pod as if its watch did.
    pub fn shows(&self, pod: Pod) {
        let _ = self.pods.send(Ok(Event::Apply(pod)));
    }
}

/// Where violations are told.
#[derive(Clone)]
struct Violations(Arc<watch::Sender<Vec<String>>>);

impl Violations {
    fn tell(&self, words: impl Display) {
        self.0.send_modify(|found| found.push(format!("kubelet: {words}")));
    }
}

async fn run(pods: impl Stream<Item = Seen>, client: Client, violations: Violations) {
    futures::pin_mut!(pods);
    let (mut workers, mut work) = (HashMap::<String, UnboundedSender<Pod>>::new(), JoinSet::new());
    loop {
        let event = tokio::select! {
            Some(ended) = work.join_next() => {
                if let Err(panic) = ended {
                    violations.tell(format_args!("one of its workers panicked: {panic}"));
                }
                continue;
            }
            event = pods.next() => event,
        };
        match event {
            Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => {
                let worker = workers.entry(pod.uid().unwrap_or_default()).or_insert_with(|| {
                    let (worker, jobs) = unbounded_channel();
                    // another kubelet may have started it
                    let runs =
                        pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
                    let worker_of_pod = Worker {
                        client: client.clone(),
                        violations: violations.clone(),
                        done: if runs { Done::Running } else { Done::Nothing },
                        agent: None,
                    };
                    work.spawn(worker_of_pod.run(jobs));
                    worker
                });
                let _ = worker.send(pod);
            }
            Some(Ok(Event::Delete(pod))) => drop(workers.remove(&pod.uid().unwrap_or_default())),
            Some(Ok(Event::Init | Event::InitDone)) => {}
            Some(Err(error)) => violations.tell(format_args!("its watch broke: {error}")),
            None => return violations.tell("its watch ended"),
        }
    }
}

/// How far a Pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    Nothing,
    Bound,
    Running,
    /// The agent has ended, other containers run on.
    AgentOver,
    Ended,
    Removed,
}

struct Worker {
    client: Client,
    violations: Violations,
    done: Done,
    /// How the agent ended.
    agent: Option<Value>,
}

impl Worker {
    async fn run(mut self, mut jobs: UnboundedReceiver<Pod>) {
        while let Some(mut pod) = jobs.recv().await {
            while let Ok(newer) = jobs.try_recv() {
                pod = newer;
            }
            self.step(&pod).await;
        }
    }

    async fn step(&mut self, pod: &Pod) {
        let spec = pod.spec.clone().unwrap_or_default();
        let is_gated = spec.scheduling_gates.iter().flatten().any(|gate| gate.name == LAUNCH_GATE);
        if is_gated {
            if self.done != Done::Nothing {
                self.violations.tell(format_args!("Pod {} got its gate back", pod.name_any()));
            }
            return;
        }
        let is_ours = spec.node_name.as_deref() == Some(NODE);
        if pod.metadata.deletion_timestamp.is_some() {
            if is_ours && self.done < Done::Removed {
                self.kill(pod, 143).await;
                self.remove(pod).await;
            }
            return;
        }
        if self.done == Done::AgentOver && spec.active_deadline_seconds.is_some() {
            self.kill(pod, 137).await;
            return;
        }
        if self.done == Done::Nothing && !is_ours {
            if self.agent_does(pod).await != "unscheduled" {
                self.bind(pod).await;
                self.done = Done::Bound;
            }
            return;
        }
        if self.done <= Done::Bound {
            match self.agent_does(pod).await.as_str() {
                "never-start" => {}
                "pull-fails" => {
                    let state = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"nowhere\""}});
                    self.status(pod, "Pending", state).await;
                }
                _ => {
                    self.status(pod, "Running", json!({"running": {"startedAt": jiff::Timestamp::now()}}))
                        .await
                }
            }
            self.done = Done::Running;
            return;
        }
        if self.done == Done::Running {
            match self.agent_does(pod).await.as_str() {
                "fail" => {
                    self.end(pod, "Failed", ended(3, "Error", Some(json!({"outcome": "failed"})))).await
                }
                "report-error" => {
                    let report = json!({"outcome": "agent-error", "error": "model not found"});
                    self.end(pod, "Failed", ended(1, "Error", Some(report))).await;
                }
                "run-on" | "end-well-on-sigterm" | "never-start" | "pull-fails" => {
                    if spec.active_deadline_seconds.is_some() {
                        self.kill(pod, 137).await;
                    }
                }
                _ => {
                    let usage = json!({"inputTokens": 11, "outputTokens": 7, "costUSD": "0.0123"});
                    let report = json!({"outcome": "completed", "summary": "All is done", "usage": usage});
                    self.end(pod, "Succeeded", ended(0, "Completed", Some(report))).await;
                }
            }
        }
    }

    async fn agent_does(&self, pod: &Pod) -> String {
        // a Pod that no operator made is for no kubelet here
        let Some(name) = pod.annotations().get(TASK_NAME_ANNOTATION) else { return "unscheduled".to_owned() };
        let namespace = pod.labels().get(TASK_NAMESPACE_LABEL).cloned().or_else(|| pod.namespace());
        let namespace = namespace.unwrap_or_default();
        let is_kubetasks = pod.labels().get(APP_LABEL).is_some_and(|app| app == Group::KubeTask.names().app);
        let does = if is_kubetasks {
            match self.task_says::<KubeTask>(&namespace, name).await {
                Some(does) => Some(does),
                None => self.batch_says(&namespace, name).await,
            }
        } else {
            self.task_says::<Task>(&namespace, name).await
        };
        does.unwrap_or_default()
    }

    async fn task_says<K>(&self, namespace: &str, name: &str) -> Option<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let tasks = Api::<K>::namespaced(self.client.clone(), namespace);
        let task = self.done(tasks.get_metadata_opt(name).await).flatten()?;
        task.annotations().get(AGENT_DOES).cloned()
    }

    /// What the Batch of a Task says, which can make none of its Tasks with annotations: for one index, as in
    /// `<AGENT_DOES>-3`, or for all of them.
    async fn batch_says(&self, namespace: &str, task: &str) -> Option<String> {
        let (batch, index) = task.rsplit_once("-task-")?;
        let batches = Api::<Batch>::namespaced(self.client.clone(), namespace);
        let batch = self.done(batches.get_metadata_opt(batch).await).flatten()?;
        let annotations = batch.annotations();
        annotations.get(&format!("{AGENT_DOES}-{index}")).or_else(|| annotations.get(AGENT_DOES)).cloned()
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default())
    }

    /// A Pod may be gone, or another one may have its name: then there is nothing to do.
    fn done<T>(&self, answer: Result<T, kube::Error>) -> Option<T> {
        match answer {
            Ok(answer) => return Some(answer),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
            Err(error) => self.violations.tell(format_args!("a request of it failed: {error}")),
        }
        None
    }

    async fn bind(&self, pod: &Pod) {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any(), "uid": pod.uid()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        });
        let request = Request::new(Pod::url_path(&(), pod.namespace().as_deref()));
        let post = PostParams::default();
        let request =
            request.create_subresource("binding", &pod.name_any(), &post, binding.to_string().into());
        self.done(self.client.request::<Value>(request.unwrap()).await);
    }

    async fn status(&self, pod: &Pod, phase: &str, agent: Value) {
        let is_over = matches!(phase, "Succeeded" | "Failed");
        let running = json!({"running": {"startedAt": jiff::Timestamp::now()}});
        let spec = pod.spec.clone().unwrap_or_default();
        let init = spec.init_containers.iter().flatten().map(|container| {
            let is_sidecar = container.restart_policy.as_deref() == Some("Always");
            let state = match (is_sidecar, is_over) {
                (true, true) => ended(3, "Error", None),
                (true, false) => running.clone(),
                (false, _) => ended(0, "Completed", None),
            };
            of(&container.name, &state)
        });
        let containers = spec.containers.iter().map(|container| match (&*container.name, is_over) {
            ("agent", _) => of("agent", &agent),
            (other, true) => of(other, &ended(137, "Error", None)),
            (other, false) => of(other, &running),
        });
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {
            "phase": phase, "initContainerStatuses": init.collect::<Vec<_>>(),
            "containerStatuses": containers.collect::<Vec<_>>(),
        }});
        let params = PatchParams::default();
        self.done(self.pods(pod).patch_status(&pod.name_any(), &params, &Patch::Merge(&patch)).await);
    }

    /// The agent ends, and the Pod with it where it is alone.
    async fn end(&mut self, pod: &Pod, phase: &str, agent: Value) {
        let is_alone = pod.spec.as_ref().is_none_or(|spec| spec.containers.len() == 1);
        self.status(pod, if is_alone { phase } else { "Running" }, agent.clone()).await;
        (self.agent, self.done) = (Some(agent), if is_alone { Done::Ended } else { Done::AgentOver });
    }

    /// Ends whatever runs in the Pod. An agent that is at work and does nothing else exits with this code.
    async fn kill(&mut self, pod: &Pod, code: i32) {
        if self.done >= Done::Ended {
            return;
        }
        let (phase, agent) = match self.agent.take() {
            Some(agent) => ("Failed", agent),
            None if self.agent_does(pod).await == "end-well-on-sigterm" => {
                ("Succeeded", ended(0, "Completed", Some(json!({"outcome": "completed", "signal": 15}))))
            }
            None => ("Failed", ended(code, "Error", None)),
        };
        self.status(pod, phase, agent).await;
        self.done = Done::Ended;
    }

    async fn remove(&mut self, pod: &Pod) {
        let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default().grace_period(0) };
        self.done(self.pods(pod).delete(&pod.name_any(), &params).await);
        self.done = Done::Removed;
    }
}

fn ended(code: i32, reason: &str, report: Option<Value>) -> Value {
    let now = jiff::Timestamp::now();
    json!({"terminated": {"exitCode": code, "reason": reason, "message": report.map(|report| report.to_string()),
        "startedAt": now, "finishedAt": now}})
}

fn of(container: &str, state: &Value) -> Value {
    json!({"name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}
