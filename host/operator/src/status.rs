//! What a Task's status says after each thing that can happen to it. Pure; `writer` sends it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use kubeopencode_api::condition::{self, ConditionType, Is, Reason, find};
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::task::{AgentReference, Phase, Task, TaskStatus, UsedPlugin};
use kubeopencode_plan::Refusal;
use serde_json::{Map, Value, json};

use crate::ledger::{Blocked, worth_writing};
use crate::observe::{Ending, Trouble};

/// A status in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    status: TaskStatus,
    generation: Option<i64>,
    now: Timestamp,
}

/// What a launch records.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// Namespace and name of the Pod.
    pub pod: &'a ObjectKey,
    /// UID of the Pod.
    pub pod_uid: &'a str,
    /// The Agent.
    pub agent: &'a ObjectKey,
    /// Whether the Agent has limits.
    pub limited: bool,
    /// The plugins that made the Pod.
    pub plugins: Vec<UsedPlugin>,
    /// What was left out or ignored: reason and message of the condition `Contexts`.
    pub notices: &'a [(Reason, String)],
}

impl Draft {
    /// The status of a Task as it stands.
    pub fn of(task: &Task, now: Timestamp) -> Self {
        Self { status: task.status.clone().unwrap_or_default(), generation: task.metadata.generation, now }
    }

    fn set(&mut self, type_: ConditionType, is: Is, reason: Reason, message: &str) {
        condition::set(&mut self.status.conditions, type_, is, reason, message, self.generation, self.now);
    }

    fn agent(&mut self, agent: &ObjectKey) {
        self.status.agent_ref =
            Some(AgentReference { name: agent.name.clone(), namespace: agent.namespace.clone() });
    }

    /// It waits for an object that may still come.
    pub fn waiting(mut self, message: &str) -> TaskStatus {
        self.status.queue_position = None;
        self.set(ConditionType::Accepted, Is::Unknown, Reason::WaitingForDependency, message);
        self.done()
    }

    /// It waits for its turn.
    pub fn queued(mut self, agent: &ObjectKey, blocked: &Blocked, position: Option<i64>) -> TaskStatus {
        self.agent(agent);
        self.set(ConditionType::Accepted, Is::True, Reason::Resolved, "References are resolved");
        self.set(ConditionType::Queued, Is::True, blocked.reason, &blocked.message);
        if let Some(position) = position.filter(|p| worth_writing(self.status.queue_position, *p)) {
            self.status.queue_position = Some(position);
        }
        self.done()
    }

    /// The API server does not take its Pod or ConfigMaps for now.
    pub fn held_up(mut self, reason: Reason, message: &str) -> TaskStatus {
        self.status.queue_position = None;
        self.set(ConditionType::Ready, Is::Unknown, reason, message);
        self.done()
    }

    /// Its Pod is recorded.
    pub fn launched(mut self, launch: &Launch<'_>) -> TaskStatus {
        let agent = launch.agent;
        self.agent(agent);
        self.set(ConditionType::Accepted, Is::True, Reason::Resolved, "References are resolved");
        let (reason, message) = match launch.notices {
            [] => (Reason::Resolved, "Contexts are resolved".to_owned()),
            [(first, _), ..] => {
                let all: Vec<_> = launch.notices.iter().map(|(_, message)| message.as_str()).collect();
                (*first, all.join("; "))
            }
        };
        self.set(ConditionType::Contexts, Is::True, reason, &message);
        let was_queued = find(&self.status.conditions, ConditionType::Queued).is_some();
        let (reason, message) = if launch.limited || was_queued {
            (Reason::CapacityAvailable, format!("Agent \"{}\" capacity now available", agent.name))
        } else {
            (Reason::NoLimits, format!("Agent \"{}\" has no capacity or quota limits", agent.name))
        };
        self.set(ConditionType::Queued, Is::False, reason, &message);
        let launched = format!("Pod \"{}\" has been launched", launch.pod);
        self.set(ConditionType::Ready, Is::True, Reason::PodLaunched, &launched);
        self.set(ConditionType::Started, Is::True, Reason::PodLaunched, &launched);
        let status = &mut self.status;
        status.pod_uid = Some(launch.pod_uid.to_owned());
        status.pod_name = Some(launch.pod.name.clone());
        status.pod_namespace = Some(launch.pod.namespace.clone());
        status.start_time.get_or_insert(Time(self.now));
        status.queue_position = None;
        status.plugins.clone_from(&launch.plugins);
        self.done()
    }

    /// What its Pod tells while it goes on: why it does not get on (`None`: it does), and which optional contexts its
    /// init containers left out.
    pub fn going(mut self, trouble: Option<&Trouble>, skipped: &[String]) -> TaskStatus {
        let stood_still =
            find(&self.status.conditions, ConditionType::Started).is_some_and(|c| c.status == "False");
        match trouble {
            Some(trouble) => self.set(ConditionType::Started, Is::False, trouble.reason, &trouble.message),
            None if stood_still => {
                self.set(ConditionType::Started, Is::True, Reason::PodLaunched, "The Pod gets on again");
            }
            None => {}
        }
        self.skipped(skipped);
        self.done()
    }

    fn skipped(&mut self, skipped: &[String]) {
        let news = unsaid(&self.status.conditions, skipped);
        if news.is_empty() {
            return;
        }
        let said = find(&self.status.conditions, ConditionType::Contexts)
            .filter(|c| c.reason != Reason::Resolved.to_string())
            .map(|c| c.message.clone());
        let message = said.into_iter().chain(news.into_iter().cloned()).collect::<Vec<_>>().join("; ");
        self.set(ConditionType::Contexts, Is::True, Reason::OptionalSkipped, &message);
    }

    /// It is over as its Pod is.
    pub fn ended(mut self, ending: &Ending) -> TaskStatus {
        let is = if ending.succeeded { Is::True } else { Is::False };
        self.set(ConditionType::Succeeded, is, ending.reason, &ending.message);
        self.status.result.clone_from(&ending.result);
        self.status.usage.clone_from(&ending.usage);
        self.skipped(&ending.skipped);
        self.over()
    }

    /// It is over because the user wanted it.
    pub fn stopped(mut self) -> TaskStatus {
        let message = "Task stopped by user via kubeopencode.io/stop annotation";
        self.set(ConditionType::Stopped, Is::True, Reason::UserStopped, message);
        self.over()
    }

    /// It is over before it was launched.
    pub fn refused(mut self, refusal: &Refusal) -> TaskStatus {
        self.set(refusal.condition, Is::False, refusal.reason, &refusal.message);
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
pub fn unsaid<'a>(conditions: &[Condition], skipped: &'a [String]) -> Vec<&'a String> {
    let said = find(conditions, ConditionType::Contexts).map(|c| c.message.as_str()).unwrap_or_default();
    skipped.iter().filter(|words| !said.contains(words.as_str())).collect()
}

/// The condition that decided the phase.
fn deciding(conditions: &[Condition], phase: Phase) -> Option<&Condition> {
    use ConditionType::{Accepted, Queued, Ready, Started, Stopped, Succeeded};
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
pub fn patch(task: &Task, new: &TaskStatus) -> Result<Value, serde_json::Error> {
    let mut status = serde_json::to_value(new)?;
    let old = serde_json::to_value(task.status.as_ref())?;
    if let (Some(status), Some(old)) = (status.as_object_mut(), old.as_object()) {
        clear_missing(status, old);
    }
    Ok(json!({"metadata": {"resourceVersion": task.resource_version()}, "status": status}))
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

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn task(status: Option<TaskStatus>) -> Task {
        let mut task = Task { status, ..Task::default() };
        task.metadata.resource_version = Some("7".into());
        task.metadata.generation = Some(1);
        task
    }

    fn agent() -> ObjectKey {
        ObjectKey::new("team", "default")
    }

    fn launched(status: Option<TaskStatus>, limited: bool) -> TaskStatus {
        let pod = ObjectKey::new("team", "fix-pod");
        let launch =
            Launch { pod: &pod, pod_uid: "a", agent: &agent(), limited, plugins: vec![], notices: &[] };
        Draft::of(&task(status), at(10)).launched(&launch)
    }

    fn condition(status: &TaskStatus, type_: ConditionType) -> (String, String, String) {
        let c = find(&status.conditions, type_).unwrap();
        (c.status.clone(), c.reason.clone(), c.message.clone())
    }

    #[test]
    fn a_queued_task_says_for_what_it_waits_and_then_that_its_turn_came() {
        let blocked = Blocked {
            reason: Reason::AgentAtCapacity,
            message: "Waiting for agent \"default\" capacity (max: 1)".into(),
        };
        let queued = Draft::of(&task(None), at(0)).queued(&agent(), &blocked, Some(4));
        assert_eq!((queued.phase, queued.queue_position), (Some(Phase::Queued), Some(4)));
        assert_eq!(queued.reason.as_deref(), Some("AgentAtCapacity"));
        let running = launched(Some(queued), true);
        assert_eq!((running.phase, running.queue_position), (Some(Phase::Running), None));
        let expected =
            ("False".into(), "CapacityAvailable".into(), "Agent \"default\" capacity now available".into());
        assert_eq!(condition(&running, ConditionType::Queued), expected);
    }

    #[test]
    fn a_queued_task_that_then_waits_for_something_else_says_so() {
        let blocked = Blocked { reason: Reason::AgentAtCapacity, message: "capacity".into() };
        let queued = || task(Some(Draft::of(&task(None), at(0)).queued(&agent(), &blocked, Some(1))));
        for status in [
            Draft::of(&queued(), at(1)).waiting("ConfigMap c not found"),
            Draft::of(&queued(), at(1)).held_up(Reason::PodCreationError, "ConfigMap c not found"),
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
    fn an_unlimited_agent_says_so() {
        let expected =
            ("False".into(), "NoLimits".into(), "Agent \"default\" has no capacity or quota limits".into());
        assert_eq!(condition(&launched(None, false), ConditionType::Queued), expected);
    }

    #[test]
    fn the_end_has_a_time_a_duration_and_the_reason_of_its_pod() {
        let over = Draft::of(&task(Some(launched(None, false))), at(100))
            .ended(&Ending::failed(Reason::OOMKilled, "out of memory"));
        assert_eq!(
            (over.phase, over.reason.as_deref(), over.message.as_deref()),
            (Some(Phase::Failed), Some("OOMKilled"), Some("out of memory"))
        );
        assert_eq!(over.duration.as_deref(), Some("1m30s"));
    }

    #[test]
    fn a_stopped_task_is_completed_and_says_by_whom() {
        let over = Draft::of(&task(None), at(0)).stopped();
        assert_eq!((over.phase, over.reason.as_deref()), (Some(Phase::Completed), Some("UserStopped")));
        assert_eq!(over.message.as_deref(), Some("Task stopped by user via kubeopencode.io/stop annotation"));
    }

    #[test]
    fn what_is_no_longer_true_is_cleared_by_the_patch() {
        let blocked = Blocked { reason: Reason::AgentAtCapacity, message: String::new() };
        let before = task(Some(Draft::of(&task(None), at(0)).queued(&agent(), &blocked, Some(1))));
        let patch = patch(&before, &launched(before.status.clone(), true)).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["status"]["queuePosition"], Value::Null);
        assert_eq!(patch["status"]["podUID"], "a");
    }

    #[test]
    fn a_pod_that_gets_on_again_takes_the_trouble_back() {
        let trouble = Trouble { reason: Reason::ImagePullFailed, message: "no such image".into() };
        let stuck = Draft::of(&task(Some(launched(None, false))), at(20)).going(Some(&trouble), &[]);
        assert_eq!((stuck.phase, stuck.reason.as_deref()), (Some(Phase::Running), Some("ImagePullFailed")));
        let well = Draft::of(&task(Some(stuck)), at(30)).going(None, &[]);
        assert_eq!(well.reason.as_deref(), Some("PodLaunched"));
    }

    #[test]
    fn what_was_left_out_is_added_once_to_what_the_condition_says() {
        let skipped = ["init container \"git-init-0\" left out".to_owned()];
        let running = Draft::of(&task(Some(launched(None, false))), at(20)).going(None, &skipped);
        let again = Draft::of(&task(Some(running.clone())), at(30)).going(None, &skipped);
        let expected = ("True".into(), "OptionalSkipped".into(), skipped[0].clone());
        assert_eq!(condition(&running, ConditionType::Contexts), expected);
        assert_eq!(condition(&running, ConditionType::Started).2, "Pod \"team/fix-pod\" has been launched");
        assert_eq!(again, running);
    }
}
