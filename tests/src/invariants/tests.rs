//! Each invariant finds a history that breaks it, and leaves one alone that does not.

use kubeopencode_api::literals::{LAUNCH_GATE, TASK_UID_LABEL};
use serde_json::json;

use super::*;

fn revision(kind: Kind, version: u64, object: Value) -> Revision {
    Revision { kind, version, since: version, gone: false, object }
}

fn gone(revision: &Revision, version: u64) -> Revision {
    Revision { version, since: version, gone: true, ..revision.clone() }
}

fn task(version: u64, name: &str, status: Value) -> Revision {
    let metadata = json!({"namespace": "team", "name": name, "uid": format!("uid-{name}")});
    revision(Kind::Task, version, json!({"metadata": metadata, "status": status}))
}

fn pod(version: u64, of: &str, gated: bool) -> Revision {
    let gates = if gated { json!([{"name": LAUNCH_GATE}]) } else { Value::Null };
    revision(
        Kind::Pod,
        version,
        json!({
            "metadata": {
                "namespace": "team", "name": format!("{of}-pod"), "uid": format!("pod-of-{of}"),
                "labels": {TASK_UID_LABEL: format!("uid-{of}")}, "annotations": {AGENT_NAME_ANNOTATION: "a"},
            },
            "spec": {"schedulingGates": gates},
        }),
    )
}

/// An Agent that may start `max` Tasks in a minute, and those that it counts, by name and second.
fn agent(version: u64, max: u64, starts: &[(&str, u8)]) -> Revision {
    let starts: Vec<_> = starts
        .iter()
        .map(|(task, second)| {
            let start_time = format!("2026-01-01T00:00:{second:02}Z");
            json!({"taskName": task, "taskUID": format!("uid-{task}"), "startTime": start_time})
        })
        .collect();
    revision(
        Kind::Agent,
        version,
        json!({
            "metadata": {"namespace": "team", "name": "a", "uid": "uid-of-a"},
            "spec": {"quota": {"maxTaskStarts": max, "windowSeconds": 60}},
            "status": {"taskStartHistory": starts},
        }),
    )
}

fn config_map(version: u64, namespace: &str, of: &str) -> Revision {
    let metadata = json!({"namespace": namespace, "name": format!("{of}-context"), "labels": {TASK_UID_LABEL: format!("uid-{of}")}});
    revision(Kind::ConfigMap, version, json!({"metadata": metadata}))
}

fn event(version: u64, name: &str, type_: &str, reason: &str, note: &str) -> Revision {
    revision(
        Kind::Event,
        version,
        json!({
            "metadata": {"namespace": "team", "name": name}, "regarding": {"kind": "Task", "uid": "uid-fix"},
            "type": type_, "reason": reason, "note": note,
        }),
    )
}

fn recorded(version: u64, name: &str, phase: &str) -> Revision {
    let status = json!({"phase": phase, "reason": "r", "podUID": format!("pod-of-{name}"), "podName": format!("{name}-pod"), "podNamespace": "team"});
    task(version, name, status)
}

/// What the histories break, by the numbers of the invariants.
fn broken(revisions: impl IntoIterator<Item = Revision>) -> Vec<String> {
    let found = violations(&History::of(revisions));
    found.into_iter().map(|violation| violation.split_once(':').unwrap().0.to_owned()).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn what_a_list_shows_is_known_from_that_list_on() {
    let shown = |revision: Revision| Revision { since: 9, ..revision };
    // the Task was written again after its Pod lost the gate: a list shows the last revision of each
    let (task, pod) = (recorded(7, "fix", "Running"), pod(5, "fix", false));
    assert_eq!(broken([shown(task.clone()), shown(pod.clone())]), [""; 0]);
    assert_eq!(broken([task, pod]), ["I1"]);
}

#[test]
fn i1_only_the_recorded_pod_runs_and_keeps_running() {
    let launch = [pod(1, "fix", true), recorded(2, "fix", "Running"), pod(3, "fix", false)];
    assert_eq!(broken(launch.clone()), NONE);
    assert_eq!(broken([pod(1, "fix", false), recorded(2, "fix", "Running")]), ["I1"], "not recorded before");
    assert_eq!(broken(launch.into_iter().chain([pod(4, "fix", true)])), ["I1"], "its gate is back");
}

#[test]
fn i2_and_i6_what_is_over_stays_over() {
    let over = [pod(1, "fix", true), recorded(2, "fix", "Completed")];
    assert_eq!(broken(over.clone()), NONE);
    let again = over.into_iter().chain([recorded(3, "fix", "Running")]);
    assert_eq!(broken(again), ["I6", "I2"]);
}

#[test]
fn i4_nobody_runs_without_a_task_or_without_a_pod() {
    let running = [pod(1, "fix", true), recorded(2, "fix", "Running"), pod(3, "fix", false)];
    let gone_first = gone(&running[1], 4);
    assert_eq!(broken(running.clone().into_iter().chain([gone_first])), ["I4", "I4"], "left, and went first");
    let lost = gone(&running[2], 4);
    assert_eq!(broken(running.into_iter().chain([lost])), ["I4"]);
}

#[test]
fn i4_a_pod_that_is_over_may_go_after_its_task_where_the_garbage_collector_takes_it() {
    let (opened, completed) =
        ([pod(1, "fix", true), recorded(2, "fix", "Running")], recorded(5, "fix", "Completed"));
    let launched = pod(3, "fix", false);
    let ended = |phase: &str, owners: Value| {
        let mut pod = pod(4, "fix", false);
        pod.object["status"]["phase"] = json!(phase);
        pod.object["metadata"]["ownerReferences"] = owners;
        let history = [launched.clone(), pod.clone(), completed.clone(), gone(&completed, 6), gone(&pod, 7)];
        broken(opened.clone().into_iter().chain(history))
    };
    assert_eq!(ended("Failed", json!([{"kind": "Task"}])), NONE);
    assert_eq!(ended("Running", json!([{"kind": "Task"}])), ["I4"], "its agent runs");
    assert_eq!(ended("Failed", json!([])), ["I4"], "nobody takes it");
}

/// The same, as it is with `kubetask.io`.
fn of_kubetask(mut revision: Revision) -> Revision {
    if revision.kind == Kind::Task {
        revision.kind = Kind::KubeTask;
    }
    if let Some(labels) = revision.object["metadata"].get_mut("labels") {
        *labels = json!({"app": "kubetask", "kubetask.io/task-uid": labels[TASK_UID_LABEL]});
    }
    revision
}

#[test]
fn tasks_of_kubetask_are_held_to_the_same() {
    let running = [pod(1, "fix", true), recorded(2, "fix", "Running"), pod(3, "fix", false)].map(of_kubetask);
    assert_eq!(broken(running.clone()), NONE);
    assert_eq!(broken(running[1..].iter().cloned()), NONE);
    let [_, task, pod] = running.clone();
    assert_eq!(broken([Revision { version: 2, since: 2, ..pod.clone() }, task.clone()]), ["I1"]);
    assert_eq!(broken([task.clone(), pod.clone(), gone(&task, 4)]), ["I4", "I4"]);
    assert_eq!(broken([task.clone(), pod.clone(), gone(&pod, 4)]), ["I4"]);
    let left = of_kubetask(config_map(1, "team", "fix"));
    assert_eq!(broken([left, task.clone(), pod.clone(), gone(&pod, 4), gone(&task, 5)]), ["I9"]);
}

#[test]
fn i9_a_config_map_goes_with_task_and_pod() {
    let there = [config_map(1, "platform", "fix"), recorded(2, "fix", "Completed"), pod(3, "fix", false)];
    assert_eq!(broken(there.clone()), NONE);
    let with_pod = [gone(&there[1], 4)];
    assert!(
        !broken(there.clone().into_iter().chain(with_pod.clone())).contains(&"I9".to_owned()),
        "its Pod needs it"
    );
    let alone = there.iter().cloned().chain(with_pod).chain([gone(&there[2], 5)]);
    assert_eq!(broken(alone.collect::<Vec<_>>()).last().map(String::as_str), Some("I9"));
    let foreign =
        revision(Kind::ConfigMap, 1, json!({"metadata": {"namespace": "platform", "name": "theirs"}}));
    assert_eq!(broken([foreign]), NONE);
}

#[test]
fn i10_the_quota_counts_each_start_once() {
    let launch = |version, name| [recorded(version, name, "Running"), pod(version + 1, name, false)];
    let counted = [agent(1, 2, &[]), agent(2, 2, &[("x", 0), ("y", 1)])];
    let both = counted.clone().into_iter().chain(launch(3, "x")).chain(launch(5, "y"));
    assert_eq!(broken(both.clone()), NONE);
    // the second of two operators wrote without having read the first one's entry
    let lost = [agent(1, 1, &[]), agent(2, 1, &[("x", 0)]), agent(3, 1, &[("y", 1)])];
    let lost = lost.into_iter().chain(launch(4, "x")).chain(launch(6, "y"));
    assert_eq!(broken(lost), ["I10", "I10"], "x runs uncounted, and two started where one may");
    let twice = both.clone().chain([agent(7, 2, &[("x", 0), ("x", 0)])]);
    assert_eq!(broken(twice), ["I10"]);
    let later = both.chain([agent(7, 2, &[("y", 1), ("z", 59)])]).chain(launch(8, "z"));
    assert_eq!(broken(later), ["I10"], "x still counts when z starts");
    let nobody = counted.into_iter().chain(launch(3, "z"));
    assert_eq!(broken(nobody), ["I10"]);
}

#[test]
fn i10_a_refused_task_gives_its_start_back() {
    let refused = task(2, "x", json!({"phase": "Failed", "reason": "ContextError"}));
    assert_eq!(broken([agent(1, 2, &[("x", 0)]), refused.clone()]), ["I10"]);
    assert_eq!(broken([agent(1, 2, &[("x", 0)]), refused, agent(3, 2, &[])]), NONE);
    let ran = [agent(1, 2, &[("x", 0)]), pod(2, "x", true), recorded(3, "x", "Failed"), pod(4, "x", false)];
    assert_eq!(broken(ran), NONE);
}

#[test]
fn i11_each_phase_is_told_once() {
    let told = [
        event(1, "a", "Normal", "Queued", "Waiting for agent"),
        event(2, "b", "Normal", "PodCreated", "launched"),
        event(3, "c", "Warning", "Failed", "PodFailed: container \"agent\" exited with code 3"),
        event(4, "d", "Warning", "Failed", "its Pod could not be ended"),
        event(5, "e", "Warning", "Failed", "its Pod could not be ended"),
    ];
    assert_eq!(broken(told.clone()), NONE);
    let twice = event(6, "f", "Warning", "Failed", "PodFailed: container \"agent\" exited with code 3");
    assert_eq!(broken(told.clone().into_iter().chain([twice])), ["I11"]);
    let twice = event(6, "f", "Normal", "QuotaExceeded", "Waiting for agent");
    assert_eq!(broken(told.into_iter().chain([twice])), ["I11"], "whatever it waits for");
}

fn batch(version: u64, parallelism: usize, status: Value) -> Revision {
    let spec = json!({"variableContexts": [[], []], "parallelism": parallelism});
    let metadata = json!({"namespace": "team", "name": "b", "uid": "uid-of-b"});
    revision(Kind::Batch, version, json!({"metadata": metadata, "spec": spec, "status": status}))
}

fn of_batch(version: u64, index: usize, uid: &str, phase: &str) -> Revision {
    let owners = json!([{"kind": "Batch", "name": "b", "uid": "uid-of-b", "controller": true}]);
    let metadata = json!({"namespace": "team", "name": format!("b-task-{index}"), "uid": uid, "ownerReferences": owners});
    revision(Kind::KubeTask, version, json!({"metadata": metadata, "status": {"phase": phase}}))
}

/// Tasks that say nothing of themselves break other ones too.
fn breaks_i23(revisions: impl IntoIterator<Item = Revision>) -> usize {
    broken(revisions).iter().filter(|found| *found == "I23").count()
}

#[test]
fn i23_a_batch_has_one_task_of_each_index_and_says_how_it_ended() {
    let over = |completed: &str, failed: &str| {
        batch(
            9,
            1,
            json!({"phase": "Failed", "made": 2, "completedIndexes": completed, "failedIndexes": failed}),
        )
    };
    let ran = [
        batch(1, 1, json!({})),
        of_batch(2, 0, "x", "Pending"),
        of_batch(3, 0, "x", "Completed"),
        of_batch(4, 1, "y", "Pending"),
        of_batch(5, 1, "y", "Failed"),
    ];
    assert_eq!(breaks_i23(ran.clone().into_iter().chain([over("0", "1")])), 0);
    for (completed, failed, wrong) in [("0,1", "", 1), ("0", "", 1), ("1", "0", 2), ("0,1", "1", 1)] {
        let found = breaks_i23(ran.clone().into_iter().chain([over(completed, failed)]));
        assert_eq!(found, wrong, "{completed} {failed}");
    }
    let both = [batch(1, 1, json!({})), of_batch(2, 0, "x", "Pending"), of_batch(3, 1, "y", "Pending")];
    assert_eq!(breaks_i23(both), 1, "two at a time where one may be");
    let [started, pending, ended, ..] = ran;
    let again = [started, pending, gone(&ended, 4), of_batch(5, 0, "z", "Pending")];
    assert_eq!(breaks_i23(again), 1, "made again");
}
