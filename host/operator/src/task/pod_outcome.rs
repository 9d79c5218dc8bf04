//! From a Pod to how its Task ends. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::AGENT_CONTAINER;
use kubeopencode_api::report::{AgentReport, Outcome, Usage, cut};
use kubeopencode_api::task::TaskResult;

use super::start_problem::{self, StartProblem};
use crate::cache::pod_view::PodView;

/// Longest part of a container's own message in ours, in bytes.
pub(super) const MAX_EXCERPT: usize = 1024;

/// Exit codes of a program that SIGTERM, or after it SIGKILL, ended.
const KILLED: [i32; 2] = [128 + 15, 128 + 9];

/// What a launched Pod says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PodState {
    /// It is not over.
    InProgress {
        /// Why it does not start.
        problem: Option<StartProblem>,
        /// Whether the agent's container has ever started.
        started: bool,
        /// Since when it has a node, where no container has begun and none says why.
        silent_since: Option<Timestamp>,
        /// Optional contexts that its init containers left out, each with the reason.
        skipped: Vec<String>,
    },
    /// It is over.
    Ended(TaskOutcome),
}

/// How a Task ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskOutcome {
    /// Whether it counts as success.
    pub(crate) succeeded: bool,
    /// Reason of the condition `Succeeded`.
    pub(crate) reason: Reason,
    /// Its message.
    pub(crate) message: String,
    /// The agent's last words and error.
    pub(crate) result: Option<TaskResult>,
    /// The agent's tokens and costs.
    pub(crate) usage: Option<Usage>,
    /// Optional contexts that the Pod's init containers left out, each with the reason.
    pub(crate) skipped: Vec<String>,
}

impl TaskOutcome {
    /// A failure without a report.
    pub(crate) fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            succeeded: false,
            reason,
            message: message.into(),
            result: None,
            usage: None,
            skipped: Vec::new(),
        }
    }
}

/// Reads a Pod: the container `agent` decides, whatever others do that a webhook added. `keep_summary`: whether the
/// agent's last words may enter the status.
pub(crate) fn pod_state(pod: &PodView, keep_summary: bool) -> PodState {
    let ended = match (pod.agent_end(), pod.status.phase.as_deref()) {
        (Some(end), _) => agent_ended(pod, end, keep_summary),
        (None, Some("Succeeded")) => completed(),
        (None, Some("Failed")) => failed_before_the_agent(pod),
        _ => {
            let started = pod.agent_has_started();
            // what keeps a sidecar from starting is no matter of an agent that runs
            let problem = if started { None } else { start_problem::of_pod(pod) };
            let silent_since = if problem.is_none() { silent_since(pod) } else { None };
            return PodState::InProgress { problem, started, silent_since, skipped: skipped(pod) };
        }
    };
    PodState::Ended(TaskOutcome { skipped: skipped(pod), ..ended })
}

/// Whether the Pod was deleted while the agent worked. Where its last state does not say when that was asked for, the agent
/// says whether it was told to end.
fn deleted_at_work(pod: &PodView, end: &ContainerStateTerminated, report: Option<&AgentReport>) -> bool {
    let told_to_end =
        || report.is_some_and(|report| report.signal.is_some()) || KILLED.contains(&end.exit_code);
    match pod.deletion_requested() {
        Some(requested) => came_first(Some(requested), end.finished_at.as_ref()),
        None => pod.is_removed() && told_to_end(),
    }
}

/// Whether a cause came before an end. Both are whole seconds of two clocks: what is not known to have come later counts.
fn came_first(cause: Option<Timestamp>, end: Option<&Time>) -> bool {
    cause.zip(end).is_none_or(|(cause, end)| cause <= end.0)
}

/// When the container `agent` started; `now` where the kubelet does not say it. `None`: it did not, as far as the Pod shows.
pub(crate) fn agent_started(pod: &PodView, now: Timestamp) -> Option<Timestamp> {
    let state = pod.agent_state()?;
    let time = |at: &Option<Time>| at.as_ref().map(|at| at.0).filter(|at| *at > Timestamp::UNIX_EPOCH);
    match (&state.running, &state.terminated) {
        (Some(running), _) => Some(time(&running.started_at).unwrap_or(now)),
        // its process could not be started
        (None, Some(end)) if matches!(end.reason.as_deref(), Some("StartError" | "ContainerCannotRun")) => {
            None
        }
        (None, Some(end)) => Some(time(&end.started_at).or(time(&end.finished_at)).unwrap_or(now)),
        (None, None) => None,
    }
}

/// Whether the agent of a Pod that is about to be ended may have started, or may start before it is: its node runs the
/// containers before it, and its state comes late. Not where something keeps it from starting.
pub(crate) fn may_start(pod: &PodView) -> bool {
    !pod.is_over()
        && pod.spec.node_name.is_some()
        && pod.status.init_container_statuses.iter().any(has_begun)
        && start_problem::of_pod(pod).is_none()
}

/// How a termination message of an init container begins that left an optional context out.
const SKIPPED: &str = "skipped: ";

fn skipped(pod: &PodView) -> Vec<String> {
    let ended = pod.status.init_container_statuses.iter().filter_map(|s| Some((s, terminated(s)?)));
    let said = ended.filter_map(|(s, end)| Some((s, end.message.as_deref()?.trim().strip_prefix(SKIPPED)?)));
    said.map(|(s, why)| {
        format!("init container \"{}\" left an optional context out: {}", s.name, cut(why, MAX_EXCERPT))
    })
    .collect()
}

fn silent_since(pod: &PodView) -> Option<Timestamp> {
    let condition = condition(pod, "PodScheduled").filter(|c| c.status == "True")?;
    let statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    if statuses.into_iter().any(has_begun) {
        return None;
    }
    condition.last_transition_time.as_ref().map(|t| t.0)
}

pub(super) fn condition<'a>(pod: &'a PodView, type_: &str) -> Option<&'a PodCondition> {
    pod.status.conditions.iter().find(|c| c.type_ == type_)
}

fn completed() -> TaskOutcome {
    TaskOutcome {
        succeeded: true,
        reason: Reason::Completed,
        message: "The agent ended successfully".to_owned(),
        result: None,
        usage: None,
        skipped: Vec::new(),
    }
}

fn agent_ended(pod: &PodView, end: &ContainerStateTerminated, keep_summary: bool) -> TaskOutcome {
    let report = end.message.as_deref().and_then(AgentReport::parse);
    let report = report.map(|report| AgentReport { log: report.log.filter(|_| keep_summary), ..report });
    let ending = from_outside(pod, end, report.as_ref()).unwrap_or_else(|| of_agent(end, report.as_ref()));
    let Some(report) = report else { return ending };
    let summary = report.summary.filter(|_| keep_summary);
    let result = TaskResult { summary, error: report.error };
    TaskOutcome {
        result: Some(result).filter(|r| *r != TaskResult::default()),
        usage: report.usage,
        ..ending
    }
}

/// What ended the agent, where that was not the agent itself.
fn from_outside(
    pod: &PodView,
    end: &ContainerStateTerminated,
    report: Option<&AgentReport>,
) -> Option<TaskOutcome> {
    if is_oom(end) {
        return Some(TaskOutcome::failed(
            Reason::OOMKilled,
            format!("container \"agent\" was out of memory; raise {}", memory_of(pod.group())),
        ));
    }
    interruption(pod, end.finished_at.as_ref()).or_else(|| {
        deleted_at_work(pod, end, report).then(|| {
            let message =
                format!("Pod \"{}\" was deleted while the agent worked, which {}", name(pod), exit_code(end));
            TaskOutcome::failed(Reason::PodDeleted, message)
        })
    })
}

/// The field that says how much memory the agent may have.
fn memory_of(group: Group) -> &'static str {
    match group {
        Group::KubeOpenCode => "podSpec.resources.limits.memory of the Agent",
        Group::KubeTask => "spec.defaults.resources.limits.memory of KubeOpenCodeConfig",
    }
}

/// How the agent ended by itself. The report decides over the exit code: it says whose fault it was.
fn of_agent(end: &ContainerStateTerminated, report: Option<&AgentReport>) -> TaskOutcome {
    let error = report.and_then(|report| report.error.as_deref()).map(|error| cut(error, MAX_EXCERPT));
    let log = report.and_then(|report| report.log.as_deref());
    match report.map(|report| report.outcome) {
        Some(Outcome::AgentError) => {
            let log = log.map(|log| format!("; its log ends: {log}")).unwrap_or_default();
            let message = format!("the agent reported an error: {}{log}", error.unwrap_or("no message"));
            TaskOutcome::failed(Reason::AgentReportedError, message)
        }
        Some(Outcome::IdleTimeout) => {
            let message =
                format!("the agent was ended by idleTimeout: {}", error.unwrap_or("it printed nothing"));
            TaskOutcome::failed(Reason::IdleTimeout, message)
        }
        Some(Outcome::Restarted) => TaskOutcome::failed(
            Reason::AgentRestarted,
            "the kubelet started the agent a second time; the result reader refused it",
        ),
        Some(Outcome::Completed | Outcome::Failed) | None if end.exit_code == 0 => completed(),
        Some(Outcome::Completed | Outcome::Failed) => {
            let why = error.or(log).map(|why| format!(": {why}")).unwrap_or_default();
            TaskOutcome::failed(
                Reason::PodFailed,
                format!("container \"{AGENT_CONTAINER}\" {}{why}", exit_code(end)),
            )
        }
        None => {
            TaskOutcome::failed(Reason::PodFailed, format!("container \"{AGENT_CONTAINER}\" {}", exit(end)))
        }
    }
}

fn failed_before_the_agent(pod: &PodView) -> TaskOutcome {
    if let Some(evicted) = interruption(pod, None) {
        return evicted;
    }
    if pod.is_deleting() {
        let message = format!("Pod \"{}\" was deleted before the agent ran", name(pod));
        return TaskOutcome::failed(Reason::PodDeleted, message);
    }
    let failed =
        |s: &&ContainerStatus| !pod.is_sidecar(&s.name) && terminated(s).is_some_and(|t| t.exit_code != 0);
    let init = pod.status.init_container_statuses.iter().find(failed);
    if let Some((init, end)) = init.and_then(|s| Some((s, terminated(s)?))) {
        let reason = if is_oom(end) { Reason::OOMKilled } else { Reason::InitContainerFailed };
        return TaskOutcome::failed(reason, format!("init container \"{}\" {}", init.name, exit(end)));
    }
    let words = [pod.status.reason.as_deref(), pod.status.message.as_deref()];
    let why = words.into_iter().flatten().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(": ");
    let why = if why.is_empty() { "without a reason".to_owned() } else { why };
    TaskOutcome::failed(
        Reason::PodFailed,
        format!("Pod \"{}\" failed before the agent ran: {why}", name(pod)),
    )
}

/// The end of a Pod that had to leave its node, unless the agent had ended before, at this time.
fn interruption(pod: &PodView, ended: Option<&Time>) -> Option<TaskOutcome> {
    let disruption = condition(pod, "DisruptionTarget").filter(|c| c.status == "True");
    let since = disruption.and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0);
    if !came_first(since, ended) {
        return None;
    }
    let words = if pod.status.reason.as_deref() == Some("Evicted") {
        pod.status.message.clone().unwrap_or_default()
    } else {
        let words = [disruption?.reason.as_deref(), disruption?.message.as_deref()];
        words.into_iter().flatten().collect::<Vec<_>>().join(": ")
    };
    let message = format!("Pod \"{}\" was evicted: {words}", name(pod));
    Some(TaskOutcome::failed(Reason::Evicted, message))
}

fn has_begun(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

fn is_oom(end: &ContainerStateTerminated) -> bool {
    end.reason.as_deref() == Some("OOMKilled")
}

fn exit(end: &ContainerStateTerminated) -> String {
    let words = end.message.as_deref().unwrap_or_default().trim();
    match words {
        "" => exit_code(end),
        words => format!("{}: {}", exit_code(end), cut(words, MAX_EXCERPT)),
    }
}

fn exit_code(end: &ContainerStateTerminated) -> String {
    match end.reason.as_deref() {
        None | Some("Error" | "Completed") => format!("exited with code {}", end.exit_code),
        Some(reason) => format!("exited with code {} ({reason})", end.exit_code),
    }
}

fn name(pod: &PodView) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
