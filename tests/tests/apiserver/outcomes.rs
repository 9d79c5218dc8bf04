//! How a Task ends that does not end well, and what it says while its Pod does not get on.

use kubeopencode_api::task::Phase;
use kubeopencode_tests::injection::{INJECTED, Injected, inject, stop_injecting};
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::{agent, config, status, task, words};
use kubeopencode_tests::record::{Kind, Revision};

use crate::scenario;

#[tokio::test]
async fn a_failure_says_who_failed_and_how() {
    for (agent_does, reason, message) in [
        ("fail", "PodFailed", "container \"agent\" exited with code 3"),
        ("report-error", "AgentReportedError", "the agent reported an error: model not found"),
    ] {
        scenario(async |ns| {
            ns.apply(TEAM).await;
            let _operator = ns.operator();
            ns.apply(task("fix").does(agent_does)).await;
            let task = ns.phase("fix", Phase::Failed).await;
            assert_eq!(words(&task, "Succeeded"), ("False", reason, message));
            assert_eq!(status(&task).reason.as_deref(), Some(reason));
        })
        .await;
    }
}

#[tokio::test]
async fn the_agents_end_is_the_tasks_whatever_a_container_beside_it_does() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        inject(&ns.client, &ns.name, Injected::Container, "sleep infinity").await;
        let _operator = ns.operator();
        ns.apply(task("first").agent("one-at-a-time")).await;
        ns.apply(task("second").agent("one-at-a-time").does("fail")).await;
        let first = ns.phase("first", Phase::Completed).await;
        assert_eq!(status(&first).result.as_ref().unwrap().summary.as_deref(), Some("All is done"));
        assert_eq!(status(&first).usage.as_ref().unwrap().input_tokens, Some(11));
        let second = ns.phase("second", Phase::Failed).await;
        let failed = ("False", "PodFailed", "container \"agent\" exited with code 3");
        assert_eq!(words(&second, "Succeeded"), failed);
        for pod in ["first-pod", "second-pod"] {
            let is_ended = |pod: &Revision| pod.text("/status/phase") == "Failed";
            let what = format!("{pod} is ended and kept for its log");
            let kept = ns
                .until(&what, |history| history.get(Kind::Pod, pod).filter(|pod| is_ended(pod)).cloned())
                .await;
            assert!(kept.object["metadata"]["deletionTimestamp"].is_null());
        }
        stop_injecting(&ns.client, &ns.name).await;
    })
    .await;
}

#[tokio::test]
async fn a_native_sidecar_that_ends_badly_takes_no_blame() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        inject(&ns.client, &ns.name, Injected::Sidecar, "sleep infinity").await;
        let _operator = ns.operator();
        ns.apply(task("fails").does("fail")).await;
        ns.apply(task("errs").does("report-error")).await;
        let fails = ns.phase("fails", Phase::Failed).await;
        let failed = ("False", "PodFailed", "container \"agent\" exited with code 3");
        assert_eq!(words(&fails, "Succeeded"), failed);
        let errs = ns.phase("errs", Phase::Failed).await;
        let failed = ("False", "AgentReportedError", "the agent reported an error: model not found");
        assert_eq!(words(&errs, "Succeeded"), failed);
        {
            let history = ns.record.history();
            let pod = history.get(Kind::Pod, "fails-pod").unwrap();
            let sidecar = &pod.object["status"]["initContainerStatuses"][0];
            assert_eq!(
                (&sidecar["name"], &sidecar["state"]["terminated"]["exitCode"]),
                (&INJECTED.into(), &3.into())
            );
        }
        stop_injecting(&ns.client, &ns.name).await;
    })
    .await;
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named_while_the_task_runs() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("fix").does("pull-fails")).await;
        let in_trouble = |task: &kubeopencode_api::task::Task| status_reason(task) == Some("ImagePullFailed");
        let task = ns.until_task("fix", "is in trouble", in_trouble).await;
        assert_eq!(status(&task).phase, Some(Phase::Running));
        let (is, _, message) = words(&task, "Started");
        assert_eq!(is, "False");
        assert!(
            message.contains("container \"agent\": ImagePullBackOff: Back-off pulling image \"nowhere\""),
            "{message}"
        );
        ns.delete_task("fix").await;
        ns.gone(Kind::Task, "fix").await;
    })
    .await;
}

#[tokio::test]
async fn a_task_over_its_timeout_fails_and_its_log_is_kept_unless_the_policy_says_no() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        // its agent has started by then also on a busy machine
        ns.apply(task("fix").does("run-on").spec("timeout: 5s")).await;
        let late = ns.phase("fix", Phase::Failed).await;
        assert_eq!(
            words(&late, "Succeeded"),
            ("False", "Timeout", "the Task ran longer than spec.timeout (5s)")
        );
        let is_ended = |pod: &Revision| pod.text("/status/phase") == "Failed";
        let kept = ns.until("its Pod is ended", |history| {
            history.get(Kind::Pod, "fix-pod").filter(|pod| is_ended(pod)).cloned()
        });
        assert_eq!(kept.await.object["spec"]["activeDeadlineSeconds"], 1);
        ns.apply(config("stopPolicy: DeletePod")).await;
        ns.apply(task("gone").does("run-on").spec("timeout: 1s")).await;
        ns.phase("gone", Phase::Failed).await;
        ns.gone(Kind::Pod, "gone-pod").await;
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_never_starts_ends_the_task() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("startTimeoutSeconds: 1")).await;
        let _operator = ns.operator();
        ns.apply(task("fix").does("unscheduled")).await;
        let task = ns.phase("fix", Phase::Failed).await;
        let (_, reason, message) = words(&task, "Succeeded");
        assert_eq!(reason, "StartTimeout");
        assert!(message.contains("startTimeoutSeconds of KubeOpenCodeConfig"), "{message}");
        ns.gone(Kind::Pod, "fix-pod").await;
    })
    .await;
}

#[tokio::test]
async fn the_last_words_stay_out_of_the_status_where_they_are_not_wanted() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("resultSummary: false")).await;
        let _operator = ns.operator();
        ns.apply(task("fix")).await;
        let task = ns.phase("fix", Phase::Completed).await;
        assert_eq!(status(&task).result.as_ref().and_then(|result| result.summary.as_deref()), None);
        assert!(status(&task).usage.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_only_another_agent_mends_is_told_at_once_and_names_the_field() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(
            "{apiVersion: v1, kind: ResourceQuota, metadata: {name: limits}, spec: {hard: {limits.cpu: 10, requests.memory: 10Gi}}}",
        )
        .await;
        ns.quota_is_in_force("limits").await;
        ns.apply(agent("sized").spec("podSpec: {resources: {limits: {cpu: 1}, requests: {memory: 1Mi}}}")).await;
        let _operator = ns.operator();
        ns.apply(task("bare")).await;
        let bare = ns.phase("bare", Phase::Failed).await;
        let (_, reason, message) = words(&bare, "Ready");
        assert_eq!(reason, "PodCreationError");
        // of each container: the agent's alone is not enough
        assert!(message.contains("must specify limits.cpu for: agent,context-init"), "{message}");
        assert!(message.contains("spec.podSpec.resources of the Agent, or in spec.defaults.resources"), "{message}");
        ns.apply(task("fits").agent("sized")).await;
        ns.phase("fits", Phase::Completed).await;
    })
    .await;
}

fn status_reason(task: &kubeopencode_api::task::Task) -> Option<&str> {
    task.status.as_ref()?.reason.as_deref()
}
