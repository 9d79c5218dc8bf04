//! Tasks of `kubetask.io`, alone and beside those of `kubeopencode.io`: the same way, with names of their own.

mod batches;
mod groups;
mod options;

use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_api::literals::{FINALIZER, TASK_LABEL, TASK_UID_LABEL};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::audit::AuditLog;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{
    config, config_map, kubetask, service_account, status, words, workspace_config,
};
use kubeopencode_tests::operator::Setup;
use kubeopencode_tests::record::Kind;
use serde_json::json;

use crate::lifecycle::are_those_of_one_task;
use crate::scenario;

/// What each namespace of these tests has: an image of its own, and who the Pods are.
pub(crate) async fn prepare(ns: &TestNamespace) {
    ns.apply(service_account("runner")).await;
    ns.apply(
        workspace_config("default")
            .spec("{agentImage: registry.example/agent:1, serviceAccountName: runner}"),
    )
    .await;
}

fn tasks(ns: &TestNamespace) -> Api<Task> {
    ns.api()
}

async fn annotate(ns: &TestNamespace, name: &str, key: &str, value: &str) {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
    tasks(ns).patch(name, &PatchParams::default(), &patch).await.unwrap();
}

async fn delete(ns: &TestNamespace, name: &str) {
    tasks(ns).delete(name, &DeleteParams::background()).await.unwrap();
}

#[tokio::test]
async fn a_task_runs_once_in_the_pod_that_the_contract_names() {
    scenario(async |ns| {
        prepare(ns).await;
        let operator = ns.operator();
        ns.apply(kubetask("fix")).await;
        let task = ns.kubetask_phase("fix", Phase::Completed).await;
        let uid = task.metadata.uid.clone().unwrap();

        let status = status(&task);
        assert_eq!(status.reason.as_deref(), Some("Completed"));
        assert_eq!((&status.agent_ref, status.queue_position), (&None, None));
        assert_eq!(
            (status.pod_name.as_deref(), status.pod_namespace.as_deref()),
            (Some("fix-kt-pod"), Some(ns.name.as_str()))
        );
        assert!(status.start_time.is_some() && status.agent_started.is_some() && status.duration.is_some());
        assert_eq!(words(&task, "Accepted").1, "Resolved");
        assert_eq!(words(&task, "Queued"), ("False", "NoLimits", "A WorkspaceConfig has no limits"));
        assert_eq!(words(&task, "Ready").1, "PodLaunched");
        assert_eq!(words(&task, "Succeeded").0, "True");
        let said = serde_json::to_string(&status.conditions).unwrap();
        assert!(!said.contains("Agent \\\""), "it has none: {said}");
        assert_eq!(
            task.metadata.finalizers.as_deref(),
            Some(["kubetask.io/task-cleanup".to_owned()].as_slice())
        );
        assert_eq!(task.metadata.labels, None, "no label of an Agent");

        {
            let history = ns.record.history();
            let pod = history.get(Kind::Pod, "fix-kt-pod").unwrap();
            assert_eq!(status.pod_uid.as_deref(), Some(pod.uid()));
            let born = history.revisions(Kind::Pod).next().unwrap();
            assert!(born.is_gated(), "a Pod is born with our gate");
            let labels = ["app", "kubetask.io/task", "kubetask.io/task-uid"].map(|key| pod.label(key));
            assert_eq!(labels, ["kubetask", "fix", uid.as_str()]);
            assert_eq!(
                [TASK_LABEL, TASK_UID_LABEL].map(|key| pod.label(key)),
                ["", ""],
                "those of the other group"
            );
            let annotations = ["kubeopencode.io/task-name", "kubeopencode.io/agent-name"];
            assert_eq!(annotations.map(|key| pod.annotation(key)), ["fix", ""]);
            let owner = &pod.list("/metadata/ownerReferences")[0];
            assert_eq!(
                (owner["apiVersion"].as_str(), owner["uid"].as_str()),
                (Some("kubetask.io/v1alpha1"), Some(uid.as_str()))
            );
            let agent = &pod.list("/spec/containers")[0];
            assert_eq!(
                (agent["name"].as_str(), agent["image"].as_str()),
                (Some("agent"), Some("registry.example/agent:1"))
            );
            let env: Vec<_> = agent["env"]
                .as_array()
                .unwrap()
                .iter()
                .map(|variable| variable["name"].as_str().unwrap())
                .collect();
            assert_eq!(env, ["TASK_NAME", "TASK_NAMESPACE"]);
            assert_eq!(pod.text("/spec/serviceAccountName"), "runner");
            let map = history.get(Kind::ConfigMap, "fix-kt-context").unwrap();
            assert_eq!(
                (map.label("kubetask.io/task-uid"), map.annotation("kubeopencode.io/plan")),
                (uid.as_str(), pod.annotation("kubeopencode.io/plan"))
            );
            let told =
                history.revisions(Kind::Event).find(|event| event.text("/reason") == "PodCreated").unwrap();
            assert_eq!(
                (told.text("/regarding/apiVersion"), told.text("/regarding/uid")),
                ("kubetask.io/v1alpha1", uid.as_str())
            );
        }
        operator.stop().await;

        are_those_of_one_task(AuditLog::count(&ns.writes()));
    })
    .await;
}

#[tokio::test]
async fn a_workspace_config_that_is_named_is_waited_for_and_its_coming_is_enough() {
    scenario(async |ns| {
        prepare(ns).await;
        ns.apply(config("dependencyGraceSeconds: 600")).await;
        let _operator = ns.operator();
        ns.apply(kubetask("fix").set("/spec/workspaceConfigRef", "claude")).await;
        let waits = ns.until_kubetask("fix", "waits", |task| task.status.is_some()).await;
        let (is, reason, message) = words(&waits, "Accepted");
        assert_eq!((is, reason), ("Unknown", "WaitingForDependency"));
        assert!(message.starts_with("WorkspaceConfig \"claude\" not found in namespace"), "{message}");
        ns.apply(
            workspace_config("claude")
                .spec("{agentImage: registry.example/claude:1, serviceAccountName: runner}"),
        )
        .await;
        ns.kubetask_phase("fix", Phase::Completed).await;
        let history = ns.record.history();
        let pod = history.get(Kind::Pod, "fix-kt-pod").unwrap();
        assert_eq!(pod.list("/spec/containers")[0]["image"], "registry.example/claude:1");
    })
    .await;
}

#[tokio::test]
async fn a_workspace_config_that_does_not_come_fails_the_task_that_names_it() {
    scenario(async |ns| {
        prepare(ns).await;
        ns.apply(config("dependencyGraceSeconds: 1")).await;
        let _operator = ns.operator();
        ns.apply(kubetask("fix").set("/spec/workspaceConfigRef", "claude")).await;
        let task = ns.kubetask_phase("fix", Phase::Failed).await;
        let (is, reason, message) = words(&task, "Accepted");
        assert_eq!((is, reason), ("False", "WorkspaceConfigError"));
        assert!(message.contains("\"claude\"") && message.contains("spec.workspaceConfigRef"), "{message}");
        assert_eq!(status(&task).reason.as_deref(), Some("WorkspaceConfigError"));
        assert_eq!(status(&task).agent_started, None);
    })
    .await;
}

#[tokio::test]
async fn without_a_workspace_config_the_built_in_images_run_the_task() {
    scenario(async |ns| {
        ns.apply(service_account("default")).await;
        let operator = ns.start_operator(Setup { is_probed: true, ..Setup::default() });
        ns.apply(kubetask("fix")).await;
        let task = ns.kubetask_phase("fix", Phase::Completed).await;
        {
            let history = ns.record.history();
            let pod = history.get(Kind::Pod, "fix-kt-pod").unwrap();
            let image = pod.list("/spec/containers")[0]["image"].as_str().unwrap();
            assert!(image.contains("kubeopencode-agent-devbox"), "{image}");
            let init: Vec<_> =
                pod.list("/spec/initContainers").iter().map(|c| c["name"].as_str().unwrap()).collect();
            assert!(init.contains(&"opencode-init"), "{init:?}");
        }

        // what it used is counted before its end is told of
        assert_eq!(status(&task).usage.as_ref().unwrap().input_tokens, Some(11));
        ns.until("its end is told of", |history| {
            history.all(Kind::Event).any(|event| event.text("/reason") == "Completed").then_some(())
        })
        .await;
        let of_nobody = format!("namespace=\"{}\",agent=\"\"", ns.name);
        let tokens = format!("kubeopencode_task_tokens_total{{{of_nobody},kind=\"input\"}}");
        assert_eq!(operator.metric(&tokens).await, Some(11.0));
        let cost = format!("kubeopencode_task_cost_usd_total{{{of_nobody}}}");
        assert_eq!(operator.metric(&cost).await, Some(0.0123));
    })
    .await;
}

#[tokio::test]
async fn a_workspace_config_that_the_watch_does_not_show_yet_is_the_tasks_all_the_same() {
    scenario(async |ns| {
        let faults = Faults::always(("WATCH", "/workspaceconfigs"), Fault::Held);
        let _operator = ns.operator_with(&faults);
        prepare(ns).await;
        ns.apply(kubetask("fix")).await;
        ns.kubetask_phase("fix", Phase::Completed).await;
        let history = ns.record.history();
        let pod = history.get(Kind::Pod, "fix-kt-pod").unwrap();
        assert_eq!(pod.list("/spec/containers")[0]["image"], "registry.example/agent:1");
    })
    .await;
}

#[tokio::test]
async fn both_annotations_stop_a_task_and_its_end_names_the_one() {
    scenario(async |ns| {
        prepare(ns).await;
        let _operator = ns.operator();
        for (name, key) in [("own", "kubetask.io/stop"), ("other", "kubeopencode.io/stop")] {
            ns.apply(kubetask(name).does("run-on")).await;
            let pod = format!("{name}-kt-pod");
            ns.agent_runs(&pod).await;
            annotate(ns, name, key, "true").await;
            let task = ns.kubetask_phase(name, Phase::Completed).await;
            let message = format!("Task stopped by user via {key} annotation");
            assert_eq!(words(&task, "Stopped"), ("True", "UserStopped", message.as_str()));
            ns.gone(Kind::Pod, &pod).await;
        }
    })
    .await;
}

#[tokio::test]
async fn keep_pod_keeps_the_pod_of_a_stopped_task() {
    scenario(async |ns| {
        prepare(ns).await;
        ns.apply(config("stopPolicy: KeepPod")).await;
        let _operator = ns.operator();
        ns.apply(kubetask("fix").does("run-on")).await;
        ns.agent_runs("fix-kt-pod").await;
        annotate(ns, "fix", "kubetask.io/stop", "true").await;
        ns.kubetask_phase("fix", Phase::Completed).await;
        ns.until("its Pod is ended and kept", |history| {
            let pod = history.get(Kind::Pod, "fix-kt-pod").expect("it is kept");
            (pod.text("/status/phase") == "Failed").then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_task_that_runs_too_long_ends_by_its_own_timeout() {
    scenario(async |ns| {
        prepare(ns).await;
        let _operator = ns.operator();
        ns.apply(kubetask("fix").does("run-on").spec("timeout: 1s")).await;
        let task = ns.kubetask_phase("fix", Phase::Failed).await;
        assert_eq!(
            words(&task, "Succeeded"),
            ("False", "Timeout", "the Task ran longer than spec.timeout (1s)")
        );
    })
    .await;
}

#[tokio::test]
async fn a_deleted_task_goes_after_its_pod() {
    scenario(async |ns| {
        prepare(ns).await;
        let _operator = ns.operator();
        ns.apply(kubetask("fix").does("run-on")).await;
        ns.agent_runs("fix-kt-pod").await;
        delete(ns, "fix").await;
        ns.gone(Kind::KubeTask, "fix").await;
        ns.gone(Kind::Pod, "fix-kt-pod").await;
        let told = ns
            .record
            .history()
            .revisions(Kind::KubeTask)
            .any(|task| task.list("/metadata/finalizers") == [json!(FINALIZER)]);
        assert!(!told, "the finalizer of the other group is none of its");
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_is_gone_without_a_word_fails_its_task() {
    scenario(async |ns| {
        prepare(ns).await;
        let operator = ns.operator();
        ns.apply(kubetask("fix").does("run-on")).await;
        ns.agent_runs("fix-kt-pod").await;
        operator.crash().await;
        ns.pods().delete("fix-kt-pod", &DeleteParams::default().grace_period(0)).await.unwrap();
        ns.gone(Kind::Pod, "fix-kt-pod").await;
        let _operator = ns.operator();
        let task = ns.kubetask_phase("fix", Phase::Failed).await;
        assert_eq!(words(&task, "Succeeded").1, "PodLost");
    })
    .await;
}

#[tokio::test]
async fn what_a_task_waits_for_may_come_in_time() {
    scenario(async |ns| {
        prepare(ns).await;
        ns.apply(config("dependencyGraceSeconds: 600")).await;
        let _operator = ns.operator();
        let piece = json!({"type": "File", "file": {"name": "guide.md", "source": {"configMapKeyRef": {"name": "guides", "key": "pr.md"}}}});
        ns.apply(kubetask("fix").change("/spec/contexts", json!([piece]))).await;
        let waits = ns.until_kubetask("fix", "waits", |task| task.status.is_some()).await;
        assert_eq!(words(&waits, "Accepted").1, "WaitingForDependency");
        ns.apply(config_map("guides", &[("pr.md", "Small ones.")])).await;
        ns.kubetask_phase("fix", Phase::Completed).await;
    })
    .await;
}
