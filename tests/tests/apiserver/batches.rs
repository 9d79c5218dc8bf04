//! Batches of `kubetask.io`: each index has one Task, and the status says how it ended, whatever happens meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_tests::audit::AuditLog;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::kubelet::AGENT_DOES;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::config;
use kubeopencode_tests::record::{History, Kind, Revision};
use serde_json::{Value, json};

use crate::scenario;

/// A Batch of so many Tasks, in the executor's own image.
fn batch(name: &str, total: usize, parallelism: Option<usize>) -> Value {
    let piece = |name: &str, text: String| json!({"type": "File", "file": {"name": name, "source": {"inline": text}}});
    let variable: Vec<_> = (0..total).map(|i| json!([piece("which.md", format!("number {i}"))])).collect();
    json!({
        "apiVersion": "kubetask.io/v1alpha1", "kind": "Batch", "metadata": {"name": name, "annotations": {}},
        "spec": {
            "commonContext": [piece("task.md", "Do it".to_owned())], "variableContexts": variable,
            "parallelism": parallelism,
        },
    })
}

/// What the agents of a Batch do, or that of one index.
fn does(mut batch: Value, index: Option<usize>, what: &str) -> Value {
    let key = index.map_or_else(|| AGENT_DOES.to_owned(), |index| format!("{AGENT_DOES}-{index}"));
    batch["metadata"]["annotations"][key] = what.into();
    batch
}

async fn create(ns: &TestNamespace, batch: &Value) {
    let batch: Batch = serde_json::from_value(batch.clone()).unwrap();
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

/// Waits until so many Tasks of the Batch are over, in steps that have a patience each.
async fn until_over(ns: &TestNamespace, name: &str, from: u64, count: u64, step: u64) {
    let over = |batch: &Revision| {
        let progress = &batch.object["status"]["progress"];
        progress["completed"].as_u64().unwrap_or(0) + progress["failed"].as_u64().unwrap_or(0)
    };
    for wanted in (from + step..count).step_by(usize::try_from(step).unwrap()).chain([count]) {
        until(ns, name, &format!("has {wanted} Tasks that are over"), |batch| over(batch) >= wanted).await;
    }
}

async fn task_in(ns: &TestNamespace, name: &str, phase: &str) {
    ns.until(&format!("Task {name} is {phase}"), |history| {
        (history.get(Kind::KubeTask, name)?.text("/status/phase") == phase).then_some(())
    })
    .await;
}

/// The UIDs that each name of a Task ever had, and the highest number of Tasks that were not over.
fn record_of(history: &History) -> (BTreeMap<String, BTreeSet<String>>, usize) {
    let (mut uids, mut open, mut most) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeSet::new(), 0);
    for task in history.revisions(Kind::KubeTask) {
        uids.entry(task.name().to_owned()).or_default().insert(task.uid().to_owned());
        if task.gone || matches!(task.text("/status/phase"), "Completed" | "Failed") {
            open.remove(task.uid());
        } else {
            open.insert(task.uid().to_owned());
        }
        most = most.max(open.len());
    }
    (uids, most)
}

/// Each index had one Task, and never were more of them open than that.
async fn assert_once(ns: &TestNamespace, total: usize, parallelism: usize) -> usize {
    ns.record.catch_up().await;
    let (uids, most) = record_of(&ns.record.history());
    let doubled: Vec<_> = uids.iter().filter(|(_, uids)| uids.len() != 1).collect();
    assert!(doubled.is_empty(), "made more than once: {doubled:?}");
    assert_eq!(uids.len(), total);
    assert!(most <= parallelism, "{most} at once instead of {parallelism}");
    most
}

/// How often the status of a Batch was written.
fn status_writes(ns: &TestNamespace) -> usize {
    ns.writes().iter().filter(|write| write.summary() == "patch batches/status 200").count()
}

fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_made_once_each_within_its_parallelism() {
    scenario(async |ns| {
        let operator = ns.operator();
        let started = Instant::now();
        create(ns, &batch("big", 1000, Some(50))).await;
        until_over(ns, "big", 0, 1000, 50).await;
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
        let mut paused = batch("b", 4, Some(2));
        paused["metadata"]["annotations"]["kubetask.io/pause"] = "true".into();
        let _operator = ns.operator();
        create(ns, &does(does(paused, Some(0), "run-on"), Some(1), "run-on")).await;
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

async fn stop(ns: &TestNamespace, task: &str) {
    let patch = json!({"metadata": {"annotations": {"kubetask.io/stop": "true"}}});
    tasks(ns).patch(task, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

#[tokio::test]
async fn a_task_that_is_deleted_by_hand_is_a_failed_index_and_not_made_again() {
    scenario(async |ns| {
        let _operator = ns.operator();
        create(ns, &does(does(batch("b", 4, Some(2)), Some(0), "run-on"), Some(2), "fail")).await;
        task_in(ns, "b-task-0", "Running").await;
        tasks(ns).delete("b-task-0", &DeleteParams::background()).await.unwrap();
        let status = until_phase(ns, "b", "Failed").await;
        assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("1,3"), &json!("0,2")));
        assert_eq!(
            status["progress"],
            json!({"total": 4, "pending": 0, "running": 0, "completed": 2, "failed": 2})
        );
        let intact = condition(&status, "TasksIntact");
        assert_eq!((&intact["status"], &intact["reason"]), (&json!("False"), &json!("TaskDeleted")));
        assert_eq!(
            intact["message"],
            "Task \"b-task-0\" was deleted before its end: index 0 is failed and not made again"
        );
        let finished = condition(&status, "Finished");
        assert_eq!((&finished["status"], &finished["reason"]), (&json!("True"), &json!("TasksFailed")));
        // what is over may be deleted: the Batch knows how it ended
        tasks(ns).delete("b-task-1", &DeleteParams::background()).await.unwrap();
        ns.gone(Kind::KubeTask, "b-task-1").await;
        assert_once(ns, 4, 2).await;
        let events = |history: &History| {
            let of_batch = history.all(Kind::Event).filter(|event| event.text("/regarding/kind") == "Batch");
            of_batch.map(|event| event.text("/reason").to_owned()).collect::<BTreeSet<_>>()
        };
        ns.until("both Events", |history| {
            (events(history) == BTreeSet::from(["Running".to_owned(), "Failed".to_owned()])).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_name_that_somebody_else_holds_is_a_failed_index() {
    scenario(async |ns| {
        let other = json!({
            "apiVersion": "kubetask.io/v1alpha1", "kind": "Task",
            "metadata": {"name": "b-task-1", "labels": {"kubetask.io/batch": "b", "kubetask.io/batch-index": "1"}},
            "spec": {"workspaceConfigRef": "missing"},
        });
        ns.apply(other).await;
        let before = tasks(ns).get("b-task-1").await.unwrap();
        let _operator = ns.operator();
        create(ns, &batch("b", 3, None)).await;
        let status = until_phase(ns, "b", "Failed").await;
        assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("0,2"), &json!("1")));
        let intact = condition(&status, "TasksIntact");
        assert_eq!(intact["reason"], "NameConflict");
        assert!(intact["message"].as_str().unwrap().starts_with("Task \"b-task-1\" is not this Batch's"), "{intact}");
        let after = tasks(ns).get("b-task-1").await.unwrap();
        assert_eq!((after.uid(), &after.spec), (before.uid(), &before.spec));
        assert!(after.owner_references().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_and_tried_again() {
    scenario(async |ns| {
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
            "spec": {"hard": {"count/tasks.kubetask.io": "1"}},
        });
        ns.apply(quota).await;
        ns.quota_is_in_force("few").await;
        let _operator = ns.operator();
        create(ns, &batch("b", 2, None)).await;
        let refused =
            |batch: &Revision| condition(&batch.object["status"], "TasksCreated")["status"] == "False";
        let status = until(ns, "b", "says that a Task is refused", refused).await;
        let created = condition(&status, "TasksCreated");
        assert_eq!(created["reason"], "TaskCreationError");
        let message = created["message"].as_str().unwrap();
        assert!(
            message.starts_with("Task \"b-task-1\"") && message.contains("exceeded quota: few"),
            "{message}"
        );
        let more = json!({"spec": {"hard": {"count/tasks.kubetask.io": "5"}}});
        let quotas = ns.api::<k8s_openapi::api::core::v1::ResourceQuota>();
        quotas.patch("few", &PatchParams::default(), &Patch::Merge(&more)).await.unwrap();
        let status = until_phase(ns, "b", "Completed").await;
        assert_eq!(condition(&status, "TasksCreated")["status"], "True");
    })
    .await;
}

#[tokio::test]
async fn deletion_takes_the_tasks_with_their_pods_in_both_orders() {
    scenario(async |ns| {
        let _operator = ns.operator();
        for (name, policy) in
            [("back", PropagationPolicy::Background), ("fore", PropagationPolicy::Foreground)]
        {
            create(ns, &does(batch(name, 6, Some(3)), None, "run-on")).await;
            for index in 0..3 {
                task_in(ns, &format!("{name}-task-{index}"), "Running").await;
            }
            delete(ns, name, policy).await;
            ns.gone(Kind::Batch, name).await;
            ns.until(&format!("nothing of {name} is left"), |history| {
                let of_batch = |kind| history.all(kind).any(|object| object.name().starts_with(name));
                (!of_batch(Kind::KubeTask) && !of_batch(Kind::Pod)).then_some(())
            })
            .await;
        }
        let (uids, most) = record_of(&ns.record.history());
        assert!(uids.values().all(|uids| uids.len() == 1) && most <= 3, "{most} {uids:?}");
        assert_eq!(uids.len(), 6, "nothing was made after the deletion: {uids:?}");
    })
    .await;
}

#[tokio::test]
async fn orphans_that_run_run_on_and_the_others_fail() {
    scenario(async |ns| {
        let _operator = ns.operator();
        create(ns, &does(batch("b", 4, Some(2)), None, "run-on")).await;
        for name in ["b-task-0", "b-task-1"] {
            task_in(ns, name, "Running").await;
        }
        let mut waiting = batch("w", 2, None);
        waiting["spec"]["workspaceConfigRef"] = "missing".into();
        create(ns, &waiting).await;
        ns.until("both wait for their WorkspaceConfig", |history| {
            let waits = |name| {
                history.get(Kind::KubeTask, name).is_some_and(|task| !task.text("/status/phase").is_empty())
            };
            (waits("w-task-0") && waits("w-task-1")).then_some(())
        })
        .await;
        delete(ns, "b", PropagationPolicy::Orphan).await;
        delete(ns, "w", PropagationPolicy::Orphan).await;
        for name in ["w-task-0", "w-task-1"] {
            task_in(ns, name, "Failed").await;
            let task = tasks(ns).get(name).await.unwrap();
            let (reason, message) = task.status.and_then(|status| status.reason.zip(status.message)).unwrap();
            assert!(reason == "ContextError" && message.contains("its Batch is gone"), "{reason}: {message}");
        }
        for name in ["b-task-0", "b-task-1"] {
            let task = tasks(ns).get(name).await.unwrap();
            assert_eq!(
                task.status.and_then(|status| status.phase).map(|phase| phase.as_str()),
                Some("Running")
            );
            stop(ns, name).await;
            task_in(ns, name, "Completed").await;
        }
        let (uids, _) = record_of(&ns.record.history());
        assert_eq!(uids.len(), 4, "no further one was made");
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_cleaned_up_as_a_whole() {
    scenario(async |ns| {
        ns.apply(config("cleanup: {maxRetainedTasks: 1}")).await;
        let _operator = ns.operator();
        // in one second the older one counts as the first to end
        create(ns, &batch("quick", 2, None)).await;
        create(ns, &does(batch("slow", 3, Some(1)), Some(2), "run-on")).await;
        task_in(ns, "slow-task-2", "Running").await;
        until_phase(ns, "quick", "Completed").await;
        stop(ns, "slow-task-2").await;
        ns.gone(Kind::Batch, "quick").await;
        ns.until("the Tasks of the one that ended last are there, and no other", |history| {
            let names: BTreeSet<_> = history.all(Kind::KubeTask).map(|task| task.name()).collect();
            (names == BTreeSet::from(["slow-task-0", "slow-task-1", "slow-task-2"])).then_some(())
        })
        .await;
        until_phase(ns, "slow", "Completed").await;
    })
    .await;
}

/// A Batch of a name takes over nothing of an older one, and waits until that is gone.
#[tokio::test]
async fn a_batch_of_the_same_name_waits_for_the_tasks_of_the_older_one() {
    scenario(async |ns| {
        let _operator = ns.operator();
        create(ns, &does(batch("b", 2, None), None, "run-on")).await;
        task_in(ns, "b-task-1", "Running").await;
        delete(ns, "b", PropagationPolicy::Background).await;
        create(ns, &batch("b", 2, None)).await;
        let status = until_phase(ns, "b", "Completed").await;
        assert_eq!(status["completedIndexes"], "0,1");
    })
    .await;
}

#[tokio::test]
async fn two_operators_with_stale_watches_make_each_task_once() {
    scenario(async |ns| {
        let stale = || {
            Faults::by(|moment| {
                (moment.verb == "WATCH" && moment.number % 3 == 0).then_some(Fault::WatchStale)
            })
        };
        let (_one, _two) = (ns.operator_with(&stale()), ns.operator_with(&stale()));
        create(ns, &batch("b", 60, Some(5))).await;
        until_over(ns, "b", 0, 60, 10).await;
        let status = until_phase(ns, "b", "Completed").await;
        assert_eq!(status["completedIndexes"], "0-59");
        assert_once(ns, 60, 5).await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_killed_twenty_times_makes_each_of_two_hundred_tasks_once() {
    scenario(async |ns| {
        create(ns, &does(does(batch("b", 200, Some(7)), Some(13), "fail"), Some(77), "fail")).await;
        let mut operator = ns.operator();
        for kill in 1..=20_u64 {
            until(ns, "b", "gets on", |batch| {
                batch.object["status"]["made"].as_u64().unwrap_or(0) >= kill * 9
            })
            .await;
            operator.crash().await;
            operator = ns.operator();
        }
        until_over(ns, "b", 100, 200, 20).await;
        let status = until_phase(ns, "b", "Failed").await;
        assert_eq!(status["failedIndexes"], "13,77");
        assert_eq!(status["progress"]["completed"], 198);
        let most = assert_once(ns, 200, 7).await;
        eprintln!("20 kills in 200 sets with parallelism 7: each made once, at most {most} at once");
        operator.stop().await;
    })
    .await;
}
