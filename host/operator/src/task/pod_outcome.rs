//! From a Pod to how its Task ends. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, PodCondition};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::AGENT_CONTAINER;
use kubeopencode_api::report::{AgentReport, Outcome, Usage, cut};
use kubeopencode_api::task::TaskResult;

use super::start_problem::{self, StartProblem};
use crate::cache::pod_view::PodView;

/// Longest part of a container's own message in ours, in bytes.
pub(super) const MAX_EXCERPT: usize = 1024;

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
    let begun = |s: &ContainerStatus| {
        s.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    };
    if statuses.into_iter().any(begun) {
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
    if is_oom(end) {
        return TaskOutcome::failed(
            Reason::OOMKilled,
            "container \"agent\" was out of memory; raise podSpec.resources.limits.memory of the Agent",
        );
    }
    let report = end.message.as_deref().and_then(AgentReport::parse);
    let ending = match (eviction(pod), end.exit_code) {
        (Some(evicted), _) => evicted,
        (None, 0) => completed(),
        (None, _) => {
            let words = if report.is_some() { exit_code(end) } else { exit(end) };
            TaskOutcome::failed(Reason::PodFailed, format!("container \"{AGENT_CONTAINER}\" {words}"))
        }
    };
    match report {
        Some(report) => with_report(ending, report, keep_summary),
        None => ending,
    }
}

fn failed_before_the_agent(pod: &PodView) -> TaskOutcome {
    if let Some(evicted) = eviction(pod) {
        return evicted;
    }
    let failed = |s: &&ContainerStatus| !pod.is_sidecar(&s.name) && terminated(s).is_some_and(|t| t.exit_code != 0);
    let init = pod.status.init_container_statuses.iter().find(failed);
    if let Some((init, end)) = init.and_then(|s| Some((s, terminated(s)?))) {
        let reason = if is_oom(end) { Reason::OOMKilled } else { Reason::InitContainerFailed };
        return TaskOutcome::failed(reason, format!("init container \"{}\" {}", init.name, exit(end)));
    }
    let words = [pod.status.reason.as_deref(), pod.status.message.as_deref()];
    let why = words.into_iter().flatten().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(": ");
    let why = if why.is_empty() { "without a reason".to_owned() } else { why };
    TaskOutcome::failed(Reason::PodFailed, format!("Pod \"{}\" failed before the agent ran: {why}", name(pod)))
}

/// The end of a Pod that had to leave its node.
fn eviction(pod: &PodView) -> Option<TaskOutcome> {
    let words = if pod.status.reason.as_deref() == Some("Evicted") {
        pod.status.message.clone().unwrap_or_default()
    } else {
        let disruption = condition(pod, "DisruptionTarget").filter(|c| c.status == "True")?;
        let words = [disruption.reason.as_deref(), disruption.message.as_deref()];
        words.into_iter().flatten().collect::<Vec<_>>().join(": ")
    };
    let message = format!("Pod \"{}\" was evicted: {words}", name(pod));
    Some(TaskOutcome::failed(Reason::Evicted, message))
}

/// The report decides over the exit code: it says whose fault it was.
fn with_report(mut ending: TaskOutcome, report: AgentReport, keep_summary: bool) -> TaskOutcome {
    match report.outcome {
        Outcome::AgentError => {
            let error = report.error.as_deref().unwrap_or("no message");
            ending.succeeded = false;
            ending.reason = Reason::AgentReportedError;
            ending.message = format!("the agent reported an error: {}", cut(error, MAX_EXCERPT));
        }
        Outcome::Restarted => {
            ending.succeeded = false;
            ending.reason = Reason::AgentRestarted;
            "the kubelet started the agent a second time; the result reader refused it"
                .clone_into(&mut ending.message);
        }
        Outcome::Completed | Outcome::Failed => {}
    }
    let summary = report.summary.filter(|_| keep_summary);
    if summary.is_some() || report.error.is_some() {
        ending.result = Some(TaskResult { summary, error: report.error });
    }
    ending.usage = report.usage;
    ending
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
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> PodView {
        serde_json::from_value(json!({"metadata": {"name": "fix-pod"}, "status": status})).unwrap()
    }

    fn status(name: &str, state: Value) -> Value {
        json!({"name": name, "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0})
    }

    fn ended(status: Value) -> TaskOutcome {
        match pod_state(&pod(status), true) {
            PodState::Ended(ending) => ending,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_clean_exit_completes_and_the_summary_is_kept_only_where_it_may_be() {
        let report = r#"{"outcome":"completed","summary":"Opened PR 7","usage":{"inputTokens":12}}"#;
        let over = json!({"phase": "Succeeded", "containerStatuses": [
            status("agent", json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": report}}))]});
        let ending = ended(over.clone());
        assert!(ending.succeeded);
        assert_eq!(ending.result.unwrap().summary.as_deref(), Some("Opened PR 7"));
        assert_eq!(ending.usage.unwrap().input_tokens, Some(12));
        let PodState::Ended(ending) = pod_state(&pod(over), false) else { panic!("it is over") };
        assert_eq!(ending.result, None);
    }

    #[test]
    fn failures_say_who_failed_and_how() {
        for (given, reason, words) in [
            (
                json!({"phase": "Failed", "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 3, "reason": "Error", "message": "no key"}}))]}),
                Reason::PodFailed,
                "container \"agent\" exited with code 3: no key",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))]}),
                Reason::OOMKilled,
                "raise podSpec.resources.limits.memory",
            ),
            (
                json!({"phase": "Failed", "initContainerStatuses": [status("context-init", json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "no space left\n"}}))]}),
                Reason::InitContainerFailed,
                "init container \"context-init\" exited with code 1: no space left",
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
                Reason::Evicted,
                "low on resource",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 1, "reason": "Error",
                    "message": r#"{"outcome":"agent-error","error":"model not found"}"#}}))]}),
                Reason::AgentReportedError,
                "the agent reported an error: model not found",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 1, "reason": "Error",
                    "message": r#"{"outcome":"restarted"}"#}}))]}),
                Reason::AgentRestarted,
                "a second time",
            ),
            (
                json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "a more important Pod"}],
                    "containerStatuses": [status("agent", json!({"terminated": {"exitCode": 143, "reason": "Error"}}))]}),
                Reason::Evicted,
                "PreemptionByScheduler: a more important Pod",
            ),
            (
                json!({"phase": "Failed", "reason": "NodeAffinity", "message": "no match"}),
                Reason::PodFailed,
                "NodeAffinity: no match",
            ),
        ] {
            let ending = ended(given);
            assert!(!ending.succeeded);
            assert_eq!(ending.reason, reason);
            assert!(ending.message.contains(words), "{}", ending.message);
        }
    }

    #[test]
    fn a_pod_whose_agent_runs_has_started() {
        let running =
            json!({"phase": "Running", "containerStatuses": [status("agent", json!({"running": {}}))]});
        let expected =
            PodState::InProgress { problem: None, started: true, silent_since: None, skipped: vec![] };
        assert_eq!(pod_state(&pod(running), true), expected);
    }

    /// A Pod with the native sidecar `mesh-proxy`.
    fn with_sidecar(status: Value) -> PodView {
        let proxy = json!({"name": "mesh-proxy", "restartPolicy": "Always"});
        let clone = json!({"name": "git-init-0"});
        let pod = json!({"metadata": {"name": "fix-pod"}, "spec": {"initContainers": [proxy, clone]}, "status": status});
        let mut pod: PodView = serde_json::from_value(pod).unwrap();
        pod.slim();
        pod
    }

    #[test]
    fn the_container_agent_decides_whatever_others_do() {
        let agent = |code: i32, message: &str| {
            status("agent", json!({"terminated": {"exitCode": code, "reason": "Error", "message": message}}))
        };
        let sidecar = |state: Value| status("mesh-proxy", state);
        let running = || sidecar(json!({"running": {}}));
        let badly = || sidecar(json!({"terminated": {"exitCode": 3, "reason": "Error"}}));
        let unpulled = || sidecar(json!({"waiting": {"reason": "ImagePullBackOff"}}));
        let completed = r#"{"outcome":"completed","usage":{"inputTokens":12}}"#;
        let agent_error = r#"{"outcome":"agent-error","error":"stub says 400"}"#;
        for (given, reason, words) in [
            (json!({"phase": "Running", "containerStatuses": [agent(0, completed), running()]}), Reason::Completed, "ended successfully"),
            (json!({"phase": "Running", "containerStatuses": [agent(7, "no key"), running()]}), Reason::PodFailed, "exited with code 7: no key"),
            // kubelet calls a Pod with a waiting container Pending
            (json!({"phase": "Pending", "containerStatuses": [unpulled(), agent(0, completed)]}), Reason::Completed, "ended successfully"),
            (json!({"phase": "Failed", "containerStatuses": [agent(0, completed), badly()]}), Reason::Completed, "ended successfully"),
            (json!({"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": [agent(0, completed), badly()]}), Reason::Completed, "ended successfully"),
            (json!({"phase": "Failed", "initContainerStatuses": [badly()], "containerStatuses": [agent(7, "")]}), Reason::PodFailed, "container \"agent\" exited with code 7"),
            (json!({"phase": "Failed", "initContainerStatuses": [badly()], "containerStatuses": [agent(1, agent_error)]}), Reason::AgentReportedError, "stub says 400"),
            (json!({"phase": "Failed", "initContainerStatuses": [badly(), status("git-init-0", json!({"terminated": {"exitCode": 1, "message": "no such branch"}}))]}),
                Reason::InitContainerFailed, "init container \"git-init-0\" exited with code 1: no such branch"),
        ] {
            let PodState::Ended(ending) = pod_state(&with_sidecar(given.clone()), true) else { panic!("{given}") };
            assert_eq!((ending.reason, ending.succeeded), (reason, reason == Reason::Completed), "{given}");
            assert!(ending.message.contains(words), "{}", ending.message);
            assert_eq!(ending.usage.is_some(), given.to_string().contains("inputTokens"), "{given}");
        }
    }

    #[test]
    fn what_keeps_a_sidecar_from_starting_is_no_problem_of_an_agent_that_runs() {
        let unpulled = status("mesh-proxy", json!({"waiting": {"reason": "ImagePullBackOff"}}));
        let agent = |state: Value| json!({"phase": "Pending", "containerStatuses": [unpulled.clone(), status("agent", state)]});
        let problem = |given: Value| match pod_state(&pod(given), true) {
            PodState::InProgress { problem, .. } => problem.map(|problem| problem.reason),
            ended => panic!("{ended:?}"),
        };
        assert_eq!(problem(agent(json!({"running": {}}))), None);
        assert_eq!(problem(agent(json!({"waiting": {"reason": "PodInitializing"}}))), Some(Reason::ImagePullFailed));
    }

    #[test]
    fn a_pod_with_a_node_where_nothing_begins_is_silent() {
        let scheduled =
            json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let waits = json!({"waiting": {"reason": "PodInitializing"}});
        let mut given = json!({"phase": "Pending", "conditions": [scheduled],
            "initContainerStatuses": [status("opencode-init", waits.clone())],
            "containerStatuses": [status("agent", waits)]});
        let silent = |given: &Value| match pod_state(&pod(given.clone()), true) {
            PodState::InProgress { silent_since, .. } => silent_since.map(|t| t.to_string()),
            ended => panic!("{ended:?}"),
        };
        assert_eq!(silent(&given).as_deref(), Some("2026-01-01T00:00:00Z"));
        given["initContainerStatuses"][0]["state"] = json!({"running": {}});
        assert_eq!(silent(&given), None);
    }

    #[test]
    fn an_optional_context_that_an_init_container_left_out_is_told_while_it_runs_and_at_the_end() {
        let init = status(
            "git-init-0",
            json!({"terminated": {"exitCode": 0, "message": "skipped: https://git/x: not found\n"}}),
        );
        let words = "init container \"git-init-0\" left an optional context out: https://git/x: not found";
        let running = pod(json!({"phase": "Running", "initContainerStatuses": [init.clone()]}));
        let PodState::InProgress { skipped, .. } = pod_state(&running, true) else { panic!("it runs") };
        assert_eq!(skipped, [words]);
        assert_eq!(ended(json!({"phase": "Succeeded", "initContainerStatuses": [init]})).skipped, [words]);
    }
}
