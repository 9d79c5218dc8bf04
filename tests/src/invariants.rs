//! The invariants I1 to I6, I9 to I11 and I23 of ARCHITECTURE.md, checked on the API server's own record, for both groups.

mod batches;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::AGENT_NAME_ANNOTATION;
use serde_json::Value;

pub use self::batches::{TasksOfBatch, tasks_of_batches};
use crate::record::{History, Kind, Revision};

/// What of the record breaks an invariant; nothing, if all is well.
///
/// Each is a function of the record alone. ARCHITECTURE.md lists them by their numbers; I7 (no Secret's value leaves its
/// Pod) and I8 (a plugin harms only its own Tasks) cannot be read from a record.
pub fn violations(history: &History) -> Vec<String> {
    let mut revisions: Vec<_> = history.revisions.clone();
    revisions.sort_by_key(|revision| revision.since);
    let mut found = Vec::new();
    tasks_move_forward(&revisions, &mut found);
    one_launch(&revisions, &mut found);
    limits(&revisions, &mut found);
    nothing_is_left(history, &revisions, &mut found);
    quotas(&revisions, &mut found);
    phases_are_told_once(history, &mut found);
    batches::batches_run_once(history, &mut found);
    found.extend(left_behind(history));
    found
}

/// What must go, but may take a moment: Kubernetes collects what has an owner in its own time.
pub fn left_behind(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    config_maps_go(history, &mut found);
    refused_starts_go(history, &mut found);
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

/// Whether nothing runs in this Pod, and the garbage collector takes it with its Task: nobody has to look for it first.
fn is_over_and_owned(pod: &Revision) -> bool {
    let is_over = matches!(pod.text("/status/phase"), "Succeeded" | "Failed");
    is_over && !pod.list("/metadata/ownerReferences").is_empty()
}

/// Namespace and name of an Agent.
type AgentKey<'a> = (&'a str, &'a str);

fn agent_key(agent: &Revision) -> AgentKey<'_> {
    (agent.namespace(), agent.name())
}

/// The Agent of a Pod: Pods run where their Agent is.
fn agent_of(pod: &Revision) -> AgentKey<'_> {
    (pod.namespace(), pod.annotation(AGENT_NAME_ANNOTATION))
}

/// I2: a terminal Task stays as it is. I6: the phase never goes back. The recorded Pod stays the recorded Pod.
fn tasks_move_forward(revisions: &[Arc<Revision>], found: &mut Vec<String>) {
    let mut last: HashMap<&str, &Revision> = HashMap::new();
    for task in revisions.iter().filter(|revision| revision.kind.is_task()) {
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

/// I1: at most one Pod of a Task ever loses its gate: the one that was recorded before. It never gets it back.
fn one_launch(revisions: &[Arc<Revision>], found: &mut Vec<String>) {
    let mut recorded: HashMap<&str, &str> = HashMap::new();
    let mut launched: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for revision in revisions {
        match revision.kind {
            kind if kind.is_task() && !revision.text("/status/podUID").is_empty() => {
                recorded.insert(revision.uid(), revision.text("/status/podUID"));
            }
            Kind::Pod if !revision.is_gated() && !revision.task_uid().is_empty() => {
                let task = revision.task_uid();
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
            Kind::Pod if revision.is_gated() => {
                let pods = launched.get(revision.task_uid());
                if pods.is_some_and(|pods| pods.contains(revision.uid())) {
                    found.push(format!(
                        "I1: Pod {} got its gate back at {}",
                        revision.name(),
                        revision.version
                    ));
                }
            }
            _ => {}
        }
    }
}

/// The Pod is over, or its container `agent` is: what a webhook added may still run.
fn agent_is_over(pod: &Revision) -> bool {
    let agent = pod.list("/status/containerStatuses").iter().find(|status| status["name"] == "agent");
    matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
        || agent.is_some_and(|agent| !agent["state"]["terminated"].is_null())
}

/// I3: the Tasks of an Agent that hold a slot, and its agents that may run, never exceed its limit.
fn limits(revisions: &[Arc<Revision>], found: &mut Vec<String>) {
    let mut agents: HashMap<AgentKey<'_>, (usize, Vec<&str>)> = HashMap::new();
    let mut running: HashMap<AgentKey<'_>, BTreeSet<&str>> = HashMap::new();
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
                let before = agents.get(&agent_key(revision)).map_or(0, |(_, before)| before.len());
                // a lowered limit takes nothing away, and who runs when the limit comes is counted
                let runs = running.get(&agent_key(revision)).map_or(0, BTreeSet::len);
                if admitted.len() > limit.max(before).max(runs) {
                    found.push(format!(
                        "I3: Agent {} admitted {} Tasks of {limit} at {}",
                        revision.name(),
                        admitted.len(),
                        revision.version
                    ));
                }
                agents.insert(agent_key(revision), (limit, admitted));
            }
            Kind::Pod => {
                let pods = running.entry(agent_of(revision)).or_default();
                if revision.gone || revision.is_gated() || agent_is_over(revision) {
                    pods.remove(revision.uid());
                    continue;
                }
                let is_new = pods.insert(revision.uid());
                let Some((limit, admitted)) = agents.get(&agent_of(revision)) else {
                    continue;
                };
                if !is_new || *limit == usize::MAX {
                    continue;
                }
                if !admitted.contains(&revision.task_uid()) {
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
    let tasks: BTreeSet<_> = history.tasks().map(|task| task.uid().to_owned()).collect();
    for pod in history.all(Kind::Pod).filter(|pod| !pod.task_uid().is_empty()) {
        if !tasks.contains(pod.task_uid()) {
            found.push(format!("I4: Pod {} is left of a Task that is gone", pod.name()));
        }
    }
    let mut launched: HashMap<&str, &str> = HashMap::new();
    for revision in revisions {
        match revision.kind {
            Kind::Pod if revision.gone || is_over_and_owned(revision) => {
                launched.retain(|_, pod| *pod != revision.uid());
            }
            Kind::Pod if !revision.is_gated() => _ = launched.insert(revision.task_uid(), revision.uid()),
            kind if kind.is_task() && revision.gone && launched.contains_key(revision.uid()) => {
                found.push(format!(
                    "I4: Task {} went at {} while its Pod was there",
                    revision.name(),
                    revision.version
                ));
            }
            _ => {}
        }
    }
    for task in history.tasks().filter(|task| !is_terminal(task)) {
        let (namespace, pod) = (task.text("/status/podNamespace"), task.text("/status/podName"));
        let pod = history.get_in(Kind::Pod, namespace, pod);
        let pod_is_there = pod.is_some_and(|pod| pod.uid() == task.text("/status/podUID"));
        if task.text("/status/phase") == "Running" && !pod_is_there {
            found.push(format!("I4: Task {} is Running without a Pod", task.name()));
        }
        if task.object["status"] != Value::Null && task.text("/status/reason").is_empty() {
            found.push(format!("I5: Task {} does not say what it waits for", task.name()));
        }
    }
}

/// I9: nothing that was made for a Task is left, in whatever namespace, when both the Task and its Pod are gone.
fn config_maps_go(history: &History, found: &mut Vec<String>) {
    let tasks = history.tasks().map(|task| task.uid());
    let pods = history.all(Kind::Pod).map(|pod| pod.task_uid());
    let needed: HashSet<&str> = tasks.chain(pods).collect();
    for map in history.all(Kind::ConfigMap).filter(|map| !map.task_uid().is_empty()) {
        if !needed.contains(map.task_uid()) {
            found.push(format!(
                "I9: ConfigMap {}/{} is left of a Task that is gone",
                map.namespace(),
                map.name()
            ));
        }
    }
}

/// What is known of an Agent's quota.
#[derive(Default)]
struct QuotaOf<'a> {
    /// Starts and seconds, in the newest revision.
    now: Option<(usize, i64)>,
    /// The most that any revision allowed; `None`: one of them had no quota, or the Agent was made again, and then what
    /// started while nobody counted is taken up.
    most: Option<(usize, i64)>,
    uid: &'a str,
    /// The Tasks in the newest `taskStartHistory`.
    counted: HashSet<&'a str>,
    /// Each start that was ever counted, with its time.
    starts: BTreeMap<&'a str, Timestamp>,
}

/// I10: a Pod of an Agent with a quota runs only when its start is counted, each start is counted once, and in no window
/// are there more of them than the quota allows.
fn quotas(revisions: &[Arc<Revision>], found: &mut Vec<String>) {
    let mut agents: BTreeMap<AgentKey<'_>, QuotaOf<'_>> = BTreeMap::new();
    // Pods, and their Tasks
    let (mut running, mut launched) = (HashSet::<&str>::new(), HashSet::<&str>::new());
    for revision in revisions {
        match revision.kind {
            Kind::Agent => {
                let quota = &revision.object["spec"]["quota"];
                let limit = quota["maxTaskStarts"].as_u64().and_then(|max| usize::try_from(max).ok());
                let limit = limit.zip(quota["windowSeconds"].as_i64());
                let known = agents.entry(agent_key(revision)).or_insert_with(|| QuotaOf {
                    most: limit,
                    uid: revision.uid(),
                    ..QuotaOf::default()
                });
                let both = known.most.zip(limit).filter(|_| known.uid == revision.uid());
                known.most = both.map(|(most, now)| (most.0.max(now.0), most.1.min(now.1)));
                known.now = limit.filter(|_| !revision.gone);
                known.counted.clear();
                for start in revision.list("/status/taskStartHistory") {
                    let uid = start["taskUID"].as_str().unwrap_or_default();
                    if !known.counted.insert(uid) {
                        found.push(format!(
                            "I10: Agent {} counts a start of Task {} twice at {}",
                            revision.name(),
                            start["taskName"],
                            revision.version
                        ));
                    }
                    if let Some(time) = start["startTime"].as_str().and_then(|time| time.parse().ok()) {
                        known.starts.insert(uid, time);
                    }
                }
            }
            Kind::Pod if !revision.gone && !revision.is_gated() && running.insert(revision.uid()) => {
                let task = revision.task_uid();
                launched.insert(task);
                let agent = agents.get(&agent_of(revision)).filter(|agent| agent.now.is_some());
                if agent.is_some_and(|agent| !agent.counted.contains(task)) {
                    found.push(format!(
                        "I10: Pod {} may run without a start that counts, at {}",
                        revision.name(),
                        revision.version
                    ));
                }
            }
            _ => {}
        }
    }
    for ((namespace, name), agent) in agents {
        let Some((max, window)) = agent.most else { continue };
        let ran = agent.starts.iter().filter(|(task, _)| launched.contains(*task));
        let mut times: Vec<_> = ran.map(|(_, time)| *time).collect();
        times.sort_unstable();
        let too_close = |pair: (&Timestamp, &Timestamp)| {
            pair.1.duration_since(*pair.0) < SignedDuration::from_secs(window)
        };
        if times.iter().zip(times.iter().skip(max)).any(too_close) {
            found.push(format!(
                "I10: more than {max} Tasks of Agent {namespace}/{name} started in {window} s: {times:?}"
            ));
        }
    }
}

/// I10: a Task that was refused before it ran takes no start of the quota away.
fn refused_starts_go(history: &History, found: &mut Vec<String>) {
    let refused = |task: &&Arc<Revision>| {
        task.text("/status/phase") == "Failed" && task.text("/status/podUID").is_empty()
    };
    let refused: HashMap<&str, &str> =
        history.tasks().filter(refused).map(|task| (task.uid(), task.name())).collect();
    for agent in history.all(Kind::Agent) {
        for start in agent.list("/status/taskStartHistory") {
            if let Some(task) = start["taskUID"].as_str().and_then(|uid| refused.get(uid)) {
                found.push(format!(
                    "I10: Agent {} counts a start of Task {task}, which was refused",
                    agent.name()
                ));
            }
        }
    }
}

/// I11: each phase of a Task is told by at most one Event.
fn phases_are_told_once(history: &History, found: &mut Vec<String>) {
    let mut told: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for event in history.revisions(Kind::Event).filter(|event| event.text("/regarding/kind") == "Task") {
        if let Some(phase) = phase_told(event) {
            told.entry((event.text("/regarding/uid"), phase)).or_default().insert(event.name());
        }
    }
    for ((_, phase), events) in told.into_iter().filter(|(_, events)| events.len() > 1) {
        found.push(format!("I11: the phase {phase} was told by {} Events: {events:?}", events.len()));
    }
}

/// The phase that an Event tells; `None`: it tells of something else.
fn phase_told(event: &Revision) -> Option<&'static str> {
    let of_a_reason = || {
        let reason = event.text("/note").split_once(": ").map(|(reason, _)| reason);
        reason.is_some_and(|reason| reason.parse::<Reason>().is_ok())
    };
    match (event.text("/type"), event.text("/reason")) {
        ("Normal", "Queued" | "QuotaExceeded") => Some("Queued"),
        ("Normal", "PodCreated") => Some("Running"),
        ("Normal", "Completed" | "Stopped") => Some("Completed"),
        ("Warning", "Timeout" | "PluginFailed" | "PodCreationFailed") => Some("Failed"),
        ("Warning", "Failed") if of_a_reason() => Some("Failed"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
