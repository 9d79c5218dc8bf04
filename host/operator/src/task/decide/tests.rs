//! The launch protocol's decisions, one row each.

mod launched;

use super::*;
use crate::cache::item::Item;
use crate::frontend::{Frontend, KubeOpenCode};
use kubeopencode_api::task::Task;
use serde_json::{Value, json};

const NOW: i64 = 1_000_000;

#[derive(Debug)]
struct TaskState {
    task: Value,
    pods: Vec<Value>,
    last: Option<Value>,
    asked: bool,
    stop_policy: StopPolicy,
    timeout_policy: StopPolicy,
    is_image_outdated: bool,
}

impl Default for TaskState {
    fn default() -> Self {
        Self {
            task: task(json!({}), json!({})),
            pods: vec![],
            last: None,
            asked: false,
            stop_policy: StopPolicy::DeletePod,
            timeout_policy: StopPolicy::KeepPod,
            is_image_outdated: false,
        }
    }
}

fn task(metadata: Value, status: Value) -> Value {
    let mut task = json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task",
        "metadata": {"name": "fix", "namespace": "team", "uid": "task"}, "spec": {"timeout": "1h"}, "status": status});
    for (key, value) in metadata.as_object().unwrap() {
        task["metadata"][key] = value.clone();
    }
    task
}

fn running() -> Value {
    json!({"phase": "Running", "podUID": "a", "startTime": time(NOW - 60)})
}

fn pod(uid: &str, gated: bool, phase: &str) -> Value {
    let gates = if gated {
        json!([{"name": "kubeopencode.io/launch"}, {"name": "kueue.x-k8s.io/admission"}])
    } else {
        json!([])
    };
    json!({"metadata": {"name": "fix-pod", "uid": uid}, "spec": {"schedulingGates": gates}, "status": {"phase": phase}})
}

/// A Pod whose container `agent` is in this state.
fn with_agent(uid: &str, phase: &str, state: Value) -> Value {
    let mut pod = pod(uid, false, phase);
    pod["status"]["containerStatuses"] = json!([
        {"name": "agent", "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0}]);
    pod
}

/// A Pod whose agent runs.
fn at_work(uid: &str) -> Value {
    with_agent(uid, "Running", json!({"running": {"startedAt": time(NOW - 30)}}))
}

/// A Pod whose agent has ended while a sidecar runs on.
fn with_a_sidecar_left(uid: &str) -> Value {
    let mut pod = with_agent(uid, "Running", json!({"terminated": {"exitCode": 0}}));
    let sidecar = json!({"name": "mesh-proxy", "state": {"running": {}}, "image": "", "imageID": "", "ready": true,
        "restartCount": 0});
    pod["status"]["containerStatuses"].as_array_mut().unwrap().push(sidecar);
    pod
}

fn time(second: i64) -> String {
    Timestamp::from_second(second).unwrap().to_string()
}

fn run(case: &TaskState) -> Step {
    let task = Item::from(serde_json::from_value::<Task>(case.task.clone()).unwrap());
    let view = |pod: &Value| serde_json::from_value::<PodView>(pod.clone()).unwrap();
    let pods: Vec<_> = case.pods.iter().map(|pod| Arc::new(view(pod))).collect();
    let last = case.last.as_ref().map(view);
    let policy = Policy {
        stop_policy: case.stop_policy,
        timeout_policy: case.timeout_policy,
        start_timeout: Some(SignedDuration::from_secs(600)),
        result_summary: true,
        is_image_outdated: case.is_image_outdated,
    };
    let task = KubeOpenCode::task_ref(&task).unwrap();
    decide(&Observed {
        task,
        pods: &pods,
        asked: case.asked,
        last: last.as_ref(),
        timeout: task.timeout.and_then(|text| Timeout::new(text, "spec.timeout")),
        policy,
        now: Timestamp::from_second(NOW).unwrap(),
    })
}

/// The step in a word, with the UIDs of the Pods that it names.
fn word(step: &Step) -> String {
    let uids = |deletions: &[PodDeletion]| {
        deletions.iter().map(|d| d.pod.uid().to_owned()).collect::<Vec<_>>().join(",")
    };
    match step {
        Step::Delete(deletions) => format!("Delete {}", uids(deletions)),
        Step::Complete { end: End::Stopped, delete, .. } => format!("Complete Stopped {}", uids(delete)),
        Step::Complete { end: End::Pod(ending), delete, .. } => {
            format!("Complete {} {}", ending.reason, uids(delete))
        }
        Step::Complete { end: End::NotLaunched(refusal), started: None, delete } => {
            format!("Complete {:?} {} {}", refusal.condition, refusal.reason, uids(delete))
        }
        Step::Open(pod) => format!("Open {}", pod.uid()),
        Step::HaltPod(pod) => format!("HaltPod {}", pod.uid()),
        Step::Report { started: Some(at), .. } => format!("Report started {}", at.as_second() - NOW),
        Step::Report { problem, skipped, .. } => {
            format!("Report {:?} {}", problem.as_ref().map(|t| t.reason), skipped.join(",")).trim().to_owned()
        }
        Step::AskEvents(pod, _) => format!("AskEvents {}", pod.uid()),
        Step::Wait(at) => {
            format!("Wait {}", at.map_or_else(|| "-".into(), |t| (t.as_second() - NOW).to_string()))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_new_task_is_launched_and_its_gated_pods_are_left_to_the_launch() {
    assert_eq!(word(&run(&TaskState::default())), "Launch");
    assert_eq!(
        word(&run(&TaskState { pods: vec![pod("a", true, "Pending")], ..TaskState::default() })),
        "Launch"
    );
}

#[test]
fn a_pod_that_somebody_made_or_opened_is_never_adopted_nor_joined_by_a_second() {
    let case = TaskState {
        pods: vec![pod("a", true, "Pending"), pod("b", false, "Running")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Complete Ready PodCreationError a");
    let Step::Complete { end: End::NotLaunched(refusal), .. } = run(&case) else {
        panic!("it is not launched")
    };
    assert!(
        refusal.message.starts_with("Pod \"/fix-pod\" has the label of this Task and not the gate"),
        "{refusal}"
    );
    let ended = TaskState { pods: vec![pod("b", false, "Succeeded")], ..TaskState::default() };
    assert_eq!(word(&run(&ended)), "Complete Ready PodCreationError ", "its agent may have run");
}

#[test]
fn a_task_that_another_operator_launched_is_not_launched_again() {
    let theirs = json!({"phase": "Running", "podName": "fix-xyz12", "startTime": time(NOW - 60)});
    let case = TaskState { task: task(json!({}), theirs), ..TaskState::default() };
    let Step::Complete { end: End::Pod(end), started, .. } = run(&case) else { panic!("it is over") };
    assert_eq!(end.reason, Reason::PodLost);
    assert!(
        end.message.starts_with("another operator launched this Task, as Pod \"fix-xyz12\": its status"),
        "{end:?}"
    );
    assert!(started.is_some(), "its agent may have run");
    for waiting in ["Pending", "Queued"] {
        let case = TaskState { task: task(json!({}), json!({"phase": waiting})), ..TaskState::default() };
        assert_eq!(word(&run(&case)), "Launch", "{waiting}");
    }
}

#[test]
fn a_pod_that_is_not_the_tasks_is_neither_deleted_nor_waited_for() {
    let mut ending = pod("b", false, "Running");
    ending["metadata"]["deletionTimestamp"] = json!(time(NOW + 1_000_000));
    let deleted = json!({"deletionTimestamp": time(NOW), "finalizers": ["kubeopencode.io/task-cleanup"]});
    for stranger in [pod("b", false, "Running"), ending] {
        let case = TaskState {
            task: task(deleted.clone(), json!({})),
            pods: vec![stranger.clone()],
            asked: true,
            ..TaskState::default()
        };
        assert_eq!(word(&run(&case)), "Release");
        let stopped = json!({"annotations": {"kubeopencode.io/stop": "true"}});
        let case = TaskState { task: task(stopped, json!({})), pods: vec![stranger], ..TaskState::default() };
        assert_eq!(word(&run(&case)), "Complete Stopped ");
    }
}

#[test]
fn what_never_starts_and_what_runs_too_long_ends() {
    let mut status = running();
    status["startTime"] = json!(time(NOW - 600));
    let case = TaskState {
        task: task(json!({}), status.clone()),
        pods: vec![pod("a", false, "Pending")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Complete StartTimeout a");
    status["startTime"] = json!(time(NOW - 3600));
    let case = TaskState {
        task: task(json!({}), status),
        pods: vec![pod("a", false, "Running")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Complete Timeout a", "its agent has not started, so there is no log");
    let case = TaskState { pods: vec![at_work("a")], ..case };
    assert_eq!(word(&run(&case)), "Complete Timeout ", "its log is kept");
    let case = TaskState { timeout_policy: StopPolicy::DeletePod, ..case };
    assert_eq!(word(&run(&case)), "Complete Timeout a");
    let case = TaskState { pods: vec![pod("a", false, "Succeeded")], ..case };
    assert_eq!(word(&run(&case)), "Complete Completed ", "it ended in time, only the operator was late");
    let mut deleted = with_agent("a", "Failed", json!({"terminated": {"exitCode": 143}}));
    deleted["metadata"]["deletionTimestamp"] = json!(time(NOW + 30));
    deleted["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let case = TaskState { pods: vec![deleted.clone()], ..case };
    assert_eq!(
        word(&run(&case)),
        "Complete Timeout ",
        "it was deleted for its timeout, and the write of that failed"
    );
    deleted["metadata"]["deletionTimestamp"] = json!(time(NOW - 100));
    // and, once the kubelet has had it removed, by when its agent ended
    let mut removed = deleted.clone();
    removed["metadata"]["deletionTimestamp"] = json!(time(NOW));
    removed["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    let ended = |at: i64| {
        let mut pod = removed.clone();
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!(time(at));
        pod
    };
    let mut case = case;
    for (pod, expected) in [
        (deleted, "Complete PodDeleted "),
        (ended(NOW - 100), "Complete PodDeleted "),
        (ended(NOW), "Complete Timeout "),
    ] {
        case = TaskState { pods: vec![pod], ..case };
        assert_eq!(word(&run(&case)), expected);
    }
}

#[test]
fn whoever_may_have_started_is_not_taken_for_safe_to_run_again() {
    let stopped = json!({"annotations": {"kubeopencode.io/stop": "true"}});
    let init = |state: Value| json!([{"name": "git-init-0", "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0}]);
    let mut cloning = pod("a", false, "Pending");
    cloning["spec"]["nodeName"] = json!("node");
    cloning["status"]["initContainerStatuses"] = init(json!({"running": {}}));
    let mut unpulled = cloning.clone();
    unpulled["status"]["initContainerStatuses"] = init(json!({"waiting": {"reason": "ImagePullBackOff"}}));
    let mut no_program = with_agent(
        "a",
        "Failed",
        json!({"terminated": {"exitCode": 128, "reason": "StartError",
        "startedAt": "1970-01-01T00:00:00Z", "finishedAt": time(NOW)}}),
    );
    no_program["spec"]["nodeName"] = json!("node");
    for (pod, expected) in [
        (at_work("a"), Some(-30)),
        (cloning, Some(0)),
        (unpulled, None),
        (pod("a", false, "Pending"), None),
        (no_program, None),
    ] {
        let case =
            TaskState { task: task(stopped.clone(), running()), pods: vec![pod], ..TaskState::default() };
        let Step::Complete { started, .. } = run(&case) else { panic!("it is over") };
        assert_eq!(started.map(|at| at.as_second() - NOW), expected, "{case:?}");
    }
    let mut lost = pod("a", false, "Pending");
    lost["metadata"]["deletionTimestamp"] = json!(time(NOW - 60));
    let case = TaskState { task: task(json!({}), running()), pods: vec![lost], ..TaskState::default() };
    let Step::Complete { started, .. } = run(&case) else { panic!("it is over") };
    assert_eq!(started.map(Timestamp::as_second), Some(NOW), "nobody knows");
}

#[test]
fn stop_works_in_every_phase() {
    let stopped = json!({"annotations": {"kubeopencode.io/stop": "true"}});
    let case = TaskState { task: task(stopped.clone(), json!({})), ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Complete Stopped ");
    let case = TaskState { pods: vec![pod("a", true, "Pending")], ..case };
    assert_eq!(word(&run(&case)), "Complete Stopped a", "a gated Pod goes first");
    let case =
        TaskState { task: task(stopped.clone(), running()), pods: vec![pod("a", false, "Running")], ..case };
    assert_eq!(word(&run(&case)), "Complete Stopped a");
    let case = TaskState { pods: vec![pod("a", false, "Succeeded")], ..case };
    assert_eq!(word(&run(&case)), "Complete Stopped ", "an ended Pod keeps its logs");
}

#[test]
fn keep_pod_keeps_a_started_pod_and_deletes_one_that_has_not_started() {
    let stopped = json!({"annotations": {"kubeopencode.io/stop": "true"}});
    let case = TaskState {
        task: task(stopped, running()),
        pods: vec![at_work("a")],
        stop_policy: StopPolicy::KeepPod,
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Complete Stopped ", "it is halted once its Task is over");
    let case = TaskState { pods: vec![pod("a", false, "Pending")], ..case };
    assert_eq!(word(&run(&case)), "Complete Stopped a");
}

#[test]
fn a_kept_pod_is_halted_once_its_task_is_over() {
    let mut stopped = running();
    stopped["phase"] = json!("Completed");
    stopped["conditions"] = json!([{"type": "Stopped", "status": "True", "reason": "UserStopped", "message": "",
        "lastTransitionTime": time(NOW)}]);
    let mut halted = at_work("a");
    halted["spec"]["activeDeadlineSeconds"] = json!(1);
    let case = TaskState {
        task: task(json!({}), stopped),
        pods: vec![halted],
        stop_policy: StopPolicy::KeepPod,
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "ReleaseResources");
    let case = TaskState { pods: vec![at_work("a")], ..case };
    assert_eq!(word(&run(&case)), "HaltPod a");
    let case = TaskState { stop_policy: StopPolicy::DeletePod, ..case };
    assert_eq!(word(&run(&case)), "Delete a");
}

#[test]
fn the_pod_of_a_timeout_is_halted_once_its_task_is_over() {
    let mut over = running();
    over["phase"] = json!("Failed");
    over["conditions"] = json!([{"type": "Succeeded", "status": "False", "reason": "Timeout", "message": "",
        "lastTransitionTime": time(NOW)}]);
    let case = TaskState { task: task(json!({}), over), pods: vec![at_work("a")], ..TaskState::default() };
    assert_eq!(word(&run(&case)), "HaltPod a");
    let case = TaskState { timeout_policy: StopPolicy::DeletePod, ..case };
    assert_eq!(word(&run(&case)), "Delete a");
}

#[test]
fn the_agent_ends_the_task_and_the_rest_of_its_pod_is_halted_and_kept() {
    let left = || vec![with_a_sidecar_left("a")];
    let case = TaskState { task: task(json!({}), running()), pods: left(), ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Complete Completed ");
    let stopped = task(json!({"annotations": {"kubeopencode.io/stop": "true"}}), running());
    assert_eq!(word(&run(&TaskState { task: stopped, ..case })), "Complete Stopped ", "its log is kept");
    let over = json!({"phase": "Completed", "podUID": "a", "startTime": time(NOW - 60)});
    let case = TaskState { task: task(json!({}), over), pods: left(), ..TaskState::default() };
    assert_eq!(word(&run(&case)), "HaltPod a");
    let mut halted = with_a_sidecar_left("a");
    halted["spec"]["activeDeadlineSeconds"] = json!(1);
    let case = TaskState { pods: vec![halted], ..case };
    assert_eq!(word(&run(&case)), "ReleaseResources");
    let alone = with_agent("a", "Running", json!({"terminated": {"exitCode": 0}}));
    let case = TaskState { pods: vec![alone], ..case };
    assert_eq!(word(&run(&case)), "ReleaseResources", "with its last container the Pod is over by itself");
    let case = TaskState { pods: vec![with_a_sidecar_left("b")], ..case };
    assert_eq!(word(&run(&case)), "ReleaseResources", "it is not the Task's");
}

#[test]
fn a_terminal_task_keeps_its_ended_pod_and_nothing_else() {
    let over = json!({"phase": "Failed", "podUID": "a", "startTime": time(NOW - 60)});
    let case = TaskState {
        task: task(json!({}), over),
        pods: vec![pod("a", false, "Failed")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "ReleaseResources");
    let case = TaskState { pods: vec![pod("a", false, "Running"), pod("b", true, "Pending")], ..case };
    assert_eq!(word(&run(&case)), "Delete a,b");
}

#[test]
fn a_deleted_task_goes_after_its_pods_and_does_not_wait_for_ever() {
    let deleted = json!({"deletionTimestamp": time(NOW), "finalizers": ["kubeopencode.io/task-cleanup"]});
    let case = TaskState {
        task: task(deleted, running()),
        pods: vec![pod("a", false, "Running")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Delete a");
    let mut ending = pod("a", false, "Running");
    ending["metadata"]["deletionTimestamp"] = json!(time(NOW + 30));
    let case = TaskState { pods: vec![ending.clone()], ..case };
    assert_eq!(word(&run(&case)), "Wait 90");
    ending["metadata"]["deletionTimestamp"] = json!(time(NOW - 60));
    let case = TaskState { pods: vec![ending], ..case };
    assert_eq!(word(&run(&case)), "ForceRelease");
    let case = TaskState { pods: vec![], ..case };
    assert_eq!(word(&run(&case)), "Verify");
    let case = TaskState { asked: true, ..case };
    assert_eq!(word(&run(&case)), "Release");
    let case = TaskState {
        task: task(json!({"deletionTimestamp": time(NOW), "finalizers": ["other/one"]}), json!({})),
        ..case
    };
    assert_eq!(word(&run(&case)), "Wait -", "the finalizers of others are theirs");
}

#[test]
fn what_the_cache_does_not_show_is_asked_for_before_any_end() {
    let finalizer = || json!({"finalizers": ["kubeopencode.io/task-cleanup"]});
    let with = |mut metadata: Value, field: &str, value: Value| {
        metadata[field] = value;
        metadata
    };
    let stopped = with(finalizer(), "annotations", json!({"kubeopencode.io/stop": "true"}));
    let deleted = with(finalizer(), "deletionTimestamp", json!(time(NOW)));
    let mut late = running();
    late["startTime"] = json!(time(NOW - 3601));
    for (metadata, status, shown, hidden, none) in [
        (stopped.clone(), running(), "Complete Stopped a", "Complete Stopped a", "Complete Stopped "),
        (stopped, json!({}), "Verify", "Complete Stopped ", "Complete Stopped "),
        (deleted.clone(), running(), "Delete a", "Delete a", "Release"),
        (deleted, json!({}), "Verify", "Release", "Release"),
        (finalizer(), late, "Complete Timeout a", "Complete Timeout a", "Complete Timeout "),
    ] {
        let case = |pods, asked| TaskState {
            task: task(metadata.clone(), status.clone()),
            pods,
            asked,
            ..TaskState::default()
        };
        let pod = || vec![pod("a", false, "Running")];
        assert_eq!(word(&run(&case(pod(), false))), shown, "{metadata} {status}");
        assert_eq!(word(&run(&case(vec![], false))), "Verify", "{metadata} {status}");
        assert_eq!(word(&run(&case(pod(), true))), hidden, "{metadata} {status}");
        assert_eq!(word(&run(&case(vec![], true))), none, "{metadata} {status}");
    }
    // of one that is over the garbage collector takes what is left, but in no other namespace
    for (namespace, step) in [("team", "Release"), ("platform", "Verify")] {
        let mut over = running();
        over["phase"] = json!("Completed");
        over["podNamespace"] = json!(namespace);
        let deleted = with(finalizer(), "deletionTimestamp", json!(time(NOW)));
        let case = TaskState { task: task(deleted, over), ..TaskState::default() };
        assert_eq!(word(&run(&case)), step, "{namespace}");
    }
    // nothing was made yet
    let new = task(json!({"annotations": {"kubeopencode.io/stop": "true"}}), json!({}));
    assert_eq!(word(&run(&TaskState { task: new, ..TaskState::default() })), "Complete Stopped ");
}
