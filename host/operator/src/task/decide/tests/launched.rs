//! Rows about a launched Task that nobody ends.

use super::*;

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
    let mut launched = running();
    launched["podNamespace"] = json!("team");
    launched["podName"] = json!("fix-pod");
    let case = TaskState { task: task(json!({}), launched), ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Verify");
    let step = run(&TaskState { asked: true, ..case });
    assert_eq!(word(&step), "Complete PodLost ");
    let Step::Complete { end: End::Pod(lost), .. } = step else { panic!("it is over") };
    assert_eq!(lost.message, "Pod \"team/fix-pod\" is gone and how it ended is not known");
    let case = TaskState { task: task(json!({}), running()), ..TaskState::default() };
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
fn the_start_of_the_agent_is_written_once_and_the_next_deadline_is_kept() {
    let case =
        TaskState { task: task(json!({}), running()), pods: vec![at_work("a")], ..TaskState::default() };
    assert_eq!(word(&run(&case)), "Report started -30");
    let mut known = running();
    known["agentStarted"] = json!(time(NOW - 30));
    let case = TaskState { task: task(json!({}), known), ..case };
    assert_eq!(word(&run(&case)), "Wait 3540", "spec.timeout");
    let case = TaskState { task: task(json!({}), running()), pods: vec![pod("a", false, "Pending")], ..case };
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
    ending["spec"]["nodeName"] = json!("node-1");
    let step = run(&TaskState { pods: vec![ending], ..case });
    assert_eq!(word(&step), "Complete PodLost ");
    let Step::Complete { end: End::Pod(lost), .. } = step else { panic!("it is over") };
    assert_eq!(
        lost.message,
        "the Pod is being deleted and does not end: node \"node-1\" may be lost, the agent may still run there"
    );
}

#[test]
fn a_start_timeout_names_its_value_and_the_last_problem() {
    let mut status = running();
    status["startTime"] = json!(time(NOW - 601));
    let mut stuck = pod("a", false, "Pending");
    stuck["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]);
    let case = TaskState { task: task(json!({}), status), pods: vec![stuck], ..TaskState::default() };
    let Step::Complete { end: End::Pod(ending), started: None, .. } = run(&case) else {
        panic!("it is over")
    };
    let words =
        "the Pod did not start within 600 s, the startTimeoutSeconds of KubeOpenCodeConfig: 0/1 nodes";
    assert_eq!(ending.message, words);
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
    // that minute prolongs nothing
    let mut late = told(60, unknown);
    late["status"]["startTime"] = json!(time(NOW - 600));
    let Step::Complete { end: End::Pod(end), .. } = run(&TaskState { task: late, ..case }) else { panic!() };
    assert!(
        end.message.starts_with("the Pod did not start within 600 s, the startTimeoutSeconds of "),
        "{}",
        end.message
    );
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
