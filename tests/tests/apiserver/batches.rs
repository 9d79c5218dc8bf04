//! Batches of `kubetask.io`: each index has one Task, and the status says how it ended, whatever happens meanwhile.

mod ends;
mod lost;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_tests::audit::AuditLog;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::invariants::tasks_of_batches;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{Builder, batch};
use kubeopencode_tests::record::{Kind, Revision};
use serde_json::{Value, json};

use crate::scenario;

async fn create(ns: &TestNamespace, batch: Builder<Batch>) {
    let batch: Batch = serde_json::from_value(batch.json()).unwrap();
    batches(ns).create(&PostParams::default(), &batch).await.unwrap();
}

fn batches(ns: &TestNamespace) -> Api<Batch> {
    ns.api()
}

fn tasks(ns: &TestNamespace) -> Api<Task> {
    ns.api()
}

async fn annotate(ns: &TestNamespace, name: &str, key: &str, value: Value) {
    let patch = json!({"metadata": {"annotations": {key: value}}});
    batches(ns).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

async fn delete(ns: &TestNamespace, name: &str, policy: PropagationPolicy) {
    let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
    batches(ns).delete(name, &params).await.unwrap();
}

/// Waits until the Batch's status is so.
async fn until(ns: &TestNamespace, name: &str, what: &str, is_so: impl Fn(&Revision) -> bool) -> Value {
    ns.until(&format!("Batch {name} {what}"), |history| {
        let batch = history.get(Kind::Batch, name)?;
        is_so(batch).then(|| batch.object["status"].clone())
    })
    .await
}

async fn until_phase(ns: &TestNamespace, name: &str, phase: &str) -> Value {
    until(ns, name, &format!("is {phase}"), |batch| {
        let now = batch.text("/status/phase");
        let is_over = matches!(now, "Completed" | "Failed");
        assert!(now == phase || !is_over, "{name} is {now} instead of {phase}: {:#}", batch.object["status"]);
        now == phase
    })
    .await
}

/// Waits until so many Tasks of the Batch are over, with a patience for each one after the first `from`.
async fn until_over(ns: &TestNamespace, name: &str, from: u64, count: u64) {
    let over = |batch: &Revision| {
        let progress = &batch.object["status"]["progress"];
        progress["completed"].as_u64().unwrap_or(0) + progress["failed"].as_u64().unwrap_or(0)
    };
    for wanted in from + 1..=count {
        until(ns, name, &format!("has {wanted} Tasks that are over"), |batch| over(batch) >= wanted).await;
    }
}

async fn task_in(ns: &TestNamespace, name: &str, phase: &str) {
    ns.until(&format!("Task {name} is {phase}"), |history| {
        (history.get(Kind::KubeTask, name)?.text("/status/phase") == phase).then_some(())
    })
    .await;
}

/// Each index of the namespace's one Batch had one Task. How many of them were not over at a time, at most.
async fn assert_once(ns: &TestNamespace, total: usize, parallelism: usize) -> usize {
    ns.record.catch_up().await;
    let batches: Vec<_> = tasks_of_batches(&ns.record.history()).into_values().collect();
    let [tasks] = batches.as_slice() else { panic!("no Batch, or several: {batches:?}") };
    let doubled: Vec<_> = tasks.uids.iter().filter(|(_, uids)| uids.len() != 1).collect();
    assert!(doubled.is_empty(), "made more than once: {doubled:?}");
    assert_eq!(tasks.uids.len(), total);
    assert!(tasks.most <= parallelism, "{} at once instead of {parallelism}", tasks.most);
    tasks.most
}

/// The names of all Tasks that there ever were.
fn names(ns: &TestNamespace) -> BTreeSet<String> {
    ns.record.history().revisions(Kind::KubeTask).map(|task| task.name().to_owned()).collect()
}

/// How often the status of a Batch was written.
fn status_writes(ns: &TestNamespace) -> usize {
    ns.writes().iter().filter(|write| write.summary() == "patch batches/status 200").count()
}

fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

async fn stop(ns: &TestNamespace, task: &str) {
    let patch = json!({"metadata": {"annotations": {"kubetask.io/stop": "true"}}});
    tasks(ns).patch(task, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_made_once_each_within_its_parallelism() {
    scenario(async |ns| {
        let operator = ns.operator();
        let started = Instant::now();
        create(ns, batch("big", 1000).parallelism(50)).await;
        until_over(ns, "big", 0, 1000).await;
        let status = until_phase(ns, "big", "Completed").await;
        let took = started.elapsed();
        operator.stop().await;
        let most = assert_once(ns, 1000, 50).await;
        assert_eq!((&status["completedIndexes"], &status["made"]), (&json!("0-999"), &json!(1000)));
        let bytes = status.to_string().len();
        assert!(bytes < 2048, "{status:#}");
        let writes = ns.writes();
        let seconds = usize::try_from(took.as_secs()).unwrap() + 2;
        assert!(status_writes(ns) <= seconds, "{} status writes in {took:?}", status_writes(ns));
        eprintln!(
            "a Batch of 1,000 with parallelism 50: {took:?}, {} writes for 1,000 Tasks, at most {most} at once, a status of \
             {bytes} bytes: {:#?}",
            writes.len(),
            AuditLog::count(&writes)
        );
    })
    .await;
}

#[tokio::test]
async fn a_pause_makes_no_further_task_and_touches_none() {
    scenario(async |ns| {
        let _operator = ns.operator();
        let paused = batch("b", 4).parallelism(2).annotation("kubetask.io/pause", "true");
        create(ns, paused.does_at(0, "run-on").does_at(1, "run-on")).await;
        let status = until_phase(ns, "b", "Paused").await;
        assert_eq!((&status["made"], &status["startTime"]), (&json!(0), &Value::Null));
        // until it starts its spec may change
        let patch = json!({"spec": {"parallelism": 1}});
        batches(ns).patch("b", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();

        annotate(ns, "b", "kubetask.io/pause", Value::Null).await;
        task_in(ns, "b-task-0", "Running").await;
        let patch = json!({"spec": {"parallelism": 2}});
        batches(ns)
            .patch("b", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .expect_err("it has started");
        annotate(ns, "b", "kubetask.io/pause", "true".into()).await;
        until_phase(ns, "b", "Paused").await;
        stop(ns, "b-task-0").await;
        let status =
            until(ns, "b", "counts its first Task", |batch| batch.text("/status/completedIndexes") == "0")
                .await;
        assert_eq!(
            (status["phase"].as_str(), status["made"].as_u64()),
            (Some("Paused"), Some(1)),
            "{status:#}"
        );

        annotate(ns, "b", "kubetask.io/pause", Value::Null).await;
        task_in(ns, "b-task-1", "Running").await;
        stop(ns, "b-task-1").await;
        let status = until_phase(ns, "b", "Completed").await;
        assert_eq!(status["completedIndexes"], "0-3");
        assert_once(ns, 4, 1).await;
    })
    .await;
}

#[tokio::test]
async fn two_operators_with_stale_watches_make_each_task_once() {
    scenario(async |ns| {
        let stale = || ns.operator_with(&Faults::stale_watches());
        let (_one, _two) = (stale(), stale());
        create(ns, batch("b", 60).parallelism(5)).await;
        until_over(ns, "b", 0, 60).await;
        let status = until_phase(ns, "b", "Completed").await;
        assert_eq!(status["completedIndexes"], "0-59");
        assert_once(ns, 60, 5).await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_killed_twenty_times_makes_each_of_two_hundred_tasks_once() {
    scenario(async |ns| {
        create(ns, batch("b", 200).parallelism(7).does_at(13, "fail").does_at(77, "fail")).await;
        let mut operator = ns.operator();
        for kill in 1..=20_u64 {
            until(ns, "b", "gets on", |batch| {
                batch.object["status"]["made"].as_u64().unwrap_or(0) >= kill * 9
            })
            .await;
            operator.crash().await;
            operator = ns.operator();
        }
        until_over(ns, "b", 100, 200).await;
        let status = until_phase(ns, "b", "Failed").await;
        assert_eq!(status["failedIndexes"], "13,77");
        assert_eq!(status["progress"]["completed"], 198);
        let most = assert_once(ns, 200, 7).await;
        eprintln!("20 kills in 200 sets with parallelism 7: each made once, at most {most} at once");
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_leaves_no_room_for_its_status_is_told_of() {
    scenario(async |ns| {
        let is_full = Arc::new(AtomicBool::new(true));
        let no_room = Faults::while_set(&is_full, ("PATCH", "/batches/b/status"), Fault::TooLarge);
        let _operator = ns.operator_with(&no_room);
        create(ns, batch("b", 1)).await;
        let told = ns.until("an Event tells it", |history| {
            let about = |event: &&Arc<Revision>| {
                event.text("/regarding/name") == "b" && event.text("/reason") == "TooLarge"
            };
            history.all(Kind::Event).find(about).map(|event| event.text("/note").to_owned())
        });
        assert_eq!(told.await, "its status does not fit into etcd: make the Batch smaller, or delete it");
        is_full.store(false, Ordering::Relaxed);
        until_phase(ns, "b", "Completed").await;
    })
    .await;
}
