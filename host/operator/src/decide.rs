//! What to do next about a Task, from what is known of it. Pure: every rule of the launch protocol that needs no
//! answer from the API server stands here, and is tested here.
//!
//! The order of decision: deletion, terminal, stop, timeout, Pod state.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kubeopencode_api::condition::{ConditionType, Reason, find};
use kubeopencode_api::config::StopPolicy;
use kubeopencode_api::literals::{FINALIZER, STOP_ANNOTATION};
use kubeopencode_api::task::Task;

use crate::observe::{Ending, Seen, Trouble, observe};
use crate::status::unsaid;
use crate::view::PodView;

/// How long after its grace a Pod that is being deleted may stay before its Task stops waiting for it (a lost node).
pub const LOST_POD: SignedDuration = SignedDuration::from_secs(60);

/// How long a Pod that has a node may be silent until its Events are asked.
pub const SILENCE: SignedDuration = SignedDuration::from_secs(20);

/// `activeDeadlineSeconds` of a Pod that is stopped and kept: the smallest that the API server takes.
pub const HALT_SECONDS: i64 = 1;

/// What is known when a decision is made.
#[derive(Debug)]
pub struct Known<'a> {
    /// The Task.
    pub task: &'a Task,
    /// Its Pods, as the watch shows them.
    pub pods: &'a [Arc<PodView>],
    /// The last state of its recorded Pod, where that ended and is gone.
    pub last: Option<&'a PodView>,
    /// Settings that matter here.
    pub rules: Rules,
    /// The time.
    pub now: Timestamp,
}

/// Settings that a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What stopping does with the Pod.
    pub stop_policy: StopPolicy,
    /// After how long a Pod that has not started fails the Task; `None`: never.
    pub start_timeout: Option<SignedDuration>,
    /// Whether the agent's last words may enter the status.
    pub result_summary: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Nothing, until something changes or this time has come.
    Wait(Option<Timestamp>),
    /// Delete these Pods, then look again.
    Delete(Vec<Doomed>),
    /// The Task is being deleted and its Pods are gone, as far as the watch knows: make sure, then release it.
    Release,
    /// The Task is being deleted, but its Pod does not go: say so and release it.
    Abandon,
    /// The Task is over: let go of what it held.
    LetGo,
    /// Gather, evaluate, plan, admit and launch.
    Launch,
    /// A Pod of ours runs although nobody recorded it: record it, never make another.
    Record(Arc<PodView>),
    /// The Pod is recorded and gated: open the gate.
    Open(Arc<PodView>),
    /// The recorded Pod is not in the cache: ask the API server whether it is really gone.
    Verify,
    /// End the recorded Pod's containers and keep it; a Task that is not over yet is stopped first.
    Halt(Arc<PodView>),
    /// Write this end. The Pods named are deleted first.
    Finish {
        /// How it ended.
        end: End,
        /// Deleted before the end is written.
        delete: Vec<Doomed>,
    },
    /// Write that the Pod does not get on, or (`None`) that it does again, and what its init containers left out;
    /// look again at this time.
    Report {
        /// Why it does not get on.
        trouble: Option<Trouble>,
        /// Optional contexts that were left out.
        skipped: Vec<String>,
        /// When to look again.
        again: Option<Timestamp>,
    },
    /// The Pod has a node for a while and nothing of it begins: ask its Events why; look again at this time.
    AskEvents(Arc<PodView>, Option<Timestamp>),
}

/// A Pod to delete.
#[derive(Clone, Debug)]
pub struct Doomed {
    /// The Pod.
    pub pod: Arc<PodView>,
    /// It is gated: delete it exactly as it is seen, at once, and only count it as gone when the API server says so.
    pub gated: bool,
}

/// How a Task ends.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// As its Pod ended.
    Pod(Ending),
    /// The user stopped it.
    Stopped,
}

/// Decides.
pub fn decide(known: &Known<'_>) -> Step {
    let Known { task, .. } = known;
    let status = task.status.as_ref();
    if task.metadata.deletion_timestamp.is_some() {
        return deletion(known);
    }
    if status.and_then(|s| s.phase).is_some_and(|phase| phase.is_terminal()) {
        return terminal(known);
    }
    if task.annotations().get(STOP_ANNOTATION).map(String::as_str) == Some("true") {
        return stop(known);
    }
    if let Some(step) = timeout(known) {
        return step;
    }
    match status.and_then(|s| s.pod_uid.as_deref()) {
        None => unlaunched(known),
        Some(pod_uid) => launched(known, pod_uid),
    }
}

fn doom(pods: &[Arc<PodView>]) -> Vec<Doomed> {
    let living = pods.iter().filter(|pod| !pod.is_deleting());
    living.map(|pod| Doomed { pod: Arc::clone(pod), gated: pod.is_gated() }).collect()
}

fn deletion(known: &Known<'_>) -> Step {
    if !known.task.finalizers().iter().any(|f| f == FINALIZER) {
        return Step::Wait(None);
    }
    let doomed = doom(known.pods);
    if !doomed.is_empty() {
        return Step::Delete(doomed);
    }
    let Some(latest) =
        known.pods.iter().filter_map(|pod| pod.metadata.deletion_timestamp.as_ref()).map(|t| t.0).max()
    else {
        return Step::Release;
    };
    // a Pod's deletionTimestamp has its grace in it already
    let lost = latest + LOST_POD;
    if known.now < lost { Step::Wait(Some(lost)) } else { Step::Abandon }
}

fn terminal(known: &Known<'_>) -> Step {
    let status = known.task.status.as_ref();
    let recorded = status.and_then(|s| s.pod_uid.as_deref());
    let conditions = status.map(|s| s.conditions.as_slice()).unwrap_or_default();
    let kept =
        find(conditions, ConditionType::Stopped).is_some() && known.rules.stop_policy == StopPolicy::KeepPod;
    let runs_on = |pod: &&Arc<PodView>| {
        let recorded = Some(pod.uid()) == recorded && !pod.is_gated();
        recorded
            && !pod.is_over()
            && !pod.is_deleting()
            && pod.spec.active_deadline_seconds != Some(HALT_SECONDS)
    };
    if let Some(pod) = known.pods.iter().find(runs_on).filter(|_| kept) {
        return Step::Halt(Arc::clone(pod));
    }
    let must_go =
        |pod: &Arc<PodView>| pod.is_gated() || (Some(pod.uid()) == recorded && !pod.is_over() && !kept);
    let doomed: Vec<_> = doom(known.pods).into_iter().filter(|d| must_go(&d.pod)).collect();
    if doomed.is_empty() { Step::LetGo } else { Step::Delete(doomed) }
}

fn stop(known: &Known<'_>) -> Step {
    let recorded = known.task.status.as_ref().and_then(|s| s.pod_uid.as_deref());
    let running =
        known.pods.iter().find(|pod| Some(pod.uid()) == recorded && !pod.is_gated() && !pod.is_over());
    if let Some(pod) = running.filter(|_| known.rules.stop_policy == StopPolicy::KeepPod) {
        let started = matches!(observe(pod, false), Seen::Going { started: true, .. });
        if started && !pod.is_deleting() {
            return Step::Halt(Arc::clone(pod));
        }
    }
    let over = |doomed: &Doomed| doomed.pod.is_over() && !doomed.gated;
    Step::Finish { end: End::Stopped, delete: doom(known.pods).into_iter().filter(|d| !over(d)).collect() }
}

fn timeout(known: &Known<'_>) -> Option<Step> {
    let deadline = deadline(known.task)?;
    let ended = recorded(known).is_some_and(PodView::is_over) || known.last.is_some();
    if known.now < deadline || ended {
        return None;
    }
    let text = known.task.spec.timeout.as_deref().unwrap_or_default();
    let end = Ending::failed(Reason::Timeout, format!("the Task ran longer than spec.timeout ({text})"));
    Some(Step::Finish { end: End::Pod(end), delete: doom(known.pods) })
}

/// When `spec.timeout` ends a launched Task.
fn deadline(task: &Task) -> Option<Timestamp> {
    let status = task.status.as_ref()?;
    status.pod_uid.as_ref()?;
    status.start_time.as_ref()?.0.checked_add(task.spec.timeout()?).ok()
}

fn recorded<'a>(known: &'a Known<'_>) -> Option<&'a PodView> {
    let uid = known.task.status.as_ref()?.pod_uid.as_deref()?;
    known.pods.iter().find(|pod| pod.uid() == uid).map(AsRef::as_ref)
}

fn unlaunched(known: &Known<'_>) -> Step {
    // somebody opened our gate by hand, or lost the record: it runs, so it is the one
    match known.pods.iter().find(|pod| !pod.is_gated()) {
        Some(pod) => Step::Record(Arc::clone(pod)),
        None => Step::Launch,
    }
}

fn launched(known: &Known<'_>, pod_uid: &str) -> Step {
    let strangers: Vec<_> =
        doom(known.pods).into_iter().filter(|d| d.gated && d.pod.uid() != pod_uid).collect();
    if !strangers.is_empty() {
        return Step::Delete(strangers);
    }
    let keep_summary = known.rules.result_summary;
    let Some(pod) = known.pods.iter().find(|pod| pod.uid() == pod_uid) else {
        return match known.last.map(|pod| observe(pod, keep_summary)) {
            Some(Seen::Ended(ending)) => finish(ending),
            _ => Step::Verify,
        };
    };
    if pod.is_gated() && !pod.is_deleting() {
        return Step::Open(Arc::clone(pod));
    }
    match observe(pod, keep_summary) {
        Seen::Ended(ending) => finish(ending),
        Seen::Going { .. } if is_lost(pod, known.now) => finish(Ending::failed(Reason::PodLost, lost(pod))),
        Seen::Going { trouble, started, silent_since, skipped } => {
            let silence = silent_since.and_then(|since| since.checked_add(SILENCE).ok());
            let lost_at = lost_at(pod);
            going(known, pod, Going { trouble, started, silence, lost_at, skipped })
        }
    }
}

/// When a Pod that is being deleted counts as lost with its node; its `deletionTimestamp` has its grace in it already.
fn lost_at(pod: &PodView) -> Option<Timestamp> {
    pod.metadata.deletion_timestamp.as_ref()?.0.checked_add(LOST_POD).ok()
}

fn is_lost(pod: &PodView, now: Timestamp) -> bool {
    lost_at(pod).is_some_and(|at| now >= at)
}

fn lost(pod: &PodView) -> String {
    let node = pod.spec.node_name.as_deref().unwrap_or_default();
    format!(
        "the Pod is being deleted and does not end: node \"{node}\" may be lost, the agent may still run there"
    )
}

/// What of a Pod that goes on matters.
struct Going {
    trouble: Option<Trouble>,
    started: bool,
    /// When its Events are to be asked.
    silence: Option<Timestamp>,
    /// When it counts as lost.
    lost_at: Option<Timestamp>,
    skipped: Vec<String>,
}

fn finish(ending: Ending) -> Step {
    Step::Finish { end: End::Pod(ending), delete: Vec::new() }
}

fn going(known: &Known<'_>, pod: &Arc<PodView>, of: Going) -> Step {
    let Going { trouble, started, silence, lost_at, skipped } = of;
    let status = known.task.status.as_ref();
    let conditions = status.map(|s| s.conditions.as_slice()).unwrap_or_default();
    // who holds it back by a gate of their own may do so for as long as they like
    let gated = pod.foreign_gates().next().is_some();
    let since = status.and_then(|s| s.start_time.as_ref()).map(|t| t.0);
    let gets_on = find(conditions, ConditionType::Started).filter(|c| c.status == "True");
    let since = since.max(gets_on.map(|c| c.last_transition_time.0));
    let give_up = match (started || gated, since, known.rules.start_timeout) {
        (false, Some(since), Some(limit)) => since.checked_add(limit).ok(),
        _ => None,
    };
    let said = find(conditions, ConditionType::Started).filter(|c| c.status == "False");
    if give_up.is_some_and(|at| known.now >= at) {
        let why = trouble.as_ref().map(|t| t.message.as_str()).or(said.map(|c| c.message.as_str()));
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let message = format!("the Pod did not start within startTimeoutSeconds of KubeOpenCodeConfig{why}");
        let end = End::Pod(Ending::failed(Reason::StartTimeout, message));
        return Step::Finish { end, delete: doom(known.pods) };
    }
    let again = [give_up, deadline(known.task), lost_at].into_iter().flatten().min();
    if silence.is_some_and(|at| known.now >= at) {
        return Step::AskEvents(Arc::clone(pod), again);
    }
    let again = again.into_iter().chain(silence).min();
    let all_said = said.map(|c| c.reason.as_str()) == trouble.as_ref().map(|t| t.reason.as_str())
        && unsaid(conditions, &skipped).is_empty();
    if all_said { Step::Wait(again) } else { Step::Report { trouble, skipped, again } }
}

#[cfg(test)]
mod tests;
