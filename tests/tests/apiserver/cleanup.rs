//! Finished Tasks go by age and by number, and nothing else does.

use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::literals::FINALIZER;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::audit::AuditLog;
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{Builder, config, task};
use kubeopencode_tests::record::Kind;
use serde_json::json;

use crate::scenario;

fn cleanup(rules: &str) -> Builder<KubeOpenCodeConfig> {
    config(&format!("cleanup: {rules}"))
}

async fn tasks_are(ns: &TestNamespace, names: &[&str]) {
    ns.until(&format!("the Tasks are {names:?}"), |history| {
        let mut there: Vec<_> = history.all(Kind::Task).map(|task| task.name().to_owned()).collect();
        there.sort();
        (there == names).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_finished_task_goes_with_its_pod_when_its_time_is_over_and_a_running_one_stays() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(cleanup("{ttlSecondsAfterFinished: 2}")).await;
        let _operator = ns.operator();
        ns.apply(task("runs").does("run-on")).await;
        ns.apply(task("good")).await;
        ns.apply(task("bad").does("fail")).await;
        let good = ns.phase("good", Phase::Completed).await;
        let bad = ns.phase("bad", Phase::Failed).await;
        tasks_are(ns, &["runs"]).await;
        ns.gone(Kind::Pod, "good-pod").await;
        ns.gone(Kind::Pod, "bad-pod").await;
        let history = ns.record.history();
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
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        for name in ["d", "c", "b", "a"] {
            ns.apply(task(name)).await;
            ns.phase(name, Phase::Completed).await;
        }
        operator.stop().await;
        let mut ends: Vec<_> = {
            let history = ns.record.history();
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
        let _operator = ns.operator();
        ns.apply(cleanup("{maxRetainedTasks: 2}")).await;
        tasks_are(ns, &last).await;
        ns.apply(cleanup("{maxRetainedTasks: 2, ttlSecondsAfterFinished: 0}")).await;
        tasks_are(ns, &[]).await;
    })
    .await;
}

#[tokio::test]
async fn five_thousand_finished_tasks_go_without_a_read_for_each() {
    const COUNT: usize = 5000;
    scenario(async |ns| {
        let over = task("done").set("/metadata/finalizers", json!([FINALIZER]));
        ns.create_many(over, COUNT).await;
        ns.end_tasks("done", COUNT).await;
        ns.apply(cleanup("{ttlSecondsAfterFinished: 0}")).await;
        let tasks = ns.record.history().all(Kind::Task).map(|task| task.uid().to_owned()).collect();
        let mark = ns.cluster.audit.mark();
        let _operator = ns.operator();
        for left in (0..COUNT).step_by(500).rev() {
            ns.until(&format!("{left} are left"), |history| {
                (history.all(Kind::Task).count() <= left).then_some(())
            })
            .await;
        }
        let reads = ns.cluster.audit.reads_since(mark, &ns.name);
        eprintln!("reads for {COUNT} Tasks: {:?}", AuditLog::count(&reads));
        assert!(reads.len() < COUNT / 100, "{:#?}", AuditLog::count(&reads));
        assert_eq!(ns.cluster.audit.searches_since(mark, &tasks), 0, "nobody searched for their Pods");
    })
    .await;
}
