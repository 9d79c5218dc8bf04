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
