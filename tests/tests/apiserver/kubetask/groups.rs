//! Both groups in one namespace: what has one name is two things, and each is found by its group.

use kube::api::DeleteParams;
use kubeopencode_api::group::Group;
use kubeopencode_api::task::Phase;
use kubeopencode_operator::{Release, release_finalizers};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{agent, config, kubetask, status, task, words};
use kubeopencode_tests::record::Kind;
use serde_json::json;

use super::{annotate, delete, prepare};
use crate::scenario;

async fn both(ns: &TestNamespace) {
    ns.apply(TEAM).await;
    prepare(ns).await;
}

#[tokio::test]
async fn two_tasks_of_one_name_have_nothing_to_do_with_each_other() {
    scenario(async |ns| {
        both(ns).await;
        let operator = ns.operator();
        ns.apply(task("fix").does("run-on")).await;
        ns.apply(kubetask("fix").does("run-on")).await;
        ns.agent_runs("fix-pod").await;
        ns.agent_runs("fix-kt-pod").await;
        annotate(ns, "fix", "kubetask.io/stop", "true").await;
        ns.kubetask_phase("fix", Phase::Completed).await;
        ns.gone(Kind::Pod, "fix-kt-pod").await;
        // whoever comes up anew sweeps the Pods of Tasks that are gone
        operator.crash().await;
        delete(ns, "fix").await;
        let _operator = ns.operator();
        ns.gone(Kind::KubeTask, "fix").await;
        let is_there = ns
            .record
            .history()
            .get(Kind::Pod, "fix-pod")
            .is_some_and(|pod| pod.text("/metadata/deletionTimestamp").is_empty());
        assert!(is_there, "the other one works on");
        ns.stop_task("fix").await;
        ns.phase("fix", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn two_tasks_that_want_one_pod_name_both_get_a_pod() {
    scenario(async |ns| {
        both(ns).await;
        let _operator = ns.operator();
        for first in ["kubeopencode", "kubetask"] {
            let (theirs, ours) = (format!("{first}-kt"), first.to_owned());
            if first == "kubeopencode" {
                ns.apply(task(&theirs).does("run-on")).await;
                ns.phase(&theirs, Phase::Running).await;
                ns.apply(kubetask(&ours)).await;
                let uid = ns.kubetask_phase(&ours, Phase::Completed).await;
                let uid8 = uid.metadata.uid.clone().unwrap()[..8].to_owned();
                assert_eq!(status(&uid).pod_name.as_deref(), Some(format!("{ours}-{uid8}-kt-pod").as_str()));
                ns.stop_task(&theirs).await;
                ns.phase(&theirs, Phase::Completed).await;
            } else {
                ns.apply(kubetask(&ours).does("run-on")).await;
                ns.kubetask_phase(&ours, Phase::Running).await;
                ns.apply(task(&theirs)).await;
                let uid = ns.phase(&theirs, Phase::Completed).await;
                let uid8 = uid.metadata.uid.clone().unwrap()[..8].to_owned();
                assert_eq!(status(&uid).pod_name.as_deref(), Some(format!("{theirs}-{uid8}-pod").as_str()));
                annotate(ns, &ours, "kubetask.io/stop", "true").await;
                ns.kubetask_phase(&ours, Phase::Completed).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_of_the_workspace_configs_name_says_nothing_about_the_task() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        prepare(ns).await;
        let closed = agent("closed").spec("{suspend: true, timeout: 1s, maxConcurrentTasks: 1}");
        ns.apply(&closed).await;
        let workspace = kubeopencode_tests::objects::workspace_config("closed");
        ns.apply(workspace.spec("{agentImage: registry.example/agent:1, serviceAccountName: runner}")).await;
        let _operator = ns.operator();
        ns.apply(task("waits").agent("closed")).await;
        ns.phase("waits", Phase::Queued).await;
        for name in ["a", "b"] {
            ns.apply(kubetask(name).set("/spec/workspaceConfigRef", "closed").does("run-on")).await;
        }
        for name in ["a", "b"] {
            ns.agent_runs(&format!("{name}-kt-pod")).await;
        }
        // longer than the Agent's timeout
        ns.apply(task("later").does("run-on").spec("timeout: 2s")).await;
        ns.phase("later", Phase::Failed).await;
        for name in ["a", "b"] {
            ns.kubetask_phase(name, Phase::Running).await;
            annotate(ns, name, "kubetask.io/stop", "true").await;
            ns.kubetask_phase(name, Phase::Completed).await;
        }
        let history = ns.record.history();
        let admitted = history.revisions(Kind::Agent).any(|agent| !agent.list("/status/admitted").is_empty());
        assert!(!admitted, "no Agent has a slot of theirs");
    })
    .await;
}

#[tokio::test]
async fn a_full_namespace_is_waited_for_by_both_and_no_agent_is_named() {
    scenario(async |ns| {
        both(ns).await;
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one-pod"}, "spec": {"hard": {"pods": "1"}}});
        ns.apply(quota).await;
        ns.quota_is_in_force("one-pod").await;
        let _operator = ns.operator();
        ns.apply(kubetask("first").does("run-on")).await;
        ns.agent_runs("first-kt-pod").await;
        ns.apply(kubetask("second")).await;
        ns.apply(task("third")).await;
        let second = ns.kubetask_phase("second", Phase::Queued).await;
        let (_, reason, message) = words(&second, "Queued");
        assert_eq!(reason, "NamespaceQuotaExceeded");
        assert!(message.starts_with("Waiting for room in namespace") && !message.contains("gent \""), "{message}");
        assert_eq!((&status(&second).agent_ref, status(&second).queue_position), (&None, None));
        ns.phase("third", Phase::Queued).await;
        annotate(ns, "first", "kubetask.io/stop", "true").await;
        // a Pod that is over counts for no quota
        let second = ns.kubetask_phase("second", Phase::Completed).await;
        assert_eq!(words(&second, "Queued"), ("False", "CapacityAvailable", "Nothing is in its way any more"));
        ns.phase("third", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn the_pod_of_a_task_that_vanished_is_swept_by_its_group() {
    scenario(async |ns| {
        both(ns).await;
        ns.tolerate("I4: Task fix went");
        let operator = ns.operator();
        ns.apply(task("fix").does("run-on")).await;
        ns.apply(kubetask("fix").does("run-on")).await;
        ns.agent_runs("fix-pod").await;
        ns.agent_runs("fix-kt-pod").await;
        operator.crash().await;
        let nobody = kube::api::Patch::Merge(json!({"metadata": {"finalizers": null}}));
        super::tasks(ns).patch("fix", &Default::default(), &nobody).await.unwrap();
        super::tasks(ns).delete("fix", &DeleteParams::default()).await.unwrap();
        let _operator = ns.operator();
        ns.gone(Kind::Pod, "fix-kt-pod").await;
        ns.phase("fix", Phase::Running).await;
        ns.stop_task("fix").await;
        ns.phase("fix", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn clean_up_counts_each_group_by_itself() {
    scenario(async |ns| {
        both(ns).await;
        ns.apply(config("cleanup: {maxRetainedTasks: 1}")).await;
        let _operator = ns.operator();
        ns.apply(task("kept")).await;
        ns.phase("kept", Phase::Completed).await;
        ns.apply(kubetask("first")).await;
        ns.kubetask_phase("first", Phase::Completed).await;
        ns.apply(kubetask("second")).await;
        ns.kubetask_phase("second", Phase::Completed).await;
        ns.gone(Kind::KubeTask, "first").await;
        let history = ns.record.history();
        assert!(history.get(Kind::Task, "kept").is_some() && history.get(Kind::KubeTask, "second").is_some());
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_uninstalled_lets_go_of_the_tasks_of_both() {
    scenario(async |ns| {
        both(ns).await;
        let operator = ns.operator();
        ns.apply(task("fix")).await;
        ns.apply(kubetask("fix")).await;
        ns.phase("fix", Phase::Completed).await;
        ns.kubetask_phase("fix", Phase::Completed).await;
        operator.stop().await;
        let of = |groups| Release { groups, only_in: std::slice::from_ref(&ns.name) };
        let released = release_finalizers(&ns.client, &ns.name, of(&[Group::KubeOpenCode])).await;
        assert_eq!(released.unwrap().tasks, 1, "legacy.enabled is false");
        assert_eq!(release_finalizers(&ns.client, &ns.name, of(&Group::ALL)).await.unwrap().tasks, 1);
        assert_eq!(super::tasks(ns).get("fix").await.unwrap().metadata.finalizers, None);
    })
    .await;
}
