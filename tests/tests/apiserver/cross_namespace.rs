//! Tasks of one namespace with an Agent of another, where no garbage collection reaches.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use kubeopencode_api::literals::{MADE_IN_ANNOTATION, TASK_UID_LABEL};
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace, operator_of};
use kubeopencode_tests::objects::{Builder, agent, config_map, status, task};
use kubeopencode_tests::record::{History, Kind};
use serde_json::{Value, json};

use crate::between_namespaces;

/// Until a Task has given up a Pod that does not end.
const LOST: Duration = Duration::from_secs(100);

/// A Task with the Agent of the other namespace. It has two ConfigMaps there: its prompt, and the copy of a directory.
fn far(platform: &TestNamespace, name: &str) -> Builder<Task> {
    let guides = "contexts: [{type: ConfigMap, mountPath: guides, configMap: {name: guides}}]";
    task(name).agent_in(&platform.name, "default").spec(guides)
}

/// The directory that [`far`] names.
fn guides() -> Value {
    config_map("guides", &[("style.md", "short"), ("names.md", "long")])
}

/// Names of the ConfigMaps that there are of a Task.
fn maps_of(ns: &TestNamespace, uid: &str) -> Vec<String> {
    let history = ns.record.history();
    let of_task = history.all(Kind::ConfigMap).filter(|map| map.label(TASK_UID_LABEL) == uid);
    of_task.map(|map| map.name().to_owned()).collect()
}

/// Neither the Pod nor the ConfigMaps that were made for a Task are left.
async fn nothing_is_left(platform: &TestNamespace, task: &Task) {
    let uid = task.metadata.uid.as_deref().unwrap();
    let made: BTreeSet<_> = {
        let history = platform.record.history();
        let of_task = history.revisions(Kind::ConfigMap).filter(|map| map.label(TASK_UID_LABEL) == uid);
        of_task.map(|map| map.name().to_owned()).collect()
    };
    assert_eq!(made.len(), 2, "the Task had a ConfigMap of files and one of a directory: {made:?}");
    platform
        .until("nothing of the Task is left", |history| {
            let mut left = [Kind::Pod, Kind::ConfigMap].into_iter().flat_map(|kind| history.all(kind));
            left.all(|object| object.label(TASK_UID_LABEL) != uid).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_finished_task_that_is_deleted_leaves_nothing_behind() {
    between_namespaces(async |team, platform| {
        team.apply(guides()).await;
        platform.apply(TEAM).await;
        let _operator = operator_of(&[team, platform], &Faults::none());
        team.apply(far(platform, "fix")).await;
        let done = team.phase("fix", Phase::Completed).await;
        team.delete_task("fix").await;
        team.gone(Kind::Task, "fix").await;
        nothing_is_left(platform, &done).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_where_a_config_map_is_missing_and_the_operator_is_another_one() {
    between_namespaces(async |team, platform| {
        team.apply(guides()).await;
        platform.apply(TEAM).await;
        let operator = operator_of(&[team, platform], &Faults::none());
        team.apply(far(platform, "fix")).await;
        let done = team.phase("fix", Phase::Completed).await;
        operator.crash().await;
        let made = maps_of(platform, done.metadata.uid.as_deref().unwrap());
        let first = made.iter().find(|name| name.ends_with("-context")).expect("the first of them");
        platform.api::<ConfigMap>().delete(first, &DeleteParams::default()).await.unwrap();
        let _operator = operator_of(&[team, platform], &Faults::none());
        team.delete_task("fix").await;
        team.gone(Kind::Task, "fix").await;
        nothing_is_left(platform, &done).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_with_the_agent_that_a_task_had_before_its_launch() {
    between_namespaces(async |team, platform| {
        for ns in [team, platform] {
            ns.apply(guides()).await;
            ns.apply(TEAM).await;
        }
        let no_pods = Faults::always(("POST", "/pods"), Fault::Unavailable);
        let operator = operator_of(&[team, platform], &no_pods);
        team.apply(far(platform, "fix")).await;
        let made_in = |task: &Task| task.metadata.annotations.as_ref()?.get(MADE_IN_ANNOTATION).cloned();
        let claimed = team.until_task("fix", "says where it is made", |task| made_in(task).is_some()).await;
        assert_eq!(made_in(&claimed), Some(format!("{}=2", platform.name)));
        let uid = claimed.metadata.uid.as_deref().unwrap();
        let has_both = async || {
            let both = |history: &History| {
                let of_task = history.all(Kind::ConfigMap).filter(|map| map.label(TASK_UID_LABEL) == uid);
                (of_task.count() == 2).then_some(())
            };
            platform.until("both ConfigMaps are made", both).await;
        };
        has_both().await;
        operator.crash().await;
        team.apply(far(platform, "fix").change("/spec/agentRef", "default")).await;
        let _operator = operator_of(&[team, platform], &Faults::none());
        let done = team.phase("fix", Phase::Completed).await;
        assert_eq!(status(&done).pod_namespace.as_ref(), Some(&team.name));
        assert_eq!(made_in(&done), None);
        nothing_is_left(platform, &done).await;
    })
    .await;
}

/// The node is lost: its Pod does not end, and the Task does not wait for ever.
#[tokio::test]
async fn nothing_is_left_where_the_pod_does_not_end() {
    between_namespaces(async |team, platform| {
        team.tolerate("I4: Task fix went");
        team.tolerate("I4: Pod");
        team.apply(guides()).await;
        platform.apply(TEAM).await;
        let _operator = operator_of(&[team, platform], &Faults::none());
        team.apply(far(platform, "fix").does("unscheduled")).await;
        let runs = team.phase("fix", Phase::Running).await;
        let (pod, uid) = (status(&runs).pod_name.clone().unwrap(), runs.metadata.uid.as_deref().unwrap());
        let finalizers = |held: Value| Patch::Merge(json!({"metadata": {"finalizers": held}}));
        let held = finalizers(json!(["example.com/lost"]));
        platform.pods().patch(&pod, &PatchParams::default(), &held).await.unwrap();
        team.delete_task("fix").await;
        let gone =
            team.record.wait(LOST, |history| history.get(Kind::Task, "fix").is_none().then_some(())).await;
        gone.expect("the Task goes a minute after the grace of its Pod");
        platform.record.catch_up().await;
        assert_eq!(maps_of(platform, uid), [""; 0]);
        let nobody = finalizers(Value::Null);
        platform.pods().patch(&pod, &PatchParams::default(), &nobody).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_task_that_vanishes_without_its_finalizer_leaves_nothing_behind() {
    for operator_is_there in [true, false] {
        between_namespaces(async |team, platform| {
            team.tolerate("I4: Task fix went");
            team.apply(guides()).await;
            platform.apply(TEAM).await;
            let start = || operator_of(&[team, platform], &Faults::none());
            let mut operator = Some(start());
            team.apply(far(platform, "fix").does("run-on")).await;
            let runs = team.phase("fix", Phase::Running).await;
            platform.agent_runs(status(&runs).pod_name.as_deref().unwrap()).await;
            if !operator_is_there {
                operator.take().unwrap().crash().await;
            }
            let nobody = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            team.tasks().patch("fix", &PatchParams::default(), &nobody).await.unwrap();
            team.delete_task("fix").await;
            team.gone(Kind::Task, "fix").await;
            let operator = operator.unwrap_or_else(start);
            nothing_is_left(platform, &runs).await;
            operator.stop().await;
        })
        .await;
    }
}

#[tokio::test]
async fn who_came_first_starts_first_whatever_its_namespace_is_called() {
    between_namespaces(async |team, platform| {
        platform.apply(TEAM).await;
        platform.apply(agent("shared").at_once(1)).await;
        let (first, second) = if team.name > platform.name { (team, platform) } else { (platform, team) };
        let made = async |ns: &TestNamespace, name: &str| {
            ns.apply(task(name).agent_in(&platform.name, "shared")).await;
            ns.tasks().get(name).await.unwrap().metadata.creation_timestamp.unwrap().0
        };
        let arrived = made(first, "first").await;
        // the API server counts arrival in whole seconds
        while made(second, "second").await <= arrived {
            second.delete_task("second").await;
        }
        let _operator = operator_of(&[team, platform], &Faults::none());
        first.phase("first", Phase::Completed).await;
        second.phase("second", Phase::Completed).await;
        let history = platform.record.history();
        let admitted = history.revisions(Kind::Agent).filter(|agent| agent.name() == "shared");
        let admitted = admitted.flat_map(|agent| agent.list("/status/admitted").first().cloned());
        let names: Vec<_> = admitted.map(|entry| entry["taskName"].clone()).collect();
        assert_eq!((names.first(), names.last()), (Some(&json!("first")), Some(&json!("second"))));
    })
    .await;
}
