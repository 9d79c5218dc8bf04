//! A Task that is deleted, at every moment, takes its Pod with it; one that is made again under its name starts anew.

use kube::api::{Patch, PatchParams};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::{status, task};
use kubeopencode_tests::record::Kind;
use serde_json::json;

use crate::{pods_of, scenario};

#[tokio::test]
async fn while_it_waits_or_is_queued() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("waits").agent("later")).await;
        ns.until_task("waits", "waits", |task| task.status.is_some()).await;
        ns.apply(task("runs").agent("one-at-a-time").does("run-on")).await;
        ns.phase("runs", Phase::Running).await;
        ns.apply(task("queued").agent("one-at-a-time")).await;
        ns.phase("queued", Phase::Queued).await;
        ns.apply(task("last").agent("one-at-a-time")).await;
        ns.phase("last", Phase::Queued).await;
        for name in ["waits", "queued", "runs"] {
            ns.delete_task(name).await;
            ns.gone(Kind::Task, name).await;
        }
        ns.phase("last", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn between_each_two_steps_of_its_launch() {
    // the launch stops before this write, for ever
    for (verb, path) in
        [("POST", "/configmaps"), ("POST", "/pods"), ("PATCH", "/status"), ("PATCH", "/pods/")]
    {
        scenario(async |ns| {
            ns.apply(TEAM).await;
            let faults = Faults::always((verb, path), Fault::Unavailable);
            let operator = ns.operator_with(&faults);
            ns.apply(task("fix")).await;
            ns.until_task("fix", "is claimed", |task| task.metadata.finalizers.is_some()).await;
            faults.until_struck().await;
            ns.delete_task("fix").await;
            ns.gone(Kind::Task, "fix").await;
            ns.until("its Pod is gone", |history| history.all(Kind::Pod).next().is_none().then_some(()))
                .await;
            operator.stop().await;
            assert!(ns.record.history().revisions(Kind::Pod).all(|pod| pod.is_gated()), "nothing ever ran");
        })
        .await;
    }
}

#[tokio::test]
async fn while_it_runs_and_after_its_end() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        for (name, agent_does, phase) in
            [("runs", "run-on", Phase::Running), ("done", "succeed", Phase::Completed)]
        {
            ns.apply(task(name).does(agent_does)).await;
            ns.phase(name, phase).await;
            ns.delete_task(name).await;
            ns.gone(Kind::Task, name).await;
            ns.gone(Kind::Pod, &format!("{name}-pod")).await;
            ns.gone(Kind::ConfigMap, &format!("{name}-context")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn while_no_operator_is_there() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        ns.runs(task("fix")).await;
        operator.crash().await;
        ns.delete_task("fix").await;
        ns.until_task("fix", "waits for the operator", |task| task.metadata.deletion_timestamp.is_some())
            .await;
        let _operator = ns.operator();
        ns.gone(Kind::Task, "fix").await;
        ns.gone(Kind::Pod, "fix-pod").await;
    })
    .await;
}

#[tokio::test]
async fn the_next_one_of_its_name_starts_anew() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("fix").does("run-on")).await;
        let first = ns.phase("fix", Phase::Running).await;
        ns.delete_task("fix").await;
        ns.gone(Kind::Task, "fix").await;
        ns.apply(task("fix")).await;
        let second = ns.phase("fix", Phase::Completed).await;
        assert_ne!(status(&first).pod_uid, status(&second).pod_uid);
        assert_eq!(status(&second).pod_name.as_deref(), Some("fix-pod"));
        assert_eq!(pods_of(&ns.record.history(), &second).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_outlived_its_task_is_waited_for_by_the_next_one() {
    scenario(async |ns| {
        ns.tolerate("I4: Task fix went");
        ns.apply(TEAM).await;
        let operator = ns.operator();
        ns.apply(task("fix").does("run-on")).await;
        let first = ns.phase("fix", Phase::Running).await;
        operator.crash().await;
        // somebody takes the finalizer off by hand
        ns.tasks()
            .patch("fix", &PatchParams::default(), &Patch::Merge(&json!({"metadata": {"finalizers": null}})))
            .await
            .unwrap();
        ns.delete_task("fix").await;
        ns.gone(Kind::Task, "fix").await;
        ns.apply(task("fix")).await;
        let _operator = ns.operator();
        let second = ns.phase("fix", Phase::Completed).await;
        assert_eq!(
            status(&second).pod_name.as_deref(),
            Some("fix-pod"),
            "never beside the old one under another name"
        );
        let history = ns.record.history();
        let old = status(&first).pod_uid.as_deref().unwrap();
        let old_gone = history.revisions(Kind::Pod).find(|pod| pod.gone && pod.uid() == old).unwrap().version;
        let born = pods_of(&history, &second)[0].version;
        assert!(old_gone < born);
    })
    .await;
}
