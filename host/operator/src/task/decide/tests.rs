//! The launch protocol's decisions, one row each.

use super::*;
use crate::cache::item::Item;
use crate::frontend::{Frontend, KubeOpenCode};
use kubeopencode_api::task::Task;
use serde_json::{Value, json};

const NOW: i64 = 1_000_000;

struct TaskState {
    task: Value,
    pods: Vec<Value>,
    last: Option<Value>,
    stop_policy: StopPolicy,
    is_image_outdated: bool,
}

impl Default for TaskState {
    fn default() -> Self {
        Self {
            task: task(json!({}), json!({})),
            pods: vec![],
            last: None,
            stop_policy: StopPolicy::DeletePod,
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
        start_timeout: Some(SignedDuration::from_secs(600)),
        result_summary: true,
        is_image_outdated: case.is_image_outdated,
    };
    decide(&Observed {
        task: KubeOpenCode::task_ref(&task).unwrap(),
        pods: &pods,
        last: last.as_ref(),
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
        Step::Complete { end: End::Stopped, delete } => format!("Complete Stopped {}", uids(delete)),
        Step::Complete { end: End::Pod(ending), delete } => {
            format!("Complete {} {}", ending.reason, uids(delete))
        }
        Step::Record(pod) => format!("Record {}", pod.uid()),
        Step::Open(pod) => format!("Open {}", pod.uid()),
        Step::StopKeepPod(pod) => format!("StopKeepPod {}", pod.uid()),
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
fn an_unrecorded_pod_without_our_gate_is_recorded_and_never_joined_by_a_second() {
    let case = TaskState {
        pods: vec![pod("a", true, "Pending"), pod("b", false, "Running")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Record b");
}

#[test]
fn the_recorded_pod_loses_its_gate_and_every_other_gated_one_goes_first() {
    let case = TaskState {
        task: task(json!({}), running()),
        pods: vec![pod("a", true, "Pending")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Open a");
    let case = TaskState { pods: vec![pod("a", true, "Pending"), pod("b", true, "Pending")], ..case };
    assert_eq!(word(&run(&case)), "Delete b");
}

#[test]
fn a_pod_that_is_not_in_the_cache_is_asked_for_unless_its_last_state_is_known() {
    let case = TaskState { task: task(json!({}), running()), ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Verify");
    let case = TaskState { last: Some(pod("a", false, "Succeeded")), ..case };
    assert_eq!(word(&run(&case)), "Complete Completed ");
}

#[test]
fn the_end_of_the_pod_is_the_end_of_the_task() {
    let case = TaskState {
        task: task(json!({}), running()),
        pods: vec![pod("a", false, "Succeeded")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Complete Completed ");
    let case = TaskState { pods: vec![pod("a", false, "Failed")], ..case };
    assert_eq!(word(&run(&case)), "Complete PodFailed ");
}

#[test]
fn nothing_is_written_when_containers_start_and_the_next_deadline_is_kept() {
    let mut started = pod("a", false, "Running");
    started["status"]["containerStatuses"] = json!([{"name": "agent", "state": {"running": {}}, "image": "", "imageID": "", "ready": true, "restartCount": 0}]);
    let case = TaskState { task: task(json!({}), running()), pods: vec![started], ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Wait 3540", "spec.timeout");
    let case = TaskState { pods: vec![pod("a", false, "Pending")], ..case };
    assert_eq!(word(&run(&case)), "Wait 540", "startTimeoutSeconds comes first");
}

#[test]
fn problem_is_reported_once_and_taken_back() {
    let mut stuck = pod("a", false, "Pending");
    stuck["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]);
    let case =
        TaskState { task: task(json!({}), running()), pods: vec![stuck.clone()], ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Report Some(Unschedulable)");
    let mut said = running();
    said["conditions"] = json!([{"type": "Started", "status": "False", "reason": "Unschedulable", "message": "",
        "lastTransitionTime": time(NOW)}]);
    let case = TaskState { task: task(json!({}), said), ..case };
    assert_eq!(word(&run(&case)), "Wait 540");
    let case = TaskState { pods: vec![pod("a", false, "Pending")], ..case };
    assert_eq!(word(&run(&case)), "Report None");
}

#[test]
fn the_events_of_a_silent_pod_are_asked_after_a_while() {
    let silent = |seconds: i64| {
        let mut silent = pod("a", false, "Pending");
        silent["status"]["conditions"] =
            json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": time(NOW - seconds)}]);
        silent
    };
    let case = TaskState { task: task(json!({}), running()), pods: vec![silent(5)], ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Wait 15");
    let case = TaskState { pods: vec![silent(20)], ..case };
    assert_eq!(word(&run(&case)), "AskEvents a");
    let mut said = running();
    said["conditions"] = json!([{"type": "Started", "status": "False", "reason": "VolumeNotReady", "message": "",
        "lastTransitionTime": time(NOW)}]);
    let case = TaskState { task: task(json!({}), said), ..case };
    assert_eq!(word(&run(&case)), "AskEvents a", "it is not taken back while nothing begins");
}

#[test]
fn an_optional_context_left_out_inside_the_pod_is_told_once() {
    let mut begun = pod("a", false, "Pending");
    begun["status"]["initContainerStatuses"] = json!([{"name": "git-init-0", "image": "", "imageID": "", "ready": true,
        "restartCount": 0, "state": {"terminated": {"exitCode": 0, "message": "skipped: no such branch"}}}]);
    let case = TaskState { task: task(json!({}), running()), pods: vec![begun], ..TaskState::default() };
    let words = "init container \"git-init-0\" left an optional context out: no such branch";
    assert_eq!(word(&run(&case)), format!("Report None {words}"));
    let mut said = running();
    said["conditions"] = json!([{"type": "Contexts", "status": "True", "reason": "OptionalSkipped",
        "message": words, "lastTransitionTime": time(NOW)}]);
    assert_eq!(word(&run(&TaskState { task: task(json!({}), said), ..case })), "Wait 540");
}

#[test]
fn a_pod_that_is_deleted_and_does_not_end_is_lost_with_its_node() {
    let mut ending = pod("a", false, "Running");
    ending["metadata"]["deletionTimestamp"] = json!(time(NOW - 10));
    let case =
        TaskState { task: task(json!({}), running()), pods: vec![ending.clone()], ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Wait 50");
    ending["metadata"]["deletionTimestamp"] = json!(time(NOW - 60));
    assert_eq!(word(&run(&TaskState { pods: vec![ending], ..case })), "Complete PodLost ");
}

#[test]
fn what_never_starts_and_what_runs_too_long_ends() {
    let mut status = running();
    status["startTime"] = json!(time(NOW - 601));
    let case = TaskState {
        task: task(json!({}), status.clone()),
        pods: vec![pod("a", false, "Pending")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Complete StartTimeout a");
    status["startTime"] = json!(time(NOW - 3601));
    let case = TaskState {
        task: task(json!({}), status),
        pods: vec![pod("a", false, "Running")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Complete Timeout a");
    let case = TaskState { pods: vec![pod("a", false, "Succeeded")], ..case };
    assert_eq!(word(&run(&case)), "Complete Completed ", "it ended in time, only the operator was late");
}

#[test]
fn an_image_that_nothing_brings_holds_its_slot_for_a_minute() {
    let mut waits = pod("a", false, "Pending");
    let waiting = |word: &str, words: &str| {
        json!([{"name": "agent", "state": {"waiting": {"reason": word, "message": words}},
            "image": "", "imageID": "", "ready": false, "restartCount": 0}])
    };
    waits["status"]["containerStatuses"] = waiting("ErrImagePull", "r.example/typo:1: not found");
    let mut status = running();
    let case = TaskState {
        task: task(json!({}), status.clone()),
        pods: vec![waits.clone()],
        ..TaskState::default()
    };
    let words = "ImagePullFailed";
    assert!(word(&run(&case)).contains(words), "it is told first: {}", word(&run(&case)));
    let mut told = |seconds: i64, message: &str| {
        status["conditions"] = json!([{"type": "Started", "status": "False", "reason": "ImagePullFailed",
            "message": message, "lastTransitionTime": time(NOW - seconds)}]);
        task(json!({}), status.clone())
    };
    let unknown = "container \"agent\": ErrImagePull: r.example/typo:1: not found";
    let case = TaskState { task: told(10, unknown), pods: vec![waits.clone()], ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Wait 50");
    // between two tries kubelet says only that it waits
    waits["status"]["containerStatuses"] = waiting("ImagePullBackOff", "Back-off pulling image");
    let case = TaskState { task: told(61, unknown), pods: vec![waits.clone()], ..TaskState::default() };
    let step = run(&case);
    assert_eq!(word(&step), "Complete StartTimeout a");
    let Step::Complete { end: End::Pod(end), .. } = step else { panic!() };
    assert!(
        end.message.starts_with("the Pod did not start within a minute, and never will: "),
        "{}",
        end.message
    );
    let away = "container \"agent\": ErrImagePull: dial tcp: connection refused";
    let case = TaskState { task: told(61, away), pods: vec![waits], ..TaskState::default() };
    assert!(word(&run(&case)).starts_with("Wait "), "a registry comes back");
    let case = TaskState { is_image_outdated: true, ..case };
    assert_eq!(word(&run(&case)), "Complete StartTimeout a", "its Agent was corrected");
}

#[test]
fn a_gate_of_somebody_else_stops_the_clock_until_it_is_gone() {
    let mut held = pod("a", false, "Pending");
    held["spec"]["schedulingGates"] = json!([{"name": "kueue.x-k8s.io/admission"}]);
    let mut status = running();
    status["startTime"] = json!(time(NOW - 3000));
    let case = TaskState { task: task(json!({}), status.clone()), pods: vec![held], ..TaskState::default() };
    let step = run(&case);
    let Step::Report { problem: Some(problem), .. } = step else { panic!("{}", word(&step)) };
    assert_eq!(problem.message, "the Pod is held back by scheduling gates: kueue.x-k8s.io/admission");
    // so the Task says, until the Pod gets on
    status["conditions"] = json!([{"type": "Started", "status": "True", "reason": "PodLaunched", "message": "",
        "lastTransitionTime": time(NOW - 100)}]);
    let case = TaskState {
        task: task(json!({}), status),
        pods: vec![pod("a", false, "Pending")],
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "Wait 500");
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
fn keep_pod_halts_a_started_pod_and_deletes_one_that_has_not_started() {
    let stopped = json!({"annotations": {"kubeopencode.io/stop": "true"}});
    let mut started = pod("a", false, "Running");
    started["status"]["containerStatuses"] = json!([{"name": "agent", "state": {"running": {}}, "image": "", "imageID": "", "ready": true, "restartCount": 0}]);
    let case = TaskState {
        task: task(stopped, running()),
        pods: vec![started],
        stop_policy: StopPolicy::KeepPod,
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "StopKeepPod a");
    let case = TaskState { pods: vec![pod("a", false, "Pending")], ..case };
    assert_eq!(word(&run(&case)), "Complete Stopped a");
}

#[test]
fn a_kept_pod_is_halted_even_if_the_operator_died_between_the_two_writes() {
    let mut stopped = running();
    stopped["phase"] = json!("Completed");
    stopped["conditions"] = json!([{"type": "Stopped", "status": "True", "reason": "UserStopped", "message": "",
        "lastTransitionTime": time(NOW)}]);
    let mut halted = pod("a", false, "Running");
    halted["spec"]["activeDeadlineSeconds"] = json!(1);
    let case = TaskState {
        task: task(json!({}), stopped),
        pods: vec![halted],
        stop_policy: StopPolicy::KeepPod,
        ..TaskState::default()
    };
    assert_eq!(word(&run(&case)), "ReleaseResources");
    let case = TaskState { pods: vec![pod("a", false, "Running")], ..case };
    assert_eq!(word(&run(&case)), "StopKeepPod a");
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
    ending["metadata"]["deletionTimestamp"] = json!(time(NOW - 61));
    let case = TaskState { pods: vec![ending], ..case };
    assert_eq!(word(&run(&case)), "ForceRelease");
    let case = TaskState { pods: vec![], ..case };
    assert_eq!(word(&run(&case)), "Release");
    let case = TaskState {
        task: task(json!({"deletionTimestamp": time(NOW), "finalizers": ["other/one"]}), json!({})),
        ..case
    };
    assert_eq!(word(&run(&case)), "Wait -", "the finalizers of others are theirs");
}
