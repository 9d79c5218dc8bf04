//! The Events that a user reads with `kubectl describe task` or `kubectl events`.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::events::v1::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{agent, config, task};

use crate::scenario;

/// Waits until these Events of the Task are there, each as `<type> <reason>`, with words in their notes.
async fn told(ns: &TestNamespace, task: &str, expected: &[(&str, &str)]) {
    let events = watcher(ns.api::<Event>(), watcher::Config::default()).applied_objects();
    futures::pin_mut!(events);
    let mut open: BTreeSet<_> = expected.iter().collect();
    let mut heard = Vec::new();
    let all = async {
        while !open.is_empty() {
            let event = events.next().await.unwrap().unwrap();
            let regarding = event.regarding.unwrap_or_default();
            if (regarding.kind.as_deref(), regarding.name.as_deref()) != (Some("Task"), Some(task)) {
                continue;
            }
            assert!(regarding.uid.is_some(), "kubectl describe finds Events by uid");
            let said = format!("{} {}", event.type_.unwrap_or_default(), event.reason.unwrap_or_default());
            let note = event.note.unwrap_or_default();
            open.retain(|(what, words)| *what != said || !note.contains(words));
            heard.push(format!("{said}: {note}"));
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), all).await;
    assert!(in_time.is_ok(), "still missing {open:?} in {heard:#?}");
}

#[tokio::test]
async fn each_phase_of_a_task_is_told_once() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("one").at_once(1)).await;
        ns.apply(config("dependencyGraceSeconds: 0")).await;
        let _operator = ns.operator();
        ns.apply(task("good")).await;
        told(ns, "good", &[("Normal PodCreated", "has been launched"), ("Normal Completed", "")]).await;
        ns.apply(task("bad").does("fail")).await;
        told(ns, "bad", &[("Warning Failed", "PodFailed: container \"agent\" exited with code 3")]).await;
        ns.runs(task("first").agent("one")).await;
        ns.apply(task("second").does("run-on").agent("one")).await;
        told(ns, "second", &[("Normal Queued", "Waiting for agent \"one\" capacity (max: 1)")]).await;
        ns.stop_task("first").await;
        told(ns, "first", &[("Normal Stopped", "stopped by user")]).await;
        ns.apply(task("late").does("run-on").spec("timeout: 1s")).await;
        told(ns, "late", &[("Warning Timeout", "spec.timeout (1s)")]).await;
        ns.apply(task("unknown").spec("contexts: [{type: Jira, config: {}}]")).await;
        ns.apply(task("goes-on").does("run-on")).await;
        ns.annotate("goes-on", "kubeopencode.io/stop", "yes").await;
        let note = "The annotation kubeopencode.io/stop is \"yes\": only \"true\" stops a Task";
        told(ns, "goes-on", &[("Warning StopIgnored", note)]).await;
        ns.phase("goes-on", Phase::Running).await;
        told(ns, "unknown", &[("Warning PluginFailed", "no plugin for context type \"Jira\"")]).await;
        ns.apply(agent("counted").quota(1, 60)).await;
        ns.runs(task("counted").agent("counted")).await;
        ns.apply(task("too-many").agent("counted")).await;
        let note = "Waiting for agent \"counted\" quota (max: 1 per 60s)";
        told(ns, "too-many", &[("Normal QuotaExceeded", note)]).await;
        ns.apply(agent("odd").spec("executorImage: ' '")).await;
        ns.apply(task("odd").agent("odd")).await;
        told(ns, "odd", &[("Warning PodCreationFailed", "Pod \"")]).await;
    })
    .await;
}
