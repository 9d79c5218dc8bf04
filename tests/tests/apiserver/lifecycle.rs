//! The way of a Task from its creation to its end, when nothing goes wrong.

use std::collections::BTreeMap;

use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::audit::AuditLog;
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::{Builder, status, task, words};
use kubeopencode_tests::record::Kind;

use crate::{pods_of, scenario};

fn fix() -> Builder<Task> {
    let context = "contexts: [{name: project, type: Text, text: This project counts stars.}]";
    task("fix").description("Fix the bug.").spec(context)
}

#[tokio::test]
async fn a_task_runs_once_and_completes() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        ns.apply(fix()).await;
        let task = ns.phase("fix", Phase::Completed).await;
        let uid = task.metadata.uid.clone().unwrap();

        let status = status(&task);
        assert_eq!(status.reason.as_deref(), Some("Completed"));
        assert_eq!(
            status.agent_ref.as_ref().map(|a| (a.namespace.as_str(), a.name.as_str())),
            Some((ns.name.as_str(), "default"))
        );
        assert_eq!(
            (status.pod_name.as_deref(), status.pod_namespace.as_deref()),
            (Some("fix-pod"), Some(ns.name.as_str()))
        );
        assert!(status.start_time.is_some() && status.completion_time.is_some() && status.duration.is_some());
        assert_eq!(status.observed_generation, Some(1));
        assert_eq!(status.queue_position, None);
        let plugins: Vec<_> = status.plugins.iter().map(|plugin| plugin.type_.as_str()).collect();
        assert_eq!(plugins, ["ConfigMap", "Text", "opencode"]);
        assert!(status.plugins.iter().all(|plugin| plugin.digest.starts_with("sha256:")));
        assert_eq!(status.result.as_ref().and_then(|result| result.summary.as_deref()), Some("All is done"));
        let usage = status.usage.as_ref().unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (Some(11), Some(7)));
        assert_eq!(words(&task, "Accepted").1, "Resolved");
        assert_eq!(words(&task, "Contexts").1, "Resolved");
        assert_eq!(
            words(&task, "Queued"),
            ("False", "NoLimits", "Agent \"default\" has no capacity or quota limits")
        );
        assert_eq!(words(&task, "Ready").1, "PodLaunched");
        assert_eq!(words(&task, "Started"), ("True", "PodLaunched", "The agent has started"));
        assert_eq!(words(&task, "Succeeded").0, "True");
        assert_eq!(words(&task, "Finished"), ("True", "Completed", "The agent ended successfully"));
        assert!(status.agent_started.is_some());
        assert_eq!(task.metadata.labels.as_ref().unwrap()["kubeopencode.io/agent"], "default");
        assert_eq!(
            task.metadata.finalizers.as_deref(),
            Some(["kubeopencode.io/task-cleanup".to_owned()].as_slice())
        );

        {
            let history = ns.record.history();
            let pods = pods_of(&history, &task);
            assert_eq!(pods.len(), 1);
            let born = &pods[0];
            assert!(born.is_gated(), "a Pod is born with our gate");
            assert_eq!(status.pod_uid.as_deref(), Some(born.uid()));
            assert_eq!(
                [
                    born.label("app"),
                    born.label("kubeopencode.io/task"),
                    born.label("kubeopencode.io/task-uid")
                ],
                ["kubeopencode", "fix", &uid]
            );
            assert_eq!(born.label("kubeopencode.io/task-namespace"), "", "only across namespaces");
            assert_eq!(
                [born.annotation("kubeopencode.io/task-name"), born.annotation("kubeopencode.io/agent-name")],
                ["fix", "default"]
            );
            let owner = &born.list("/metadata/ownerReferences")[0];
            assert_eq!((owner["kind"].as_str(), owner["uid"].as_str()), (Some("Task"), Some(uid.as_str())));
            assert!(!history.get(Kind::Pod, "fix-pod").unwrap().is_gated());

            let map = history.get(Kind::ConfigMap, "fix-context").unwrap();
            assert_eq!(map.object["immutable"], true);
            assert_eq!(map.annotation("kubeopencode.io/plan"), born.annotation("kubeopencode.io/plan"));
            assert_eq!(map.label("kubeopencode.io/task-uid"), uid);
            assert_eq!(map.object["data"]["workspace-task.md"], "Fix the bug.");
            let context = map.object["data"]["workspace-.kubeopencode-context.md"].as_str().unwrap();
            assert!(
                context.contains("Functions are named after what they return.")
                    && context.contains("This project counts stars."),
                "{context}"
            );
        }

        let log = operator.log.clone();
        // what it did is in its log when it has ended
        operator.stop().await;
        let pod = format!("{0}/fix agent=\"{0}/default\" pod=\"{0}/fix-pod\"", ns.name);
        let (launched, ended) = (log.lines("launched"), log.lines("ended"));
        assert!(launched.len() == 1 && launched[0].contains(&pod), "{launched:?}");
        let end = format!(
            "phase=\"Completed\" reason=\"Completed\" duration=\"{}\"",
            status.duration.as_ref().unwrap()
        );
        assert!(ended.len() == 1 && ended[0].contains(&pod) && ended[0].contains(&end), "{ended:?}");

        let mut writes = AuditLog::count(&ns.writes());
        // that they are accepted
        writes.retain(|write, _| write != "patch agents/status 200");
        are_those_of_one_task(writes);
    })
    .await;
}

/// From its launch to its end, of whichever group.
pub(crate) fn are_those_of_one_task(mut writes: BTreeMap<String, usize>) {
    let of_status = writes.remove("patch tasks/status 200").unwrap_or_default();
    assert!(
        (2..=3).contains(&of_status),
        "launch, end, and the start between them, if it was seen: {of_status}"
    );
    let expected =
        [("create configmaps 201", 1), ("create pods 201", 1), ("patch pods 200", 1), ("patch tasks 200", 1)];
    let expected = expected.into_iter().map(|(write, count)| (write.to_owned(), count)).collect();
    assert_eq!(writes, expected, "and four more writes");
}

#[tokio::test]
async fn a_task_of_a_limited_agent_holds_a_slot_while_it_runs() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("fix").agent("one-at-a-time")).await;
        let task = ns.phase("fix", Phase::Completed).await;
        let uid = task.metadata.uid.clone().unwrap();
        assert_eq!(
            words(&task, "Queued"),
            ("False", "CapacityAvailable", "Agent \"one-at-a-time\" capacity now available")
        );
        ns.until("the slot is given back", |history| {
            let admitted = history.get(Kind::Agent, "one-at-a-time")?.list("/status/admitted");
            admitted.is_empty().then_some(())
        })
        .await;
        let history = ns.record.history();
        let admitting =
            history.revisions(Kind::Agent).find(|agent| !agent.list("/status/admitted").is_empty()).unwrap();
        assert_eq!(admitting.object["status"]["running"], 1);
        let slot = &admitting.list("/status/admitted")[0];
        assert_eq!((slot["taskUID"].as_str(), slot["taskName"].as_str()), (Some(uid.as_str()), Some("fix")));
    })
    .await;
}

#[tokio::test]
async fn a_task_that_was_there_before_the_operator_runs_too() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(fix()).await;
        let _operator = ns.operator();
        ns.phase("fix", Phase::Completed).await;
    })
    .await;
}
