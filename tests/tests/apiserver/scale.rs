//! Many Tasks at once, while operators come, go and are killed. The invariants of the record say the rest.

use std::collections::{BTreeMap, BTreeSet};

use kubeopencode_api::task::Phase;
use kubeopencode_tests::audit::AuditLog;
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::{agent, task};
use kubeopencode_tests::record::{History, Kind};

use crate::{scenario, until_in_phase};

/// The highest number of Pods that could run at once, and of Pods that one Task ever had without their gate.
fn highest(history: &History) -> (usize, usize) {
    let (mut running, mut of_task) = (BTreeSet::new(), BTreeMap::<String, BTreeSet<String>>::new());
    let mut most = 0;
    let mut pods: Vec<_> = history.revisions(Kind::Pod).collect();
    pods.sort_by_key(|pod| pod.version);
    for pod in pods {
        let over = matches!(pod.text("/status/phase"), "Succeeded" | "Failed");
        if pod.gone || over {
            running.remove(pod.uid());
        } else if !pod.is_gated() {
            running.insert(pod.uid().to_owned());
            of_task
                .entry(pod.label("kubeopencode.io/task-uid").to_owned())
                .or_default()
                .insert(pod.uid().to_owned());
        }
        most = most.max(running.len());
    }
    (most, of_task.values().map(BTreeSet::len).max().unwrap_or(0))
}

#[tokio::test]
async fn a_burst_of_five_hundred_on_seven_slots_with_two_operators_and_a_restart() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(7)).await;
        let (first, second) = (ns.operator(), ns.operator());
        ns.create_many(task("burst"), 500).await;
        until_in_phase(ns, "Completed", 100).await;
        first.crash().await;
        let third = ns.operator();
        until_in_phase(ns, "Completed", 250).await;
        second.stop().await;
        until_in_phase(ns, "Completed", 500).await;
        third.stop().await;
        let (most, of_one_task) = highest(&ns.record.history());
        eprintln!("a burst of 500 on a limit of 7: at most {most} Pods at once, {of_one_task} of one Task");
        assert_eq!((most, of_one_task), (7, 1));
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_killed_twenty_times_runs_two_hundred_tasks_once_each() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(12)).await;
        let mut operator = ns.operator();
        ns.create_many(task("kill"), 200).await;
        for kill in 1..=20 {
            until_in_phase(ns, "Completed", kill * 9).await;
            operator.crash().await;
            operator = ns.operator();
        }
        until_in_phase(ns, "Completed", 200).await;
        operator.stop().await;
        let (most, of_one_task) = highest(&ns.record.history());
        let writes = ns.writes();
        eprintln!(
            "20 kills during 200 Tasks: at most {most} Pods at once, {of_one_task} of one Task, {} writes: {:#?}",
            writes.len(),
            AuditLog::count(&writes)
        );
        assert_eq!(of_one_task, 1);
        assert!(most <= 12);
    })
    .await;
}

#[tokio::test]
async fn a_restart_among_a_thousand_running_tasks_loses_and_repeats_nothing() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        ns.create_many(task("runs").does("run-on"), 1000).await;
        until_in_phase(ns, "Running", 1000).await;
        ns.until("every Task knows that its agent started", |history| {
            let started =
                history.all(Kind::Task).filter(|task| !task.text("/status/agentStarted").is_empty());
            (started.count() == 1000).then_some(())
        })
        .await;
        operator.stop().await;
        let pods_of_tasks = || {
            let history = ns.record.history();
            let of_task = |task: &std::sync::Arc<kubeopencode_tests::record::Revision>| {
                (task.name().to_owned(), task.text("/status/podUID").to_owned())
            };
            history
                .all(Kind::Task)
                .filter(|task| task.name().starts_with("runs"))
                .map(of_task)
                .collect::<BTreeMap<_, _>>()
        };
        let before = pods_of_tasks();
        let mark = ns.cluster.audit.mark();
        let operator = ns.operator();
        ns.apply(task("next")).await;
        ns.phase("next", Phase::Completed).await;
        operator.stop().await;
        assert_eq!(pods_of_tasks(), before);
        let repeated: Vec<_> = ns
            .cluster
            .audit
            .writes_since(mark, &ns.name)
            .into_iter()
            .filter(|write| write.name().starts_with("runs"))
            .collect();
        assert!(repeated.is_empty(), "{:#?}", AuditLog::count(&repeated));
        assert_eq!(highest(&ns.record.history()).1, 1);
    })
    .await;
}
