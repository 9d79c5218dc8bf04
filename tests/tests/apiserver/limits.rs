//! Limits of an Agent: never exceeded, and nobody is passed over.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::record::{History, Kind};
use kubeopencode_tests::stage::{Stage, TEAM};
use serde_json::json;

use crate::{agent, agent_runs, in_phase, scenario, status, task, words};

/// All Tasks have ended well.
async fn all_complete(stage: &Stage, count: usize) {
    let all = |history: &History| (in_phase(history, "Completed") == count).then_some(());
    stage.until(&format!("{count} Tasks are Completed"), all).await;
}

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
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 3")).await;
        let _operator = stage.operator();
        stage.create_tasks(&task("first", "run-on"), 3).await;
        for i in 0..3 {
            stage.phase(&format!("first-{i}"), Phase::Running).await;
        }
        stage.create_tasks(&task("burst", "succeed"), 50).await;
        stage
            .until("fifty Tasks are Queued", |history| (in_phase(history, "Queued") == 50).then_some(()))
            .await;
        for i in 0..3 {
            stage.stop_task(&format!("first-{i}")).await;
        }
        all_complete(stage, 53).await;
        let history = stage.record.history();
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
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 1")).await;
        stage.apply(&task("z-first", "succeed")).await;
        let created =
            async |name: &str| stage.tasks().get(name).await.unwrap().metadata.creation_timestamp.unwrap();
        let first = created("z-first").await;
        // the API server counts arrival in whole seconds
        loop {
            stage.apply(&task("a-second", "succeed")).await;
            if created("a-second").await.0 > first.0 {
                break;
            }
            stage.delete_task("a-second").await;
        }
        stage.create_tasks(&task("m", "succeed"), 80).await;
        let _operator = stage.operator();
        all_complete(stage, 82).await;
        assert_eq!(admitted(&stage.record.history())[0], "z-first");
    })
    .await;
}

#[tokio::test]
async fn a_burst_that_meets_a_running_operator_completes_too() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 3")).await;
        let _operator = stage.operator();
        stage.create_tasks(&task("burst", "succeed"), 50).await;
        all_complete(stage, 50).await;
        stage
            .until("all slots are given back", |history| {
                history.get(Kind::Agent, "default")?.list("/status/admitted").is_empty().then_some(())
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_queued_task_says_for_what_it_waits_and_where_it_stands() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 1")).await;
        let _operator = stage.operator();
        stage.apply(&task("a", "run-on")).await;
        stage.phase("a", Phase::Running).await;
        for (position, name) in (1..).zip(["b", "c", "d"]) {
            stage.apply(&task(name, "succeed")).await;
            let queued = stage.phase(name, Phase::Queued).await;
            assert_eq!(
                words(&queued, "Queued"),
                ("True", "AgentAtCapacity", "Waiting for agent \"default\" capacity (max: 1)")
            );
            assert_eq!(status(&queued).queue_position, Some(position));
            assert_eq!(status(&queued).agent_ref.as_ref().map(|agent| agent.name.as_str()), Some("default"));
        }
        stage.delete_task("b").await;
        let moved_up = |task: &Task| task.status.as_ref().and_then(|status| status.queue_position) == Some(1);
        stage.until_task("c", "moves up", moved_up).await;
        stage.delete_task("a").await;
        let done = stage.phase("d", Phase::Completed).await;
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
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 0")).await;
        let _operator = stage.operator();
        stage.create_tasks(&task("t", "run-on"), 5).await;
        for i in 0..5 {
            let running = stage.phase(&format!("t-{i}"), Phase::Running).await;
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
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage
            .apply(&agent("serverConfig: {}, maxConcurrentTasks: 1, podSpec: {resources: {requests: {memory: 512Mi, cpu: 500m}}}"))
            .await;
        let _operator = stage.operator();
        stage.apply(&task("a", "run-on")).await;
        stage.phase("a", Phase::Running).await;
        stage.apply(&task("b", "run-on")).await;
        let queued = stage.phase("b", Phase::Queued).await;
        assert_eq!(words(&queued, "Queued").1, "AgentAtCapacity");
        let api = stage.api::<k8s_openapi::api::apps::v1::Deployment>();
        let is_there = |there: Option<&k8s_openapi::api::apps::v1::Deployment>| there.is_some();
        kube::runtime::wait::await_condition(api.clone(), "default-server", is_there).await.unwrap();
        let server = api.get("default-server").await.unwrap().spec.unwrap().template.spec.unwrap();
        let pod = stage.pods().get("a-pod").await.unwrap().spec.unwrap();
        for container in [&server.containers[0], &pod.containers[0]] {
            let requests = container.resources.as_ref().unwrap().requests.as_ref().unwrap();
            assert_eq!((requests["memory"].0.as_str(), requests["cpu"].0.as_str()), ("512Mi", "500m"));
        }
        stage.stop_task("a").await;
        stage.phase("b", Phase::Running).await;
    })
    .await;
}

#[tokio::test]
async fn a_raised_limit_lets_the_next_ones_in() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 1")).await;
        let _operator = stage.operator();
        stage.create_tasks(&task("t", "run-on"), 3).await;
        stage
            .until("one runs, two wait", |history| {
                (in_phase(history, "Running") == 1 && in_phase(history, "Queued") == 2).then_some(())
            })
            .await;
        stage.apply(&agent("maxConcurrentTasks: 3")).await;
        stage.until("three run", |history| (in_phase(history, "Running") == 3).then_some(())).await;
    })
    .await;
}

#[tokio::test]
async fn the_quota_counts_starts_and_capacity_is_named_first() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 1, quota: {maxTaskStarts: 2, windowSeconds: 60}")).await;
        let _operator = stage.operator();
        stage.apply(&task("a", "run-on")).await;
        stage.phase("a", Phase::Running).await;
        stage.apply(&task("b", "run-on")).await;
        let queued = stage.phase("b", Phase::Queued).await;
        assert_eq!(words(&queued, "Queued").1, "AgentAtCapacity");
        stage.stop_task("a").await;
        stage.phase("b", Phase::Running).await;
        stage.stop_task("b").await;
        stage.phase("b", Phase::Completed).await;
        stage.apply(&task("c", "succeed")).await;
        // the slot of b is free a moment after its end
        let queued = stage.until_task("c", "waits for the quota", waits_for_quota).await;
        assert_eq!(
            words(&queued, "Queued"),
            ("True", "QuotaExceeded", "Waiting for agent \"default\" quota (max: 2 per 60s)")
        );
        {
            let history = stage.record.history();
            let starts =
                history.get(Kind::Agent, "default").unwrap().list("/status/taskStartHistory").to_vec();
            let names: Vec<_> = starts.iter().map(|start| start["taskName"].as_str().unwrap()).collect();
            assert_eq!(names, ["a", "b"]);
        }
        stage.apply(&agent("maxConcurrentTasks: 1, quota: {maxTaskStarts: 3, windowSeconds: 60}")).await;
        stage.phase("c", Phase::Completed).await;
    })
    .await;
}

fn waits_for_quota(task: &Task) -> bool {
    task.status.as_ref().is_some_and(|status| status.reason.as_deref() == Some("QuotaExceeded"))
}

/// Waits until these hold the Agent's slots.
async fn until_admitted(stage: &Stage, agent: &str, names: &[&str]) {
    let names: BTreeSet<_> = names.iter().copied().collect();
    stage
        .until(&format!("{names:?} hold the slots of {agent}"), |history| {
            let admitted = history.get(Kind::Agent, agent)?.list("/status/admitted").to_vec();
            let holders: BTreeSet<_> =
                admitted.iter().filter_map(|entry| entry["taskName"].as_str()).collect();
            (holders == names).then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_agent_that_becomes_limited_counts_who_runs() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 0")).await;
        let _operator = stage.operator();
        stage.create_tasks(&task("t", "run-on"), 3).await;
        for i in 0..3 {
            agent_runs(stage, &format!("t-{i}-pod")).await;
        }
        stage.apply(&agent("maxConcurrentTasks: 2")).await;
        until_admitted(stage, "default", &["t-0", "t-1", "t-2"]).await;
        stage.apply(&task("next", "run-on")).await;
        stage.phase("next", Phase::Queued).await;
        stage.stop_task("t-0").await;
        until_admitted(stage, "default", &["t-1", "t-2"]).await;
        stage.stop_task("t-1").await;
        until_admitted(stage, "default", &["t-2", "next"]).await;
        stage.phase("next", Phase::Running).await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_made_again_counts_who_runs_and_started() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let limits = "maxConcurrentTasks: 2, quota: {maxTaskStarts: 3, windowSeconds: 3600}";
        stage.apply(&agent(limits)).await;
        let _operator = stage.operator();
        stage.create_tasks(&task("runs", "run-on"), 2).await;
        stage.until("two run", |history| (in_phase(history, "Running") == 2).then_some(())).await;
        stage.api::<Agent>().delete("default", &DeleteParams::default()).await.unwrap();
        stage.gone(Kind::Agent, "default").await;
        stage.apply(&agent(limits)).await;
        until_admitted(stage, "default", &["runs-0", "runs-1"]).await;
        stage.apply(&task("third", "succeed")).await;
        assert_eq!(words(&stage.phase("third", Phase::Queued).await, "Queued").1, "AgentAtCapacity");
        stage.stop_task("runs-0").await;
        stage.phase("third", Phase::Completed).await;
        stage.apply(&task("fourth", "succeed")).await;
        stage.until_task("fourth", "waits for the quota", waits_for_quota).await;
    })
    .await;
}

#[tokio::test]
async fn a_task_that_goes_to_another_agent_leaves_the_line() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 1")).await;
        stage.apply(&agent("maxConcurrentTasks: 1").replace("name: default", "name: other")).await;
        let _operator = stage.operator();
        stage.apply(&task("first", "run-on")).await;
        stage.phase("first", Phase::Running).await;
        stage.apply(&task("moves", "run-on")).await;
        stage.phase("moves", Phase::Queued).await;
        let elsewhere = Patch::Merge(json!({"spec": {"agentRef": "other"}}));
        stage.tasks().patch("moves", &PatchParams::default(), &elsewhere).await.unwrap();
        stage.phase("moves", Phase::Running).await;
        until_admitted(stage, "other", &["moves"]).await;
        stage.stop_task("first").await;
        stage.phase("first", Phase::Completed).await;
        stage.apply(&task("last", "succeed")).await;
        stage.phase("last", Phase::Completed).await;
        let history = stage.record.history();
        let of_default = history.revisions(Kind::Agent).filter(|agent| agent.name() == "default");
        for agent in of_default {
            let holders = agent.list("/status/admitted");
            assert!(holders.iter().all(|entry| entry["taskName"] != "moves"), "{holders:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_next_is_told_when_something_else_stands_in_the_way() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 1, quota: {maxTaskStarts: 1, windowSeconds: 3600}")).await;
        let _operator = stage.operator();
        stage.apply(&task("a", "run-on")).await;
        stage.phase("a", Phase::Running).await;
        stage.apply(&task("b", "succeed")).await;
        assert_eq!(words(&stage.phase("b", Phase::Queued).await, "Queued").1, "AgentAtCapacity");
        stage.stop_task("a").await;
        stage.until_task("b", "waits for the quota", waits_for_quota).await;
    })
    .await;
}

#[tokio::test]
async fn whose_turn_came_and_who_misses_something_says_that_and_not_his_place() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 1")).await;
        stage.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: rules}, data: {a: b}}").await;
        let _operator = stage.operator();
        stage.apply(&task("a", "run-on")).await;
        stage.phase("a", Phase::Running).await;
        let needs = "{contexts: [{name: rules, type: ConfigMap, configMap: {name: rules}}], description: d}";
        stage
            .apply(&format!(
                "{{apiVersion: kubeopencode.io/v1alpha1, kind: Task, metadata: {{name: b}}, spec: {needs}}}"
            ))
            .await;
        stage.phase("b", Phase::Queued).await;
        stage.api::<ConfigMap>().delete("rules", &DeleteParams::default()).await.unwrap();
        stage.stop_task("a").await;
        let waits = stage
            .until_task("b", "waits for the ConfigMap", |task| {
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
async fn the_quotas_window_opens_by_itself() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("quota: {maxTaskStarts: 1, windowSeconds: 60}")).await;
        // started most of a window ago, and over
        stage.apply(&task("before", "succeed")).await;
        let now = jiff::Timestamp::now();
        let started = now.checked_sub(jiff::SignedDuration::from_secs(50)).unwrap();
        let over = json!({"status": {
            "phase": "Completed", "podUID": "before", "agentRef": {"name": "default", "namespace": stage.namespace},
            "startTime": started.strftime("%FT%TZ").to_string(), "completionTime": now.strftime("%FT%TZ").to_string(),
        }});
        stage.tasks().patch_status("before", &PatchParams::default(), &Patch::Merge(&over)).await.unwrap();
        let _operator = stage.operator();
        stage.apply(&task("next", "succeed")).await;
        assert_eq!(words(&stage.phase("next", Phase::Queued).await, "Queued").1, "QuotaExceeded");
        stage.phase("next", Phase::Completed).await;
        // old starts go with the next one
        let history = stage.record.history();
        let starts = history.get(Kind::Agent, "default").unwrap().list("/status/taskStartHistory").to_vec();
        let names: Vec<_> = starts.iter().map(|start| start["taskName"].as_str().unwrap()).collect();
        assert_eq!(names, ["next"]);
    })
    .await;
}

#[tokio::test]
async fn a_full_resource_quota_gives_the_slot_to_others_and_keeps_the_place() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(&agent("maxConcurrentTasks: 5")).await;
        stage
            .apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: small}, spec: {hard: {pods: 1}}}")
            .await;
        stage.quota_is_in_force("small").await;
        let _operator = stage.operator();
        stage.apply(&task("a", "run-on")).await;
        stage.phase("a", Phase::Running).await;
        stage.apply(&task("b", "succeed")).await;
        let queued = stage.phase("b", Phase::Queued).await;
        let (is, reason, message) = words(&queued, "Queued");
        assert_eq!((is, reason), ("True", "NamespaceQuotaExceeded"));
        assert!(message.contains("exceeded quota: small"), "{message}");
        stage
            .until("the slot of b is given up", |history| {
                let admitted = history.get(Kind::Agent, "default")?.list("/status/admitted");
                (admitted.len() == 1 && admitted[0]["taskName"] == "a").then_some(())
            })
            .await;
        let roomy = json!({"spec": {"hard": {"pods": "5"}}});
        let quotas = stage.api::<k8s_openapi::api::core::v1::ResourceQuota>();
        quotas.patch("small", &PatchParams::default(), &Patch::Merge(&roomy)).await.unwrap();
        stage.phase("b", Phase::Completed).await;
        quotas.delete("small", &DeleteParams::default()).await.unwrap();
    })
    .await;
}
