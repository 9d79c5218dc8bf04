//! What holds a Task up that is to be launched, and may pass: it says so, gives back what it holds, and is tried again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kubeopencode_api::condition::{Reason, TaskCondition, find};
use kubeopencode_api::names::AgentKey;
use kubeopencode_evaluate::EvaluateError;
use kubeopencode_plan::Refusal;

use super::reconcile::{Context, ReconcileError, SOON, TaskState, time_between};
use super::start::LaunchResult;
use super::status::{AWAITS_WEBHOOK, StatusBuilder};
use crate::cache::task_view::TaskRef;
use crate::frontend::{Frontend, Runner};
use crate::runtime::api_error::{REFUSAL_TIMEOUT, is_failed_webhook, is_failing, is_too_large, words};

/// How long a Task waits for a plugin that is on its way, before its grace runs.
const MAX_LOADING: SignedDuration = SignedDuration::from_secs(120);
/// Longest pause before a busy plugin, or memory, is asked for again.
const MAX_BUSY_PAUSE: Duration = Duration::from_secs(15);
/// Until an Agent that left no room for its status is asked again: somebody may have taken an annotation off it.
const LARGE_PAUSE: Duration = Duration::from_secs(60);

impl Context {
    /// All calls of a plugin that may run at the same time are taken, or the memory for large objects and contexts:
    /// others may use this worker meanwhile. A slot that the Task holds stays its own.
    pub(super) async fn try_later<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        why: &EvaluateError<kube::Error>,
    ) -> LaunchResult {
        let pause = self.busy.next(&state.uid).min(MAX_BUSY_PAUSE);
        tracing::debug!(task = %state.task.key(), %why, ?pause, "requeued");
        Ok(Some(pause))
    }

    /// A Role in upgrade refuses just as a missing one: the API server is asked again for a while.
    pub(super) async fn refused_for_now<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        refusal: &Refusal,
    ) -> LaunchResult {
        let since = held_up_since(state.task.conditions(), refusal.reason);
        let waited = since.map(|since| time_between(since, state.now));
        if waited.is_some_and(|waited| waited >= REFUSAL_TIMEOUT) {
            return self.refuse(state, refusal).await;
        }
        self.write(state.task, &state.status().held_up(refusal.reason, &refusal.message)).await?;
        Ok(Some(SOON * 5))
    }

    /// Somebody else fails, and may do so for long: after the first failure the Task says it. Should that not be written, the next
    /// failure tells it.
    pub(super) async fn tell_of_trouble<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        error: &ReconcileError,
    ) {
        let trouble = lasting_trouble(&error.0).filter(|_| self.failures.has(&state.uid));
        let Some((reason, message)) = trouble else { return };
        if let Err(error) = self.hold_up(state, reason, &message).await {
            tracing::debug!(task = %state.task.key(), %error, "it is not told what it waits for");
        }
    }

    /// The Task says once what holds it up: the words may be others at each try, and each write would bring about one. What comes
    /// after a refusal is told too: the minute of a refusal is one in which nothing else was in the way.
    pub(super) async fn hold_up<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        reason: Reason,
        message: &str,
    ) -> Result<(), ReconcileError> {
        let is_told = unknown_since(state.task, TaskCondition::Ready).is_some();
        if !is_told || is_refused_for_now(state.task.conditions()) {
            self.write(state.task, &state.status().held_up(reason, message)).await?;
        }
        Ok(())
    }

    /// Its Agent leaves no room for what its status has to say of a start. The Task keeps its place; a change of the Agent's spec
    /// enqueues it. The log has it from the Agent's own ledger.
    pub(super) async fn wait_for_smaller_agent<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        message: &str,
    ) -> LaunchResult {
        let written = self.write(state.task, &state.status().waiting(message)).await?;
        Ok(Some(if written { LARGE_PAUSE } else { SOON }))
    }

    /// The Agent that it waited for is gone: it waits on, for as long as it takes; an Agent's coming enqueues it.
    pub(super) async fn wait_for_agent<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        runner: &Runner,
        refusal: &Refusal,
    ) -> LaunchResult {
        self.admission.leave(runner, &state.uid);
        let message = format!("{}; the Task waits until the Agent is there again", refusal.message);
        let written = self.write(state.task, &state.status().waiting(&message)).await?;
        Ok((!written).then_some(SOON))
    }

    /// A plugin that it needs may be on its way: the grace does not run before that is known, for [`MAX_LOADING`] at most.
    /// Whoever publishes the plugin enqueues the Task.
    pub(super) async fn wait_for_plugin<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        runner: &Runner,
        refusal: &Refusal,
    ) -> LaunchResult {
        let since = unknown_since(state.task, TaskCondition::Accepted).unwrap_or(state.now);
        if state.now.duration_since(since) >= MAX_LOADING {
            // its grace runs from now on
            return self.missing(state, runner, refusal, state.status(), Some(state.now)).await;
        }
        self.admission.leave(runner, &state.uid);
        if self.write(state.task, &state.status().waiting(&refusal.message)).await? {
            self.give_back(state).await?;
        }
        Ok(Some(pause_for_plugin(time_between(since, state.now))))
    }

    /// Something is missing that may still come. The grace runs from the first miss, also across restarts, and for a plugin
    /// from the time at which it was `known` that none is on its way. A Task that waits for it holds no slot.
    pub(super) async fn missing<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        runner: &Runner,
        refusal: &Refusal,
        status: StatusBuilder,
        known: Option<Timestamp>,
    ) -> LaunchResult {
        self.admission.leave(runner, &state.uid);
        let since = unknown_since(state.task, TaskCondition::Accepted);
        let begin = since.map_or(state.now, |since| grace_begins(since, known));
        let deadline = begin.checked_add(state.settings.grace()).unwrap_or(state.now);
        if state.now >= deadline {
            return self.refuse(state, refusal).await;
        }
        if !self.write(state.task, &status.waiting(&refusal.message)).await? {
            return Ok(Some(SOON));
        }
        self.give_back(state).await?;
        let left = time_between(state.now, deadline);
        let waited = since.map(|since| time_between(since, state.now)).unwrap_or_default();
        // soon after the first miss, more and more rarely later; an Agent's coming enqueues the Task at once
        let pause = (waited / 2).clamp(Duration::from_millis(250), Duration::from_secs(10));
        Ok(Some(pause.min(left + Duration::from_millis(10))))
    }
}

/// What a Task says whose Agent has no room in etcd for a status with one more start; `None`: something else went wrong.
pub(super) fn too_large_agent(agent: &AgentKey, error: &kube::Error) -> Option<String> {
    is_too_large(error).then(|| {
        format!(
            "Agent \"{agent}\" is too large: it leaves no room for its status, which says who runs; make it smaller, as by moving \
             contexts into ConfigMaps or a Git repository. The Task waits until then"
        )
    })
}

/// Until a Task asks again for a plugin that is on its way, and that it has waited for so long: where the component cannot be
/// read for now, all its Tasks do, and each try may ask the API server.
fn pause_for_plugin(waited: Duration) -> Duration {
    (waited / 4).clamp(SOON / 2, SOON * 5)
}

/// When the grace of a Task begins that waits for a plugin since then: when it was known that none is on its way.
fn grace_begins(since: Timestamp, known: Option<Timestamp>) -> Timestamp {
    let latest = since.checked_add(MAX_LOADING).unwrap_or(since);
    known.map_or(since, |known| known.clamp(since, latest))
}

/// What a Task says of an error that may last, and with which reason; `None`: it is no such error.
fn lasting_trouble(error: &kube::Error) -> Option<(Reason, String)> {
    let words = words(error);
    if is_failed_webhook(error) {
        let message = format!("{words}{AWAITS_WEBHOOK}");
        return Some((Reason::PodCreationError, message));
    }
    let message = || format!("the API server answers {words}; the Task waits until that has passed");
    is_failing(error).then(|| (Reason::WaitingForDependency, message()))
}

/// Since when the API server refuses an object of the Task for this reason, if it does.
fn held_up_since(conditions: &[Condition], reason: Reason) -> Option<Timestamp> {
    let ready = find(conditions, TaskCondition::Ready)?;
    let is_refusal = ready.reason == reason.as_str() && !ready.message.ends_with(AWAITS_WEBHOOK);
    (ready.status == "Unknown" && is_refusal).then_some(ready.last_transition_time.0)
}

/// Whether a refusal that may pass is what the Task says of itself.
fn is_refused_for_now(conditions: &[Condition]) -> bool {
    let reasons = [Reason::PodCreationError, Reason::ConfigMapCreationError];
    reasons.into_iter().any(|reason| held_up_since(conditions, reason).is_some())
}

/// Since when the condition is Unknown, if it is.
fn unknown_since(task: TaskRef<'_>, type_: TaskCondition) -> Option<Timestamp> {
    let unknown = find(task.conditions(), type_).filter(|condition| condition.status == "Unknown")?;
    Some(unknown.last_transition_time.0)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kubeopencode_api::condition::{ConditionStatus, Conditions};

    use super::*;

    fn answer(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: message.into(), ..Status::default() }))
    }

    #[test]
    fn an_agent_that_leaves_no_room_is_named_to_its_tasks() {
        let agent = AgentKey::new("team", "reviewer");
        let said = too_large_agent(&agent, &answer(500, "etcdserver: request is too large"));
        let words = "Agent \"team/reviewer\" is too large: it leaves no room for its status, which says who runs; make it \
                     smaller, as by moving contexts into ConfigMaps or a Git repository. The Task waits until then";
        assert_eq!(said.as_deref(), Some(words));
        assert_eq!(too_large_agent(&agent, &answer(409, "the object has been modified")), None);
    }

    #[test]
    fn what_may_last_is_told_in_few_words_and_nothing_else_is() {
        let said = |code, message: &str| lasting_trouble(&answer(code, message));
        let asked =
            "Internal error occurred: failed calling webhook \"a.example.com\": context deadline exceeded";
        let words = format!("500 : {asked}; the Task waits until the webhook answers");
        assert_eq!(said(500, asked), Some((Reason::PodCreationError, words)));
        let words = "the API server answers 503 : down; the Task waits until that has passed".to_owned();
        assert_eq!(said(503, "down"), Some((Reason::WaitingForDependency, words)));
        assert!(said(500, &"x".repeat(4096)).unwrap().1.len() < 500);
        for (code, message) in
            [(500, "etcdserver: request is too large"), (403, "no"), (409, "changed"), (429, "later")]
        {
            assert_eq!(said(code, message), None, "{code} {message}");
        }
        assert_eq!(lasting_trouble(&kube::Error::Service("connection reset".into())), None);
    }

    #[test]
    fn a_refusal_is_not_waited_out_while_something_else_holds_the_task_up() {
        let (webhook, refused) = (Reason::PodCreationError, Some(Timestamp::UNIX_EPOCH));
        for (reason, message, since) in [
            (Reason::WaitingForDependency, "the API server answers 503".to_owned(), None),
            (webhook, format!("500 : failed calling webhook{AWAITS_WEBHOOK}"), None),
            (Reason::PodCreationError, "Pod \"n/fix-pod\": cannot create resource".to_owned(), refused),
        ] {
            let mut conditions = Vec::new();
            Conditions::new(&mut conditions, None, Timestamp::UNIX_EPOCH).set(
                TaskCondition::Ready,
                ConditionStatus::Unknown,
                reason,
                &message,
            );
            assert_eq!(held_up_since(&conditions, Reason::PodCreationError), since, "{message}");
            assert_eq!(is_refused_for_now(&conditions), since.is_some(), "{message}");
        }
    }

    #[test]
    fn a_plugin_that_is_long_on_its_way_is_asked_for_more_and_more_rarely() {
        let pauses = [0, 2, 8, 119].map(|waited| pause_for_plugin(Duration::from_secs(waited)).as_millis());
        assert_eq!(pauses, [500, 500, 2000, 5000]);
    }

    #[test]
    fn the_grace_begins_when_no_plugin_is_on_its_way_and_after_two_minutes_at_most() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (known, begins) in [(None, 1000), (Some(5), 1000), (Some(1030), 1030), (Some(9000), 1120)] {
            assert_eq!(grace_begins(at(1000), known.map(at)), at(begins), "{known:?}");
        }
    }
}
