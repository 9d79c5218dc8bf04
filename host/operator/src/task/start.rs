//! The step `Launch`: evaluate and plan, ask for a start, launch, and what each way of not getting there means for the
//! Task. What is wrong with a Task is found before it asks for a slot; wherever it stops, slot and start go back.

use std::time::Duration;

use kube::runtime::controller::Action;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::{Reason, TaskCondition, find};
use kubeopencode_api::names::AgentKey;
use kubeopencode_evaluate::{EvaluateError, evaluate};
use kubeopencode_plan::Refusal;

use super::decide::PodDeletion;
use super::launch::{LaunchError, Launcher};
use super::reconcile::{Context, ReconcileError, ReconcileResult, SOON, TaskState, queued_task};
use super::status::StatusBuilder;
use crate::admission::AdmissionResult;
use crate::admission::ledger::Blocked;
use crate::cache::task_view::TaskRef;
use crate::frontend::{Frontend, Unresolved, live_task, whole_task};
use crate::runtime::api_error::{CreateError, REFUSAL_TIMEOUT};
use crate::runtime::config_maps::LiveConfigMaps;

/// Until a ResourceQuota, or a namespace in deletion, is asked again.
const LATER: Duration = Duration::from_secs(15);
/// Until a start is asked for again while the operator comes up.
const AT_START: Duration = Duration::from_millis(100);
/// Size of a Task as JSON, in bytes. etcd takes 1.5 MiB (1,572,864, its `--max-request-bytes`) for an object; 136 KiB of
/// them are kept for the finalizer, the label, and a status whose every message is as long as it may be.
const MAX_TASK_BYTES: usize = 1400 << 10;
/// Longest pause before a busy plugin, or memory, is asked for again.
const MAX_BUSY_PAUSE: Duration = Duration::from_secs(15);

impl Context {
    pub(super) async fn start<F: Frontend>(&self, state: &TaskState<'_, F>) -> ReconcileResult {
        if let Some(refusal) = too_large(state.object.bytes()) {
            return self.refuse(state, &refusal).await;
        }
        let key = match F::spec_agent(state.object) {
            Ok(key) => key,
            Err(refusal) => return self.refuse(state, &refusal).await,
        };
        if let Some(before) = state.task.recorded_agent().filter(|before| *before != key) {
            // it waited there
            self.admission.withdraw(&before, &state.uid).await?;
        }
        let limited = self.caches.agent(&key).filter(|agent| agent.spec.is_limited());
        // who waits already asks first: its place is reported without evaluating it again
        if let Some(agent) = limited.as_ref().filter(|_| is_queued_by_agent(state.task))
            && let Some(wait) = self.queue(state, &key, agent).await?
        {
            return Ok(wait);
        }
        let whole = match state.object.is_whole() {
            true => None,
            false => match whole_task::<F>(&self.client, state.task).await? {
                None => return Ok(Action::requeue(SOON)),
                whole => whole,
            },
        };
        let object = whole.as_ref().unwrap_or(state.object);
        let run = match F::resolve(object, &self.caches, &state.settings) {
            Ok(run) => run,
            Err(Unresolved::Refused(refusal)) => return self.refuse(state, &refusal).await,
            Err(Unresolved::Missing(refusal)) => return self.missing(state, &key, &refusal).await,
        };
        let (snapshot, reads) = (self.catalog.snapshot(), LiveConfigMaps(&self.client));
        let planned = match evaluate(&snapshot, &reads, self.metrics.as_ref(), run).await {
            Ok(planned) => {
                self.busy.forget(&state.uid);
                planned
            }
            Err(EvaluateError::Refused(refusal)) => return self.refuse(state, &refusal).await,
            Err(EvaluateError::Missing(refusal)) => return self.missing(state, &key, &refusal).await,
            Err(error @ (EvaluateError::Busy(_) | EvaluateError::NoMemory)) => {
                return self.try_later(state, &error).await;
            }
            Err(EvaluateError::Read(error)) => return Err(error.into()),
        };
        if let Some(agent) = &limited
            && let Some(wait) = self.queue(state, &key, agent).await?
        {
            return Ok(wait);
        }
        let launcher = Launcher {
            client: &self.client,
            writer: &self.writer,
            task: state.task,
            uid: &state.uid,
            pods: &state.pods,
            agent: &key,
            limited: limited.is_some(),
        };
        match launcher.launch(planned).await {
            Ok(()) => Ok(Action::await_change()),
            Err(error) => self.not_launched(state, &key, error).await,
        }
    }

    /// Asks for a start. `Some`: it has to wait, and its status says for what and at which place.
    async fn queue<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        key: &AgentKey,
        agent: &Agent,
    ) -> Result<Option<Action>, ReconcileError> {
        match self.admission.request(agent, queued_task(state.task)).await? {
            AdmissionResult::Admitted => Ok(None),
            AdmissionResult::Later => Ok(Some(Action::requeue(AT_START))),
            AdmissionResult::Queued { blocked, position } => {
                let status = StatusBuilder::of(state.task, state.now).queued(key, &blocked, Some(position));
                self.write(state.task, &status).await?;
                Ok(Some(Action::await_change()))
            }
        }
    }

    /// It does not start now: where its Agent is limited, slot and start go back. Called when the status that says so is
    /// written, with the resourceVersion of this decision: so no Pod was recorded before, and none can be by a try that is
    /// still under way. Where there was nothing to write, the read shows a Pod that was recorded.
    async fn give_back<F: Frontend>(&self, state: &TaskState<'_, F>) -> Result<(), ReconcileError> {
        let Ok(key) = F::spec_agent(state.object) else { return Ok(()) };
        self.admission.leave(&key, &state.uid);
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
        agent: &AgentKey,
        error: LaunchError,
    ) -> ReconcileResult {
        let (kind, name, reason) = match error {
            LaunchError::Api(error) => return Err(error.into()),
            LaunchError::Again => return Ok(Action::requeue(SOON)),
            LaunchError::PreviousPod(pod) => {
                let message = format!("Waiting for Pod \"{pod}\" of an older Task of this name to end");
                let blocked = Blocked { reason: Reason::WaitingForPreviousPod, message };
                return self.step_back(state, agent, &blocked).await;
            }
            LaunchError::NotCreated { kind, name, reason } => (kind, name, reason),
        };
        let refusal = |words: &str| Refusal {
            condition: TaskCondition::Ready,
            reason: if kind == "Pod" { Reason::PodCreationError } else { Reason::ConfigMapCreationError },
            message: format!("{kind} \"{}/{name}\": {words}", agent.namespace),
        };
        match reason {
            CreateError::Exists | CreateError::Unknown => Ok(Action::requeue(SOON)),
            CreateError::Invalid(words) => self.refuse(state, &refusal(&words)).await,
            CreateError::NoRoom(words) => {
                let blocked = Blocked { reason: Reason::NamespaceQuotaExceeded, message: words };
                self.step_back(state, agent, &blocked).await
            }
            CreateError::Terminating(_) => Ok(Action::requeue(LATER)),
            CreateError::NoServiceAccount(words) => self.missing(state, agent, &refusal(&words)).await,
            CreateError::Refused(words) => self.refused_for_now(state, &refusal(&words)).await,
        }
    }

    /// It was admitted and cannot start: the slot goes back, the place in the queue stays.
    async fn step_back<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        agent: &AgentKey,
        blocked: &Blocked,
    ) -> ReconcileResult {
        let status = StatusBuilder::of(state.task, state.now).queued(agent, blocked, None);
        if !self.write(state.task, &status).await? {
            return Ok(Action::requeue(SOON));
        }
        self.give_back(state).await?;
        Ok(Action::requeue(LATER))
    }

    /// All calls of a plugin that may run at the same time are taken, or the memory for big contexts: others may use this
    /// worker meanwhile. A slot that the Task holds stays its own.
    async fn try_later<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        why: &EvaluateError<kube::Error>,
    ) -> ReconcileResult {
        let pause = self.busy.next(&state.uid).min(MAX_BUSY_PAUSE);
        tracing::debug!(task = %state.task.key(), %why, ?pause, "requeued");
        Ok(Action::requeue(pause))
    }

    /// A Role in upgrade refuses just as a missing one: the API server is asked again for a while.
    async fn refused_for_now<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        refusal: &Refusal,
    ) -> ReconcileResult {
        let since = find(state.task.conditions(), TaskCondition::Ready)
            .filter(|c| c.status == "Unknown")
            .map(|c| c.last_transition_time.0);
        let waited = since.map(|since| state.now.duration_since(since).unsigned_abs());
        if waited.is_some_and(|waited| waited >= REFUSAL_TIMEOUT) {
            return self.refuse(state, refusal).await;
        }
        self.write(
            state.task,
            &StatusBuilder::of(state.task, state.now).held_up(refusal.reason, &refusal.message),
        )
        .await?;
        Ok(Action::requeue(SOON * 5))
    }

    /// Something is missing that may still come. The grace runs from the first miss, also across restarts. A Task that waits
    /// for it holds no slot.
    async fn missing<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        agent: &AgentKey,
        refusal: &Refusal,
    ) -> ReconcileResult {
        self.admission.leave(agent, &state.uid);
        let since = find(state.task.conditions(), TaskCondition::Accepted)
            .filter(|c| c.status == "Unknown")
            .map(|c| c.last_transition_time.0);
        let deadline = since.unwrap_or(state.now).checked_add(state.settings.grace()).unwrap_or(state.now);
        if state.now >= deadline {
            return self.refuse(state, refusal).await;
        }
        let status = StatusBuilder::of(state.task, state.now).waiting(&refusal.message);
        if !self.write(state.task, &status).await? {
            return Ok(Action::requeue(SOON));
        }
        self.give_back(state).await?;
        let left = deadline.duration_since(state.now).unsigned_abs();
        let waited = since.map(|since| state.now.duration_since(since).unsigned_abs()).unwrap_or_default();
        // soon after the first miss, more and more rarely later; an Agent's coming enqueues the Task at once
        let pause = (waited / 2).clamp(Duration::from_millis(250), Duration::from_secs(10));
        Ok(Action::requeue(pause.min(left + Duration::from_millis(10))))
    }

    /// The Task can never run: whatever of it is gated is deleted, and slot and start go back, before its end is written.
    async fn refuse<F: Frontend>(&self, state: &TaskState<'_, F>, refusal: &Refusal) -> ReconcileResult {
        let live = self.live_pods(&state.uid).await?;
        if let Some(pod) = live.iter().find(|pod| !pod.is_gated()) {
            return self.record(state, pod).await;
        }
        let deletions: Vec<_> = live.into_iter().map(PodDeletion::of).collect();
        if !self.delete(&deletions).await? {
            return Ok(Action::requeue(SOON));
        }
        if !self.write(state.task, &StatusBuilder::of(state.task, state.now).refused(refusal)).await? {
            return Ok(Action::requeue(SOON));
        }
        self.give_back(state).await?;
        Ok(Action::await_change())
    }
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

/// Whether the Task waits for a slot or a start of its Agent, and was evaluated before.
fn is_queued_by_agent(task: TaskRef<'_>) -> bool {
    let blocked = find(task.conditions(), TaskCondition::Queued).filter(|c| c.status == "True");
    let by_agent = [Reason::AgentAtCapacity, Reason::QuotaExceeded];
    blocked.and_then(|c| c.reason.parse().ok()).is_some_and(|reason| by_agent.contains(&reason))
}
