//! What to do about a launched Task that nobody ends: its Pod starts, runs, has ended, or is lost.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kubeopencode_api::condition::{Reason, TaskCondition, find};
use kubeopencode_api::config::StopPolicy;
use kubeopencode_api::task::TaskStatus;

use super::{End, FINAL, LOST_POD, Observed, SILENCE, Step, deadline, deletions_of, end_now};
use crate::cache::pod_view::PodView;
use crate::cache::task_view::TaskRef;
use crate::task::pod_outcome::{PodState, TaskOutcome, agent_started, pod_state};
use crate::task::start_problem::{StartProblem, is_final};
use crate::task::status::unreported;

/// Decides what its Pod says, once every other gated one is gone.
pub(super) fn launched(observed: &Observed<'_>, pod_uid: &str) -> Step {
    let strangers: Vec<_> =
        deletions_of(observed).into_iter().filter(|d| d.gated && d.pod.uid() != pod_uid).collect();
    if !strangers.is_empty() {
        return Step::Delete(strangers);
    }
    let keep_summary = observed.policy.result_summary;
    let Some(pod) = observed.pods.iter().find(|pod| pod.uid() == pod_uid) else {
        return match observed.last.map(|pod| pod_state(pod, keep_summary)) {
            Some(PodState::Ended(ending)) => finish(observed, observed.last, ending),
            _ if observed.asked => {
                // it may have run
                let end = End::Pod(TaskOutcome::failed(Reason::PodLost, gone(observed.task)));
                Step::Complete { end, started: Some(observed.now), delete: Vec::new() }
            }
            _ => Step::Verify,
        };
    };
    if pod.is_gated() && !pod.is_deleting() {
        return Step::Open(Arc::clone(pod));
    }
    match pod_state(pod, keep_summary) {
        PodState::Ended(ending) => finish(observed, Some(pod.as_ref()), ending),
        PodState::InProgress { .. } if is_lost(pod, observed.now) => {
            let end = End::Pod(TaskOutcome::failed(Reason::PodLost, lost(pod)));
            let started = agent_started(pod, observed.now).unwrap_or(observed.now);
            Step::Complete { end, started: Some(started), delete: Vec::new() }
        }
        PodState::InProgress { problem, started, silent_since, skipped } => {
            let silence = silent_since.and_then(|since| since.checked_add(SILENCE).ok());
            let lost_at = lost_at(pod);
            in_progress(observed, pod, InProgress { problem, started, silence, lost_at, skipped })
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

fn gone(task: TaskRef<'_>) -> String {
    let part =
        |part: fn(&TaskStatus) -> Option<&String>| task.status.and_then(part).map_or("", String::as_str);
    let (namespace, name) =
        (part(|status| status.pod_namespace.as_ref()), part(|status| status.pod_name.as_ref()));
    format!("Pod \"{namespace}/{name}\" is gone and how it ended is not known")
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

/// As this Pod ended.
fn finish(observed: &Observed<'_>, pod: Option<&PodView>, ending: TaskOutcome) -> Step {
    let started = pod.and_then(|pod| agent_started(pod, observed.now));
    Step::Complete { end: End::Pod(ending), started, delete: Vec::new() }
}

fn in_progress(observed: &Observed<'_>, pod: &Arc<PodView>, of: InProgress) -> Step {
    let InProgress { problem, started, silence, lost_at, skipped } = of;
    let (status, conditions) = (observed.task.status, observed.task.conditions());
    // who holds it back by a gate of their own may do so for as long as they like
    let gated = pod.foreign_gates().next().is_some();
    let since = status.and_then(|s| s.start_time.as_ref()).map(|t| t.0);
    let goes_on = find(conditions, TaskCondition::Started).filter(|c| c.status != "False");
    let since = since.max(goes_on.map(|c| c.last_transition_time.0));
    let give_up = match (started || gated, since, observed.policy.start_timeout) {
        (false, Some(since), Some(limit)) => since.checked_add(limit).ok(),
        _ => None,
    };
    let said = find(conditions, TaskCondition::Started).filter(|c| c.status == "False");
    let outdated = observed.policy.is_image_outdated;
    let no_hope = problem.as_ref().filter(|_| !started).and_then(|problem| no_hope(problem, said, outdated));
    let limit = observed.policy.start_timeout.map(|limit| limit.as_secs()).unwrap_or_default();
    let (at, limit) = match no_hope {
        Some(no_hope) if give_up.is_none_or(|at| no_hope < at) => {
            (Some(no_hope), "a minute, and never will".to_owned())
        }
        _ => (give_up, format!("{limit} s, the startTimeoutSeconds of KubeOpenCodeConfig")),
    };
    if at.is_some_and(|at| observed.now >= at) {
        let why = problem.as_ref().map(|t| t.message.as_str()).or(said.map(|c| c.message.as_str()));
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let message = format!("the Pod did not start within {limit}{why}");
        let end = End::Pod(TaskOutcome::failed(Reason::StartTimeout, message));
        return end_now(observed, end, StopPolicy::DeletePod);
    }
    let again = [at, deadline(observed), lost_at].into_iter().flatten().min();
    if silence.is_some_and(|at| observed.now >= at) {
        return Step::AskEvents(Arc::clone(pod), again);
    }
    let again = again.into_iter().chain(silence).min();
    let is_new = status.is_some_and(|status| status.agent_started.is_none());
    let started = agent_started(pod, observed.now).filter(|_| is_new);
    let all_said = said.map(|c| c.reason.as_str()) == problem.as_ref().map(|t| t.reason.as_str())
        && unreported(conditions, &skipped).is_empty()
        && started.is_none();
    if all_said { Step::Wait(again) } else { Step::Report { started, problem, skipped, again } }
}

/// When a Pod is given up whose problem only another Pod mends, once the Task has told it.
fn no_hope(problem: &StartProblem, said: Option<&Condition>, is_outdated: bool) -> Option<Timestamp> {
    let said = said.filter(|said| said.reason == problem.reason.as_str())?;
    // a pull that waits for its next try says less than one that has just failed
    let is_final = [&problem.message, &said.message].into_iter().any(|words| is_final(&said.reason, words));
    if is_final || is_outdated { said.last_transition_time.0.checked_add(FINAL).ok() } else { None }
}
