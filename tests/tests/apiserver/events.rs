//! The Events that a user reads with `kubectl describe task` or `kubectl events`.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::events::v1::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::stage::{Stage, TEAM};

use crate::{scenario, task_with};

/// Waits until these Events of the Task are there, each as `<type> <reason>`, with words in their notes.
async fn told(stage: &Stage, task: &str, expected: &[(&str, &str)]) {
    let events = watcher(stage.api::<Event>(), watcher::Config::default()).applied_objects();
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
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage
            .apply("{apiVersion: kubeopencode.io/v1alpha1, kind: Agent, metadata: {name: one}, spec: {serviceAccountName: kubeopencode-agent, maxConcurrentTasks: 1}}")
            .await;
        stage
            .apply("{apiVersion: kubeopencode.io/v1alpha1, kind: KubeOpenCodeConfig, metadata: {name: default}, spec: {dependencyGraceSeconds: 0}}")
            .await;
        let _operator = stage.operator();
        stage.apply(&task_with("good", "succeed", "")).await;
        told(stage, "good", &[("Normal PodCreated", "has been launched"), ("Normal Completed", "")]).await;
        stage.apply(&task_with("bad", "fail", "")).await;
        told(stage, "bad", &[("Warning Failed", "PodFailed: container \"agent\" exited with code 3")]).await;
        stage.apply(&task_with("first", "run-on", "agentRef: one")).await;
        stage.phase("first", Phase::Running).await;
        stage.apply(&task_with("second", "run-on", "agentRef: one")).await;
        told(stage, "second", &[("Normal Queued", "Waiting for agent \"one\" capacity (max: 1)")]).await;
        stage.stop_task("first").await;
        told(stage, "first", &[("Normal Stopped", "stopped by user")]).await;
        stage.apply(&task_with("late", "run-on", "timeout: 1s")).await;
        told(stage, "late", &[("Warning Timeout", "spec.timeout (1s)")]).await;
        stage.apply(&task_with("unknown", "succeed", "contexts: [{type: Jira, config: {}}]")).await;
        told(stage, "unknown", &[("Warning PluginFailed", "no plugin for context type \"Jira\"")]).await;
    })
    .await;
}
