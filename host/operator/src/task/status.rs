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
use crate::runtime::event_recorder::{EventType, Note};

/// Message of the condition `Contexts` where there is nothing to tell.
const CONTEXTS_RESOLVED: &str = "Contexts are resolved";

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
    /// The Agent.
    pub(crate) agent: &'a AgentKey,
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

    fn agent(&mut self, agent: &AgentKey) {
        self.status.agent_ref =
            Some(AgentReference { name: agent.name.clone(), namespace: agent.namespace.clone() });
    }

    /// It waits for an object that may still come.
    pub(crate) fn waiting(mut self, message: &str) -> TaskStatus {
        self.status.queue_position = None;
        self.set(TaskCondition::Accepted, ConditionStatus::Unknown, Reason::WaitingForDependency, message);
        self.done()
    }

    /// It waits for its turn.
    pub(crate) fn queued(mut self, agent: &AgentKey, blocked: &Blocked, position: Option<i64>) -> TaskStatus {
        self.agent(agent);
        self.set(TaskCondition::Accepted, ConditionStatus::True, Reason::Resolved, "References are resolved");
        self.set(TaskCondition::Queued, ConditionStatus::True, blocked.reason, &blocked.message);
        if let Some(position) = position.filter(|p| worth_reporting(self.status.queue_position, *p)) {
            self.status.queue_position = Some(position);
        }
        self.done()
    }

    /// The API server does not take its Pod or ConfigMaps for now.
    pub(crate) fn held_up(mut self, reason: Reason, message: &str) -> TaskStatus {
        self.status.queue_position = None;
        self.set(TaskCondition::Ready, ConditionStatus::Unknown, reason, message);
        self.done()
    }

    /// Its Pod is recorded.
    pub(crate) fn launched(mut self, launch: &LaunchRecord<'_>) -> TaskStatus {
        let agent = launch.agent;
        self.agent(agent);
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
        let (reason, message) = if launch.limited || was_queued {
            (Reason::CapacityAvailable, format!("Agent \"{}\" capacity now available", agent.name))
        } else {
            (Reason::NoLimits, format!("Agent \"{}\" has no capacity or quota limits", agent.name))
        };
        self.set(TaskCondition::Queued, ConditionStatus::False, reason, &message);
        let launched = format!("Pod \"{}\" has been launched", launch.pod);
        self.set(TaskCondition::Ready, ConditionStatus::True, Reason::PodLaunched, &launched);
        self.set(TaskCondition::Started, ConditionStatus::True, Reason::PodLaunched, &launched);
        let status = &mut self.status;
        status.pod_uid = Some(launch.pod_uid.to_owned());
        status.pod_name = Some(launch.pod.name.clone());
        status.pod_namespace = Some(launch.pod.namespace.clone());
        status.start_time.get_or_insert(Time(self.now));
        status.queue_position = None;
        status.plugins.clone_from(&launch.plugins);
        self.done()
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
                    ConditionStatus::True,
                    Reason::PodLaunched,
                    "The Pod gets on again",
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
        self.status.result.clone_from(&ending.result);
        self.status.usage.clone_from(&ending.usage);
        self.skipped(&ending.skipped);
        self.over()
    }

    /// It is over because the user wanted it.
    pub(crate) fn stopped(mut self) -> TaskStatus {
        let message = "Task stopped by user via kubeopencode.io/stop annotation";
        self.set(TaskCondition::Stopped, ConditionStatus::True, Reason::UserStopped, message);
        self.over()
    }

    /// It is over before it was launched.
    pub(crate) fn refused(mut self, refusal: &Refusal) -> TaskStatus {
        self.set(refusal.condition, ConditionStatus::False, refusal.reason, &refusal.message);
        self.over()
    }

    fn over(mut self) -> TaskStatus {
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
    use TaskCondition::{Accepted, Queued, Ready, Started, Stopped, Succeeded};
    let false_error = |c: &&Condition| c.status == "False" && c.reason.parse().is_ok_and(Reason::is_error);
    match phase {
        Phase::Completed => find(conditions, Stopped).or_else(|| find(conditions, Succeeded)),
        Phase::Failed => find(conditions, Succeeded).or_else(|| conditions.iter().find(false_error)),
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
    for condition in &mut short.conditions {
        condition.message = cut(&condition.message);
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
mod tests {
    use super::*;
    use crate::cache::item::Item;
    use crate::frontend::{Frontend, KubeOpenCode};
    use kubeopencode_api::task::Task;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seen(task: &Item<Task>) -> TaskRef<'_> {
        KubeOpenCode::task_ref(task).unwrap()
    }

    fn task(status: Option<TaskStatus>) -> Item<Task> {
        let mut task = Task { status, ..Task::default() };
        task.metadata.resource_version = Some("7".into());
        task.metadata.generation = Some(1);
        task.into()
    }

    fn agent() -> AgentKey {
        AgentKey::new("team", "default")
    }

    fn launched(status: Option<TaskStatus>, limited: bool) -> TaskStatus {
        launched_with(status, limited, &[])
    }

    fn launched_with(status: Option<TaskStatus>, limited: bool, notices: &[(Reason, String)]) -> TaskStatus {
        let pod = ObjectKey::new("team", "fix-pod");
        let launch =
            LaunchRecord { pod: &pod, pod_uid: "a", agent: &agent(), limited, plugins: vec![], notices };
        StatusBuilder::of(seen(&task(status)), at(10)).launched(&launch)
    }

    fn condition(status: &TaskStatus, type_: TaskCondition) -> (String, String, String) {
        let c = find(&status.conditions, type_).unwrap();
        (c.status.clone(), c.reason.clone(), c.message.clone())
    }

    #[test]
    fn a_queued_task_says_for_what_it_waits_and_then_that_its_turn_came() {
        let blocked = Blocked {
            reason: Reason::AgentAtCapacity,
            message: "Waiting for agent \"default\" capacity (max: 1)".into(),
        };
        let queued = StatusBuilder::of(seen(&task(None)), at(0)).queued(&agent(), &blocked, Some(4));
        assert_eq!((queued.phase, queued.queue_position), (Some(Phase::Queued), Some(4)));
        assert_eq!(queued.reason.as_deref(), Some("AgentAtCapacity"));
        let running = launched(Some(queued), true);
        assert_eq!((running.phase, running.queue_position), (Some(Phase::Running), None));
        let expected =
            ("False".into(), "CapacityAvailable".into(), "Agent \"default\" capacity now available".into());
        assert_eq!(condition(&running, TaskCondition::Queued), expected);
    }

    #[test]
    fn a_queued_task_that_then_waits_for_something_else_says_so() {
        let blocked = Blocked { reason: Reason::AgentAtCapacity, message: "capacity".into() };
        let queued =
            || task(Some(StatusBuilder::of(seen(&task(None)), at(0)).queued(&agent(), &blocked, Some(1))));
        for status in [
            StatusBuilder::of(seen(&queued()), at(1)).waiting("ConfigMap c not found"),
            StatusBuilder::of(seen(&queued()), at(1))
                .held_up(Reason::PodCreationError, "ConfigMap c not found"),
        ] {
            assert_eq!(status.message.as_deref(), Some("ConfigMap c not found"), "{status:?}");
            assert_eq!(
                (status.phase, status.queue_position),
                (Some(Phase::Queued), None),
                "it never goes back"
            );
        }
    }

    #[test]
    fn a_status_that_has_to_fit_keeps_what_is_relied_on() {
        let long = "x".repeat(4096);
        let mut over = StatusBuilder::of(seen(&task(Some(launched(None, false)))), at(100))
            .ended(&TaskOutcome::failed(Reason::PodFailed, long));
        over.plugins = vec![UsedPlugin::default(); 64];
        let short = shortened(&over);
        assert_eq!((short.phase, &short.pod_uid), (Some(Phase::Failed), &over.pod_uid));
        assert_eq!(short.reason.as_deref(), Some("PodFailed"));
        let bytes = |status: &TaskStatus| serde_json::to_vec(status).unwrap().len();
        assert!(bytes(&short) < 2048 && bytes(&short) < bytes(&launched(None, false)) + 512, "{short:?}");
    }

    #[test]
    fn an_unlimited_agent_says_so() {
        let expected =
            ("False".into(), "NoLimits".into(), "Agent \"default\" has no capacity or quota limits".into());
        assert_eq!(condition(&launched(None, false), TaskCondition::Queued), expected);
    }

    #[test]
    fn the_end_has_a_time_a_duration_and_the_reason_of_its_pod() {
        let over = StatusBuilder::of(seen(&task(Some(launched(None, false)))), at(100))
            .ended(&TaskOutcome::failed(Reason::OOMKilled, "out of memory"));
        assert_eq!(
            (over.phase, over.reason.as_deref(), over.message.as_deref()),
            (Some(Phase::Failed), Some("OOMKilled"), Some("out of memory"))
        );
        assert_eq!(over.duration.as_deref(), Some("1m30s"));
    }

    #[test]
    fn a_stopped_task_is_completed_and_says_by_whom() {
        let over = StatusBuilder::of(seen(&task(None)), at(0)).stopped();
        assert_eq!((over.phase, over.reason.as_deref()), (Some(Phase::Completed), Some("UserStopped")));
        assert_eq!(over.message.as_deref(), Some("Task stopped by user via kubeopencode.io/stop annotation"));
    }

    #[test]
    fn what_is_no_longer_true_is_cleared_by_the_patch() {
        let blocked = Blocked { reason: Reason::AgentAtCapacity, message: String::new() };
        let before =
            task(Some(StatusBuilder::of(seen(&task(None)), at(0)).queued(&agent(), &blocked, Some(1))));
        let patch = patch(seen(&before), &launched(before.get().unwrap().status.clone(), true)).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["status"]["queuePosition"], Value::Null);
        assert_eq!(patch["status"]["podUID"], "a");
    }

    #[test]
    fn a_pod_that_gets_on_again_takes_the_problem_back() {
        let problem = StartProblem { reason: Reason::ImagePullFailed, message: "no such image".into() };
        let stuck = StatusBuilder::of(seen(&task(Some(launched(None, false)))), at(20))
            .in_progress(Some(&problem), &[]);
        assert_eq!((stuck.phase, stuck.reason.as_deref()), (Some(Phase::Running), Some("ImagePullFailed")));
        let well = StatusBuilder::of(seen(&task(Some(stuck))), at(30)).in_progress(None, &[]);
        assert_eq!(well.reason.as_deref(), Some("PodLaunched"));
    }

    #[test]
    fn what_was_left_out_is_added_once_to_what_the_condition_says() {
        let skipped = ["init container \"git-init-0\" left out".to_owned()];
        let running =
            StatusBuilder::of(seen(&task(Some(launched(None, false)))), at(20)).in_progress(None, &skipped);
        let again = StatusBuilder::of(seen(&task(Some(running.clone()))), at(30)).in_progress(None, &skipped);
        let expected = ("True".into(), "OptionalSkipped".into(), skipped[0].clone());
        assert_eq!(condition(&running, TaskCondition::Contexts), expected);
        assert_eq!(condition(&running, TaskCondition::Started).2, "Pod \"team/fix-pod\" has been launched");
        assert_eq!(again, running);
    }
    #[test]
    fn every_notice_stays_and_a_warning_hides_no_reason() {
        let warning = (Reason::Resolved, "the repository is read without TLS".to_owned());
        let notices = [warning.clone(), (Reason::OptionalSkipped, "spec.contexts[1]: gone".to_owned())];
        let both = launched_with(None, false, &notices);
        let words = "the repository is read without TLS; spec.contexts[1]: gone";
        assert_eq!(
            condition(&both, TaskCondition::Contexts),
            ("True".into(), "OptionalSkipped".into(), words.into())
        );
        // what an init container leaves out later is added
        let later = ["init container \"git-init-0\" left out".to_owned()];
        let warned = launched_with(None, false, &[warning]);
        let added = StatusBuilder::of(seen(&task(Some(warned))), at(20)).in_progress(None, &later);
        let words = "the repository is read without TLS; init container \"git-init-0\" left out";
        assert_eq!(
            condition(&added, TaskCondition::Contexts),
            ("True".into(), "OptionalSkipped".into(), words.into())
        );
    }
}
