//! A scheduler and a kubelet for an API server that has neither: they bind, run, end and remove Pods as the real ones
//! do, without delay. A gated Pod is never touched; the API server would not let it be bound either.
//!
//! What the agent does in a Pod is said by the annotation [`AGENT_DOES`] of its Task.

use std::collections::HashMap;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, Request};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::literals::{LAUNCH_GATE, TASK_NAME_ANNOTATION};
use kubeopencode_api::task::Task;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, JoinSet};

use crate::cluster::NODE;

/// Annotation of a Task: `succeed` (as without it), `fail`, `report-error`, `run-on`, `never-start`, `pull-fails`, and
/// `unscheduled`.
pub const AGENT_DOES: &str = "tests.kubeopencode.io/agent-does";

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Kubelet {
    /// Takes care of the Pods of Tasks in one namespace.
    pub fn start(client: &Client, namespace: &str) -> Self {
        Self(tokio::spawn(run(
            Api::namespaced(client.clone(), namespace),
            Api::namespaced(client.clone(), namespace),
            client.clone(),
        )))
    }
}

async fn run(pods: Api<Pod>, tasks: Api<Task>, client: Client) {
    let events = watcher(pods.clone(), Config::default().labels("app=kubeopencode"));
    futures::pin_mut!(events);
    let (mut workers, mut work) = (HashMap::<String, UnboundedSender<Pod>>::new(), JoinSet::new());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                let worker = workers.entry(pod.uid().unwrap_or_default()).or_insert_with(|| {
                    let (worker, jobs) = unbounded_channel();
                    let worker_of_pod = Worker {
                        client: client.clone(),
                        pods: pods.clone(),
                        tasks: tasks.clone(),
                        done: Done::Nothing,
                    };
                    work.spawn(worker_of_pod.run(jobs));
                    worker
                });
                let _ = worker.send(pod);
            }
            Ok(Event::Delete(pod)) => drop(workers.remove(&pod.uid().unwrap_or_default())),
            _ => {}
        }
    }
}

/// How far a Pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    Nothing,
    Bound,
    Running,
    Ended,
    Removed,
}

struct Worker {
    client: Client,
    pods: Api<Pod>,
    tasks: Api<Task>,
    done: Done,
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
            assert!(self.done == Done::Nothing, "Pod {} got its gate back", pod.name_any());
            return;
        }
        let is_ours = spec.node_name.as_deref() == Some(NODE);
        if pod.metadata.deletion_timestamp.is_some() {
            if is_ours && self.done < Done::Removed {
                self.end(pod, "Failed", ended(143, "Error", None)).await;
                self.remove(pod).await;
            }
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
                "run-on" | "never-start" | "pull-fails" => {
                    if spec.active_deadline_seconds.is_some() {
                        self.end(pod, "Failed", ended(137, "Error", None)).await;
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
        let task = pod.annotations().get(TASK_NAME_ANNOTATION).cloned().unwrap_or_default();
        let task = self.tasks.get_metadata_opt(&task).await.ok().flatten();
        task.and_then(|task| task.annotations().get(AGENT_DOES).cloned()).unwrap_or_default()
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
        done(self.client.request::<Value>(request.unwrap()).await);
    }

    async fn status(&self, pod: &Pod, phase: &str, agent: Value) {
        let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let init: Vec<_> = init.map(|container| of(&container.name, &ended(0, "Completed", None))).collect();
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {
            "phase": phase, "initContainerStatuses": init, "containerStatuses": [of("agent", &agent)],
        }});
        done(self.pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await);
    }

    async fn end(&mut self, pod: &Pod, phase: &str, agent: Value) {
        if self.done < Done::Ended {
            self.status(pod, phase, agent).await;
            self.done = Done::Ended;
        }
    }

    async fn remove(&mut self, pod: &Pod) {
        let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default().grace_period(0) };
        done(self.pods.delete(&pod.name_any(), &params).await);
        self.done = Done::Removed;
    }
}

/// A Pod may be gone, or another one may have its name: then there is nothing to do. Anything else is a fault of the
/// harness.
fn done<T>(answer: Result<T, kube::Error>) {
    match answer {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
        Err(error) => eprintln!("the kubelet of the tests: {error}"),
    }
}

fn ended(code: i32, reason: &str, report: Option<Value>) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "message": report.map(|report| report.to_string())}})
}

fn of(container: &str, state: &Value) -> Value {
    json!({"name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}
