//! Indexes that fail without a Task that failed: somebody deleted it, holds its name, or has no room for it.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use kubeopencode_tests::objects::batch;
use kubeopencode_tests::record::{History, Kind, Revision};
use serde_json::json;

use super::{assert_once, condition, create, task_in, tasks, until, until_phase};
use crate::scenario;

#[tokio::test]
async fn a_task_that_is_deleted_by_hand_is_a_failed_index_and_not_made_again() {
    scenario(async |ns| {
        let _operator = ns.operator();
        create(ns, batch("b", 4).parallelism(2).does_at(0, "run-on").does_at(2, "fail")).await;
        task_in(ns, "b-task-0", "Running").await;
        tasks(ns).delete("b-task-0", &DeleteParams::background()).await.unwrap();
        let status = until_phase(ns, "b", "Failed").await;
        assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("1,3"), &json!("0,2")));
        assert_eq!(
            status["progress"],
            json!({"total": 4, "pending": 0, "running": 0, "completed": 2, "failed": 2})
        );
        let intact = condition(&status, "TasksIntact");
        assert_eq!((&intact["status"], &intact["reason"]), (&json!("False"), &json!("TaskDeleted")));
        assert_eq!(
            intact["message"],
            "Task \"b-task-0\" was deleted before its end: index 0 is failed and not made again"
        );
        let finished = condition(&status, "Finished");
        assert_eq!((&finished["status"], &finished["reason"]), (&json!("True"), &json!("TasksFailed")));
        // what is over may be deleted: the Batch knows how it ended
        tasks(ns).delete("b-task-1", &DeleteParams::background()).await.unwrap();
        ns.gone(Kind::KubeTask, "b-task-1").await;
        assert_once(ns, 4, 2).await;
        let events = |history: &History| {
            let of_batch = history.all(Kind::Event).filter(|event| event.text("/regarding/kind") == "Batch");
            of_batch.map(|event| event.text("/reason").to_owned()).collect::<BTreeSet<_>>()
        };
        ns.until("both Events", |history| {
            (events(history) == BTreeSet::from(["Running".to_owned(), "Failed".to_owned()])).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_name_that_somebody_else_holds_is_a_failed_index() {
    scenario(async |ns| {
        let other = json!({
            "apiVersion": "kubetask.io/v1alpha1", "kind": "Task",
            "metadata": {"name": "b-task-1", "labels": {"kubetask.io/batch": "b", "kubetask.io/batch-index": "1"}},
            "spec": {"workspaceConfigRef": "missing"},
        });
        ns.apply(other).await;
        let before = tasks(ns).get("b-task-1").await.unwrap();
        let _operator = ns.operator();
        create(ns, batch("b", 3)).await;
        let status = until_phase(ns, "b", "Failed").await;
        assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("0,2"), &json!("1")));
        let intact = condition(&status, "TasksIntact");
        assert_eq!(intact["reason"], "NameConflict");
        assert!(intact["message"].as_str().unwrap().starts_with("Task \"b-task-1\" is not this Batch's"), "{intact}");
        let after = tasks(ns).get("b-task-1").await.unwrap();
        assert_eq!((after.uid(), &after.spec), (before.uid(), &before.spec));
        assert!(after.owner_references().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_and_tried_again() {
    scenario(async |ns| {
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
            "spec": {"hard": {"count/tasks.kubetask.io": "1"}},
        });
        ns.apply(quota).await;
        ns.quota_is_in_force("few").await;
        let _operator = ns.operator();
        create(ns, batch("b", 2)).await;
        let refused =
            |batch: &Revision| condition(&batch.object["status"], "TasksCreated")["status"] == "False";
        let status = until(ns, "b", "says that a Task is refused", refused).await;
        let created = condition(&status, "TasksCreated");
        assert_eq!(created["reason"], "TaskCreationError");
        let message = created["message"].as_str().unwrap();
        assert!(
            message.starts_with("Task \"b-task-1\"") && message.contains("exceeded quota: few"),
            "{message}"
        );
        let more = json!({"spec": {"hard": {"count/tasks.kubetask.io": "5"}}});
        let quotas = ns.api::<k8s_openapi::api::core::v1::ResourceQuota>();
        quotas.patch("few", &PatchParams::default(), &Patch::Merge(&more)).await.unwrap();
        let status = until_phase(ns, "b", "Completed").await;
        assert_eq!(condition(&status, "TasksCreated")["status"], "True");
    })
    .await;
}
