//! The quota of an Agent: each start is counted once, and who is refused costs none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{agent, config, config_map, status, task, words};
use kubeopencode_tests::record::{History, Kind};
use serde_json::json;

use crate::scenario;

/// Whether a Task says that the quota of its Agent holds it up.
pub(crate) fn waits_for_quota(task: &Task) -> bool {
    task.status.as_ref().is_some_and(|status| status.reason.as_deref() == Some("QuotaExceeded"))
}

/// The Task `a` runs, and `b` waits for its slot.
pub(crate) async fn a_runs_and_b_waits(ns: &TestNamespace) {
    ns.runs(task("a")).await;
    ns.apply(task("b").does("run-on")).await;
    let queued = ns.phase("b", Phase::Queued).await;
    assert_eq!(words(&queued, "Queued").1, "AgentAtCapacity");
}

/// One Task runs, the other is next, and what that one needs is gone when its turn comes.
pub(crate) async fn who_is_next_misses_something(ns: &TestNamespace) {
    ns.apply(config_map("rules", &[("a.md", "be kind")])).await;
    ns.runs(task("first")).await;
    ns.apply(task("next").spec("contexts: [{type: ConfigMap, configMap: {name: rules}}]")).await;
    ns.phase("next", Phase::Queued).await;
    ns.api::<ConfigMap>().delete("rules", &DeleteParams::default()).await.unwrap();
    ns.stop_task("first").await;
}

/// The Tasks whose starts count for the Agent now.
fn counted(history: &History) -> Vec<&str> {
    let starts = history.get(Kind::Agent, "default").unwrap().list("/status/taskStartHistory");
    starts.iter().map(|start| start["taskName"].as_str().unwrap()).collect()
}

/// The Tasks whose starts the Agent ever counted.
fn starts(history: &History) -> BTreeSet<String> {
    let entries =
        history.revisions(Kind::Agent).flat_map(|agent| agent.list("/status/taskStartHistory").to_vec());
    entries.map(|entry| entry["taskName"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_quota_counts_starts_and_capacity_is_named_first() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1).quota(2, 60)).await;
        let _operator = ns.operator();
        a_runs_and_b_waits(ns).await;
        ns.stop_task("a").await;
        ns.phase("b", Phase::Running).await;
        ns.stop_task("b").await;
        ns.phase("b", Phase::Completed).await;
        ns.apply(task("c")).await;
        // the slot of b is free a moment after its end
        let queued = ns.until_task("c", "waits for the quota", waits_for_quota).await;
        {
            let history = ns.record.history();
            assert_eq!(counted(&history), ["a", "b"]);
            let starts = history.get(Kind::Agent, "default").unwrap().list("/status/taskStartHistory");
            // written in whole seconds, and counted to the end of the last one
            let first: jiff::Timestamp = starts[0]["startTime"].as_str().unwrap().parse().unwrap();
            let next = first + jiff::SignedDuration::from_secs(61);
            let message =
                format!("Waiting for agent \"default\" quota (max: 2 per 60s); the next start is at {next}");
            assert_eq!(words(&queued, "Queued"), ("True", "QuotaExceeded", message.as_str()));
        }
        ns.apply(agent("default").at_once(1).quota(3, 60)).await;
        ns.phase("c", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_start_that_another_operator_counted_is_not_overwritten() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").quota(1, 3600)).await;
        // what it knows of Agents stays what it was until the other one counted
        let is_up = Arc::new(AtomicBool::new(false));
        let behind = Faults::while_set(&is_up, ("WATCH", "/agents"), Fault::Held);
        let _operator = ns.operator_with(&behind);
        ns.apply(task("is-up").agent("one-at-a-time")).await;
        ns.phase("is-up", Phase::Completed).await;
        is_up.store(true, Ordering::Relaxed);
        let start = json!({
            "taskUID": "elsewhere", "taskNamespace": ns.name, "taskName": "elsewhere",
            "startTime": jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
        });
        let counted = Patch::Merge(json!({"status": {"taskStartHistory": [start]}}));
        ns.agents().patch_status("default", &PatchParams::default(), &counted).await.unwrap();
        ns.apply(task("next")).await;
        let queued = ns.phase("next", Phase::Queued).await;
        assert_eq!(words(&queued, "Queued").1, "QuotaExceeded");
        let history = ns.record.history();
        let starts = history.get(Kind::Agent, "default").unwrap().list("/status/taskStartHistory");
        assert_eq!(starts, [start]);
    })
    .await;
}

#[tokio::test]
async fn the_quotas_window_opens_by_itself() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").quota(1, 3600)).await;
        ns.apply(task("before")).await;
        // started most of a minute ago, and over
        let now = jiff::Timestamp::now();
        let started = now.checked_sub(jiff::SignedDuration::from_secs(50)).unwrap();
        let over = json!({"status": {
            "phase": "Completed", "podUID": "before", "agentRef": {"name": "default", "namespace": ns.name},
            "startTime": started.strftime("%FT%TZ").to_string(), "completionTime": now.strftime("%FT%TZ").to_string(),
        }});
        ns.tasks().patch_status("before", &PatchParams::default(), &Patch::Merge(&over)).await.unwrap();
        let _operator = ns.operator();
        ns.apply(task("next")).await;
        assert_eq!(words(&ns.phase("next", Phase::Queued).await, "Queued").1, "QuotaExceeded");
        // from here on only time passes; how long the machine took so far does not matter
        ns.apply(agent("default").quota(1, 60)).await;
        ns.phase("next", Phase::Completed).await;
        // old starts go with the next one
        assert_eq!(counted(&ns.record.history()), ["next"]);
    })
    .await;
}

#[tokio::test]
async fn a_task_that_can_never_run_is_refused_before_it_asks_for_a_slot() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1).quota(2, 3600)).await;
        let _operator = ns.operator();
        ns.runs(task("first")).await;
        // known from the plan alone, when every context has been evaluated
        let two =
            "contexts: [{type: Text, text: a, mountPath: x.md}, {type: Text, text: b, mountPath: ./x.md}]";
        ns.apply(task("conflict").spec(two)).await;
        let refused = ns.phase("conflict", Phase::Failed).await;
        let (_, reason, message) = words(&refused, "Contexts");
        assert_eq!(reason, "ContextError");
        assert!(message.contains("mount path conflict: \"/workspace/x.md\" is used by both"), "{message}");
        let conditions = &status(&refused).conditions;
        assert!(
            conditions.iter().all(|condition| condition.type_ != "Queued"),
            "it never waited: {conditions:?}"
        );
        ns.stop_task("first").await;
        ns.apply(task("second")).await;
        ns.phase("second", Phase::Completed).await;
        let history = ns.record.history();
        assert_eq!(starts(&history), ["first", "second"].map(str::to_owned).into(), "and it cost no start");
    })
    .await;
}

#[tokio::test]
async fn who_waited_and_then_misses_something_gives_slot_and_start_back() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 1")).await;
        ns.apply(agent("default").at_once(1).quota(2, 3600)).await;
        let _operator = ns.operator();
        who_is_next_misses_something(ns).await;
        let refused = ns.phase("next", Phase::Failed).await;
        assert!(
            words(&refused, "Accepted").2.contains("ConfigMap rules not found")
                || words(&refused, "Contexts").2.contains("ConfigMap rules not found"),
            "{refused:?}"
        );
        ns.apply(task("second")).await;
        ns.phase("second", Phase::Completed).await;
        let last = ns.agents().get("default").await.unwrap().status.unwrap();
        let names: Vec<_> = last.task_start_history.iter().map(|entry| entry.task_name.as_str()).collect();
        assert_eq!(names, ["first", "second"], "its start went back");
    })
    .await;
}

#[tokio::test]
async fn who_is_next_is_told_when_something_else_stands_in_the_way() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1).quota(1, 3600)).await;
        let _operator = ns.operator();
        a_runs_and_b_waits(ns).await;
        ns.stop_task("a").await;
        ns.until_task("b", "waits for the quota", waits_for_quota).await;
    })
    .await;
}
