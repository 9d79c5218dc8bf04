//! What to do next about a Task, from what is known of it. Pure: every rule of the launch protocol that needs no
//! answer from the API server stands here, and is tested here.
//!
//! The order of decision: deletion, terminal, stop, timeout, Pod state.

mod launched;

use std::fmt::Display;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kubeopencode_api::condition::{Reason, TaskCondition, find};
use kubeopencode_api::config::StopPolicy;
use kubeopencode_api::literals::LAUNCH_GATE;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::task::{Phase, timeout_of};
use kubeopencode_plan::Refusal;

use self::launched::launched;
use super::pod_outcome::{TaskOutcome, agent_started, may_start};
use super::start_problem::StartProblem;
use crate::cache::pod_view::PodView;
use crate::cache::task_view::TaskRef;

/// How long after its grace a Pod that is being deleted may stay before its Task stops waiting for it (a lost node).
pub(crate) const LOST_POD: SignedDuration = SignedDuration::from_secs(60);

/// How long no container of a Pod that has a node may start until its Events are listed.
pub(crate) const SILENCE: SignedDuration = SignedDuration::from_secs(20);

/// How long a problem that only another Pod mends may be told until the Task fails: an image may be pushed this moment.
pub(crate) const FINAL: SignedDuration = SignedDuration::from_secs(60);

/// `activeDeadlineSeconds` of a Pod that is ended and kept: the smallest that the API server takes.
pub(crate) const STOP_DEADLINE_SECONDS: i64 = 1;

/// What is known of a Task when a decision is made.
#[derive(Debug)]
pub(crate) struct Observed<'a> {
    /// The Task.
    pub(crate) task: TaskRef<'a>,
    /// What is at the places of its Pods and bears its UID: as the watch shows it, and as the API server does, where that
    /// was asked.
    pub(crate) pods: &'a [Arc<PodView>],
    /// The API server was asked for what the watch does not show.
    pub(crate) asked: bool,
    /// The last state of its recorded Pod, where that ended and is gone.
    pub(crate) last: Option<&'a PodView>,
    /// How long it may run.
    pub(crate) timeout: Option<Timeout>,
    /// Settings that matter here.
    pub(crate) policy: Policy,
    /// The time.
    pub(crate) now: Timestamp,
}

/// How long a Task may run.
#[derive(Clone, Debug)]
pub(crate) struct Timeout {
    duration: SignedDuration,
    /// The field that says so, and its value.
    words: String,
}

impl Timeout {
    /// `text` stands in this field; `None` where it is no duration, which the API server refuses.
    pub(crate) fn new(text: &str, field: impl Display) -> Option<Self> {
        Some(Self { duration: timeout_of(text)?, words: format!("{field} ({text})") })
    }
}

/// Settings that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// What stopping does with the Pod.
    pub(crate) stop_policy: StopPolicy,
    /// What a timeout does with the Pod.
    pub(crate) timeout_policy: StopPolicy,
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
    /// The Task is being deleted and its Pods are gone: remove the finalizer.
    Release,
    /// The Task is being deleted, but its Pod does not end: say so in an Event and remove the finalizer.
    ForceRelease,
    /// The Task is over: release what it held.
    ReleaseResources,
    /// Gather, evaluate, plan, admit and launch.
    Launch,
    /// The Pod is recorded and gated: open the gate.
    Open(Arc<PodView>),
    /// The watch does not show a Pod that there may be: ask the API server for it, then decide again. Whoever takes its
    /// label away hides a Pod from the watch, and ends nothing.
    Verify,
    /// The Task is over and its recorded Pod is not: end the Pod's containers and keep it for the agent's log.
    HaltPod(Arc<PodView>),
    /// Write this end. The Pods named are deleted first.
    Complete {
        /// How it ended.
        end: End,
        /// When the agent started, or may have.
        started: Option<Timestamp>,
        /// Deleted before the end is written.
        delete: Vec<PodDeletion>,
    },
    /// Write that the agent has started, that the Pod does not start, or (`None`) that it does again, and what its init
    /// containers left out; reconcile again at this time.
    Report {
        /// When the agent started.
        started: Option<Timestamp>,
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
    /// Before it had one.
    NotLaunched(Refusal),
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
    if task.stop.is_some() {
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

/// The Pods that an operator made for the Task: those that our gate holds, and the recorded one. Whoever made or opened
/// another one, it is not the Task's.
fn own_pods<'a>(observed: &'a Observed<'_>) -> impl Iterator<Item = &'a Arc<PodView>> {
    let recorded = observed.task.pod_uid();
    observed.pods.iter().filter(move |pod| pod.is_gated() || Some(pod.uid()) == recorded)
}

fn deletions_of(observed: &Observed<'_>) -> Vec<PodDeletion> {
    let living = own_pods(observed).filter(|pod| !pod.is_deleting());
    living.cloned().map(PodDeletion::of).collect()
}

/// Whether there may be a Pod that only the API server can tell of: the recorded one where the watch does not show it, or
/// any that a launch made before it was recorded.
fn may_be_hidden(observed: &Observed<'_>) -> bool {
    !observed.asked
        && match observed.task.pod_uid() {
            Some(_) => recorded(observed).is_none() && observed.last.is_none(),
            None => observed.task.has_finalizer(),
        }
}

/// Whether whatever is left of a Task goes with it: it is over, and nothing was made for it in another namespace. In its own
/// the garbage collector follows the owner reference. So thousands of them go without a read for each.
fn is_collected(task: TaskRef<'_>) -> bool {
    let recorded = task.status.and_then(|status| status.pod_namespace.clone());
    let made_in = task.made_in().map(|made_in| made_in.namespace);
    task.is_terminal() && recorded.iter().chain(&made_in).all(|namespace| namespace == task.namespace())
}

fn deletion(observed: &Observed<'_>) -> Step {
    if !observed.task.has_finalizer() {
        return Step::Wait(None);
    }
    let deletions = deletions_of(observed);
    if !deletions.is_empty() {
        return Step::Delete(deletions);
    }
    let ending = own_pods(observed).filter_map(|pod| pod.metadata.deletion_timestamp.as_ref());
    let Some(latest) = ending.map(|t| t.0).max() else {
        let ask = may_be_hidden(observed) && !is_collected(observed.task);
        return if ask { Step::Verify } else { Step::Release };
    };
    // a Pod's deletionTimestamp has its grace in it already
    let lost = latest + LOST_POD;
    if observed.now < lost { Step::Wait(Some(lost)) } else { Step::ForceRelease }
}

fn terminal(observed: &Observed<'_>) -> Step {
    let recorded = observed.task.pod_uid();
    let policy = policy_of_the_end(observed);
    let runs_on = |pod: &&Arc<PodView>| {
        let recorded = Some(pod.uid()) == recorded && !pod.is_gated();
        recorded
            && !pod.is_over()
            && !pod.is_deleting()
            && pod.has_container_left()
            && pod.spec.active_deadline_seconds != Some(STOP_DEADLINE_SECONDS)
    };
    if let Some(pod) = observed.pods.iter().find(runs_on).filter(|pod| has_log_to_keep(pod, policy)) {
        return Step::HaltPod(Arc::clone(pod));
    }
    let must_go = |pod: &Arc<PodView>| {
        pod.is_gated() || (Some(pod.uid()) == recorded && !pod.is_over() && !has_log_to_keep(pod, policy))
    };
    let deletions: Vec<_> = deletions_of(observed).into_iter().filter(|d| must_go(&d.pod)).collect();
    if deletions.is_empty() { Step::ReleaseResources } else { Step::Delete(deletions) }
}

/// What becomes of a Pod whose agent outlives its Task.
fn policy_of_the_end(observed: &Observed<'_>) -> StopPolicy {
    let conditions = observed.task.conditions();
    let timed_out =
        || find(conditions, TaskCondition::Succeeded).is_some_and(|c| c.reason == Reason::Timeout.as_str());
    if find(conditions, TaskCondition::Stopped).is_some() {
        observed.policy.stop_policy
    } else if timed_out() {
        observed.policy.timeout_policy
    } else {
        StopPolicy::DeletePod
    }
}

/// Whether a Pod of a Task that is over stays for its log: where the agent ended by itself, always; where it was made to,
/// as the policy says. Without an agent that started there is no log.
fn has_log_to_keep(pod: &PodView, policy: StopPolicy) -> bool {
    pod.agent_end().is_some() || (policy == StopPolicy::KeepPod && pod.agent_has_started())
}

/// Those that have to go before this end of a Task that has not ended by itself.
fn deletions_before(observed: &Observed<'_>, policy: StopPolicy) -> Vec<PodDeletion> {
    let recorded = observed.task.pod_uid();
    let stays = |d: &PodDeletion| {
        let is_recorded = Some(d.pod.uid()) == recorded;
        !d.gated && (d.pod.agent_is_over() || (is_recorded && has_log_to_keep(&d.pod, policy)))
    };
    deletions_of(observed).into_iter().filter(|d| !stays(d)).collect()
}

fn stop(observed: &Observed<'_>) -> Step {
    if may_be_hidden(observed) {
        return Step::Verify;
    }
    end_now(observed, End::Stopped, observed.policy.stop_policy)
}

/// Ends a Task before its Pod has ended.
fn end_now(observed: &Observed<'_>, end: End, policy: StopPolicy) -> Step {
    // of a Pod that the watch does not show nobody would see that it has to be halted
    let policy = if observed.asked { StopPolicy::DeletePod } else { policy };
    let pod = recorded(observed);
    let started = pod
        .and_then(|pod| agent_started(pod, observed.now).or_else(|| may_start(pod).then_some(observed.now)));
    Step::Complete { end, started, delete: deletions_before(observed, policy) }
}

fn timeout(observed: &Observed<'_>) -> Option<Step> {
    let (timeout, deadline) = (observed.timeout.as_ref()?, deadline(observed)?);
    // a Pod that was deleted since was deleted for its timeout
    let ended = |pod: &PodView| {
        let removed = pod.is_removed().then(|| {
            let ended = pod.agent_end().and_then(|end| end.finished_at.as_ref());
            ended.or(pod.metadata.deletion_timestamp.as_ref()).map(|time| time.0)
        });
        let told = removed.flatten().or(pod.deletion_requested());
        // times of Pods are whole seconds
        pod.agent_is_over() && told.is_none_or(|told| told.as_second() < deadline.as_second())
    };
    if observed.now < deadline || recorded(observed).or(observed.last).is_some_and(ended) {
        return None;
    }
    if may_be_hidden(observed) {
        return Some(Step::Verify);
    }
    let end = TaskOutcome::failed(Reason::Timeout, format!("the Task ran longer than {}", timeout.words));
    Some(end_now(observed, End::Pod(end), observed.policy.timeout_policy))
}

/// When its timeout ends a launched Task.
fn deadline(observed: &Observed<'_>) -> Option<Timestamp> {
    let status = observed.task.status?;
    status.pod_uid.as_ref()?;
    status.start_time.as_ref()?.0.checked_add(observed.timeout.as_ref()?.duration).ok()
}

fn recorded<'a>(observed: &'a Observed<'_>) -> Option<&'a PodView> {
    let uid = observed.task.pod_uid()?;
    observed.pods.iter().find(|pod| pod.uid() == uid).map(AsRef::as_ref)
}

fn unlaunched(observed: &Observed<'_>) -> Step {
    if let Some(stranger_pod) = observed.pods.iter().find(|pod| !pod.is_gated()) {
        // it may be ours, and its agent may have run: no second one is started
        let end = End::NotLaunched(stranger(&ObjectKey::of(stranger_pod.as_ref())));
        return Step::Complete { end, started: None, delete: deletions_of(observed) };
    }
    // with this phase we have always recorded a Pod
    if observed.task.phase() == Phase::Running {
        let end = End::Pod(TaskOutcome::failed(Reason::PodLost, launched_by_another(observed.task)));
        return Step::Complete { end, started: Some(observed.now), delete: deletions_of(observed) };
    }
    Step::Launch
}

fn launched_by_another(task: TaskRef<'_>) -> String {
    let pod = task.status.and_then(|status| status.pod_name.as_ref());
    let pod = pod.map(|pod| format!(", as Pod \"{pod}\"")).unwrap_or_default();
    format!(
        "another operator launched this Task{pod}: its status is Running without a podUID. What that operator made is left \
         alone, how it ends is not known, and no second agent is started; make a new Task when it is over"
    )
}

/// Why a Task is not launched beside a Pod that has its UID and a name of its Pod, and not our gate.
pub(crate) fn stranger(pod: &ObjectKey) -> Refusal {
    let message = format!(
        "Pod \"{pod}\" has the label of this Task and not the gate {LAUNCH_GATE}: somebody made it, or opened it before \
         the launch. It is left alone, and no agent is started beside it; delete that Pod and make a new Task"
    );
    Refusal { condition: TaskCondition::Ready, reason: Reason::PodCreationError, message }
}

#[cfg(test)]
mod tests;
