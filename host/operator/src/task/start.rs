//! The step `Launch`: evaluate and plan, ask for a start, launch, and what each way of not getting there means for the
//! Task. What is wrong with a Task is found before it asks for a slot; wherever it stops, slot and start go back.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::{Reason, TaskCondition, find};
use kubeopencode_api::literals::AGENT_LABEL;
use kubeopencode_api::names::label_value;
use kubeopencode_evaluate::{EvaluateError, evaluate};
use kubeopencode_plan::Refusal;
use serde_json::json;

use super::decide::{PodDeletion, stranger};
use super::launch::{LaunchError, Launcher};
use super::reconcile::{Context, ReconcileError, SOON, TaskState, queued_task, time_between, waits_for};
use super::status::StatusBuilder;
use crate::admission::AdmissionResult;
use crate::admission::ledger::Blocked;
use crate::admission::live_pods::live_pods;
use crate::cache::task_view::TaskRef;
use crate::frontend::{Frontend, Runner, Unresolved, live_task, whole_task};
use crate::runtime::api_error::{
    CreateError, REFUSAL_TIMEOUT, failed_webhook, is_outdated, is_refused, words,
};

/// Until a Pod of an older Task, or a namespace in deletion, is looked at again.
const LATER: Duration = Duration::from_secs(15);
/// Until a start is asked for again while the operator comes up.
const AT_START: Duration = Duration::from_millis(100);
/// Size of a Task as JSON, in bytes. etcd takes 1.5 MiB (1,572,864, its `--max-request-bytes`) for an object; 136 KiB of
/// them are kept for the finalizer, the label, and a status whose every message is as long as it may be.
const MAX_TASK_BYTES: usize = 1400 << 10;
/// How long a Task waits for a plugin that is on its way, before its grace runs.
const MAX_LOADING: SignedDuration = SignedDuration::from_secs(120);
/// Longest pause before a busy plugin, or memory, is asked for again.
const MAX_BUSY_PAUSE: Duration = Duration::from_secs(15);

/// When the launch is to be repeated; `None`: when something changes.
pub(super) type LaunchResult = Result<Option<Duration>, ReconcileError>;

impl Context {
    /// Evaluates, plans, asks for a start and launches.
    pub(super) async fn start<F: Frontend>(&self, state: &TaskState<'_, F>) -> LaunchResult {
        if let Some(refusal) = too_large(state.object.bytes()) {
            return self.refuse(state, &refusal).await;
        }
        let runner = match F::spec_runner(state.object) {
            Ok(runner) => runner,
            Err(refusal) => return self.refuse(state, &refusal).await,
        };
        let result = self.start_with(state, &runner).await;
        self.admission.tried(&runner, &state.uid);
        result
    }

    async fn start_with<F: Frontend>(&self, state: &TaskState<'_, F>, runner: &Runner) -> LaunchResult {
        if let Some(before) = state.task.recorded_agent().filter(|before| runner.agent() != Some(before)) {
            // it waited there
            self.admission.leave_namespace(&before.namespace, &state.uid);
            self.admission.withdraw(&before, &state.uid).await?;
        }
        let agent = runner.agent().and_then(|agent| self.caches.agent(agent));
        let limited = agent.filter(|agent| agent.spec.is_limited());
        // who waits already asks first: its place is reported without evaluating it again
        match waits_for(state.task) {
            Some(Reason::NamespaceQuotaExceeded) => {
                if let Some(wait) = self.wait_for_namespace(state, runner).await? {
                    return Ok(wait);
                }
            }
            Some(Reason::AgentAtCapacity | Reason::QuotaExceeded | Reason::AgentSuspended) => {
                if let Some(agent) = limited.as_ref()
                    && let Some(wait) = self.queue(state, runner, agent).await?
                {
                    return Ok(wait);
                }
            }
            _ => {}
        }
        let whole = match state.object.is_whole() {
            true => None,
            false => match whole_task::<F>(&self.client, state.task).await? {
                None => return Ok(Some(SOON)),
                whole => whole,
            },
        };
        let object = whole.as_ref().unwrap_or(state.object);
        let run = match F::resolve(&self.client, object, &self.caches, &state.settings).await {
            Ok(run) => run,
            Err(Unresolved::Unanswered(error)) => return Err(error.into()),
            Err(Unresolved::Refused(refusal)) => return self.refuse(state, &refusal).await,
            // it had this Agent, which may be on its way back: deleted and made again
            Err(Unresolved::Missing(refusal))
                if runner.agent().is_some() && state.task.recorded_agent().as_ref() == runner.agent() =>
            {
                return self.wait_for_agent(state, runner, &refusal).await;
            }
            // one that was never there is none that it had
            Err(Unresolved::Missing(refusal)) => {
                let status = StatusBuilder::of(state.task, state.now);
                return self.missing(state, runner, &refusal, status, None).await;
            }
        };
        let snapshot = self.catalog.snapshot();
        let planned = match evaluate(&snapshot, self.config_maps.as_ref(), self.metrics.as_ref(), run).await {
            Ok(planned) => {
                self.busy.forget(&state.uid);
                planned
            }
            Err(EvaluateError::Refused(refusal)) => return self.refuse(state, &refusal).await,
            Err(EvaluateError::Missing(refusal)) => {
                return self.missing(state, runner, &refusal, state.status(), None).await;
            }
            Err(EvaluateError::NoPlugin { refusal, settled }) => {
                return self.missing(state, runner, &refusal, state.status(), settled).await;
            }
            Err(EvaluateError::NotYet(refusal)) => {
                return self.wait_for_plugin(state, runner, &refusal).await;
            }
            Err(error @ (EvaluateError::Busy(_) | EvaluateError::NoMemory)) => {
                return self.try_later(state, &error).await;
            }
            Err(EvaluateError::Read(error)) => {
                if is_refused(&error) {
                    let why = words(&error);
                    let message = format!("the operator may not read a ConfigMap that the Task needs: {why}");
                    self.write(state.task, &state.status().waiting(&message)).await?;
                }
                return Err(error.into());
            }
        };
        if let Some(wait) = self.wait_for_namespace(state, runner).await? {
            return Ok(wait);
        }
        if let Some(agent) = &limited
            && let Some(wait) = self.queue(state, runner, agent).await?
        {
            return Ok(wait);
        }
        let launcher = Launcher {
            client: &self.client,
            writer: &self.writer,
            task: state.task,
            uid: &state.uid,
            pods: &state.pods,
            runner,
            limited: limited.is_some(),
        };
        match launcher.launch(planned).await {
            Ok(()) => {
                self.admission.namespace_took(runner, &state.uid);
                Ok(None)
            }
            Err(error) => self.not_launched(state, runner, error).await,
        }
    }

    /// Asks whether the namespace of the Pod has room, as far as is known. `Some`: the Task waits, and its status says so.
    async fn wait_for_namespace<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        runner: &Runner,
    ) -> Result<Option<Option<Duration>>, ReconcileError> {
        let Some(blocked) = self.admission.ask_namespace(runner, &queued_task(state.task)) else {
            return Ok(None);
        };
        // the numbers in the quota's words change with every start there: no write is worth that
        let says_so = waits_for(state.task) == Some(Reason::NamespaceQuotaExceeded);
        let has_slot = match runner.agent() {
            Some(agent) => self.admission.shows_slot(agent, &state.uid).await,
            None => false,
        };
        if says_so && !has_slot {
            return Ok(Some(None));
        }
        // an earlier try may have got it a slot
        self.step_back(state, runner, &blocked, None).await.map(Some)
    }

    /// Asks for a start. `Some`: it has to wait, and its status says for what and at which place.
    async fn queue<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        runner: &Runner,
        agent: &Agent,
    ) -> Result<Option<Option<Duration>>, ReconcileError> {
        match self.admission.request(agent, queued_task(state.task)).await? {
            AdmissionResult::Admitted => Ok(None),
            AdmissionResult::Later => Ok(Some(Some(AT_START))),
            AdmissionResult::Gone => Ok(Some(None)),
            AdmissionResult::Queued { blocked, position } => {
                let status = state.status().queued(&blocked, Some(position));
                if self.write(state.task, &status).await? {
                    self.label(state, runner).await?;
                }
                Ok(Some(None))
            }
        }
    }

    /// Its label says the Agent while it is Queued too. It needs no resourceVersion: whoever launches it writes the same.
    async fn label<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        runner: &Runner,
    ) -> Result<(), ReconcileError> {
        let Some(label) = runner.agent().map(|agent| label_value(&agent.name)) else { return Ok(()) };
        if state.task.is_labelled(&label) {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": state.uid.0, "labels": {AGENT_LABEL: label}}});
        match self.writer.patch_metadata(state.task, &patch).await {
            Err(error) if !is_outdated(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// It does not start now: where its Agent is limited, slot and start go back. Called when the status that says so is
    /// written, with the resourceVersion of this decision: so no Pod was recorded before, and none can be by a try that is
    /// still under way. Where there was nothing to write, the read shows a Pod that was recorded.
    async fn give_back<F: Frontend>(&self, state: &TaskState<'_, F>) -> Result<(), ReconcileError> {
        let Ok(Runner::Agent(key)) = F::spec_runner(state.object) else { return Ok(()) };
        self.admission.leave_queue(&key, &state.uid);
        if self.caches.agent(&key).is_some_and(|agent| agent.spec.is_limited()) {
            let live = live_task(&self.client, &state.task.key(), &state.uid).await?;
            if live.is_none_or(|live| live.status.is_none_or(|status| status.pod_uid.is_none())) {
                self.admission.withdraw(&key, &state.uid).await?;
            }
        }
        Ok(())
    }

    async fn not_launched<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        runner: &Runner,
        error: LaunchError,
    ) -> LaunchResult {
        let (kind, name, reason) = match error {
            LaunchError::Api(error) => {
                self.tell_of_webhook(state, &error).await?;
                return Err(error.into());
            }
            LaunchError::Again => return Ok(Some(SOON)),
            LaunchError::Stranger(pod) => return self.refuse(state, &stranger(&pod)).await,
            LaunchError::PreviousPod(pod) => {
                let message = format!("Waiting for Pod \"{pod}\" of an older Task of this name to end");
                let blocked = Blocked { reason: Reason::WaitingForPreviousPod, message };
                return self.step_back(state, runner, &blocked, Some(LATER)).await;
            }
            LaunchError::NotCreated { kind, name, reason } => (kind, name, reason),
        };
        let refusal = |words: &str| Refusal {
            condition: TaskCondition::Ready,
            reason: if kind == "Pod" { Reason::PodCreationError } else { Reason::ConfigMapCreationError },
            message: format!("{kind} \"{}/{name}\": {words}", runner.namespace()),
        };
        match reason {
            CreateError::Exists | CreateError::Unknown => Ok(Some(SOON)),
            CreateError::Invalid(words) => self.refuse(state, &refusal(&words)).await,
            CreateError::NoRoom(words) => {
                let blocked = self.admission.namespace_is_full(runner, queued_task(state.task), &words);
                // its turn comes again
                self.step_back(state, runner, &blocked, None).await
            }
            CreateError::Terminating(_) => Ok(Some(LATER)),
            CreateError::NoServiceAccount(words) => {
                self.missing(state, runner, &refusal(&words), state.status(), None).await
            }
            CreateError::Refused(words) => self.refused_for_now(state, &refusal(&words)).await,
        }
    }

    /// It was admitted and cannot start: the slot goes back, the place in the queue stays.
    async fn step_back<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        runner: &Runner,
        blocked: &Blocked,
        pause: Option<Duration>,
    ) -> LaunchResult {
        let status = state.status().queued(blocked, None);
        if !self.write(state.task, &status).await? {
            return Ok(Some(SOON));
        }
        self.label(state, runner).await?;
        self.give_back(state).await?;
        Ok(pause)
    }

    /// All calls of a plugin that may run at the same time are taken, or the memory for big contexts: others may use this
    /// worker meanwhile. A slot that the Task holds stays its own.
    async fn try_later<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        why: &EvaluateError<kube::Error>,
    ) -> LaunchResult {
        let pause = self.busy.next(&state.uid).min(MAX_BUSY_PAUSE);
        tracing::debug!(task = %state.task.key(), %why, ?pause, "requeued");
        Ok(Some(pause))
    }

    /// A Role in upgrade refuses just as a missing one: the API server is asked again for a while.
    async fn refused_for_now<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        refusal: &Refusal,
    ) -> LaunchResult {
        let since = unknown_since(state.task, TaskCondition::Ready);
        let waited = since.map(|since| time_between(since, state.now));
        if waited.is_some_and(|waited| waited >= REFUSAL_TIMEOUT) {
            return self.refuse(state, refusal).await;
        }
        self.write(state.task, &state.status().held_up(refusal.reason, &refusal.message)).await?;
        Ok(Some(SOON * 5))
    }

    /// Who is held up by a webhook that does not answer is so for as long as that takes. The Task says it once: the words may
    /// be others at each try, and each write would bring about one.
    async fn tell_of_webhook<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        error: &kube::Error,
    ) -> Result<(), ReconcileError> {
        let Some(words) = failed_webhook(error) else { return Ok(()) };
        if unknown_since(state.task, TaskCondition::Ready).is_none() {
            let message = format!("{words}; the Task waits until the webhook answers");
            self.write(state.task, &state.status().held_up(Reason::PodCreationError, &message)).await?;
        }
        Ok(())
    }

    /// The Agent that it waited for is gone: it waits on, for as long as it takes; an Agent's coming enqueues it.
    async fn wait_for_agent<F: Frontend>(
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
    async fn wait_for_plugin<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        runner: &Runner,
        refusal: &Refusal,
    ) -> LaunchResult {
        let since = unknown_since(state.task, TaskCondition::Accepted).unwrap_or(state.now);
        if state.now.duration_since(since) >= MAX_LOADING {
            return self.missing(state, runner, refusal, state.status(), None).await;
        }
        self.admission.leave(runner, &state.uid);
        if self.write(state.task, &state.status().waiting(&refusal.message)).await? {
            self.give_back(state).await?;
        }
        Ok(Some(SOON / 2))
    }

    /// Something is missing that may still come. The grace runs from the first miss, also across restarts, and for a plugin
    /// from the time at which it was `known` that none is on its way. A Task that waits for it holds no slot.
    async fn missing<F: Frontend>(
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

    /// The Task can never run: whatever of it is gated is deleted, and slot and start go back, before its end is written.
    async fn refuse<F: Frontend>(&self, state: &TaskState<'_, F>, refusal: &Refusal) -> LaunchResult {
        let mut pods = live_pods(&self.client, &state.places).await?;
        let cached = state.pods.iter().filter(|pod| pods.iter().all(|live| live.uid() != pod.uid()));
        let cached: Vec<_> = cached.map(|pod| pod.as_ref().clone()).collect();
        pods.extend(cached);
        let deletions: Vec<_> =
            pods.into_iter().map(PodDeletion::of).filter(|deletion| deletion.gated).collect();
        if !self.delete(&deletions).await? {
            return Ok(Some(SOON));
        }
        if !self.write(state.task, &state.status().refused(refusal)).await? {
            return Ok(Some(SOON));
        }
        self.give_back(state).await?;
        Ok(None)
    }
}

/// When the grace of a Task begins that waits for a plugin since then: when it was known that none is on its way.
fn grace_begins(since: Timestamp, known: Option<Timestamp>) -> Timestamp {
    let latest = since.checked_add(MAX_LOADING).unwrap_or(since);
    known.map_or(since, |known| known.clamp(since, latest))
}

/// Since when the condition is Unknown, if it is.
fn unknown_since(task: TaskRef<'_>, type_: TaskCondition) -> Option<Timestamp> {
    let unknown = find(task.conditions(), type_).filter(|condition| condition.status == "Unknown")?;
    Some(unknown.last_transition_time.0)
}

/// What is written to a Task later has to fit into its object, or it could not even be deleted.
fn too_large(bytes: usize) -> Option<Refusal> {
    (bytes > MAX_TASK_BYTES).then(|| {
        let message = format!(
            "the Task has {bytes} bytes, and may have {MAX_TASK_BYTES}, so that its status fits beside it: \
             move context into ConfigMaps or a Git repository"
        );
        Refusal::invalid_config(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_begins_when_no_plugin_is_on_its_way_and_after_two_minutes_at_most() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (known, begins) in [(None, 1000), (Some(5), 1000), (Some(1030), 1030), (Some(9000), 1120)] {
            assert_eq!(grace_begins(at(1000), known.map(at)), at(begins), "{known:?}");
        }
    }
}
