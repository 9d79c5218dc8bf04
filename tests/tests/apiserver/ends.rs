//! How a Task ends that does not end well, and what it says while its Pod does not get on.

use kubeopencode_api::task::Phase;
use kubeopencode_tests::record::Kind;
use kubeopencode_tests::stage::TEAM;

use crate::{scenario, status, task_with, words};

#[tokio::test]
async fn a_failure_says_who_failed_and_how() {
    for (agent_does, reason, message) in [
        ("fail", "PodFailed", "container \"agent\" exited with code 3"),
        ("report-error", "AgentReportedError", "the agent reported an error: model not found"),
    ] {
        scenario(async |stage| {
            stage.apply(TEAM).await;
            let _operator = stage.operator();
            stage.apply(&task_with("fix", agent_does, "")).await;
            let task = stage.phase("fix", Phase::Failed).await;
            assert_eq!(words(&task, "Succeeded"), ("False", reason, message));
            assert_eq!(status(&task).reason.as_deref(), Some(reason));
        })
        .await;
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named_while_the_task_runs() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        stage.apply(&task_with("fix", "pull-fails", "")).await;
        let in_trouble = |task: &kubeopencode_api::task::Task| status_reason(task) == Some("ImagePullFailed");
        let task = stage.until_task("fix", "is in trouble", in_trouble).await;
        assert_eq!(status(&task).phase, Some(Phase::Running));
        let (is, _, message) = words(&task, "Started");
        assert_eq!(is, "False");
        assert!(
            message.contains("container \"agent\": ImagePullBackOff: Back-off pulling image \"nowhere\""),
            "{message}"
        );
        stage.delete_task("fix").await;
        stage.gone(Kind::Task, "fix").await;
    })
    .await;
}

#[tokio::test]
async fn a_task_over_its_timeout_fails_and_its_pod_goes() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        stage.apply(&task_with("fix", "run-on", "timeout: 1s")).await;
        let task = stage.phase("fix", Phase::Failed).await;
        assert_eq!(
            words(&task, "Succeeded"),
            ("False", "Timeout", "the Task ran longer than spec.timeout (1s)")
        );
        stage.gone(Kind::Pod, "fix-pod").await;
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_never_starts_ends_the_task() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply("{apiVersion: kubeopencode.io/v1alpha1, kind: KubeOpenCodeConfig, metadata: {name: default}, spec: {startTimeoutSeconds: 1}}").await;
        let _operator = stage.operator();
        stage.apply(&task_with("fix", "unscheduled", "")).await;
        let task = stage.phase("fix", Phase::Failed).await;
        let (_, reason, message) = words(&task, "Succeeded");
        assert_eq!(reason, "StartTimeout");
        assert!(message.contains("startTimeoutSeconds of KubeOpenCodeConfig"), "{message}");
        stage.gone(Kind::Pod, "fix-pod").await;
    })
    .await;
}

#[tokio::test]
async fn the_last_words_stay_out_of_the_status_where_they_are_not_wanted() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply("{apiVersion: kubeopencode.io/v1alpha1, kind: KubeOpenCodeConfig, metadata: {name: default}, spec: {resultSummary: false}}").await;
        let _operator = stage.operator();
        stage.apply(&task_with("fix", "succeed", "")).await;
        let task = stage.phase("fix", Phase::Completed).await;
        assert_eq!(status(&task).result.as_ref().and_then(|result| result.summary.as_deref()), None);
        assert!(status(&task).usage.is_some());
    })
    .await;
}

fn status_reason(task: &kubeopencode_api::task::Task) -> Option<&str> {
    task.status.as_ref()?.reason.as_deref()
}
