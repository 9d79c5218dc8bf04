//! Finished Tasks go by age and by number, and nothing else does.

use kubeopencode_api::literals::FINALIZER;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::audit::AuditLog;
use kubeopencode_tests::record::Kind;
use kubeopencode_tests::stage::{Stage, TEAM};
use serde_json::{Value, json};

use crate::{scenario, task};

fn cleanup(rules: &str) -> String {
    format!(
        "{{apiVersion: kubeopencode.io/v1alpha1, kind: KubeOpenCodeConfig, metadata: {{name: default}}, spec: {{cleanup: {rules}}}}}"
    )
}

async fn tasks_are(stage: &Stage, names: &[&str]) {
    stage
        .until(&format!("the Tasks are {names:?}"), |history| {
            let mut there: Vec<_> = history.all(Kind::Task).map(|task| task.name().to_owned()).collect();
            there.sort();
            (there == names).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_finished_task_goes_with_its_pod_when_its_time_is_over_and_a_running_one_stays() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&cleanup("{ttlSecondsAfterFinished: 2}")).await;
        let _operator = stage.operator();
        stage.apply(&task("runs", "run-on")).await;
        stage.apply(&task("good", "succeed")).await;
        stage.apply(&task("bad", "fail")).await;
        let good = stage.phase("good", Phase::Completed).await;
        let bad = stage.phase("bad", Phase::Failed).await;
        tasks_are(stage, &["runs"]).await;
        stage.gone(Kind::Pod, "good-pod").await;
        stage.gone(Kind::Pod, "bad-pod").await;
        let history = stage.record.history();
        for task in [good, bad] {
            let name = task.metadata.name.as_deref().unwrap();
            let ended = task.status.as_ref().unwrap().completion_time.as_ref().unwrap().0;
            let deleted = history
                .revisions(Kind::Task)
                .filter(|revision| revision.name() == name)
                .find_map(|revision| {
                    revision.text("/metadata/deletionTimestamp").parse::<jiff::Timestamp>().ok()
                })
                .unwrap();
            assert!(deleted >= ended + jiff::SignedDuration::from_secs(2), "{name}: {ended} {deleted}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_last_to_end_are_retained_also_when_the_rule_comes_later() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let operator = stage.operator();
        for name in ["d", "c", "b", "a"] {
            stage.apply(&task(name, "succeed")).await;
            stage.phase(name, Phase::Completed).await;
        }
        operator.stop().await;
        let mut ends: Vec<_> = {
            let history = stage.record.history();
            let end = |task: &std::sync::Arc<kubeopencode_tests::record::Revision>| {
                (
                    task.text("/status/completionTime").to_owned(),
                    task.text("/metadata/creationTimestamp").to_owned(),
                    task.name().to_owned(),
                )
            };
            history.all(Kind::Task).map(end).collect()
        };
        ends.sort();
        let mut last: Vec<_> = ends[2..].iter().map(|(_, _, name)| name.as_str()).collect();
        last.sort_unstable();
        let _operator = stage.operator();
        stage.apply(&cleanup("{maxRetainedTasks: 2}")).await;
        tasks_are(stage, &last).await;
        stage.apply(&cleanup("{maxRetainedTasks: 2, ttlSecondsAfterFinished: 0}")).await;
        tasks_are(stage, &[]).await;
    })
    .await;
}

#[tokio::test]
async fn five_thousand_finished_tasks_go_without_a_read_for_each() {
    const COUNT: usize = 5000;
    scenario(async |stage| {
        let mut over: Value = serde_norway::from_str(&task("done", "succeed")).unwrap();
        over["metadata"]["finalizers"] = json!([FINALIZER]);
        stage.create_tasks(&over.to_string(), COUNT).await;
        stage.end_tasks("done", COUNT).await;
        stage.apply(&cleanup("{ttlSecondsAfterFinished: 0}")).await;
        let tasks = stage.record.history().all(Kind::Task).map(|task| task.uid().to_owned()).collect();
        let mark = stage.cluster.audit.mark();
        let _operator = stage.operator();
        for left in (0..COUNT).step_by(500).rev() {
            stage
                .until(&format!("{left} are left"), |history| {
                    (history.all(Kind::Task).count() <= left).then_some(())
                })
                .await;
        }
        let reads = stage.cluster.audit.reads_since(mark, &stage.namespace);
        eprintln!("reads for {COUNT} Tasks: {:?}", AuditLog::count(&reads));
        assert!(reads.len() < COUNT / 100, "{:#?}", AuditLog::count(&reads));
        assert_eq!(stage.cluster.audit.searches_since(mark, &tasks), 0, "nobody searched for their Pods");
    })
    .await;
}
