//! The page, as it is printed.

use serde_json::{Value, json};

use super::*;
use crate::task::tests::{now, task};

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn facts(task: Task) -> Facts {
    Facts { task, agent: Ok(None), pod: Ok(None), events: Ok(Vec::new()) }
}

fn plain(facts: &Facts) -> String {
    page(facts, now(), Style { colours: false })
}

fn one(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-27T10:04:00Z"})
}

#[test]
fn a_task_that_nobody_has_seen() {
    insta::assert_snapshot!(plain(&facts(task(Value::Null))));
}

#[test]
fn a_task_in_line() {
    let waits = "Waiting for agent \"default\" capacity (max: 1)";
    let mut task = task(json!({
        "phase": "Queued", "reason": "AgentAtCapacity", "message": waits, "queuePosition": 2,
        "agentRef": {"name": "default", "namespace": "team"},
        // in another order than the page's
        "conditions": [one("Queued", "True", "AgentAtCapacity", waits), one("Accepted", "True", "Resolved", "")],
    }));
    task.spec.timeout = Some("30m".to_owned());
    insta::assert_snapshot!(plain(&facts(task)));
}

#[test]
fn a_task_whose_pod_has_trouble() {
    let mut task = task(json!({
        "phase": "Running", "reason": "ImagePullFailed", "message": "container \"agent\": ImagePullBackOff",
        "agentRef": {"name": "default", "namespace": "platform"},
        "podName": "team-fix-pod", "podNamespace": "platform", "startTime": "2026-11-27T10:01:00Z",
        "plugins": [{"type": "Git", "digest": format!("sha256:{}", "ab".repeat(32))}, {"type": "opencode", "digest": "sha256:0123456789abcdef"}],
        "conditions": [one("Started", "False", "ImagePullFailed", "container \"agent\": ImagePullBackOff"), one("Ready", "True", "PodLaunched", "Pod \"platform/team-fix-pod\" has been launched")],
    }));
    task.spec.contexts = vec![
        of(
            json!({"type": "Git", "name": "service", "mountPath": "service", "git": {"repository": "https://github.com/org/service", "ref": "v1"}}),
        ),
        of(json!({"type": "JiraIssue", "config": {}})),
    ];
    let agent = of(
        json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Agent", "metadata": {"name": "default"},
        "spec": {"serviceAccountName": "a", "contexts": [{"type": "ConfigMap", "name": "rules", "configMap": {"name": "rules"}}]}}),
    );
    let container = |name: &str, state: Value| json!({"name": name, "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0});
    let pod = of(json!({
        "metadata": {"name": "team-fix-pod"}, "spec": {"nodeName": "node-1", "containers": []},
        "status": {"phase": "Pending",
            "initContainerStatuses": [container("git-init-0", json!({"terminated": {"exitCode": 0}}))],
            "containerStatuses": [container("agent", json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"nowhere\""}}))]},
    }));
    let event = |minute: u8, type_: &str, reason: &str| {
        of(
            json!({"metadata": {}, "involvedObject": {}, "type": type_, "reason": reason, "message": format!("at {minute}\n"),
            "lastTimestamp": format!("2026-11-27T10:0{minute}:00Z")}),
        )
    };
    let events =
        vec![event(3, "Warning", "Failed"), event(1, "Normal", "Scheduled"), event(2, "Warning", "BackOff")];
    let facts = Facts { agent: Ok(Some(agent)), pod: Ok(Some(pod)), events: Ok(events), ..facts(task) };
    insta::assert_snapshot!(plain(&facts));
}

#[test]
fn a_task_that_failed_and_what_ones_rights_do_not_show() {
    let task = task(json!({
        "phase": "Failed", "reason": "AgentReportedError", "message": "the agent reported an error: no key; its log ends:\nError: \u{1b}[2Jno key",
        "agentRef": {"name": "default", "namespace": "team"}, "podName": "fix-pod", "podNamespace": "team",
        "startTime": "2026-11-27T10:00:01Z", "agentStarted": "2026-11-27T10:00:03Z", "completionTime": "2026-11-27T10:01:31Z",
        "duration": "1m30s", "result": {"summary": "I tried.\nTwice.\n", "error": "no key"},
        "usage": {"inputTokens": 11, "outputTokens": 7, "reasoningTokens": 3, "cacheReadTokens": 5, "costUSD": "0.0123"},
    }));
    let hidden = |what: &str| Err(format!("User \"jane\" cannot get {what}"));
    let gone = Facts { agent: Err("no Agent".to_owned()), ..facts(task.clone()) };
    let facts = Facts { agent: Ok(None), pod: hidden("pods").map(|()| None), ..facts(task) };
    insta::assert_snapshot!(format!("{}\n----\n{}", plain(&facts), plain(&gone)));
}

#[test]
fn a_task_that_does_not_go_says_what_holds_it() {
    let mut task = task(json!({"phase": "Completed", "reason": "Completed", "message": "m"}));
    task.metadata.deletion_timestamp = task.metadata.creation_timestamp.clone();
    task.metadata.finalizers = Some(vec![FINALIZER.to_owned(), "example.com/backup".to_owned()]);
    let text = plain(&facts(task));
    let words = "Deletion:  asked for 5m ago; its finalizers hold it: the operator removes kubeopencode.io/task-cleanup once the Pod has \
                 ended; whoever put example.com/backup there has to remove it\n";
    assert!(text.contains(words), "{text}");
}

#[test]
fn colours_are_for_phases_and_states() {
    let facts = facts(task(
        json!({"phase": "Failed", "reason": "PodFailed", "message": "m", "conditions": [one("Succeeded", "False", "PodFailed", "m")]}),
    ));
    let text = page(&facts, now(), Style { colours: true });
    assert!(text.contains("Phase:     \u{1b}[31mFailed\u{1b}[0m\n"), "{text}");
}
