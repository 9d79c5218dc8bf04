//! From Pods as kubelets leave them to how their Tasks end.

use super::*;
use serde_json::{Value, json};

fn pod(status: Value) -> PodView {
    serde_json::from_value(json!({"metadata": {"name": "fix-pod"}, "status": status})).unwrap()
}

fn status(name: &str, state: Value) -> Value {
    json!({"name": name, "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0})
}

fn ended(status: Value) -> TaskOutcome {
    match pod_state(&pod(status), true) {
        PodState::Ended(ending) => ending,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clean_exit_completes_and_the_summary_is_kept_only_where_it_may_be() {
    let report = r#"{"outcome":"completed","summary":"Opened PR 7","usage":{"inputTokens":12}}"#;
    let over = json!({"phase": "Succeeded", "containerStatuses": [
        status("agent", json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": report}}))]});
    let ending = ended(over.clone());
    assert!(ending.succeeded);
    assert_eq!(ending.result.unwrap().summary.as_deref(), Some("Opened PR 7"));
    assert_eq!(ending.usage.unwrap().input_tokens, Some(12));
    let PodState::Ended(ending) = pod_state(&pod(over), false) else { panic!("it is over") };
    assert_eq!(ending.result, None);
}

#[test]
fn failures_say_who_failed_and_how() {
    for (given, reason, words) in [
        (
            json!({"phase": "Failed", "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 3, "reason": "Error", "message": "no key"}}))]}),
            Reason::PodFailed,
            "container \"agent\" exited with code 3: no key",
        ),
        // nobody deleted its Pod: it ended itself
        (
            json!({"phase": "Failed", "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 143, "reason": "Error"}}))]}),
            Reason::PodFailed,
            "container \"agent\" exited with code 143",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))]}),
            Reason::OOMKilled,
            "raise podSpec.resources.limits.memory",
        ),
        (
            json!({"phase": "Failed", "initContainerStatuses": [status("context-init", json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "no space left\n"}}))]}),
            Reason::InitContainerFailed,
            "init container \"context-init\" exited with code 1: no space left",
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
            Reason::Evicted,
            "low on resource",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 1, "reason": "Error",
                "message": r#"{"outcome":"agent-error","error":"model not found"}"#}}))]}),
            Reason::AgentReportedError,
            "the agent reported an error: model not found",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 1, "reason": "Error",
                "message": r#"{"outcome":"restarted"}"#}}))]}),
            Reason::AgentRestarted,
            "a second time",
        ),
        (
            json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "a more important Pod"}],
                "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 143, "reason": "Error"}}))]}),
            Reason::Evicted,
            "PreemptionByScheduler: a more important Pod",
        ),
        (
            json!({"phase": "Failed", "reason": "NodeAffinity", "message": "no match"}),
            Reason::PodFailed,
            "NodeAffinity: no match",
        ),
    ] {
        let ending = ended(given);
        assert!(!ending.succeeded);
        assert_eq!(ending.reason, reason);
        assert!(ending.message.contains(words), "{}", ending.message);
    }
}

#[test]
fn a_pod_whose_agent_runs_has_started() {
    let running = json!({"phase": "Running", "containerStatuses": [status("agent", json!({"running": {}}))]});
    let expected = PodState::InProgress { problem: None, started: true, silent_since: None, skipped: vec![] };
    assert_eq!(pod_state(&pod(running), true), expected);
}

#[test]
fn the_start_of_an_agent_is_what_the_kubelet_says_of_it() {
    let (now, epoch) = (Timestamp::from_second(9).unwrap(), "1970-01-01T00:00:00Z");
    for (state, second) in [
        (json!({"running": {"startedAt": "1970-01-01T00:00:05Z"}}), Some(5)),
        (json!({"running": {}}), Some(9)),
        (
            json!({"terminated": {"exitCode": 1, "startedAt": epoch, "finishedAt": "1970-01-01T00:00:07Z"}}),
            Some(7),
        ),
        (json!({"terminated": {"exitCode": 1, "startedAt": epoch, "finishedAt": epoch}}), Some(9)),
        (json!({"terminated": {"exitCode": 128, "reason": "StartError", "finishedAt": epoch}}), None),
        (json!({"waiting": {}}), None),
    ] {
        let pod = pod(json!({"phase": "Running", "containerStatuses": [status("agent", state.clone())]}));
        assert_eq!(agent_started(&pod, now).map(Timestamp::as_second), second, "{state}");
    }
}

/// A Pod with the native sidecar `mesh-proxy`.
fn with_sidecar(status: Value) -> PodView {
    let proxy = json!({"name": "mesh-proxy", "restartPolicy": "Always"});
    let clone = json!({"name": "git-init-0"});
    let pod = json!({"metadata": {"name": "fix-pod"}, "spec": {"initContainers": [proxy, clone]}, "status": status});
    let mut pod: PodView = serde_json::from_value(pod).unwrap();
    pod.slim();
    pod
}

#[test]
fn the_container_agent_decides_whatever_others_do() {
    let agent = |code: i32, message: &str| {
        status("agent", json!({"terminated": {"exitCode": code, "reason": "Error", "message": message}}))
    };
    let sidecar = |state: Value| status("mesh-proxy", state);
    let running = || sidecar(json!({"running": {}}));
    let badly = || sidecar(json!({"terminated": {"exitCode": 3, "reason": "Error"}}));
    let unpulled = || sidecar(json!({"waiting": {"reason": "ImagePullBackOff"}}));
    let completed = r#"{"outcome":"completed","usage":{"inputTokens":12}}"#;
    let agent_error = r#"{"outcome":"agent-error","error":"stub says 400"}"#;
    for (given, reason, words) in [
        (
            json!({"phase": "Running", "containerStatuses": [agent(0, completed), running()]}),
            Reason::Completed,
            "ended successfully",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [agent(7, "no key"), running()]}),
            Reason::PodFailed,
            "exited with code 7: no key",
        ),
        // kubelet calls a Pod with a waiting container Pending
        (
            json!({"phase": "Pending", "containerStatuses": [unpulled(), agent(0, completed)]}),
            Reason::Completed,
            "ended successfully",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [agent(0, completed), badly()]}),
            Reason::Completed,
            "ended successfully",
        ),
        (
            json!({"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": [agent(0, completed), badly()]}),
            Reason::Completed,
            "ended successfully",
        ),
        (
            json!({"phase": "Failed", "initContainerStatuses": [badly()], "containerStatuses": [agent(7, "")]}),
            Reason::PodFailed,
            "container \"agent\" exited with code 7",
        ),
        (
            json!({"phase": "Failed", "initContainerStatuses": [badly()], "containerStatuses": [agent(1, agent_error)]}),
            Reason::AgentReportedError,
            "stub says 400",
        ),
        (
            json!({"phase": "Failed", "initContainerStatuses": [badly(), status("git-init-0", json!({"terminated": {"exitCode": 1, "message": "no such branch"}}))]}),
            Reason::InitContainerFailed,
            "init container \"git-init-0\" exited with code 1: no such branch",
        ),
    ] {
        let PodState::Ended(ending) = pod_state(&with_sidecar(given.clone()), true) else {
            panic!("{given}")
        };
        assert_eq!((ending.reason, ending.succeeded), (reason, reason == Reason::Completed), "{given}");
        assert!(ending.message.contains(words), "{}", ending.message);
        assert_eq!(ending.usage.is_some(), given.to_string().contains("inputTokens"), "{given}");
    }
}

#[test]
fn what_keeps_a_sidecar_from_starting_is_no_problem_of_an_agent_that_runs() {
    let unpulled = status("mesh-proxy", json!({"waiting": {"reason": "ImagePullBackOff"}}));
    let agent = |state: Value| json!({"phase": "Pending", "containerStatuses": [unpulled.clone(), status("agent", state)]});
    let problem = |given: Value| match pod_state(&pod(given), true) {
        PodState::InProgress { problem, .. } => problem.map(|problem| problem.reason),
        ended => panic!("{ended:?}"),
    };
    assert_eq!(problem(agent(json!({"running": {}}))), None);
    assert_eq!(
        problem(agent(json!({"waiting": {"reason": "PodInitializing"}}))),
        Some(Reason::ImagePullFailed)
    );
}

#[test]
fn a_pod_with_a_node_where_nothing_begins_is_silent() {
    let scheduled =
        json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let waits = json!({"waiting": {"reason": "PodInitializing"}});
    let mut given = json!({"phase": "Pending", "conditions": [scheduled],
        "initContainerStatuses": [status("opencode-init", waits.clone())],
        "containerStatuses": [status("agent", waits)]});
    let silent = |given: &Value| match pod_state(&pod(given.clone()), true) {
        PodState::InProgress { silent_since, .. } => silent_since.map(|t| t.to_string()),
        ended => panic!("{ended:?}"),
    };
    assert_eq!(silent(&given).as_deref(), Some("2026-01-01T00:00:00Z"));
    given["initContainerStatuses"][0]["state"] = json!({"running": {}});
    assert_eq!(silent(&given), None);
}

#[test]
fn an_optional_context_that_an_init_container_left_out_is_told_while_it_runs_and_at_the_end() {
    let init = status(
        "git-init-0",
        json!({"terminated": {"exitCode": 0, "message": "skipped: https://git/x: not found\n"}}),
    );
    let words = "init container \"git-init-0\" left an optional context out: https://git/x: not found";
    let running = pod(json!({"phase": "Running", "initContainerStatuses": [init.clone()]}));
    let PodState::InProgress { skipped, .. } = pod_state(&running, true) else { panic!("it runs") };
    assert_eq!(skipped, [words]);
    assert_eq!(ended(json!({"phase": "Succeeded", "initContainerStatuses": [init]})).skipped, [words]);
}

/// A Pod whose agent ended at a second with this code, and that somebody began to delete at second 100.
fn deleted(ended: i64, code: i32, message: &str, more: Value) -> PodView {
    let time = |second: i64| Timestamp::from_second(second).unwrap().to_string();
    let agent = status(
        "agent",
        json!({"terminated": {"exitCode": code, "reason": "Error", "message": message, "finishedAt": time(ended)}}),
    );
    let mut pod = json!({
        "metadata": {"name": "fix-pod", "deletionTimestamp": time(130), "deletionGracePeriodSeconds": 30},
        "status": {"phase": if code == 0 { "Succeeded" } else { "Failed" }, "containerStatuses": [agent]},
    });
    if !more.is_null() {
        pod["status"]["conditions"] = json!([more]);
    }
    serde_json::from_value(pod).unwrap()
}

/// The last state of such a Pod: the kubelet had it removed at second 105.
fn removed(pod: PodView) -> PodView {
    let mut pod = serde_json::to_value(pod).unwrap();
    pod["metadata"]["deletionTimestamp"] = json!(Timestamp::from_second(105).unwrap());
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    serde_json::from_value(pod).unwrap()
}

#[test]
fn who_is_deleted_or_evicted_at_work_has_not_completed_whatever_the_exit_code_says() {
    let completed = r#"{"outcome":"completed","summary":"half","usage":{"inputTokens":12}}"#;
    let told_to_end = r#"{"outcome":"completed","signal":15}"#;
    let evicted = |second: i64| {
        let at = Timestamp::from_second(second).unwrap().to_string();
        json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained",
            "lastTransitionTime": at})
    };
    for (pod, reason, words) in [
        (
            deleted(101, 0, completed, Value::Null),
            Reason::PodDeleted,
            "Pod \"fix-pod\" was deleted while the agent worked, which exited with code 0",
        ),
        (deleted(100, 143, "", Value::Null), Reason::PodDeleted, "exited with code 143"),
        (deleted(99, 0, completed, Value::Null), Reason::Completed, "ended successfully"),
        (deleted(99, 3, "", Value::Null), Reason::PodFailed, "exited with code 3"),
        (deleted(101, 0, completed, evicted(100)), Reason::Evicted, "EvictionByEvictionAPI: drained"),
        (deleted(99, 0, completed, evicted(100)), Reason::Completed, "ended successfully"),
        // seen after the kubelet's own request, which hides when the first one was
        (removed(deleted(101, 143, "", Value::Null)), Reason::PodDeleted, "exited with code 143"),
        (removed(deleted(101, 137, "", Value::Null)), Reason::PodDeleted, "exited with code 137"),
        (removed(deleted(101, 0, told_to_end, Value::Null)), Reason::PodDeleted, "exited with code 0"),
        (removed(deleted(99, 0, completed, Value::Null)), Reason::Completed, "ended successfully"),
        (removed(deleted(99, 3, "", Value::Null)), Reason::PodFailed, "exited with code 3"),
    ] {
        let PodState::Ended(ending) = pod_state(&pod, true) else { panic!("it is over") };
        assert_eq!((ending.reason, ending.succeeded), (reason, reason == Reason::Completed), "{ending:?}");
        assert!(ending.message.contains(words), "{}", ending.message);
        let reported =
            pod.agent_end().unwrap().message.as_deref().is_some_and(|message| message.contains("usage"));
        assert_eq!(ending.usage.is_some(), reported, "what it used is known: {ending:?}");
    }
}

#[test]
fn a_failure_tells_the_end_of_the_agents_own_log() {
    let ended = |message: &str, keep: bool| {
        let agent =
            status("agent", json!({"terminated": {"exitCode": 1, "reason": "Error", "message": message}}));
        match pod_state(&pod(json!({"phase": "Failed", "containerStatuses": [agent]})), keep) {
            PodState::Ended(ending) => (ending.reason, ending.message),
            other => panic!("{other:?}"),
        }
    };
    for (message, reason, words) in [
        (
            r#"{"outcome":"failed","log":"Configuration is invalid at /tools/opencode.json"}"#,
            Reason::PodFailed,
            "container \"agent\" exited with code 1: Configuration is invalid at /tools/opencode.json",
        ),
        (
            r#"{"outcome":"failed","error":"cannot run x: No such file or directory"}"#,
            Reason::PodFailed,
            "container \"agent\" exited with code 1: cannot run x: No such file or directory",
        ),
        (
            r#"{"outcome":"agent-error","error":"Unexpected server error","log":"Model not found: m. Did you mean n?"}"#,
            Reason::AgentReportedError,
            "the agent reported an error: Unexpected server error; its log ends: Model not found: m. Did you mean n?",
        ),
        (
            r#"{"outcome":"idle-timeout","error":"it printed nothing for 90 s"}"#,
            Reason::IdleTimeout,
            "the agent was ended by idleTimeout: it printed nothing for 90 s",
        ),
    ] {
        assert_eq!(ended(message, true), (reason, words.to_owned()));
    }
    let hidden = r#"{"outcome":"failed","log":"the last words"}"#;
    assert_eq!(ended(hidden, false).1, "container \"agent\" exited with code 1");
}
