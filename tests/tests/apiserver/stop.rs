//! `kubeopencode.io/stop: "true"` ends a Task, whatever it is doing.

use kubeopencode_api::task::Phase;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::record::Kind;
use kubeopencode_tests::stage::{Stage, TEAM};

use crate::{agent_runs, pods_of, scenario, status, task_of, words};

const KEEP_POD: &str = "{apiVersion: kubeopencode.io/v1alpha1, kind: KubeOpenCodeConfig, metadata: {name: default}, spec: {stopPolicy: KeepPod}}";

/// The Task ends as one that was stopped; says how many Pods it ever had.
async fn is_stopped(stage: &Stage, name: &str) -> usize {
    let task = stage.phase(name, Phase::Completed).await;
    assert_eq!(
        words(&task, "Stopped"),
        ("True", "UserStopped", "Task stopped by user via kubeopencode.io/stop annotation")
    );
    assert_eq!(status(&task).reason.as_deref(), Some("UserStopped"));
    assert!(status(&task).completion_time.is_some());
    let pods = pods_of(&stage.record.history(), &task);
    pods.len()
}

#[tokio::test]
async fn before_anybody_looked_at_it() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&task_of("fix", "default", "succeed")).await;
        stage.stop_task("fix").await;
        let _operator = stage.operator();
        assert_eq!(is_stopped(stage, "fix").await, 0);
    })
    .await;
}

#[tokio::test]
async fn while_it_waits_for_its_agent() {
    scenario(async |stage| {
        let _operator = stage.operator();
        stage.apply(&task_of("fix", "later", "succeed")).await;
        stage.until_task("fix", "waits", |task| task.status.is_some()).await;
        stage.stop_task("fix").await;
        assert_eq!(is_stopped(stage, "fix").await, 0);
    })
    .await;
}

#[tokio::test]
async fn while_it_is_queued_and_the_next_one_moves_up() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        stage.apply(&task_of("first", "one-at-a-time", "run-on")).await;
        stage.phase("first", Phase::Running).await;
        for name in ["second", "third"] {
            stage.apply(&task_of(name, "one-at-a-time", "succeed")).await;
            stage.phase(name, Phase::Queued).await;
        }
        stage.stop_task("second").await;
        assert_eq!(is_stopped(stage, "second").await, 0);
        stage.stop_task("first").await;
        assert_eq!(is_stopped(stage, "first").await, 1);
        stage.phase("third", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn while_its_pod_is_gated() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        // the launch never comes further than the record of the Pod
        let no_gate_opens = |moment: &kubeopencode_tests::faults::Moment<'_>| {
            (moment.verb == "PATCH" && moment.path.contains("/pods/")).then_some(Fault::Unavailable)
        };
        let _operator = stage.operator_with(&Faults::by(no_gate_opens));
        stage.apply(&task_of("fix", "default", "succeed")).await;
        stage.phase("fix", Phase::Running).await;
        stage.stop_task("fix").await;
        assert_eq!(is_stopped(stage, "fix").await, 1);
        stage.gone(Kind::Pod, "fix-pod").await;
        stage.record.catch_up().await;
        let history = stage.record.history();
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
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        stage.apply(&task_of("fix", "default", "run-on")).await;
        agent_runs(stage, "fix-pod").await;
        stage.stop_task("fix").await;
        is_stopped(stage, "fix").await;
        stage.gone(Kind::Pod, "fix-pod").await;
        let history = stage.record.history();
        let ended = history.revisions(Kind::Pod).any(|pod| pod.text("/status/phase") == "Failed");
        assert!(ended, "the kubelet had the time to end it");
    })
    .await;
}

#[tokio::test]
async fn the_pod_is_kept_where_the_policy_says_so() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(KEEP_POD).await;
        let _operator = stage.operator();
        stage.apply(&task_of("fix", "one-at-a-time", "run-on")).await;
        agent_runs(stage, "fix-pod").await;
        stage.apply(&task_of("next", "one-at-a-time", "succeed")).await;
        stage.phase("next", Phase::Queued).await;
        stage.stop_task("fix").await;
        is_stopped(stage, "fix").await;
        stage.phase("next", Phase::Completed).await;
        let history = stage.record.history();
        let kept = history.get(Kind::Pod, "fix-pod").expect("its logs can still be read");
        assert_eq!(kept.object["spec"]["activeDeadlineSeconds"], 1);
        assert_eq!(kept.text("/status/phase"), "Failed");
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_never_started_is_not_worth_keeping() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(KEEP_POD).await;
        let _operator = stage.operator();
        stage.apply(&task_of("fix", "default", "unscheduled")).await;
        stage.phase("fix", Phase::Running).await;
        stage.stop_task("fix").await;
        is_stopped(stage, "fix").await;
        stage.gone(Kind::Pod, "fix-pod").await;
    })
    .await;
}

#[tokio::test]
async fn after_its_end_it_changes_nothing() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let operator = stage.operator();
        stage.apply(&task_of("fix", "default", "fail")).await;
        let before = stage.phase("fix", Phase::Failed).await;
        stage.stop_task("fix").await;
        // one that is made later is through: the operator had looked at the first one by then
        stage.apply(&task_of("next", "default", "succeed")).await;
        stage.phase("next", Phase::Completed).await;
        operator.stop().await;
        let after = stage.tasks().get("fix").await.unwrap();
        assert_eq!(before.status, after.status);
    })
    .await;
}
