//! Tasks that vanish, or go to another Agent, while they wait for a slot or have one: they hold up nobody, and cost no start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::api::{Patch, PatchParams};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::faults::{Fault, Faults, Moment};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{agent, config_map, status, task};
use kubeopencode_tests::record::Kind;
use serde_json::json;

use crate::scenario;

/// The Tasks that ever held a slot of the Agent `default`, or had a start of it.
fn ever_counted(ns: &TestNamespace) -> BTreeSet<String> {
    let history = ns.record.history();
    let agents = history.revisions(Kind::Agent).filter(|agent| agent.name() == "default");
    let entries = agents.flat_map(|agent| {
        ["/status/admitted", "/status/taskStartHistory"].map(|list| agent.list(list).to_vec()).concat()
    });
    entries.map(|entry| entry["taskName"].as_str().unwrap().to_owned()).collect()
}

/// Waits until a start is counted: a Task is admitted, whether it has a Pod or not.
async fn until_counted(ns: &TestNamespace) {
    ns.until("it is admitted", |history| {
        let agent = history.get(Kind::Agent, "default")?;
        (agent.list("/status/taskStartHistory").len() == 1).then_some(())
    })
    .await;
}

/// One runs and ends, the other waits for it and then runs: on an Agent with a slot and two starts.
async fn the_second_follows_the_first(ns: &TestNamespace) {
    ns.apply(task("second")).await;
    let queued = ns.phase("second", Phase::Queued).await;
    assert_eq!(status(&queued).queue_position, Some(1), "nobody else waits");
    ns.stop_task("first").await;
    ns.phase("second", Phase::Completed).await;
    assert_eq!(ever_counted(ns), ["first", "second"].map(str::to_owned).into());
}

#[tokio::test]
async fn who_is_deleted_while_it_is_evaluated_stands_in_no_line() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1).quota(2, 3600)).await;
        ns.apply(config_map("rules", &[("a.md", "be kind")])).await;
        let faults = Faults::always(("GET", "/configmaps/rules"), Fault::Held);
        let _operator = ns.operator_with(&faults);
        ns.runs(task("first")).await;
        ns.apply(task("ghost").spec("contexts: [{type: ConfigMap, configMap: {name: rules}}]")).await;
        faults.until_struck().await;
        ns.delete_task("ghost").await;
        ns.gone(Kind::Task, "ghost").await;
        // the watch of Tasks has shown the deletion when it has shown what came later
        ns.apply(task("later").agent("one-at-a-time")).await;
        ns.phase("later", Phase::Completed).await;
        faults.let_go();
        the_second_follows_the_first(ns).await;
    })
    .await;
}

#[tokio::test]
async fn who_is_deleted_while_nobody_watches_stands_in_no_line() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1).quota(2, 3600)).await;
        let nobody_watches = Arc::new(AtomicBool::new(false));
        let armed = Arc::clone(&nobody_watches);
        let faults = Faults::by(move |moment: &Moment<'_>| {
            let of_tasks = moment.verb == "WATCH" && moment.path.ends_with("/tasks");
            (of_tasks && armed.swap(false, Ordering::Relaxed)).then_some(Fault::WatchGone)
        });
        let _operator = ns.operator_with(&faults);
        ns.apply(task("first").does("run-on")).await;
        ns.agent_runs("first-pod").await;
        ns.apply(task("ghost")).await;
        ns.phase("ghost", Phase::Queued).await;
        nobody_watches.store(true, Ordering::Relaxed);
        ns.delete_task("ghost").await;
        faults.until_struck().await;
        the_second_follows_the_first(ns).await;
    })
    .await;
}

#[tokio::test]
async fn who_was_admitted_and_never_launched_gives_its_start_back() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1).quota(1, 3600)).await;
        let refuse = Arc::new(AtomicBool::new(true));
        let faults = Faults::while_set(&refuse, ("POST", "/pods"), Fault::Unavailable);
        let _operator = ns.operator_with(&faults);
        ns.apply(task("doomed")).await;
        faults.until_struck().await;
        until_counted(ns).await;
        ns.delete_task("doomed").await;
        ns.gone(Kind::Task, "doomed").await;
        refuse.store(false, Ordering::Relaxed);
        ns.apply(task("next")).await;
        ns.phase("next", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn who_was_admitted_and_then_went_to_another_agent_gives_slot_and_start_back() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1).quota(2, 3600)).await;
        ns.apply(agent("other").at_once(1)).await;
        let refuse = Arc::new(AtomicBool::new(true));
        let faults = Faults::while_set(&refuse, ("POST", "/pods"), Fault::Unavailable);
        let _operator = ns.operator_with(&faults);
        ns.apply(task("moves").does("run-on")).await;
        faults.until_struck().await;
        until_counted(ns).await;
        let elsewhere = Patch::Merge(json!({"spec": {"agentRef": "other"}}));
        ns.tasks().patch("moves", &PatchParams::default(), &elsewhere).await.unwrap();
        refuse.store(false, Ordering::Relaxed);
        let moved = ns.phase("moves", Phase::Running).await;
        assert_eq!(status(&moved).agent_ref.as_ref().unwrap().name, "other");
        ns.apply(task("next")).await;
        ns.phase("next", Phase::Completed).await;
        let default = ns.agents().get("default").await.unwrap().status.unwrap();
        let starts: Vec<_> =
            default.task_start_history.iter().map(|start| start.task_name.as_str()).collect();
        assert_eq!(starts, ["next"]);
    })
    .await;
}
