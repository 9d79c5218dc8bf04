//! `kubeopencode.io/stop: "true"` ends a Task, whatever it is doing.

use kubeopencode_api::task::Phase;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{config, status, task, words};
use kubeopencode_tests::record::Kind;

use crate::{pods_of, scenario};

/// The Task ends as one that was stopped; says how many Pods it ever had.
async fn is_stopped(ns: &TestNamespace, name: &str) -> usize {
    let task = ns.phase(name, Phase::Completed).await;
    assert_eq!(
        words(&task, "Stopped"),
        ("True", "UserStopped", "Task stopped by user via kubeopencode.io/stop annotation")
    );
    assert_eq!(status(&task).reason.as_deref(), Some("UserStopped"));
    assert!(status(&task).completion_time.is_some());
    let finished = "Task stopped by user via kubeopencode.io/stop annotation";
    assert_eq!(words(&task, "Finished"), ("True", "UserStopped", finished));
    let conditions = &status(&task).conditions;
    assert!(
        conditions.iter().all(|c| c.status != "Unknown"),
        "nothing is waited for any more: {conditions:?}"
    );
    assert!(conditions.iter().all(|c| c.type_ != "Queued" || c.status == "False"), "{conditions:?}");
    let pods = pods_of(&ns.record.history(), &task);
    pods.len()
}

#[tokio::test]
async fn before_anybody_looked_at_it() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(task("fix")).await;
        ns.stop_task("fix").await;
        let _operator = ns.operator();
        assert_eq!(is_stopped(ns, "fix").await, 0);
    })
    .await;
}

#[tokio::test]
async fn while_it_waits_for_its_agent() {
    scenario(async |ns| {
        let _operator = ns.operator();
        ns.apply(task("fix").agent("later")).await;
        ns.until_task("fix", "waits", |task| task.status.is_some()).await;
        ns.stop_task("fix").await;
        assert_eq!(is_stopped(ns, "fix").await, 0);
        let task = ns.phase("fix", Phase::Completed).await;
        let (is, reason, _) = words(&task, "Accepted");
        assert_eq!((is, reason), ("False", "UserStopped"), "its Agent never came");
        assert_eq!(status(&task).agent_started, None, "it can safely be run again");
    })
    .await;
}

#[tokio::test]
async fn while_it_is_queued_and_the_next_one_moves_up() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("first").agent("one-at-a-time").does("run-on")).await;
        ns.phase("first", Phase::Running).await;
        for name in ["second", "third"] {
            ns.apply(task(name).agent("one-at-a-time")).await;
            ns.phase(name, Phase::Queued).await;
        }
        ns.stop_task("second").await;
        assert_eq!(is_stopped(ns, "second").await, 0);
        ns.stop_task("first").await;
        assert_eq!(is_stopped(ns, "first").await, 1);
        ns.phase("third", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn while_its_pod_is_gated() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        // the launch never comes further than the record of the Pod
        let no_gate_opens = Faults::always(("PATCH", "/pods/"), Fault::Unavailable);
        let _operator = ns.operator_with(&no_gate_opens);
        ns.apply(task("fix")).await;
        ns.phase("fix", Phase::Running).await;
        ns.stop_task("fix").await;
        assert_eq!(is_stopped(ns, "fix").await, 1);
        ns.gone(Kind::Pod, "fix-pod").await;
        ns.record.catch_up().await;
        let history = ns.record.history();
        assert!(history.revisions(Kind::Pod).all(|pod| pod.is_gated()), "nothing ever ran");
        let gone = history.revisions(Kind::Pod).find(|pod| pod.gone).unwrap().version;
        let over = history
            .revisions(Kind::Task)
            .find(|task| task.text("/status/phase") == "Completed")
            .unwrap()
            .version;
        assert!(gone < over, "a Pod with our gate is gone before the end is written");
    })
    .await;
}

#[tokio::test]
async fn while_it_runs_its_pod_is_deleted_gracefully() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("fix").does("run-on")).await;
        ns.agent_runs("fix-pod").await;
        ns.stop_task("fix").await;
        is_stopped(ns, "fix").await;
        ns.gone(Kind::Pod, "fix-pod").await;
        let history = ns.record.history();
        let ended = history.revisions(Kind::Pod).any(|pod| pod.text("/status/phase") == "Failed");
        assert!(ended, "the kubelet had the time to end it");
    })
    .await;
}

#[tokio::test]
async fn the_pod_is_kept_where_the_policy_says_so() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("stopPolicy: KeepPod")).await;
        let _operator = ns.operator();
        ns.apply(task("fix").agent("one-at-a-time").does("run-on")).await;
        ns.agent_runs("fix-pod").await;
        ns.apply(task("next").agent("one-at-a-time")).await;
        ns.phase("next", Phase::Queued).await;
        ns.stop_task("fix").await;
        is_stopped(ns, "fix").await;
        ns.phase("next", Phase::Completed).await;
        let history = ns.record.history();
        let kept = history.get(Kind::Pod, "fix-pod").expect("its logs can still be read");
        assert_eq!(kept.object["spec"]["activeDeadlineSeconds"], 1);
        assert_eq!(kept.text("/status/phase"), "Failed");
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_never_started_is_not_worth_keeping() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("stopPolicy: KeepPod")).await;
        let _operator = ns.operator();
        ns.apply(task("fix").does("unscheduled")).await;
        ns.phase("fix", Phase::Running).await;
        ns.stop_task("fix").await;
        is_stopped(ns, "fix").await;
        ns.gone(Kind::Pod, "fix-pod").await;
    })
    .await;
}

#[tokio::test]
async fn after_its_end_it_changes_nothing() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        ns.apply(task("fix").does("fail")).await;
        let before = ns.phase("fix", Phase::Failed).await;
        ns.stop_task("fix").await;
        // one that is made later is through: the operator had looked at the first one by then
        ns.apply(task("next")).await;
        ns.phase("next", Phase::Completed).await;
        operator.stop().await;
        let after = ns.tasks().get("fix").await.unwrap();
        assert_eq!(before.status, after.status);
    })
    .await;
}
