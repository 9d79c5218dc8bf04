//! The operator on a real API server: what the document promises, and attempts to break it.
//!
//! `make test` brings the API server up. Nodes there are none: a kubelet of the harness plays their part.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod accidents;
mod bad_input;
mod cleanup;
mod definitions;
mod deletion;
mod documents;
mod ends;
mod events;
mod faults;
mod limits;
mod scale;
mod several;
mod spec_examples;
mod stop;
mod waiting;
mod way;
mod wrong_objects;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kubeopencode_api::task::{Task, TaskStatus};
use kubeopencode_tests::kubelet::AGENT_DOES;
use kubeopencode_tests::record::{History, Kind, Revision};
use kubeopencode_tests::stage::Stage;

/// Compiles plugins for the operators of the tests.
const WORKER: &str = env!("CARGO_BIN_EXE_plugin-worker");

/// Plays a scenario on a stage of its own; the invariants are checked afterwards.
async fn scenario(play: impl AsyncFnOnce(&Stage)) {
    kubeopencode_tests::stage::scenario(Some(WORKER), play).await;
}

/// The status of a Task that has one.
fn status(task: &Task) -> &TaskStatus {
    task.status.as_ref().expect("a status")
}

/// A condition that must be there.
fn condition<'a>(task: &'a Task, type_: &str) -> &'a Condition {
    let found = status(task).conditions.iter().find(|condition| condition.type_ == type_);
    found.unwrap_or_else(|| panic!("no condition {type_}: {:#?}", task.status))
}

/// Status, reason and message of a condition.
fn words<'a>(task: &'a Task, type_: &str) -> (&'a str, &'a str, &'a str) {
    let Condition { status, reason, message, .. } = condition(task, type_);
    (status, reason, message)
}

/// The Pods that a Task ever had, by UID, as they were first seen.
fn pods_of(history: &History, task: &Task) -> Vec<Arc<Revision>> {
    let uid = task.metadata.uid.as_deref().unwrap();
    let mut pods: Vec<Arc<Revision>> = Vec::new();
    for pod in history.revisions(Kind::Pod).filter(|pod| pod.label("kubeopencode.io/task-uid") == uid) {
        if pods.iter().all(|known| known.uid() != pod.uid()) {
            pods.push(Arc::clone(pod));
        }
    }
    pods
}

/// The team's Agent with these limits, or more in its `spec`, as YAML in one line.
fn agent(more: &str) -> String {
    format!(
        "{{apiVersion: kubeopencode.io/v1alpha1, kind: Agent, metadata: {{name: default}}, spec: {{serviceAccountName: kubeopencode-agent, {more}}}}}"
    )
}

/// A Task whose agent does what the kubelet of the harness is told here.
fn task(name: &str, agent_does: &str) -> String {
    task_with(name, agent_does, "")
}

/// The same with an Agent.
fn task_of(name: &str, agent: &str, agent_does: &str) -> String {
    task_with(name, agent_does, &format!("agentRef: {agent}"))
}

/// The same with more in its `spec`, as YAML in one line.
fn task_with(name: &str, agent_does: &str, more: &str) -> String {
    format!(
        "apiVersion: kubeopencode.io/v1alpha1\nkind: Task\nmetadata:\n  name: {name}\n  annotations: {{{AGENT_DOES}: {agent_does}}}\nspec: {{description: d, {more}}}\n"
    )
}

/// How many Tasks are in a phase.
fn in_phase(history: &History, phase: &str) -> usize {
    history.all(Kind::Task).filter(|task| task.text("/status/phase") == phase).count()
}

/// Waits until so many Tasks are in a phase, in steps that have a patience each.
async fn until_in_phase(stage: &Stage, phase: &str, count: usize, step: usize) {
    for wanted in (step..count).step_by(step).chain([count]) {
        stage
            .until(&format!("{wanted} Tasks are {phase}"), |history| {
                (in_phase(history, phase) >= wanted).then_some(())
            })
            .await;
    }
}

/// The agent's container in a Pod runs.
async fn agent_runs(stage: &Stage, pod: &str) {
    stage
        .until(&format!("Pod {pod} runs"), |history| {
            (history.get(Kind::Pod, pod)?.text("/status/phase") == "Running").then_some(())
        })
        .await;
}
