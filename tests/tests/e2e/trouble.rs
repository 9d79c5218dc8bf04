//! A Pod that does not get on, or ends badly, says so in its Task.

use kube::api::{Api, PostParams};
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::injection::{Injected, inject, stop_injecting};
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{status, words};
use kubeopencode_tests::record::Kind;
use serde_json::{Value, json};

use crate::support::{agent, log, on_the_whole_cluster, shell_agent, task};

/// Waits until the Task, still Running, says why its Pod does not get on.
async fn stands_still(ns: &TestNamespace, name: &str, reason: &str) -> Task {
    let says =
        |task: &Task| task.status.as_ref().is_some_and(|status| status.reason.as_deref() == Some(reason));
    let task = ns.until_task(name, &format!("says {reason}"), says).await;
    assert_eq!(status(&task).phase, Some(Phase::Running));
    assert_eq!((words(&task, "Started").0, words(&task, "Started").1), ("False", reason));
    task
}

async fn fails(ns: &TestNamespace, name: &str, reason: &str) -> Task {
    let task = ns.phase(name, Phase::Failed).await;
    assert_eq!(status(&task).reason.as_deref(), Some(reason), "{:#?}", task.status);
    task
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("true", "executorImage: registry.invalid/no/such:image")).await;
        ns.apply(task("pull")).await;
        let task = stands_still(ns, "pull", "ImagePullFailed").await;
        assert!(words(&task, "Started").2.contains("container \"agent\""), "{:?}", words(&task, "Started"));
        ns.stop_task("pull").await;
        ns.phase("pull", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_secret_volume_that_comes_late_is_known_from_events_alone() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent(
            "cat /keys/id",
            "credentials: [{name: k, secretRef: {name: late, key: id}, mountPath: /keys/id}]",
        ))
        .await;
        ns.apply(task("volume")).await;
        let task = stands_still(ns, "volume", "VolumeNotReady").await;
        assert!(
            words(&task, "Started").2.contains("secret \"late\" not found"),
            "{:?}",
            words(&task, "Started")
        );
        ns.apply("{apiVersion: v1, kind: Secret, metadata: {name: late}, stringData: {id: the-key}}").await;
        let task = ns.phase("volume", Phase::Completed).await;
        assert_eq!(log(ns, &task).await.trim(), "the-key");
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_no_node_takes_ends_after_the_start_timeout() {
    on_the_whole_cluster(async |ns| {
        ns
            .apply("{apiVersion: kubeopencode.io/v1alpha1, kind: KubeOpenCodeConfig, metadata: {name: default}, spec: {startTimeoutSeconds: 6}}")
            .await;
        ns.apply(shell_agent("true", "podSpec: {scheduling: {nodeSelector: {no: where}}}")).await;
        ns.apply(task("unscheduled")).await;
        stands_still(ns, "unscheduled", "Unschedulable").await;
        let task = fails(ns, "unscheduled", "StartTimeout").await;
        let message = status(&task).message.as_deref().unwrap();
        assert!(message.contains("startTimeoutSeconds") && message.contains("nodes are available"), "{message}");
        ns.gone(Kind::Pod, "unscheduled-pod").await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_out_of_memory() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("tail /dev/zero", "podSpec: {resources: {limits: {memory: 32Mi}}}")).await;
        ns.apply(task("oom")).await;
        let task = fails(ns, "oom", "OOMKilled").await;
        assert!(status(&task).message.as_deref().unwrap().contains("podSpec.resources.limits.memory"));
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_is_evicted() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("trap 'exit 1' TERM; sleep 600 & wait", "")).await;
        ns.apply(task("evicted")).await;
        ns.agent_runs("evicted-pod").await;
        let eviction =
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted-pod"}});
        let pods: Api<k8s_openapi::api::core::v1::Pod> = ns.pods();
        let post = PostParams::default();
        let _: Value = pods.create_subresource("eviction", "evicted-pod", &post, &eviction).await.unwrap();
        let task = fails(ns, "evicted", "Evicted").await;
        assert!(
            status(&task).message.as_deref().unwrap().contains("EvictionByEvictionAPI"),
            "{:?}",
            status(&task).message
        );
    })
    .await;
}

#[tokio::test]
async fn an_init_container_that_fails_is_named_with_its_last_words() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("true", "")).await;
        ns.apply(task("clone").spec(
            "contexts: [{type: Git, mountPath: repo, git: {repository: 'http://nowhere.invalid/repo'}}]",
        ))
        .await;
        let task = fails(ns, "clone", "InitContainerFailed").await;
        let message = status(&task).message.as_deref().unwrap();
        assert!(message.contains("init container \"git-init-0\" exited with code"), "{message}");
        assert!(message.contains("nowhere.invalid"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn an_optional_context_that_cannot_be_fetched_is_left_out_and_told() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("cat task.md; ls -A repo 2>/dev/null | wc -l", "")).await;
        ns
            .apply(task("without").spec("contexts: [{type: Git, optional: true, mountPath: repo, git: {repository: 'http://nowhere.invalid/repo'}}]"))
            .await;
        let task = ns.phase("without", Phase::Completed).await;
        assert_eq!((words(&task, "Contexts").0, words(&task, "Contexts").1), ("True", "OptionalSkipped"));
        assert!(words(&task, "Contexts").2.contains("nowhere.invalid"), "{:?}", words(&task, "Contexts"));
        assert_eq!(log(ns, &task).await, "Task without says hello.0\n");
    })
    .await;
}

#[tokio::test]
async fn a_custom_command_has_plain_exit_codes() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent(
            "echo \"$TASK_NAME in $(pwd): $(cat task.md)\"; exit 7",
            "workspaceDir: /home/work",
        ))
        .await;
        ns.apply(task("seven")).await;
        let task = fails(ns, "seven", "PodFailed").await;
        assert!(
            status(&task).message.as_deref().unwrap().contains("exited with code 7"),
            "{:?}",
            status(&task).message
        );
        assert_eq!(log(ns, &task).await, "seven in /home/work: Task seven says hello.\n");
    })
    .await;
}

#[tokio::test]
async fn a_container_that_a_mesh_injects_keeps_neither_task_nor_slot() {
    on_the_whole_cluster(async |ns| {
        inject(&ns.client, &ns.name, Injected::Container, "trap 'exit 0' TERM; sleep infinity & wait").await;
        ns.apply(shell_agent("echo \"$TASK_NAME is done\"", "maxConcurrentTasks: 1")).await;
        for name in ["one", "two"] {
            ns.apply(task(name)).await;
        }
        for name in ["one", "two"] {
            let task = ns.phase(name, Phase::Completed).await;
            ns.until("its Pod is ended", |history| {
                history
                    .get(Kind::Pod, &format!("{name}-pod"))
                    .filter(|pod| pod.text("/status/phase") == "Failed")
                    .cloned()
            })
            .await;
            assert_eq!(log(ns, &task).await, format!("{name} is done\n"), "its log is kept");
        }
        stop_injecting(&ns.client, &ns.name).await;
    })
    .await;
}

#[tokio::test]
async fn a_native_sidecar_that_exits_badly_does_not_hide_the_agents_end() {
    on_the_whole_cluster(async |ns| {
        inject(&ns.client, &ns.name, Injected::Sidecar, "trap 'exit 3' TERM; sleep infinity & wait").await;
        ns.apply(shell_agent("exit 7", "")).await;
        ns.apply(task("shell")).await;
        let shell = fails(ns, "shell", "PodFailed").await;
        let message = status(&shell).message.as_deref().unwrap();
        assert!(message.starts_with("container \"agent\" exited with code 7"), "{message}");
        ns.apply(agent("fail-400")).await;
        ns.apply(task("model")).await;
        fails(ns, "model", "AgentReportedError").await;
        stop_injecting(&ns.client, &ns.name).await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_prints_nothing_for_too_long_is_ended_and_its_log_is_kept() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("echo asked the model; exec sleep 3600", "idleTimeout: 3s")).await;
        ns.apply(task("hangs")).await;
        let task = fails(ns, "hangs", "IdleTimeout").await;
        let message = status(&task).message.as_deref().unwrap();
        assert_eq!(message, "the agent was ended by idleTimeout: it printed nothing for 3 s");
        assert!(log(ns, &task).await.starts_with("asked the model\n"));
    })
    .await;
}

#[tokio::test]
async fn the_log_of_a_task_over_its_timeout_is_kept() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("echo half-way; exec sleep 3600", "")).await;
        ns.apply(task("long").spec("timeout: 20s")).await;
        let task = fails(ns, "long", "Timeout").await;
        let ended = ns
            .until("its Pod is ended", |history| {
                history
                    .get(Kind::Pod, "long-pod")
                    .filter(|pod| pod.text("/status/phase") == "Failed")
                    .cloned()
            })
            .await;
        assert_eq!(ended.text("/metadata/deletionTimestamp"), "", "it stays");
        assert_eq!(log(ns, &task).await, "half-way\n");
        assert!(status(&task).agent_started.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_somebody_deletes_is_no_success_although_the_agent_ends_well() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("trap 'exit 0' TERM; sleep 600 & wait", "")).await;
        ns.apply(task("polite")).await;
        ns.agent_runs("polite-pod").await;
        ns.pods().delete("polite-pod", &Default::default()).await.unwrap();
        let task = fails(ns, "polite", "PodDeleted").await;
        assert!(status(&task).message.as_deref().unwrap().contains("exited with code 0"));
    })
    .await;
}

#[tokio::test]
async fn a_failure_tells_the_last_lines_of_the_log() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("echo starting; echo 'no such model: m' >&2; exit 1", "")).await;
        ns.apply(task("says")).await;
        let task = fails(ns, "says", "PodFailed").await;
        let message = status(&task).message.as_deref().unwrap();
        assert_eq!(message, "container \"agent\" exited with code 1: no such model: m");
    })
    .await;
}
