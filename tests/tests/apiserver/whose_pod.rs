//! What others say of a Task's UID on Pods of theirs, by malice or by accident, and what they take from the Task's own Pod:
//! the Task runs, ends and goes as if they had not.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::faults::Faults;
use kubeopencode_tests::namespace::{TEAM, TestNamespace, operator_of};
use kubeopencode_tests::objects::{agent, config, status, task};
use kubeopencode_tests::operator::Operator;
use kubeopencode_tests::record::Kind;
use serde_json::{Value, json};

use crate::{between_namespaces, pods_of, scenario};

fn uid(task: &Task) -> &str {
    task.metadata.uid.as_deref().unwrap()
}

/// A Pod that claims a Task, and never runs: it waits at our gate, which nobody opens, or at one of whoever made it.
fn forged(name: &str, task: &Task, gate: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {
            "app": "kubeopencode", "kubeopencode.io/task": "no-such-task", "kubeopencode.io/task-uid": uid(task),
            "kubeopencode.io/task-namespace": "no-such-namespace",
        }},
        "spec": {
            "serviceAccountName": "kubeopencode-agent", "schedulingGates": [{"name": gate}],
            "containers": [{"name": "agent", "image": "image"}],
        },
    })
}

const OURS: &str = "kubeopencode.io/launch";
const THEIRS: &str = "example.com/hold";

/// Two teams, each with the Agents of its own, and an operator for both.
async fn two_teams(team: &TestNamespace, platform: &TestNamespace) -> Operator {
    for ns in [team, platform] {
        ns.apply(TEAM).await;
    }
    operator_of(&[team, platform], &Faults::none())
}

/// Restarts the operator after a Task with a Pod in the other namespace has vanished. When that Pod is gone, the operator
/// has looked at all Pods whose places come before it in the alphabet.
async fn restarts_and_sweeps(operator: Operator, team: &TestNamespace, platform: &TestNamespace) -> Operator {
    team.tolerate("I4: Task orphan went");
    team.apply(task("orphan").agent_in(&platform.name, "default").does("run-on")).await;
    let orphan = team.phase("orphan", Phase::Running).await;
    let pod = status(&orphan).pod_name.clone().unwrap();
    platform.agent_runs(&pod).await;
    operator.crash().await;
    let nobody = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    team.tasks().patch("orphan", &PatchParams::default(), &nobody).await.unwrap();
    team.delete_task("orphan").await;
    team.gone(Kind::Task, "orphan").await;
    let operator = operator_of(&[team, platform], &Faults::none());
    platform.gone(Kind::Pod, &pod).await;
    operator
}

fn is_left_alone(ns: &TestNamespace, pod: &str) -> bool {
    let history = ns.record.history();
    history.get(Kind::Pod, pod).is_some_and(|pod| pod.text("/metadata/deletionTimestamp").is_empty())
}

#[tokio::test]
async fn no_pod_that_claims_a_task_ends_the_tasks_own() {
    between_namespaces(async |team, platform| {
        let operator = two_teams(team, platform).await;
        team.apply(task("fix").does("run-on")).await;
        team.agent_runs("fix-pod").await;
        let fix = team.phase("fix", Phase::Running).await;
        let names: Vec<_> = (0..20).map(|i| format!("forged-{i}")).collect();
        for name in &names {
            platform.apply(forged(name, &fix, OURS)).await;
        }
        let _operator = restarts_and_sweeps(operator, team, platform).await;
        assert!(is_left_alone(team, "fix-pod"), "the agent works on");
        assert!(names.iter().all(|name| is_left_alone(platform, name)), "they are nobody's");
        team.stop_task("fix").await;
        team.phase("fix", Phase::Completed).await;
        team.gone(Kind::Pod, "fix-pod").await;
    })
    .await;
}

#[tokio::test]
async fn a_copy_of_a_pod_in_another_namespace_is_left_alone() {
    between_namespaces(async |team, platform| {
        for broken_by_hand in [
            "I1: Pod fix-pod lost its gate before it was recorded",
            "I1: 2 Pods of Task",
            "I4: Task fix went",
            "I4: Pod fix-pod is left",
        ] {
            team.tolerate(broken_by_hand);
        }
        let operator = two_teams(team, platform).await;
        team.apply(task("fix").does("run-on")).await;
        team.agent_runs("fix-pod").await;
        // kubectl get --output yaml, another namespace, kubectl apply
        let mut copy: Pod = team.pods().get("fix-pod").await.unwrap();
        let metadata = std::mem::take(&mut copy.metadata);
        copy.metadata.name = metadata.name;
        copy.metadata.labels = metadata.labels;
        copy.metadata.annotations = metadata.annotations;
        copy.spec.as_mut().unwrap().node_name = None;
        platform.pods().create(&PostParams::default(), &copy).await.unwrap();
        platform
            .until("the copy ends", |history| {
                (history.get(Kind::Pod, "fix-pod")?.text("/status/phase") == "Succeeded").then_some(())
            })
            .await;
        let operator = restarts_and_sweeps(operator, team, platform).await;
        team.phase("fix", Phase::Running).await;
        assert!(is_left_alone(team, "fix-pod") && is_left_alone(platform, "fix-pod"));
        team.delete_task("fix").await;
        team.gone(Kind::Task, "fix").await;
        team.gone(Kind::Pod, "fix-pod").await;
        let _operator = restarts_and_sweeps(operator, team, platform).await;
        assert!(is_left_alone(platform, "fix-pod"), "it was never the Task's");
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_claims_a_task_holds_no_slot() {
    between_namespaces(async |team, platform| {
        let _operator = two_teams(team, platform).await;
        team.apply(task("first").agent("one-at-a-time").does("run-on")).await;
        let first = team.phase("first", Phase::Running).await;
        team.agent_runs("first-pod").await;
        for ns in [team, platform] {
            ns.apply(forged("forged", &first, OURS)).await;
        }
        team.apply(task("second").agent("one-at-a-time")).await;
        team.phase("second", Phase::Queued).await;
        team.stop_task("first").await;
        team.phase("second", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_claims_a_task_holds_no_deletion() {
    between_namespaces(async |team, platform| {
        team.tolerate("I4: Pod forged is left");
        let _operator = two_teams(team, platform).await;
        team.apply(task("fix").does("run-on")).await;
        let fix = team.phase("fix", Phase::Running).await;
        team.agent_runs("fix-pod").await;
        let held = json!([THEIRS]);
        for ns in [team, platform] {
            let mut forged = forged("forged", &fix, OURS);
            forged["metadata"]["finalizers"] = held.clone();
            ns.apply(forged).await;
            ns.pods().delete("forged", &DeleteParams::default()).await.unwrap();
        }
        team.delete_task("fix").await;
        team.gone(Kind::Task, "fix").await;
        team.gone(Kind::Pod, "fix-pod").await;
        let nobody = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        for ns in [team, platform] {
            assert!(ns.record.history().get(Kind::Pod, "forged").is_some());
            ns.pods().patch("forged", &PatchParams::default(), &nobody).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_claims_a_task_does_not_become_it() {
    between_namespaces(async |team, platform| {
        for broken_by_hand in ["I1: Pod forged", "I1: 2 Pods of Task", "I1: 3 Pods of Task"] {
            team.tolerate(broken_by_hand);
        }
        let _operator = two_teams(team, platform).await;
        team.apply(task("first").agent("one-at-a-time").does("run-on")).await;
        team.agent_runs("first-pod").await;
        team.apply(task("second").agent("one-at-a-time")).await;
        let queued = team.phase("second", Phase::Queued).await;
        for ns in [team, platform] {
            ns.apply(forged("forged", &queued, THEIRS)).await;
            let ended = json!({"status": {"phase": "Succeeded"}});
            ns.pods().patch_status("forged", &PatchParams::default(), &Patch::Merge(ended)).await.unwrap();
        }
        team.stop_task("first").await;
        let second = team.phase("second", Phase::Completed).await;
        assert_eq!(status(&second).pod_name.as_deref(), Some("second-pod"));
        assert_eq!(status(&second).result.as_ref().unwrap().summary.as_deref(), Some("All is done"));
    })
    .await;
}

#[tokio::test]
async fn a_pod_at_the_tasks_name_without_our_gate_is_not_adopted_and_no_second_one_is_made() {
    for is_shown in [true, false] {
        scenario(async |ns| {
            ns.tolerate("I1: Pod fix-pod lost its gate before it was recorded");
            ns.apply(TEAM).await;
            ns.apply(config("dependencyGraceSeconds: 60")).await;
            let _operator = ns.operator();
            ns.apply(task("fix").agent("later")).await;
            let waits = ns.until_task("fix", "waits", |task| task.status.is_some()).await;
            let mut pod = forged("fix-pod", &waits, THEIRS);
            if !is_shown {
                pod["metadata"]["labels"]["app"] = json!("another");
            }
            ns.apply(pod).await;
            ns.apply(agent("later")).await;
            let failed = ns.phase("fix", Phase::Failed).await;
            assert_eq!(status(&failed).reason.as_deref(), Some("PodCreationError"));
            let message = status(&failed).message.as_deref().unwrap();
            assert!(
                message.starts_with(&format!("Pod \"{}/fix-pod\" has the label of this Task", ns.name)),
                "{message}"
            );
            assert_eq!(pods_of(&ns.record.history(), &failed).len(), 1);
            assert!(is_left_alone(ns, "fix-pod"));
        })
        .await;
    }
}

/// Changes the labels of a Task's Pod, as a policy engine does; when this returns, the operator knows.
async fn relabel(team: &TestNamespace, platform: &TestNamespace, name: &str, labels: Value) -> String {
    let pod = status(&team.tasks().get(name).await.unwrap()).pod_name.clone().unwrap();
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    platform.pods().patch(&pod, &PatchParams::default(), &patch).await.unwrap();
    // the watch shows this one's Pod later
    let seen = format!("seen-{name}");
    team.apply(task(&seen).agent_in(&platform.name, "default")).await;
    team.phase(&seen, Phase::Completed).await;
    pod
}

#[tokio::test]
async fn a_pod_that_the_watch_does_not_show_ends_with_its_task() {
    between_namespaces(async |team, platform| {
        let _operator = two_teams(team, platform).await;
        let far = |name: &str| task(name).agent_in(&platform.name, "default");
        // the watch is on the one, and knows a Task's Pods by the other
        let (renamed, no_uid) = (json!({"app": "renamed"}), json!({"kubeopencode.io/task-uid": null}));
        for (name, task, labels) in [
            ("stopped", far("stopped").does("run-on"), &renamed),
            ("halted", far("halted").does("run-on"), &no_uid),
            ("deleted", far("deleted").does("run-on"), &renamed),
            ("removed", far("removed").does("run-on"), &no_uid),
            ("late", far("late").does("run-on").spec("timeout: 15s"), &renamed),
            ("over", far("over"), &renamed),
        ] {
            team.apply(task).await;
            let is_there = |task: &Task| {
                let phase = status(task).phase;
                if name == "over" { phase == Some(Phase::Completed) } else { phase == Some(Phase::Running) }
            };
            team.until_task(name, "is there", |task| task.status.is_some() && is_there(task)).await;
            let pod = relabel(team, platform, name, labels.clone()).await;
            match name {
                "stopped" | "halted" => {
                    team.stop_task(name).await;
                    team.phase(name, Phase::Completed).await;
                }
                "late" => {
                    let task = team.phase(name, Phase::Failed).await;
                    assert_eq!(status(&task).reason.as_deref(), Some("Timeout"));
                }
                _ => {
                    team.delete_task(name).await;
                    team.gone(Kind::Task, name).await;
                }
            }
            platform.gone(Kind::Pod, &pod).await;
        }
    })
    .await;
}
