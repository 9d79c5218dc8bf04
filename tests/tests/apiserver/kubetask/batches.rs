//! A Task that a Batch made has its contexts there, and waits for the Batch to be over before it is cleaned up.

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{config, kubetask, status, words};
use kubeopencode_tests::record::Kind;
use serde_json::{Value, json};

use super::prepare;
use crate::scenario;

fn piece(text: &str) -> Value {
    json!({"type": "File", "file": {"name": "task.md", "source": {"inline": text}}})
}

/// A Batch that makes no Task by itself, and its UID.
async fn paused_batch(ns: &TestNamespace) -> String {
    ns.apply(json!({
        "apiVersion": "kubetask.io/v1alpha1", "kind": "Batch",
        "metadata": {"name": "update", "annotations": {"kubetask.io/pause": "true"}},
        "spec": {"commonContext": [piece("Update.\n")], "variableContexts": [[piece("Service a.")], [piece("Service b.")]]},
    }))
    .await;
    let batches: Api<Batch> = ns.api();
    batches.get("update").await.unwrap().uid().unwrap()
}

/// A Task as a Batch makes it.
fn of_batch(name: &str, uid: &str) -> Value {
    let owner = json!([{
        "apiVersion": "kubetask.io/v1alpha1", "kind": "Batch", "name": "update", "uid": uid, "controller": true,
        "blockOwnerDeletion": true,
    }]);
    let task = kubetask(name).without("/spec/contexts").set("/metadata/ownerReferences", owner);
    task.set("/metadata/labels", json!({"kubetask.io/batch": "update", "kubetask.io/batch-index": "0"}))
        .json()
}

#[tokio::test]
async fn its_contexts_are_those_of_its_batch_by_its_name_and_never_by_a_label() {
    scenario(async |ns| {
        prepare(ns).await;
        let _operator = ns.operator();
        let uid = paused_batch(ns).await;
        // its label says 0
        ns.apply(of_batch("update-task-1", &uid)).await;
        ns.kubetask_phase("update-task-1", Phase::Completed).await;
        let history = ns.record.history();
        let map = history.get(Kind::ConfigMap, "update-task-1-kt-context").unwrap();
        let text = map.object["data"].to_string();
        assert!(text.contains("Update.\\n\\n---\\n\\nService b."), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_name_that_the_batch_does_not_give_is_refused() {
    scenario(async |ns| {
        prepare(ns).await;
        let _operator = ns.operator();
        let uid = paused_batch(ns).await;
        for name in ["update-task-2", "update-extra"] {
            ns.apply(of_batch(name, &uid)).await;
            let task = ns.kubetask_phase(name, Phase::Failed).await;
            let (_, reason, message) = words(&task, "Contexts");
            assert_eq!(reason, "ContextError");
            assert!(message.contains("the name of none of its Tasks"), "{message}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_task_whose_batch_is_gone_is_not_launched() {
    scenario(async |ns| {
        prepare(ns).await;
        let _operator = ns.operator();
        // as kubectl delete batch --cascade=orphan leaves it
        let labels = json!({"kubetask.io/batch": "update", "kubetask.io/batch-index": "0"});
        ns.apply(kubetask("update-task-0").without("/spec/contexts").set("/metadata/labels", labels)).await;
        let task = ns.kubetask_phase("update-task-0", Phase::Failed).await;
        let (is, reason, message) = words(&task, "Contexts");
        assert_eq!((is, reason), ("False", "ContextError"));
        assert!(message.contains("its Batch is gone"), "{message}");
        assert_eq!(status(&task).pod_uid, None);
    })
    .await;
}

#[tokio::test]
async fn no_task_of_a_batch_is_cleaned_up_before_the_batch_is_over() {
    scenario(async |ns| {
        prepare(ns).await;
        ns.apply(config("cleanup: {ttlSecondsAfterFinished: 0}")).await;
        let _operator = ns.operator();
        let uid = paused_batch(ns).await;
        ns.apply(of_batch("update-task-0", &uid)).await;
        ns.kubetask_phase("update-task-0", Phase::Completed).await;
        ns.apply(kubetask("alone")).await;
        ns.kubetask_phase("alone", Phase::Completed).await;
        ns.gone(Kind::KubeTask, "alone").await;
        assert!(ns.record.history().get(Kind::KubeTask, "update-task-0").is_some(), "its Batch is not over");
        // its other Task runs, and then it is over
        let unpaused = Patch::Merge(json!({"metadata": {"annotations": {"kubetask.io/pause": null}}}));
        let batches: Api<Batch> = ns.api();
        batches.patch("update", &PatchParams::default(), &unpaused).await.unwrap();
        ns.gone(Kind::KubeTask, "update-task-0").await;
    })
    .await;
}
