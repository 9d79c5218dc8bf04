//! A Task that is deleted, at every moment, takes its Pod with it; one that is made again under its name starts anew.

use kube::api::{Patch, PatchParams};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::faults::{Fault, Faults, Moment};
use kubeopencode_tests::record::Kind;
use kubeopencode_tests::stage::TEAM;
use serde_json::json;

use crate::{pods_of, scenario, status, task_of};

#[tokio::test]
async fn while_it_waits_or_is_queued() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        stage.apply(&task_of("waits", "later", "succeed")).await;
        stage.until_task("waits", "waits", |task| task.status.is_some()).await;
        stage.apply(&task_of("runs", "one-at-a-time", "run-on")).await;
        stage.phase("runs", Phase::Running).await;
        stage.apply(&task_of("queued", "one-at-a-time", "succeed")).await;
        stage.phase("queued", Phase::Queued).await;
        stage.apply(&task_of("last", "one-at-a-time", "succeed")).await;
        stage.phase("last", Phase::Queued).await;
        for name in ["waits", "queued", "runs"] {
            stage.delete_task(name).await;
            stage.gone(Kind::Task, name).await;
        }
        stage.phase("last", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn between_each_two_steps_of_its_launch() {
    // the launch stops before this write, for ever
    for (verb, path) in
        [("POST", "/configmaps"), ("POST", "/pods"), ("PATCH", "/status"), ("PATCH", "/pods/")]
    {
        scenario(async |stage| {
            stage.apply(TEAM).await;
            let faults = Faults::by(move |moment: &Moment<'_>| {
                (moment.verb == verb && moment.path.contains(path)).then_some(Fault::Unavailable)
            });
            let operator = stage.operator_with(&faults);
            stage.apply(&task_of("fix", "default", "succeed")).await;
            stage.until_task("fix", "is claimed", |task| task.metadata.finalizers.is_some()).await;
            faults.strike().await;
            stage.delete_task("fix").await;
            stage.gone(Kind::Task, "fix").await;
            stage
                .until("its Pod is gone", |history| history.all(Kind::Pod).next().is_none().then_some(()))
                .await;
            operator.stop().await;
            assert!(
                stage.record.history().revisions(Kind::Pod).all(|pod| pod.is_gated()),
                "nothing ever ran"
            );
        })
        .await;
    }
}

#[tokio::test]
async fn while_it_runs_and_after_its_end() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        for (name, agent_does, phase) in
            [("runs", "run-on", Phase::Running), ("done", "succeed", Phase::Completed)]
        {
            stage.apply(&task_of(name, "default", agent_does)).await;
            stage.phase(name, phase).await;
            stage.delete_task(name).await;
            stage.gone(Kind::Task, name).await;
            stage.gone(Kind::Pod, &format!("{name}-pod")).await;
            stage.gone(Kind::ConfigMap, &format!("{name}-context")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn while_no_operator_is_there() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let operator = stage.operator();
        stage.apply(&task_of("fix", "default", "run-on")).await;
        stage.phase("fix", Phase::Running).await;
        operator.crash().await;
        stage.delete_task("fix").await;
        stage
            .until_task("fix", "waits for the operator", |task| task.metadata.deletion_timestamp.is_some())
            .await;
        let _operator = stage.operator();
        stage.gone(Kind::Task, "fix").await;
        stage.gone(Kind::Pod, "fix-pod").await;
    })
    .await;
}

#[tokio::test]
async fn the_next_one_of_its_name_starts_anew() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        stage.apply(&task_of("fix", "default", "run-on")).await;
        let first = stage.phase("fix", Phase::Running).await;
        stage.delete_task("fix").await;
        stage.gone(Kind::Task, "fix").await;
        stage.apply(&task_of("fix", "default", "succeed")).await;
        let second = stage.phase("fix", Phase::Completed).await;
        assert_ne!(status(&first).pod_uid, status(&second).pod_uid);
        assert_eq!(status(&second).pod_name.as_deref(), Some("fix-pod"));
        assert_eq!(pods_of(&stage.record.history(), &second).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_outlived_its_task_is_waited_for_by_the_next_one() {
    scenario(async |stage| {
        stage.tolerate("I4: Task fix went");
        stage.apply(TEAM).await;
        let operator = stage.operator();
        stage.apply(&task_of("fix", "default", "run-on")).await;
        let first = stage.phase("fix", Phase::Running).await;
        operator.crash().await;
        // somebody takes the finalizer off by hand
        stage
            .tasks()
            .patch("fix", &PatchParams::default(), &Patch::Merge(&json!({"metadata": {"finalizers": null}})))
            .await
            .unwrap();
        stage.delete_task("fix").await;
        stage.gone(Kind::Task, "fix").await;
        stage.apply(&task_of("fix", "default", "succeed")).await;
        let _operator = stage.operator();
        let second = stage.phase("fix", Phase::Completed).await;
        assert_eq!(
            status(&second).pod_name.as_deref(),
            Some("fix-pod"),
            "never beside the old one under another name"
        );
        let history = stage.record.history();
        let old = status(&first).pod_uid.as_deref().unwrap();
        let old_gone = history.revisions(Kind::Pod).find(|pod| pod.gone && pod.uid() == old).unwrap().version;
        let born = pods_of(&history, &second)[0].version;
        assert!(old_gone < born);
    })
    .await;
}
