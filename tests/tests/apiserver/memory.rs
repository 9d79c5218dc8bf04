//! What users write does not decide how much memory the operator has: each attack on an operator in a process of its own.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, PostParams};
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::{Builder, agent, batch, config, config_map, foreign_pod, status, task};
use kubeopencode_tests::process::Process;
use kubeopencode_tests::record::{History, Kind, Revision};
use serde_json::{Value, json};

use crate::{OPERATOR, in_phase, scenario, until_in_phase};

/// The chart's limit is 1 GiB; a quarter of it is what the operator may come to need.
const MOST: f64 = 256.0;

/// How long an API server that has other tests may take to store and to show hundreds of large objects.
const PATIENCE: Duration = Duration::from_secs(300);

/// What `kubectl apply` keeps.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn many_times(name: &str, config_map: &str, times: usize) -> Builder<kubeopencode_api::task::Task> {
    let item = format!("{{type: ConfigMap, configMap: {{name: {config_map}, key: a}}}}");
    task(name).spec(&format!("contexts: [{}]", vec![item; times].join(", ")))
}

#[tokio::test]
async fn one_big_config_map_that_many_tasks_name_many_times_costs_no_memory() {
    // each Task has 4 KB and would come to 60 MB
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config_map("big", &[("a", &"y".repeat(950_000))])).await;
        let operator = Process::operator(OPERATOR, &[ns]);
        ns.create_many(many_times("heavy", "big", 63), 48).await;
        until_in_phase(ns, "Failed", 48).await;
        let heavy = ns.record.history().all(Kind::Task).next().cloned().unwrap();
        let message = heavy.text("/status/message");
        let words = "bytes of text and files, at most 4194304 are allowed: fetch big ones with Git or URL";
        assert!(message.contains(words), "{message}");
        // what a Task may have goes through meanwhile and afterwards, also in many Tasks
        ns.create_many(many_times("fits", "big", 4), 24).await;
        until_in_phase(ns, "Completed", 24).await;
        let peak = operator.peak_memory();
        eprintln!(
            "48 Tasks of 60 MB and 24 of 4 MB: {peak:.0} MiB at the peak, {:.0} now",
            operator.memory()
        );
        assert!(peak < MOST, "{peak} MiB");
        assert_eq!(in_phase(&ns.record.history(), "Failed"), 48);
        ns.apply(task("good")).await;
        let good = ns.phase("good", Phase::Completed).await;
        assert!(status(&good).pod_name.is_some());
    })
    .await;
}

#[tokio::test]
async fn what_batches_say_costs_no_memory_until_their_tasks_are_launched() {
    // 400 KB each as text, and sixteen times that decoded
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let config = Value::Array(vec![json!(0); 200_000]);
        let batches: Api<Batch> = ns.api();
        for i in 0..16 {
            let large = batch(&format!("large-{i}"), 1)
                .annotation("kubetask.io/pause", "true")
                .change("/spec/variableContexts", json!([[{"type": "Jira", "config": config}]]));
            let large: Batch = serde_json::from_value(large.json()).unwrap();
            batches.create(&PostParams::default(), &large).await.unwrap();
        }
        let operator = Process::operator(OPERATOR, &[ns]);
        let paused = |history: &History| {
            let paused = |batch: &&Arc<Revision>| batch.text("/status/phase") == "Paused";
            (history.all(Kind::Batch).filter(paused).count() == 16).then_some(())
        };
        ns.record.wait(PATIENCE, paused).await.expect("each Batch says that it is paused");
        let peak = operator.peak_memory();
        eprintln!("16 Batches of 400 KB: {peak:.0} MiB at the peak, {:.0} now", operator.memory());
        assert!(peak < 96.0, "{peak} MiB");
        // one that is as large as that, and makes sense, runs
        let text = "t".repeat(8_000);
        let piece = json!([{"type": "File", "file": {"name": "f", "source": {"inline": text}}}]);
        ns.apply(batch("fits", 3).change("/spec/commonContext", piece)).await;
        ns.until("it runs", |history| {
            (history.get(Kind::Batch, "fits")?.text("/status/phase") == "Completed").then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn what_agents_say_costs_no_memory_until_their_tasks_are_launched() {
    // 140 MB together
    const LARGE: usize = 100;
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let contexts = json!([{"type": "Jira", "config": "c".repeat(1_400_000)}]);
        let large = agent("large").set("/spec/contexts", contexts);
        ns.create_many(large, LARGE).await;
        let operator = Process::operator(OPERATOR, &[ns]);
        let all_told = |history: &History| {
            let told = |agent: &&Arc<Revision>| {
                let mut conditions = agent.list("/status/conditions").iter();
                agent.name().starts_with("large-") && conditions.any(|c| c["type"] == "Accepted")
            };
            (history.all(Kind::Agent).filter(told).count() == LARGE).then_some(())
        };
        ns.record.wait(PATIENCE, all_told).await.expect("each Agent says whether it is accepted");
        // one that makes sense is launched with all that it says
        let rules = "r".repeat(200_000);
        let piece = json!({"type": "Text", "text": rules});
        ns.apply(agent("fits").set("/spec/contexts", json!([piece, piece]))).await;
        ns.apply(task("good").agent("fits")).await;
        ns.phase("good", Phase::Completed).await;
        let given: usize = {
            let history = ns.record.history();
            history.all(Kind::ConfigMap).map(|map| map.object.to_string().matches(&rules).count()).sum()
        };
        assert_eq!(given, 2);
        let peak = operator.peak_memory();
        eprintln!("{LARGE} Agents of 1.4 MB: {peak:.0} MiB at the peak, {:.0} now", operator.memory());
        assert!(peak < 160.0, "{peak} MiB");
    })
    .await;
}

#[tokio::test]
async fn what_many_launches_read_at_once_costs_no_memory() {
    // 90 KB as text, and a hundred times that decoded, of which a launch has copies
    const TASKS: usize = 24;
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 0")).await;
        let config = vec![json!({"a": 1}); 12_000];
        let nobodys = json!([{"type": "Jira", "optional": true, "config": config}]);
        ns.apply(agent("heavy").set("/spec/contexts", nobodys)).await;
        let operator = Process::operator(OPERATOR, &[ns]);
        ns.create_many(task("many").agent("heavy"), TASKS).await;
        until_in_phase(ns, "Completed", TASKS).await;
        let peak = operator.peak_memory();
        eprintln!("{TASKS} Tasks of a heavy Agent: {peak:.0} MiB at the peak, {:.0} now", operator.memory());
        assert!(peak < 128.0, "{peak} MiB");
    })
    .await;
}

#[tokio::test]
async fn what_small_objects_decode_to_costs_no_memory() {
    // 1 MB together as text, and 150 decoded
    const SMALL: usize = 200;
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 3600")).await;
        let volumes = json!([{"name": "v", "projected": {"sources": vec![json!({}); 1_200]}}]);
        let small = agent("small").set("/spec/podSpec", json!({"volumes": volumes}));
        ns.create_many(small, SMALL).await;
        let deep = (0..90).fold(json!(1), |inner, _| json!({"a": inner}));
        let contexts = json!([{"type": "Jira", "config": [deep, deep, deep]}]);
        ns.create_many(task("small").agent("none").set("/spec/contexts", contexts), SMALL).await;
        let operator = Process::operator(OPERATOR, &[ns]);
        let all_told = |history: &History| {
            let has = |object: &Arc<Revision>, field: &str, word: &str| {
                object.name().starts_with("small-")
                    && object.list("/status/conditions").iter().any(|c| c[field] == word)
            };
            let agents = history.all(Kind::Agent).filter(|agent| has(agent, "type", "Accepted")).count();
            let waits = |task: &&Arc<Revision>| has(task, "reason", "WaitingForDependency");
            (agents == SMALL && history.all(Kind::Task).filter(waits).count() == SMALL).then_some(())
        };
        ns.record.wait(PATIENCE, all_told).await.expect("each says how it stands");
        let peak = operator.peak_memory();
        eprintln!(
            "{SMALL} Agents and Tasks of 4 KB: {peak:.0} MiB at the peak, {:.0} now",
            operator.memory()
        );
        assert!(peak < 128.0, "{peak} MiB");
    })
    .await;
}

#[tokio::test]
async fn what_is_in_the_cluster_costs_little_memory_from_the_start_on() {
    // 118 MB together: as `kubectl apply` writes them, as large as they may be, and Pods of others
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 3600")).await;
        let applied = task("applied").agent("none").annotation(LAST_APPLIED, &"a".repeat(256_000));
        ns.create_many(applied, 160).await;
        let config = json!([{"type": "Jira", "config": "c".repeat(1_400_000)}]);
        ns.create_many(task("big").agent("none").set("/spec/contexts", config), 26).await;
        let pods = futures::stream::iter(0..160).for_each_concurrent(16, async |i| {
            ns.pods().create(&PostParams::default(), &foreign_pod(i)).await.unwrap();
        });
        pods.await;
        let operator = Process::operator(OPERATOR, &[ns]);
        let all_told = |history: &History| {
            let told = |task: &&Arc<Revision>| {
                task.list("/status/conditions").iter().any(|c| c["reason"] == "WaitingForDependency")
            };
            (history.all(Kind::Task).filter(told).count() == 186).then_some(())
        };
        ns.record.wait(PATIENCE, all_told).await.expect("each Task says what it waits for");
        ns.apply(task("good")).await;
        ns.phase("good", Phase::Completed).await;
        let peak = operator.peak_memory();
        eprintln!("118 MB of Tasks and Pods: {peak:.0} MiB at the peak, {:.0} now", operator.memory());
        assert!(peak < 96.0, "{peak} MiB");
    })
    .await;
}
