//! The operator on a real API server: what the document promises, and attempts to break it.
//!
//! `make test` brings the API server up. Nodes there are none: a kubelet of the harness stands in for them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod agents;
mod bad_input;
mod batches;
mod chart;
mod cleanup;
mod cross_namespace;
mod definitions;
mod deletion;
mod documents;
mod events;
mod examples;
mod fairness;
mod ghosts;
mod harness;
mod health;
mod interference;
mod kubectl;
mod kubetask;
mod leaders;
mod lifecycle;
mod limits;
mod memory;
mod multiple_operators;
mod outcomes;
mod plugins;
mod pod_policy;
mod quota;
mod reader;
mod requests;
mod scale;
mod servers;
mod spec_examples;
mod stop;
mod waiting;
mod watch_namespaces;
#[path = "../../../host/pod-tools/tests/tools/web.rs"]
#[expect(dead_code, reason = "the tools are tried with more of it")]
mod web;
mod whose_pod;
mod wrong_objects;

use std::sync::Arc;

use kubeopencode_api::task::Task;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::record::{History, Kind, Revision};

/// Compiles plugins for the operators of the tests.
const WORKER: &str = env!("CARGO_BIN_EXE_plugin-worker");

/// An operator as a process of its own.
const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");

/// `kubectl-kubeopencode`.
const KUBECTL: &str = env!("CARGO_BIN_EXE_kubectl-under-test");

/// Runs a scenario in a namespace of its own; the invariants are checked afterwards.
async fn scenario(run: impl AsyncFnOnce(&TestNamespace)) {
    kubeopencode_tests::namespace::scenario(Some(WORKER), run).await;
}

/// Runs a scenario between two namespaces, of which the second has the Agent; the invariants are checked afterwards.
async fn between_namespaces(run: impl AsyncFnOnce(&TestNamespace, &TestNamespace)) {
    kubeopencode_tests::namespace::between_namespaces(Some(WORKER), run).await;
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

/// How many Tasks are in a phase.
fn in_phase(history: &History, phase: &str) -> usize {
    history.all(Kind::Task).filter(|task| task.text("/status/phase") == phase).count()
}

/// Waits until so many Tasks are in a phase, with a patience for each further one.
async fn until_in_phase(ns: &TestNamespace, phase: &str, count: usize) {
    for wanted in 1..=count {
        ns.until(&format!("{wanted} Tasks are {phase}"), |history| {
            (in_phase(history, phase) >= wanted).then_some(())
        })
        .await;
    }
}
