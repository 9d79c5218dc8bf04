//! The invariants I1 to I6 of ARCHITECTURE.md, checked on the API server's own record.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kubeopencode_api::literals::{AGENT_NAME_ANNOTATION, TASK_UID_LABEL};
use serde_json::Value;

use crate::record::{History, Kind, Revision};

/// What of the record breaks an invariant; nothing, if all is well.
pub fn violations(history: &History) -> Vec<String> {
    let mut revisions: Vec<_> = history.revisions.clone();
    revisions.sort_by_key(|revision| revision.version);
    let mut found = Vec::new();
    tasks_move_forward(&revisions, &mut found);
    one_launch(&revisions, &mut found);
    limits(&revisions, &mut found);
    nothing_is_left(history, &revisions, &mut found);
    found
}

fn rank(phase: &str) -> u8 {
    match phase {
        "" | "Pending" => 0,
        "Queued" => 1,
        "Running" => 2,
        _ => 3,
    }
}

fn is_terminal(task: &Revision) -> bool {
    rank(task.text("/status/phase")) == 3
}

fn of(revisions: &[Arc<Revision>], kind: Kind) -> impl Iterator<Item = &Arc<Revision>> {
    revisions.iter().filter(move |revision| revision.kind == kind)
}

/// I2: a terminal Task stays as it is. I6: the phase never goes back. The recorded Pod stays the recorded Pod.
fn tasks_move_forward(revisions: &[Arc<Revision>], found: &mut Vec<String>) {
    let mut last: HashMap<&str, &Revision> = HashMap::new();
    for task in of(revisions, Kind::Task) {
        if let Some(before) = last.insert(task.uid(), task) {
            let (old, new) = (before.text("/status/phase"), task.text("/status/phase"));
            if rank(new) < rank(old) {
                found.push(format!(
                    "I6: Task {} went from {old} back to {new} at {}",
                    task.name(),
                    task.version
                ));
            }
            if is_terminal(before) && before.object["status"] != task.object["status"] {
                found.push(format!(
                    "I2: the status of Task {} changed after its end at {}",
                    task.name(),
                    task.version
                ));
            }
            let (old, new) = (before.text("/status/podUID"), task.text("/status/podUID"));
            if !old.is_empty() && old != new {
                found.push(format!(
                    "I1: Task {} changed its Pod from {old} to {new} at {}",
                    task.name(),
                    task.version
                ));
            }
        }
    }
}

/// I1: at most one Pod of a Task ever loses its gate: the one that was recorded before.
fn one_launch(revisions: &[Arc<Revision>], found: &mut Vec<String>) {
    let mut recorded: HashMap<&str, &str> = HashMap::new();
    let mut launched: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for revision in revisions {
        match revision.kind {
            Kind::Task if !revision.text("/status/podUID").is_empty() => {
                recorded.insert(revision.uid(), revision.text("/status/podUID"));
            }
            Kind::Pod if !revision.is_gated() && !revision.label(TASK_UID_LABEL).is_empty() => {
                let task = revision.label(TASK_UID_LABEL);
                let pods = launched.entry(task).or_default();
                if pods.insert(revision.uid()) {
                    if recorded.get(task) != Some(&revision.uid()) {
                        found.push(format!(
                            "I1: Pod {} lost its gate before it was recorded, at {}",
                            revision.name(),
                            revision.version
                        ));
                    }
                    if pods.len() > 1 {
                        found.push(format!(
                            "I1: {} Pods of Task {task} lost their gate: {pods:?}",
                            pods.len()
                        ));
                    }
                }
            }
            _ => {}
        }
    }
}

/// I3: the Tasks of an Agent that hold a slot, and its Pods that may run, never exceed its limit.
fn limits(revisions: &[Arc<Revision>], found: &mut Vec<String>) {
    let mut agents: HashMap<&str, (usize, Vec<&str>)> = HashMap::new();
    let mut running: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for revision in revisions {
        match revision.kind {
            Kind::Agent => {
                let limit = revision.object["spec"]["maxConcurrentTasks"].as_u64().unwrap_or(0);
                let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap() };
                let admitted: Vec<_> = revision
                    .list("/status/admitted")
                    .iter()
                    .filter_map(|entry| entry["taskUID"].as_str())
                    .collect();
                if admitted.iter().collect::<BTreeSet<_>>().len() != admitted.len() {
                    found.push(format!(
                        "I3: Agent {} admitted a Task twice at {}",
                        revision.name(),
                        revision.version
                    ));
                }
                let before = agents.get(revision.name()).map_or(0, |(_, before)| before.len());
                // a lowered limit takes nothing away, and who runs when the limit comes is counted
                let runs = running.get(revision.name()).map_or(0, BTreeSet::len);
                if admitted.len() > limit.max(before).max(runs) {
                    found.push(format!(
                        "I3: Agent {} admitted {} Tasks of {limit} at {}",
                        revision.name(),
                        admitted.len(),
                        revision.version
                    ));
                }
                agents.insert(revision.name(), (limit, admitted));
            }
            Kind::Pod => {
                let pods = running.entry(revision.annotation(AGENT_NAME_ANNOTATION)).or_default();
                let is_over = matches!(revision.text("/status/phase"), "Succeeded" | "Failed");
                if revision.gone || revision.is_gated() || is_over {
                    pods.remove(revision.uid());
                    continue;
                }
                let is_new = pods.insert(revision.uid());
                let Some((limit, admitted)) = agents.get(revision.annotation(AGENT_NAME_ANNOTATION)) else {
                    continue;
                };
                if !is_new || *limit == usize::MAX {
                    continue;
                }
                if !admitted.contains(&revision.label(TASK_UID_LABEL)) {
                    found.push(format!(
                        "I3: Pod {} may run without a slot at {}",
                        revision.name(),
                        revision.version
                    ));
                }
                if pods.len() > *limit {
                    found.push(format!(
                        "I3: {} Pods may run on a limit of {limit} at {}",
                        pods.len(),
                        revision.version
                    ));
                }
            }
            _ => {}
        }
    }
}

/// I4: no Pod outlives its Task, no Task is Running without a Pod. I5: who is not over says what it waits for.
fn nothing_is_left(history: &History, revisions: &[Arc<Revision>], found: &mut Vec<String>) {
    let tasks: BTreeSet<_> = history.all(Kind::Task).map(|task| task.uid().to_owned()).collect();
    for pod in history.all(Kind::Pod).filter(|pod| !pod.label(TASK_UID_LABEL).is_empty()) {
        if !tasks.contains(pod.label(TASK_UID_LABEL)) {
            found.push(format!("I4: Pod {} is left of a Task that is gone", pod.name()));
        }
    }
    let mut launched: HashMap<&str, &str> = HashMap::new();
    for revision in revisions {
        match revision.kind {
            Kind::Pod if revision.gone => launched.retain(|_, pod| *pod != revision.uid()),
            Kind::Pod if !revision.is_gated() => {
                _ = launched.insert(revision.label(TASK_UID_LABEL), revision.uid())
            }
            Kind::Task if revision.gone && launched.contains_key(revision.uid()) => {
                found.push(format!(
                    "I4: Task {} went at {} while its Pod was there",
                    revision.name(),
                    revision.version
                ));
            }
            _ => {}
        }
    }
    for task in history.all(Kind::Task).filter(|task| !is_terminal(task)) {
        let pod = task.text("/status/podName");
        let pod_is_there =
            history.get(Kind::Pod, pod).is_some_and(|pod| pod.uid() == task.text("/status/podUID"));
        if task.text("/status/phase") == "Running" && !pod_is_there {
            found.push(format!("I4: Task {} is Running without a Pod", task.name()));
        }
        if task.object["status"] != Value::Null && task.text("/status/reason").is_empty() {
            found.push(format!("I5: Task {} does not say what it waits for", task.name()));
        }
    }
}
