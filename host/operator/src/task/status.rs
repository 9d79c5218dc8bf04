//! What a Task's status says after each thing that can happen to it. Pure; `writer` sends it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kubeopencode_api::condition::{self, ConditionStatus, Conditions, Reason, TaskCondition, find};
use kubeopencode_api::names::{AgentKey, ObjectKey};
use kubeopencode_api::task::{AgentReference, Phase, TaskStatus, UsedPlugin};
use kubeopencode_plan::Refusal;
use serde_json::{Map, Value, json};

use super::pod_outcome::TaskOutcome;
use super::start_problem::StartProblem;
use crate::admission::ledger::{Blocked, worth_reporting};
use crate::cache::task_view::TaskRef;
use crate::frontend::Runner;
use crate::runtime::event_recorder::{EventType, Note};

/// Message of the condition `Contexts` where there is nothing to tell.
const CONTEXTS_RESOLVED: &str = "Contexts are resolved";

/// How the words of a wait for an admission webhook end: it has the reason of a refusal, and is none.
pub(crate) const AWAITS_WEBHOOK: &str = "; the Task waits until the webhook answers";

/// A status in the making.
#[derive(Clone, Debug)]
pub(crate) struct StatusBuilder {
    status: TaskStatus,
    generation: Option<i64>,
    now: Timestamp,
}

/// What a launch records.
#[derive(Clone, Debug)]
pub(crate) struct LaunchRecord<'a> {
    /// Namespace and name of the Pod.
    pub(crate) pod: &'a ObjectKey,
    /// UID of the Pod.
    pub(crate) pod_uid: &'a str,
    /// What it runs with.
    pub(crate) runner: &'a Runner,
    /// Whether the Agent has limits.
    pub(crate) limited: bool,
    /// The plugins that made the Pod.
    pub(crate) plugins: Vec<UsedPlugin>,
    /// What was left out or ignored: reason and message of the condition `Contexts`.
    pub(crate) notices: &'a [(Reason, String)],
}

impl StatusBuilder {
    /// The status of a Task as it stands.
    pub(crate) fn of(task: TaskRef<'_>, now: Timestamp) -> Self {
        Self { status: task.status.cloned().unwrap_or_default(), generation: task.metadata.generation, now }
    }

    fn set(&mut self, type_: TaskCondition, status: ConditionStatus, reason: Reason, message: &str) {
        Conditions::new(&mut self.status.conditions, self.generation, self.now)
            .set(type_, status, reason, message);
    }

    /// Which Agent it is about; once a Pod is recorded that is not to be changed.
    pub(crate) fn agent(mut self, agent: Option<&AgentKey>) -> Self {
        if let Some(AgentKey { namespace, name }) = agent.filter(|_| self.status.pod_uid.is_none()) {
            self.status.agent_ref =
                Some(AgentReference { name: name.to_string(), namespace: namespace.to_string() });
        }
        self
    }

    /// Nothing holds it up any more, or but for this reason with such words: a wait for another one begins anew.
    fn not_held_up(&mut self, but_for: Option<(Reason, &str)>) {
        let awaits_webhook = |message: &str| message.ends_with(AWAITS_WEBHOOK);
        let is_same = |c: &Condition| {
            but_for.is_some_and(|(reason, message)| {
                c.reason == reason.as_str() && awaits_webhook(&c.message) == awaits_webhook(message)
            })
        };
        let ready = TaskCondition::Ready.as_str();
        self.status.conditions.retain(|c| c.type_ != ready || c.status != "Unknown" || is_same(c));
    }

    /// It waits for an object that may still come.
    pub(crate) fn waiting(mut self, message: &str) -> TaskStatus {
        self.not_held_up(None);
        self.status.queue_position = None;
        self.set(TaskCondition::Accepted, ConditionStatus::Unknown, Reason::WaitingForDependency, message);
        self.done()
    }

    /// It waits for its turn.
    pub(crate) fn queued(mut self, blocked: &Blocked, position: Option<i64>) -> TaskStatus {
        self.not_held_up(None);
        self.set(TaskCondition::Accepted, ConditionStatus::True, Reason::Resolved, "References are resolved");
        self.set(TaskCondition::Queued, ConditionStatus::True, blocked.reason, &blocked.message);
        if let Some(position) = position.filter(|p| worth_reporting(self.status.queue_position, *p)) {
            self.status.queue_position = Some(position);
        }
        self.done()
    }

    /// The API server does not take its Pod or ConfigMaps for now, or fails.
    pub(crate) fn held_up(mut self, reason: Reason, message: &str) -> TaskStatus {
        self.not_held_up(Some((reason, message)));
        self.status.queue_position = None;
        self.set(TaskCondition::Ready, ConditionStatus::Unknown, reason, message);
        self.done()
    }

    /// Its Pod is recorded.
    pub(crate) fn launched(mut self, launch: &LaunchRecord<'_>) -> TaskStatus {
        self = self.agent(launch.runner.agent());
        self.set(TaskCondition::Accepted, ConditionStatus::True, Reason::Resolved, "References are resolved");
        // a warning is no reason of its own; what was left out or ignored is
        let reason =
            launch.notices.iter().map(|(reason, _)| *reason).find(|reason| *reason != Reason::Resolved);
        let reason = reason.unwrap_or(Reason::Resolved);
        let message = match launch.notices {
            [] => CONTEXTS_RESOLVED.to_owned(),
            all => all.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; "),
        };
        self.set(TaskCondition::Contexts, ConditionStatus::True, reason, &message);
        let was_queued = find(&self.status.conditions, TaskCondition::Queued).is_some();
        let (reason, message) = match (launch.runner, launch.limited || was_queued) {
            (Runner::Agent(agent), true) => {
                (Reason::CapacityAvailable, format!("Agent \"{}\" capacity now available", agent.name))
            }
            (Runner::Agent(agent), false) => {
                (Reason::NoLimits, format!("Agent \"{}\" has no capacity or quota limits", agent.name))
            }
            (Runner::Workspace(_), true) => {
                (Reason::CapacityAvailable, "Nothing is in its way any more".into())
            }
            (Runner::Workspace(_), false) => (Reason::NoLimits, "A WorkspaceConfig has no limits".into()),
        };
        self.set(TaskCondition::Queued, ConditionStatus::False, reason, &message);
        let launched = format!("Pod \"{}\" has been launched", launch.pod);
        self.set(TaskCondition::Ready, ConditionStatus::True, Reason::PodLaunched, &launched);
        let not_yet = format!("{launched}, and the agent has not started yet");
        self.set(TaskCondition::Started, ConditionStatus::Unknown, Reason::PodLaunched, &not_yet);
        let status = &mut self.status;
        status.pod_uid = Some(launch.pod_uid.to_owned());
        status.pod_name = Some(launch.pod.name.clone());
        status.pod_namespace = Some(launch.pod.namespace.clone());
        status.start_time.get_or_insert(Time(self.now));
        status.queue_position = None;
        status.plugins.clone_from(&launch.plugins);
        self.done()
    }

    /// The agent started at this time, if it is known to have.
    pub(crate) fn agent_started(mut self, at: Option<Timestamp>) -> Self {
        if let Some(at) = at.filter(|_| self.status.agent_started.is_none()) {
            self.status.agent_started = Some(Time(at));
            self.set(
                TaskCondition::Started,
                ConditionStatus::True,
                Reason::PodLaunched,
                "The agent has started",
            );
        }
        self
    }

    /// What its Pod says before its end: why it does not start (`None`: it does), and which optional contexts its
    /// init containers left out.
    pub(crate) fn in_progress(mut self, problem: Option<&StartProblem>, skipped: &[String]) -> TaskStatus {
        let stood_still =
            find(&self.status.conditions, TaskCondition::Started).is_some_and(|c| c.status == "False");
        match problem {
            Some(problem) => {
                self.set(TaskCondition::Started, ConditionStatus::False, problem.reason, &problem.message)
            }
            None if stood_still => {
                self.set(
                    TaskCondition::Started,
                    ConditionStatus::Unknown,
                    Reason::PodLaunched,
                    "The Pod gets on again, and the agent has not started yet",
                );
            }
            None => {}
        }
        self.skipped(skipped);
        self.done()
    }

    fn skipped(&mut self, skipped: &[String]) {
        let news = unreported(&self.status.conditions, skipped);
        if news.is_empty() {
            return;
        }
        let said = find(&self.status.conditions, TaskCondition::Contexts)
            .map(|c| c.message.clone())
            .filter(|message| message != CONTEXTS_RESOLVED);
        let message = said.into_iter().chain(news.into_iter().cloned()).collect::<Vec<_>>().join("; ");
        self.set(TaskCondition::Contexts, ConditionStatus::True, Reason::OptionalSkipped, &message);
    }

    /// It is over as its Pod is.
    pub(crate) fn ended(mut self, ending: &TaskOutcome) -> TaskStatus {
        let is = if ending.succeeded { ConditionStatus::True } else { ConditionStatus::False };
        self.set(TaskCondition::Succeeded, is, ending.reason, &ending.message);
        if ending.reason.is_error() {
            self.set(TaskCondition::Ready, is, ending.reason, &ending.message);
        }
        self.status.result.clone_from(&ending.result);
        self.status.usage.clone_from(&ending.usage);
        self.skipped(&ending.skipped);
        self.over(ending.reason, &ending.message)
    }

    /// It is over because the user wanted it, and said so by this annotation.
    pub(crate) fn stopped(mut self, annotation: &str) -> TaskStatus {
        let message = format!("Task stopped by user via {annotation} annotation");
        self.set(TaskCondition::Stopped, ConditionStatus::True, Reason::UserStopped, &message);
        self.over(Reason::UserStopped, &message)
    }

    /// It is over before it was launched.
    pub(crate) fn refused(mut self, refusal: &Refusal) -> TaskStatus {
        self.set(refusal.condition, ConditionStatus::False, refusal.reason, &refusal.message);
        self.set(TaskCondition::Ready, ConditionStatus::False, refusal.reason, &refusal.message);
        self.over(refusal.reason, &refusal.message)
    }

    /// What nobody knew yet, and what was waited for, never came true.
    fn over(mut self, reason: Reason, message: &str) -> TaskStatus {
        for (type_, open) in [
            (TaskCondition::Accepted, "Unknown"),
            (TaskCondition::Queued, "True"),
            (TaskCondition::Ready, "Unknown"),
            (TaskCondition::Started, "Unknown"),
        ] {
            if find(&self.status.conditions, type_).is_some_and(|c| c.status == open) {
                self.set(type_, ConditionStatus::False, reason, message);
            }
        }
        self.set(TaskCondition::Finished, ConditionStatus::True, reason, message);
        let status = &mut self.status;
        status.completion_time = Some(Time(self.now));
        status.queue_position = None;
        let ran = status.start_time.as_ref().map(|start| self.now.duration_since(start.0));
        status.duration = ran.map(duration_text);
        self.done()
    }

    fn done(mut self) -> TaskStatus {
        let phase = condition::phase(&self.status.conditions);
        let deciding = deciding(&self.status.conditions, phase);
        let (reason, message) = deciding.map(|c| (c.reason.clone(), c.message.clone())).unzip();
        self.status.phase = Some(phase);
        self.status.reason = reason;
        self.status.message = message;
        self.status.observed_generation = self.generation;
        self.status
    }
}

/// Which of these the condition `Contexts` does not say yet.
pub(crate) fn unreported<'a>(conditions: &[Condition], skipped: &'a [String]) -> Vec<&'a String> {
    let said = find(conditions, TaskCondition::Contexts).map(|c| c.message.as_str()).unwrap_or_default();
    skipped.iter().filter(|words| !said.contains(words.as_str())).collect()
}

/// The Event of the phase that a status came into.
pub(crate) fn event(new: &TaskStatus) -> Option<Note> {
    let reason = new.reason.as_deref().unwrap_or_default();
    let is = |known: Reason| reason == known.as_str();
    let (type_, word) = match new.phase? {
        Phase::Pending => return None,
        Phase::Queued if is(Reason::QuotaExceeded) => (EventType::Normal, "QuotaExceeded"),
        Phase::Queued => (EventType::Normal, "Queued"),
        Phase::Running => (EventType::Normal, "PodCreated"),
        Phase::Completed if is(Reason::UserStopped) => (EventType::Normal, "Stopped"),
        Phase::Completed => (EventType::Normal, "Completed"),
        Phase::Failed if is(Reason::Timeout) => (EventType::Warning, "Timeout"),
        Phase::Failed if is(Reason::PluginError) => (EventType::Warning, "PluginFailed"),
        Phase::Failed if is(Reason::PodCreationError) => (EventType::Warning, "PodCreationFailed"),
        Phase::Failed => (EventType::Warning, "Failed"),
    };
    let message = new.message.as_deref().unwrap_or_default();
    let note = if word == "Failed" { format!("{reason}: {message}") } else { message.to_owned() };
    Some(Note { type_, reason: word, note })
}

/// The condition that decided the phase.
fn deciding(conditions: &[Condition], phase: Phase) -> Option<&Condition> {
    use TaskCondition::{Accepted, Finished, Queued, Ready, Started};
    match phase {
        Phase::Completed | Phase::Failed => find(conditions, Finished),
        Phase::Running => {
            find(conditions, Started).filter(|c| c.status == "False").or_else(|| find(conditions, Ready))
        }
        // its turn may have come, and something else is in the way
        Phase::Queued => [Ready, Accepted]
            .into_iter()
            .find_map(|type_| find(conditions, type_).filter(|c| c.status == "Unknown"))
            .or_else(|| find(conditions, Queued)),
        Phase::Pending => find(conditions, Ready).or_else(|| find(conditions, Accepted)),
    }
}

/// The merge patch that makes `new` out of `old`, with the resourceVersion that it was decided on.
pub(crate) fn patch(task: TaskRef<'_>, new: &TaskStatus) -> Result<Value, serde_json::Error> {
    let mut status = serde_json::to_value(new)?;
    let old = serde_json::to_value(task.status)?;
    if let (Some(status), Some(old)) = (status.as_object_mut(), old.as_object()) {
        clear_missing(status, old);
    }
    Ok(json!({"metadata": {"resourceVersion": task.metadata.resource_version}, "status": status}))
}

/// What has to be said of a Task whose object has no room for more: how it stands, which Pod was its own, and the first
/// words of why.
pub(crate) fn shortened(status: &TaskStatus) -> TaskStatus {
    const WORDS: usize = 64;
    let cut = |text: &str| text.chars().take(WORDS).collect::<String>();
    let mut short = TaskStatus { plugins: Vec::new(), result: None, usage: None, ..status.clone() };
    short.message = short.message.as_deref().map(cut);
    // `message` has the words of the one that decided
    for condition in &mut short.conditions {
        condition.message.clear();
    }
    short
}

/// A merge patch deletes only what it names.
fn clear_missing(new: &mut Map<String, Value>, old: &Map<String, Value>) {
    for key in old.keys() {
        new.entry(key).or_insert(Value::Null);
    }
}

/// As in `1h2m3s`.
fn duration_text(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests;
