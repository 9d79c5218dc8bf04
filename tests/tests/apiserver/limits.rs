//! Limits of an Agent: never exceeded, and nobody is passed over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{agent, status, task, words};
use kubeopencode_tests::record::{History, Kind};
use serde_json::json;

use crate::quota::{a_runs_and_b_waits, waits_for_quota, who_is_next_misses_something};
use crate::{in_phase, scenario, until_in_phase};

/// The Tasks in the order in which they were admitted; those of one write in the order of the list.
fn admitted(history: &History) -> Vec<String> {
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    for agent in history.revisions(Kind::Agent) {
        for entry in agent.list("/status/admitted") {
            if seen.insert(entry["taskUID"].as_str().unwrap().to_owned()) {
                order.push(entry["taskName"].as_str().unwrap().to_owned());
            }
        }
    }
    order
}

#[tokio::test]
async fn fifty_that_queue_for_three_slots_run_in_the_order_of_their_arrival() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(3)).await;
        let _operator = ns.operator();
        ns.create_many(task("first").does("run-on"), 3).await;
        for i in 0..3 {
            ns.phase(&format!("first-{i}"), Phase::Running).await;
        }
        ns.create_many(task("burst"), 50).await;
        ns.until("fifty Tasks are Queued", |history| (in_phase(history, "Queued") == 50).then_some(())).await;
        for i in 0..3 {
            ns.stop_task(&format!("first-{i}")).await;
        }
        until_in_phase(ns, "Completed", 53).await;
        let history = ns.record.history();
        let mut arrived: Vec<(String, String)> = history
            .all(Kind::Task)
            .filter(|task| task.name().starts_with("burst"))
            .map(|task| (task.text("/metadata/creationTimestamp").to_owned(), task.name().to_owned()))
            .collect();
        arrived.sort();
        let arrived: Vec<String> = arrived.into_iter().map(|(_, name)| name).collect();
        assert_eq!(admitted(&history)[3..], arrived);
    })
    .await;
}

#[tokio::test]
async fn who_came_first_starts_first_also_when_the_operator_comes_later() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1)).await;
        ns.apply(task("z-first")).await;
        let created =
            async |name: &str| ns.tasks().get(name).await.unwrap().metadata.creation_timestamp.unwrap();
        let first = created("z-first").await;
        // the API server counts arrival in whole seconds
        loop {
            ns.apply(task("a-second")).await;
            if created("a-second").await.0 > first.0 {
                break;
            }
            ns.delete_task("a-second").await;
        }
        ns.create_many(task("m"), 80).await;
        let _operator = ns.operator();
        until_in_phase(ns, "Completed", 82).await;
        assert_eq!(admitted(&ns.record.history())[0], "z-first");
    })
    .await;
}

#[tokio::test]
async fn a_burst_that_meets_a_running_operator_completes_too() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(3)).await;
        let _operator = ns.operator();
        ns.create_many(task("burst"), 50).await;
        until_in_phase(ns, "Completed", 50).await;
        ns.until("all slots are given back", |history| {
            history.get(Kind::Agent, "default")?.list("/status/admitted").is_empty().then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_queued_task_says_for_what_it_waits_and_where_it_stands() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1)).await;
        let _operator = ns.operator();
        ns.runs(task("a")).await;
        for (position, name) in (1..).zip(["b", "c", "d"]) {
            ns.apply(task(name)).await;
            let queued = ns.phase(name, Phase::Queued).await;
            assert_eq!(
                words(&queued, "Queued"),
                ("True", "AgentAtCapacity", "Waiting for agent \"default\" capacity (max: 1)")
            );
            assert_eq!(status(&queued).queue_position, Some(position));
            assert_eq!(status(&queued).agent_ref.as_ref().map(|agent| agent.name.as_str()), Some("default"));
        }
        ns.delete_task("b").await;
        let moved_up = |task: &Task| task.status.as_ref().and_then(|status| status.queue_position) == Some(1);
        ns.until_task("c", "moves up", moved_up).await;
        ns.delete_task("a").await;
        let done = ns.phase("d", Phase::Completed).await;
        assert_eq!(
            words(&done, "Queued"),
            ("False", "CapacityAvailable", "Agent \"default\" capacity now available")
        );
        assert_eq!(status(&done).queue_position, None);
    })
    .await;
}

#[tokio::test]
async fn zero_is_no_limit() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(0)).await;
        let _operator = ns.operator();
        ns.create_many(task("t").does("run-on"), 5).await;
        for i in 0..5 {
            let running = ns.phase(&format!("t-{i}"), Phase::Running).await;
            assert_eq!(
                words(&running, "Queued"),
                ("False", "NoLimits", "Agent \"default\" has no capacity or quota limits")
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_mode_agent_has_limits_and_resources_too() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(
            agent("default")
                .at_once(1)
                .quota(2, 3600)
                .spec("serverConfig: {}, podSpec: {resources: {requests: {memory: 512Mi, cpu: 500m}}}"),
        )
        .await;
        let _operator = ns.operator();
        a_runs_and_b_waits(ns).await;
        let api = ns.api::<k8s_openapi::api::apps::v1::Deployment>();
        let is_there = |there: Option<&k8s_openapi::api::apps::v1::Deployment>| there.is_some();
        kube::runtime::wait::await_condition(api.clone(), "default-server", is_there).await.unwrap();
        let server = api.get("default-server").await.unwrap().spec.unwrap().template.spec.unwrap();
        let pod = ns.pods().get("a-pod").await.unwrap().spec.unwrap();
        for container in [&server.containers[0], &pod.containers[0]] {
            let requests = container.resources.as_ref().unwrap().requests.as_ref().unwrap();
            assert_eq!((requests["memory"].0.as_str(), requests["cpu"].0.as_str()), ("512Mi", "500m"));
        }
        ns.stop_task("a").await;
        ns.phase("b", Phase::Running).await;
        ns.stop_task("b").await;
        ns.apply(task("c")).await;
        ns.until_task("c", "waits for the quota", waits_for_quota).await;
    })
    .await;
}

#[tokio::test]
async fn a_raised_limit_lets_the_next_ones_in() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1)).await;
        let _operator = ns.operator();
        ns.create_many(task("t").does("run-on"), 3).await;
        ns.until("one runs, two wait", |history| {
            (in_phase(history, "Running") == 1 && in_phase(history, "Queued") == 2).then_some(())
        })
        .await;
        ns.apply(agent("default").at_once(3)).await;
        ns.until("three run", |history| (in_phase(history, "Running") == 3).then_some(())).await;
    })
    .await;
}

#[tokio::test]
async fn a_suspended_agent_lets_nobody_start_and_what_runs_goes_on() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default")).await;
        let operator = ns.operator();
        ns.runs(task("before")).await;
        ns.apply(agent("default").spec("suspend: true")).await;
        ns.apply(task("during")).await;
        let queued = ns.phase("during", Phase::Queued).await;
        let words = words(&queued, "Queued");
        assert_eq!(
            words,
            ("True", "AgentSuspended", "Waiting until spec.suspend of agent \"default\" is false")
        );
        // an end frees no start
        ns.stop_task("before").await;
        ns.phase("before", Phase::Completed).await;
        operator.stop().await;
        let _next = ns.operator();
        ns.apply(task("later")).await;
        ns.phase("later", Phase::Queued).await;
        assert!(status(&ns.tasks().get("during").await.unwrap()).pod_uid.is_none());
        ns.apply(agent("default").spec("suspend: false")).await;
        ns.phase("during", Phase::Completed).await;
        ns.phase("later", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_queued_task_is_found_by_its_agents_label() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.runs(task("first").agent("one-at-a-time")).await;
        ns.apply(task("second").agent("one-at-a-time")).await;
        ns.phase("second", Phase::Queued).await;
        ns.until_task("second", "has the label", |task| {
            task.labels().get("kubeopencode.io/agent").is_some_and(|agent| agent == "one-at-a-time")
        })
        .await;
        ns.stop_task("first").await;
        ns.phase("second", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_task_says_that_its_agent_leaves_no_room_for_its_status() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1)).await;
        let is_full = Arc::new(AtomicBool::new(true));
        let no_room = Faults::while_set(&is_full, ("PATCH", "/agents/default/status"), Fault::TooLarge);
        let _operator = ns.operator_with(&no_room);
        ns.apply(task("fix")).await;
        let waits = ns.until_task("fix", "says what it waits for", |task| task.status.is_some()).await;
        let (is, reason, message) = words(&waits, "Accepted");
        assert_eq!(
            (is, reason, status(&waits).phase),
            ("Unknown", "WaitingForDependency", Some(Phase::Pending))
        );
        let named = format!("Agent \"{}/default\" is too large: it leaves no room for its status", ns.name);
        assert!(message.starts_with(&named), "{message}");
        is_full.store(false, Ordering::Relaxed);
        // whoever makes the Agent smaller changes its spec
        ns.apply(agent("default").at_once(2)).await;
        ns.phase("fix", Phase::Completed).await;
    })
    .await;
}

/// Waits until these hold the Agent's slots.
async fn until_admitted(ns: &TestNamespace, agent: &str, names: &[&str]) {
    let names: BTreeSet<_> = names.iter().copied().collect();
    ns.until(&format!("{names:?} hold the slots of {agent}"), |history| {
        let admitted = history.get(Kind::Agent, agent)?.list("/status/admitted").to_vec();
        let holders: BTreeSet<_> = admitted.iter().filter_map(|entry| entry["taskName"].as_str()).collect();
        (holders == names).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_becomes_limited_counts_who_runs() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(0)).await;
        let _operator = ns.operator();
        ns.create_many(task("t").does("run-on"), 3).await;
        for i in 0..3 {
            ns.agent_runs(&format!("t-{i}-pod")).await;
        }
        ns.apply(agent("default").at_once(2)).await;
        until_admitted(ns, "default", &["t-0", "t-1", "t-2"]).await;
        ns.apply(task("next").does("run-on")).await;
        ns.phase("next", Phase::Queued).await;
        ns.stop_task("t-0").await;
        until_admitted(ns, "default", &["t-1", "t-2"]).await;
        ns.stop_task("t-1").await;
        until_admitted(ns, "default", &["t-2", "next"]).await;
        ns.phase("next", Phase::Running).await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_made_again_counts_who_runs_and_started() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let limits = "maxConcurrentTasks: 2, quota: {maxTaskStarts: 3, windowSeconds: 3600}";
        ns.apply(agent("default").spec(limits)).await;
        let _operator = ns.operator();
        ns.create_many(task("runs").does("run-on"), 2).await;
        // a Task is Running a moment before its Pod is let go, which is to be while its slot is written down
        for pod in ["runs-0-pod", "runs-1-pod"] {
            ns.agent_runs(pod).await;
        }
        ns.api::<Agent>().delete("default", &DeleteParams::default()).await.unwrap();
        ns.gone(Kind::Agent, "default").await;
        ns.apply(agent("default").spec(limits)).await;
        until_admitted(ns, "default", &["runs-0", "runs-1"]).await;
        ns.apply(task("third")).await;
        assert_eq!(words(&ns.phase("third", Phase::Queued).await, "Queued").1, "AgentAtCapacity");
        ns.stop_task("runs-0").await;
        ns.phase("third", Phase::Completed).await;
        ns.apply(task("fourth")).await;
        ns.until_task("fourth", "waits for the quota", waits_for_quota).await;
    })
    .await;
}

#[tokio::test]
async fn a_task_that_goes_to_another_agent_leaves_the_line() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1)).await;
        ns.apply(agent("other").at_once(1)).await;
        let _operator = ns.operator();
        ns.runs(task("first")).await;
        ns.apply(task("moves").does("run-on")).await;
        ns.phase("moves", Phase::Queued).await;
        let elsewhere = Patch::Merge(json!({"spec": {"agentRef": "other"}}));
        ns.tasks().patch("moves", &PatchParams::default(), &elsewhere).await.unwrap();
        ns.phase("moves", Phase::Running).await;
        until_admitted(ns, "other", &["moves"]).await;
        ns.stop_task("first").await;
        ns.phase("first", Phase::Completed).await;
        ns.apply(task("last")).await;
        ns.phase("last", Phase::Completed).await;
        let history = ns.record.history();
        let of_default = history.revisions(Kind::Agent).filter(|agent| agent.name() == "default");
        for agent in of_default {
            let holders = agent.list("/status/admitted");
            assert!(holders.iter().all(|entry| entry["taskName"] != "moves"), "{holders:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn whose_turn_came_and_who_misses_something_says_that_and_not_his_place() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1)).await;
        let _operator = ns.operator();
        who_is_next_misses_something(ns).await;
        let waits = ns
            .until_task("next", "waits for the ConfigMap", |task| {
                status(task)
                    .message
                    .as_deref()
                    .is_some_and(|words| words.contains("ConfigMap rules not found"))
            })
            .await;
        assert_eq!((status(&waits).phase, status(&waits).queue_position), (Some(Phase::Queued), None));
    })
    .await;
}

#[tokio::test]
async fn a_full_resource_quota_gives_the_slot_to_others_and_keeps_the_place() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(5)).await;
        ns.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: small}, spec: {hard: {pods: 1}}}")
            .await;
        ns.quota_is_in_force("small").await;
        let _operator = ns.operator();
        ns.runs(task("a")).await;
        ns.apply(task("b")).await;
        let queued = ns.phase("b", Phase::Queued).await;
        let (is, reason, message) = words(&queued, "Queued");
        assert_eq!((is, reason), ("True", "NamespaceQuotaExceeded"));
        assert!(message.contains("exceeded quota: small"), "{message}");
        ns.until("the slot of b is given up", |history| {
            let admitted = history.get(Kind::Agent, "default")?.list("/status/admitted");
            (admitted.len() == 1 && admitted[0]["taskName"] == "a").then_some(())
        })
        .await;
        let roomy = json!({"spec": {"hard": {"pods": "5"}}});
        let quotas = ns.api::<k8s_openapi::api::core::v1::ResourceQuota>();
        quotas.patch("small", &PatchParams::default(), &Patch::Merge(&roomy)).await.unwrap();
        ns.phase("b", Phase::Completed).await;
        quotas.delete("small", &DeleteParams::default()).await.unwrap();
    })
    .await;
}
