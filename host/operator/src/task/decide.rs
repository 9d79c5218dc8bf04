//! What to do next about a Task, from what is known of it. Pure: every rule of the launch protocol that needs no
//! answer from the API server stands here, and is tested here.
//!
//! The order of decision: deletion, terminal, stop, timeout, Pod state.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kubeopencode_api::condition::{Reason, TaskCondition, find};
use kubeopencode_api::config::StopPolicy;
use kubeopencode_api::task::timeout_of;

use super::pod_outcome::{PodState, TaskOutcome, pod_state};
use super::start_problem::{StartProblem, is_final};
use super::status::unreported;
use crate::cache::pod_view::PodView;
use crate::cache::task_view::TaskRef;

/// How long after its grace a Pod that is being deleted may stay before its Task stops waiting for it (a lost node).
pub(crate) const LOST_POD: SignedDuration = SignedDuration::from_secs(60);

/// How long no container of a Pod that has a node may start until its Events are listed.
pub(crate) const SILENCE: SignedDuration = SignedDuration::from_secs(20);

/// How long a problem that only another Pod mends may be told until the Task fails: an image may be pushed this moment.
pub(crate) const FINAL: SignedDuration = SignedDuration::from_secs(60);

/// `activeDeadlineSeconds` of a Pod that is stopped and kept: the smallest that the API server takes.
pub(crate) const STOP_DEADLINE_SECONDS: i64 = 1;

/// What is known of a Task when a decision is made.
#[derive(Debug)]
pub(crate) struct Observed<'a> {
    /// The Task.
    pub(crate) task: TaskRef<'a>,
    /// Its Pods, as the watch shows them.
    pub(crate) pods: &'a [Arc<PodView>],
    /// The last state of its recorded Pod, where that ended and is gone.
    pub(crate) last: Option<&'a PodView>,
    /// Settings that matter here.
    pub(crate) policy: Policy,
    /// The time.
    pub(crate) now: Timestamp,
}

/// Settings that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// What stopping does with the Pod.
    pub(crate) stop_policy: StopPolicy,
    /// After how long a Pod that has not started fails the Task; `None`: never.
    pub(crate) start_timeout: Option<SignedDuration>,
    /// Whether the agent's last words may enter the status.
    pub(crate) result_summary: bool,
    /// Whether the recorded Pod waits for an image that its Agent no longer names.
    pub(crate) is_image_outdated: bool,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing, until something changes or this time has come.
    Wait(Option<Timestamp>),
    /// Delete these Pods, then reconcile again.
    Delete(Vec<PodDeletion>),
    /// The Task is being deleted and its Pods are gone, as far as the watch shows: make sure, then remove the finalizer.
    Release,
    /// The Task is being deleted, but its Pod does not end: say so in an Event and remove the finalizer.
    ForceRelease,
    /// The Task is over: release what it held.
    ReleaseResources,
    /// Gather, evaluate, plan, admit and launch.
    Launch,
    /// A Pod of ours runs although nobody recorded it: record it, never make another.
    Record(Arc<PodView>),
    /// The Pod is recorded and gated: open the gate.
    Open(Arc<PodView>),
    /// The recorded Pod is not in the cache: ask the API server whether it is really gone.
    Verify,
    /// End the recorded Pod's containers and keep it; a Task that is not over yet is stopped first.
    StopKeepPod(Arc<PodView>),
    /// Write this end. The Pods named are deleted first.
    Complete {
        /// How it ended.
        end: End,
        /// Deleted before the end is written.
        delete: Vec<PodDeletion>,
    },
    /// Write that the Pod does not start, or (`None`) that it does again, and what its init containers left out;
    /// reconcile again at this time.
    Report {
        /// Why it does not start.
        problem: Option<StartProblem>,
        /// Optional contexts that were left out.
        skipped: Vec<String>,
        /// When to reconcile again.
        again: Option<Timestamp>,
    },
    /// The Pod has had a node for a while and no container of it starts: ask its Events why; reconcile again at this time.
    AskEvents(Arc<PodView>, Option<Timestamp>),
}

/// A Pod to delete.
#[derive(Clone, Debug)]
pub(crate) struct PodDeletion {
    /// The Pod.
    pub(crate) pod: Arc<PodView>,
    /// It is gated: delete it exactly as it is seen, at once, and only count it as gone when the API server says so.
    pub(crate) gated: bool,
}

impl PodDeletion {
    /// The deletion of a Pod as it is seen.
    pub(crate) fn of(pod: impl Into<Arc<PodView>>) -> Self {
        let pod = pod.into();
        Self { gated: pod.is_gated(), pod }
    }
}

/// How a Task ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// As its Pod ended.
    Pod(TaskOutcome),
    /// The user stopped it.
    Stopped,
}

/// Decides.
pub(crate) fn decide(observed: &Observed<'_>) -> Step {
    let Observed { task, .. } = observed;
    if task.is_deleting() {
        return deletion(observed);
    }
    if task.is_terminal() {
        return terminal(observed);
    }
    if task.stop {
        return stop(observed);
    }
    if let Some(step) = timeout(observed) {
        return step;
    }
    match task.pod_uid() {
        None => unlaunched(observed),
        Some(pod_uid) => launched(observed, pod_uid),
    }
}

fn deletions_of(pods: &[Arc<PodView>]) -> Vec<PodDeletion> {
    let living = pods.iter().filter(|pod| !pod.is_deleting());
    living.cloned().map(PodDeletion::of).collect()
}

fn deletion(observed: &Observed<'_>) -> Step {
    if !observed.task.has_finalizer() {
        return Step::Wait(None);
    }
    let deletions = deletions_of(observed.pods);
    if !deletions.is_empty() {
        return Step::Delete(deletions);
    }
    let Some(latest) =
        observed.pods.iter().filter_map(|pod| pod.metadata.deletion_timestamp.as_ref()).map(|t| t.0).max()
    else {
        return Step::Release;
    };
    // a Pod's deletionTimestamp has its grace in it already
    let lost = latest + LOST_POD;
    if observed.now < lost { Step::Wait(Some(lost)) } else { Step::ForceRelease }
}

fn terminal(observed: &Observed<'_>) -> Step {
    let recorded = observed.task.pod_uid();
    let kept = find(observed.task.conditions(), TaskCondition::Stopped).is_some()
        && observed.policy.stop_policy == StopPolicy::KeepPod;
    let runs_on = |pod: &&Arc<PodView>| {
        let recorded = Some(pod.uid()) == recorded && !pod.is_gated();
        recorded
            && !pod.is_over()
            && !pod.is_deleting()
            && pod.spec.active_deadline_seconds != Some(STOP_DEADLINE_SECONDS)
    };
    if let Some(pod) = observed.pods.iter().find(runs_on).filter(|_| kept) {
        return Step::StopKeepPod(Arc::clone(pod));
    }
    let must_go =
        |pod: &Arc<PodView>| pod.is_gated() || (Some(pod.uid()) == recorded && !pod.is_over() && !kept);
    let deletions: Vec<_> = deletions_of(observed.pods).into_iter().filter(|d| must_go(&d.pod)).collect();
    if deletions.is_empty() { Step::ReleaseResources } else { Step::Delete(deletions) }
}

fn stop(observed: &Observed<'_>) -> Step {
    let recorded = observed.task.pod_uid();
    let running =
        observed.pods.iter().find(|pod| Some(pod.uid()) == recorded && !pod.is_gated() && !pod.is_over());
    if let Some(pod) = running.filter(|_| observed.policy.stop_policy == StopPolicy::KeepPod) {
        let started = matches!(pod_state(pod, false), PodState::InProgress { started: true, .. });
        if started && !pod.is_deleting() {
            return Step::StopKeepPod(Arc::clone(pod));
        }
    }
    let over = |deletions: &PodDeletion| deletions.pod.is_over() && !deletions.gated;
    Step::Complete {
        end: End::Stopped,
        delete: deletions_of(observed.pods).into_iter().filter(|d| !over(d)).collect(),
    }
}

fn timeout(observed: &Observed<'_>) -> Option<Step> {
    let deadline = deadline(observed.task)?;
    let ended = recorded(observed).is_some_and(PodView::is_over) || observed.last.is_some();
    if observed.now < deadline || ended {
        return None;
    }
    let text = observed.task.timeout.unwrap_or_default();
    let end = TaskOutcome::failed(Reason::Timeout, format!("the Task ran longer than spec.timeout ({text})"));
    Some(Step::Complete { end: End::Pod(end), delete: deletions_of(observed.pods) })
}

/// When `spec.timeout` ends a launched Task.
fn deadline(task: TaskRef<'_>) -> Option<Timestamp> {
    let status = task.status?;
    status.pod_uid.as_ref()?;
    status.start_time.as_ref()?.0.checked_add(timeout_of(task.timeout?)?).ok()
}

fn recorded<'a>(observed: &'a Observed<'_>) -> Option<&'a PodView> {
    let uid = observed.task.pod_uid()?;
    observed.pods.iter().find(|pod| pod.uid() == uid).map(AsRef::as_ref)
}

fn unlaunched(observed: &Observed<'_>) -> Step {
    // somebody opened our gate by hand, or lost the record: it runs, so it is the one
    match observed.pods.iter().find(|pod| !pod.is_gated()) {
        Some(pod) => Step::Record(Arc::clone(pod)),
        None => Step::Launch,
    }
}

fn launched(observed: &Observed<'_>, pod_uid: &str) -> Step {
    let strangers: Vec<_> =
        deletions_of(observed.pods).into_iter().filter(|d| d.gated && d.pod.uid() != pod_uid).collect();
    if !strangers.is_empty() {
        return Step::Delete(strangers);
    }
    let keep_summary = observed.policy.result_summary;
    let Some(pod) = observed.pods.iter().find(|pod| pod.uid() == pod_uid) else {
        return match observed.last.map(|pod| pod_state(pod, keep_summary)) {
            Some(PodState::Ended(ending)) => finish(ending),
            _ => Step::Verify,
        };
    };
    if pod.is_gated() && !pod.is_deleting() {
        return Step::Open(Arc::clone(pod));
    }
    match pod_state(pod, keep_summary) {
        PodState::Ended(ending) => finish(ending),
        PodState::InProgress { .. } if is_lost(pod, observed.now) => {
            finish(TaskOutcome::failed(Reason::PodLost, lost(pod)))
        }
        PodState::InProgress { problem, started, silent_since, skipped } => {
            let silence = silent_since.and_then(|since| since.checked_add(SILENCE).ok());
            let lost_at = lost_at(pod);
            going(observed, pod, InProgress { problem, started, silence, lost_at, skipped })
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
struct InProgress {
    problem: Option<StartProblem>,
    started: bool,
    /// When its Events are to be asked.
    silence: Option<Timestamp>,
    /// When it counts as lost.
    lost_at: Option<Timestamp>,
    skipped: Vec<String>,
}

fn finish(ending: TaskOutcome) -> Step {
    Step::Complete { end: End::Pod(ending), delete: Vec::new() }
}

fn going(observed: &Observed<'_>, pod: &Arc<PodView>, of: InProgress) -> Step {
    let InProgress { problem, started, silence, lost_at, skipped } = of;
    let (status, conditions) = (observed.task.status, observed.task.conditions());
    // who holds it back by a gate of their own may do so for as long as they like
    let gated = pod.foreign_gates().next().is_some();
    let since = status.and_then(|s| s.start_time.as_ref()).map(|t| t.0);
    let goes_on = find(conditions, TaskCondition::Started).filter(|c| c.status == "True");
    let since = since.max(goes_on.map(|c| c.last_transition_time.0));
    let give_up = match (started || gated, since, observed.policy.start_timeout) {
        (false, Some(since), Some(limit)) => since.checked_add(limit).ok(),
        _ => None,
    };
    let said = find(conditions, TaskCondition::Started).filter(|c| c.status == "False");
    let outdated = observed.policy.is_image_outdated;
    let no_hope = problem.as_ref().filter(|_| !started).and_then(|problem| no_hope(problem, said, outdated));
    let (at, limit) = match no_hope {
        Some(no_hope) if give_up.is_none_or(|at| no_hope < at) => (Some(no_hope), "a minute, and never will"),
        _ => (give_up, "startTimeoutSeconds of KubeOpenCodeConfig"),
    };
    if at.is_some_and(|at| observed.now >= at) {
        let why = problem.as_ref().map(|t| t.message.as_str()).or(said.map(|c| c.message.as_str()));
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let message = format!("the Pod did not start within {limit}{why}");
        let end = End::Pod(TaskOutcome::failed(Reason::StartTimeout, message));
        return Step::Complete { end, delete: deletions_of(observed.pods) };
    }
    let again = [at, deadline(observed.task), lost_at].into_iter().flatten().min();
    if silence.is_some_and(|at| observed.now >= at) {
        return Step::AskEvents(Arc::clone(pod), again);
    }
    let again = again.into_iter().chain(silence).min();
    let all_said = said.map(|c| c.reason.as_str()) == problem.as_ref().map(|t| t.reason.as_str())
        && unreported(conditions, &skipped).is_empty();
    if all_said { Step::Wait(again) } else { Step::Report { problem, skipped, again } }
}

/// When a Pod is given up whose problem only another Pod mends, once the Task has told it.
fn no_hope(problem: &StartProblem, said: Option<&Condition>, is_outdated: bool) -> Option<Timestamp> {
    let said = said.filter(|said| said.reason == problem.reason.as_str())?;
    // a pull that waits for its next try says less than one that has just failed
    let is_final = [&problem.message, &said.message].into_iter().any(|words| is_final(&said.reason, words));
    if is_final || is_outdated { said.last_transition_time.0.checked_add(FINAL).ok() } else { None }
}

#[cfg(test)]
mod tests;
