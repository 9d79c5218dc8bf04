//! Tasks of one namespace with an Agent of another, where no garbage collection reaches.

use kube::api::{Patch, PatchParams};
use kubeopencode_api::literals::TASK_UID_LABEL;
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::faults::Faults;
use kubeopencode_tests::namespace::{TEAM, TestNamespace, operator_of};
use kubeopencode_tests::objects::{Builder, agent, status, task};
use kubeopencode_tests::record::Kind;
use serde_json::json;

use crate::between_namespaces;

/// A Task with the Agent of the other namespace.
fn far(platform: &TestNamespace, name: &str) -> Builder<Task> {
    task(name).agent_in(&platform.name, "default")
}

/// Neither the Pod nor the ConfigMaps that were made for a Task are left.
async fn nothing_is_left(platform: &TestNamespace, task: &Task) {
    let uid = task.metadata.uid.as_deref().unwrap();
    let made = platform
        .record
        .history()
        .revisions(Kind::ConfigMap)
        .filter(|map| map.label(TASK_UID_LABEL) == uid)
        .count();
    assert!(made > 0, "the Task had a ConfigMap");
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
async fn a_task_that_vanishes_without_its_finalizer_leaves_nothing_behind() {
    for operator_is_there in [true, false] {
        between_namespaces(async |team, platform| {
            team.tolerate("I4: Task fix went");
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
