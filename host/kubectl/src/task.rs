//! What is said of a Task in a line, and what its end means to a script.
//!
//! May touch: text made of a Task. Must not touch: a client, a clock.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kubeopencode_api::condition::{Reason, TaskCondition};
use kubeopencode_api::task::{Phase, Task, TaskStatus};

use crate::error::Failure;
use crate::output::Paint;
use crate::table::harmless;
use crate::units::{Dollars, age};

/// Kind and name, as kubectl writes them.
pub(crate) fn reference(task: &Task) -> String {
    format!("task.{}/{}", kubeopencode_api::literals::GROUP, task.key().name)
}

/// Its status, as empty as it may be.
pub(crate) fn status(task: &Task) -> TaskStatus {
    task.status.clone().unwrap_or_default()
}

/// A condition of it.
pub(crate) fn condition(task: &Task, type_: TaskCondition) -> Option<&Condition> {
    task.conditions().iter().find(|condition| condition.type_ == type_.as_str())
}

/// How its phase looks.
pub(crate) fn paint(task: &Task) -> Paint {
    match task.phase() {
        Phase::Pending | Phase::Queued => Paint::Warn,
        Phase::Running if reason_why_it_does_not_start(task).is_some() => Paint::Warn,
        Phase::Running => Paint::Busy,
        Phase::Completed => Paint::Good,
        Phase::Failed => Paint::Bad,
    }
}

/// Whether a user stopped it.
pub(crate) fn is_stopped(task: &Task) -> bool {
    status(task).reason.as_deref() == Some(Reason::UserStopped.as_str())
}

/// Reason and message of a launched Task whose agent cannot start.
fn reason_why_it_does_not_start(task: &Task) -> Option<(&str, &str)> {
    let started = condition(task, TaskCondition::Started)?;
    (started.status == "False").then_some((started.reason.as_str(), started.message.as_str()))
}

/// What it cost, as the agent reported it.
pub(crate) fn cost(task: &Task) -> Option<Dollars> {
    Dollars::read(task.status.as_ref()?.usage.as_ref()?.cost_usd.as_deref()?)
}

/// How long it ran, or has run so far.
pub(crate) fn duration(task: &Task, now: Timestamp) -> Option<String> {
    let status = task.status.as_ref()?;
    let so_far =
        || (!task.is_terminal()).then(|| status.start_time.as_ref().map(|start| age(start.0, now)))?;
    status.duration.clone().or_else(so_far)
}

/// Where it is, in one line.
pub(crate) fn state(task: &Task) -> String {
    let of = status(task);
    let phase = task.phase();
    if task.status.is_none() {
        return "Pending: no operator has seen it yet; kubectl kubeopencode doctor looks for one".to_owned();
    }
    let place = of.queue_position.map(|place| format!(", place {place}")).unwrap_or_default();
    let told = of.reason.as_deref().zip(of.message.as_deref());
    let words = match (phase, reason_why_it_does_not_start(task)) {
        (Phase::Running, Some((reason, message))) => format!(" ({reason}): {message}"),
        (Phase::Running, None) if of.agent_started.is_none() => ": its Pod starts".to_owned(),
        (Phase::Running, None) => String::new(),
        (_, _) => told.map(|(reason, message)| format!(" ({reason}): {message}")).unwrap_or_default(),
    };
    let going = if task.metadata.deletion_timestamp.is_some() { ", being deleted" } else { "" };
    harmless(&format!("{}{place}{going}{words}", phase.as_str()))
}

/// What is said of a Task that is over.
///
/// # Errors
/// When it did not do its work: refused before its agent ran, stopped, or failed.
pub(crate) fn ended(task: &Task) -> Result<String, Failure> {
    let (of, key) = (status(task), task.key());
    let took = of.duration.as_deref().map(|took| format!(" in {took}")).unwrap_or_default();
    let cost = cost(task).map(|cost| format!(", {}", cost.shown())).unwrap_or_default();
    let reason = of.reason.unwrap_or_default();
    let message = harmless(&of.message.unwrap_or_default());
    match task.phase() {
        Phase::Completed if reason == Reason::UserStopped.as_str() => {
            Err(Failure::Failed(format!("Task {key} was stopped by a user{cost}")))
        }
        Phase::Completed => Ok(format!("Task {key} completed{took}{cost}")),
        Phase::Failed => {
            let is_refusal = reason.parse::<Reason>().is_ok_and(Reason::is_error);
            if is_refusal && of.agent_started.is_none() {
                return Err(Failure::Refused(format!("Task {key} was refused ({reason}): {message}")));
            }
            Err(Failure::Failed(format!("Task {key} failed{took} ({reason}){cost}: {message}")))
        }
        Phase::Pending | Phase::Queued | Phase::Running => {
            Err(Failure::Failed(format!("Task {key} is not over: {}", state(task))))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A Task with this status.
    pub(crate) fn task(status: Value) -> Task {
        let object = json!({
            "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task",
            "metadata": {"name": "fix", "namespace": "team", "uid": "u-1", "creationTimestamp": "2026-11-27T10:00:00Z"},
            "spec": {"description": "d"}, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    /// Five minutes after such a Task was made.
    pub(crate) fn now() -> Timestamp {
        "2026-11-27T10:05:00Z".parse().unwrap()
    }

    fn end(status: Value) -> (u8, String) {
        match ended(&task(status)) {
            Ok(words) => (0, words),
            Err(Failure::Failed(words)) => (1, words),
            Err(Failure::Refused(words)) => (2, words),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_script_knows_by_the_code_what_became_of_it() {
        let ends = [
            json!({"phase": "Completed", "reason": "Completed", "duration": "1m30s", "usage": {"costUSD": "0.0123"}}),
            json!({"phase": "Completed", "reason": "UserStopped", "message": "m", "duration": "5s"}),
            json!({"phase": "Failed", "reason": "PodFailed", "message": "container \"agent\" exited with code 3",
                   "duration": "5s", "agentStarted": "2026-11-27T10:00:01Z"}),
            json!({"phase": "Failed", "reason": "AgentError", "message": "agent \"a\" not found"}),
            json!({"phase": "Failed", "reason": "ConfigMapCreationError", "message": "gone",
                   "agentStarted": "2026-11-27T10:00:01Z"}),
            json!({"phase": "Failed", "reason": "StartTimeout", "message": "never"}),
            json!({"phase": "Running", "reason": "PodLaunched"}),
        ];
        let said: Vec<_> = ends.into_iter().map(end).map(|(code, words)| format!("{code} {words}")).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_task_that_is_not_over_says_what_it_waits_for() {
        let queued = json!({"phase": "Queued", "reason": "AgentAtCapacity", "queuePosition": 3,
            "message": "Waiting for agent \"default\" capacity (max: 1)"});
        let pulls = json!({"phase": "Running", "reason": "PodLaunched", "message": "m", "conditions": [
            {"type": "Started", "status": "False", "reason": "ImagePullFailed", "message": "container \"agent\": no",
             "lastTransitionTime": "2026-11-27T10:00:00Z"}]});
        let states = [
            Value::Null,
            queued,
            pulls,
            json!({"phase": "Running", "reason": "PodLaunched"}),
            json!({"phase": "Running", "reason": "PodLaunched", "agentStarted": "2026-11-27T10:00:01Z"}),
        ];
        let said: Vec<_> = states.into_iter().map(|status| state(&task(status))).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_task_that_is_being_deleted_says_so() {
        let mut running = task(json!({"phase": "Running", "reason": "PodLaunched"}));
        running.metadata.deletion_timestamp = running.metadata.creation_timestamp.clone();
        assert_eq!(state(&running), "Running, being deleted: its Pod starts");
    }

    #[test]
    fn a_running_task_counts_up_to_now() {
        let running = json!({"phase": "Running", "startTime": "2026-11-27T10:01:00Z"});
        assert_eq!(duration(&task(running), now()).unwrap(), "4m");
        assert_eq!(
            duration(&task(json!({"phase": "Failed", "startTime": "2026-11-27T10:01:00Z"})), now()),
            None
        );
    }
}
