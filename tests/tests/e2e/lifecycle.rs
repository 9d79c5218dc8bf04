//! The way of a Task with the real OpenCode, and what ends it early.

use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::objects::status;
use kubeopencode_tests::record::Kind;

use crate::support::{agent, agent_with, log, on_the_whole_cluster, received, task};

const TASK: &str = include_str!("../../../examples/quickstart/task.yaml");

#[tokio::test]
async fn the_quickstart_task_completes_and_the_model_saw_its_prompt_and_contexts() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent("m")).await;
        ns.apply(TASK).await;
        let task = ns.phase("hello", Phase::Completed).await;
        let status = status(&task);
        let summary = status
            .result
            .as_ref()
            .and_then(|result| result.summary.as_deref())
            .expect("the agent's last words");
        assert!(summary.contains("The model stub was asked:"), "{summary}");
        let usage = status.usage.as_ref().expect("what it took");
        assert!(
            usage.input_tokens.is_some_and(|tokens| tokens > 0)
                && usage.output_tokens.is_some_and(|tokens| tokens > 0),
            "{usage:?}"
        );
        let log = log(ns, &task).await;
        assert!(log.contains("The model stub was asked:"), "the log can be read by people: {log}");
        let over = ns.until("its Pod is over", |history| {
            let pod = history.get(Kind::Pod, "hello-pod")?;
            let phase = pod.text("/status/phase");
            (phase != "Running").then(|| phase.to_owned())
        });
        assert_eq!(over.await, "Succeeded", "its Pod ended by itself");
        let received = received(&ns.client).await;
        for words in [
            "Say in one sentence what this team cares about.",
            "This project turns Kubernetes Tasks into runs of a coding agent.",
            "Functions are named after what they return",
            "Every change is read by somebody who did not write it.",
        ] {
            assert!(received.contains(words), "the model never saw: {words}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_model_that_refuses_fails_the_task_with_the_agents_own_error() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent("fail-400")).await;
        ns.apply(task("refused")).await;
        let task = ns.phase("refused", Phase::Failed).await;
        assert_eq!(status(&task).reason.as_deref(), Some("AgentReportedError"), "{:#?}", task.status);
        let error = status(&task)
            .result
            .as_ref()
            .and_then(|result| result.error.as_deref())
            .expect("the agent's error");
        assert!(error.contains("the model stub was told to fail"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_task_that_is_stopped_ends_its_pod() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent("slow-120")).await;
        ns.apply(task("stopped")).await;
        ns.agent_runs("stopped-pod").await;
        ns.stop_task("stopped").await;
        let task = ns.phase("stopped", Phase::Completed).await;
        assert_eq!(status(&task).reason.as_deref(), Some("UserStopped"));
        ns.gone(Kind::Pod, "stopped-pod").await;
    })
    .await;
}

#[tokio::test]
async fn a_task_that_is_deleted_takes_its_pod_along() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent("slow-120")).await;
        ns.apply(task("deleted")).await;
        ns.agent_runs("deleted-pod").await;
        ns.delete_task("deleted").await;
        ns.gone(Kind::Task, "deleted").await;
        ns.gone(Kind::Pod, "deleted-pod").await;
        ns.gone(Kind::ConfigMap, "deleted-context").await;
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_comes_late_is_named_until_it_is_there() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent_with(
            "m",
            "credentials: [{name: key, secretRef: {name: later, key: token}, env: MODEL_KEY}]",
        ))
        .await;
        ns.apply(task("late")).await;
        let named = |task: &Task| {
            task.status
                .as_ref()
                .is_some_and(|status| status.reason.as_deref() == Some("ContainerConfigError"))
        };
        let task = ns.until_task("late", "names the Secret", named).await;
        assert!(status(&task).message.as_deref().unwrap().contains("later"), "{:?}", status(&task).message);
        ns.apply("{apiVersion: v1, kind: Secret, metadata: {name: later}, stringData: {token: t}}").await;
        ns.phase("late", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_task_over_its_timeout_ends() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent("slow-120")).await;
        ns.apply(task("late").spec("timeout: 8s")).await;
        let task = ns.phase("late", Phase::Failed).await;
        assert_eq!(status(&task).reason.as_deref(), Some("Timeout"));
        let ended = ns
            .until("its Pod is ended", |history| {
                history
                    .get(Kind::Pod, "late-pod")
                    .filter(|pod| pod.text("/status/phase") == "Failed")
                    .cloned()
            })
            .await;
        assert_eq!(ended.text("/metadata/deletionTimestamp"), "", "a stop deletes a Pod, a timeout keeps it");
    })
    .await;
}

#[tokio::test]
async fn a_prompt_may_begin_with_a_dash_and_be_a_megabyte() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent("m")).await;
        for (name, prompt) in [
            ("dash", "--help is what I want to know more about".to_owned()),
            ("long", format!("{} and this is the end of a long prompt", "word ".repeat(200_000))),
        ] {
            ns.apply(task(name).description(&prompt)).await;
            ns.phase(name, Phase::Completed).await;
        }
        let received = received(&ns.client).await;
        for words in ["--help is what I want to know more about", "and this is the end of a long prompt"] {
            assert!(received.contains(words), "the model never saw: {words}");
        }
    })
    .await;
}
