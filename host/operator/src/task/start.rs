//! The step `Launch`: evaluate and plan, ask for a start, launch, and what each way of not getting there means for the
//! Task. What is wrong with a Task is found before it asks for a slot; wherever it stops, slot and start go back.

use std::time::Duration;

use kubeopencode_api::condition::{Reason, TaskCondition};
use kubeopencode_api::literals::AGENT_LABEL;
use kubeopencode_api::names::{AgentKey, label_value};
use kubeopencode_evaluate::{EvaluateError, evaluate};
use kubeopencode_plan::{Refusal, Run};
use serde_json::json;

use super::decide::{PodDeletion, stranger};
use super::launch::{LaunchError, Launcher};
use super::reconcile::{Context, ReconcileError, SOON, TaskState, queued_task, waits_for};
use super::status::StatusBuilder;
use super::waits::too_large_agent;
use crate::admission::AdmissionResult;
use crate::admission::ledger::Blocked;
use crate::admission::live_pods::live_pods;
use crate::frontend::{Frontend, Runner, Unresolved, live_task, whole_task};
use crate::runtime::api_error::{CreateError, is_outdated, is_refused, words};

/// Until a Pod of an older Task, or a namespace in deletion, is looked at again.
const LATER: Duration = Duration::from_secs(15);
/// Until a start is asked for again while the operator comes up.
const AT_START: Duration = Duration::from_millis(100);
/// Size of a Task as JSON, in bytes. etcd takes 1.5 MiB (1,572,864, its `--max-request-bytes`) for an object; 136 KiB of
/// them are kept for the finalizer, the label, and a status whose every message is as long as it may be.
const MAX_TASK_BYTES: usize = 1400 << 10;

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
        if let Err(error) = &result {
            self.tell_of_trouble(state, error).await;
        }
        self.admission.tried(&runner, &state.uid);
        result
    }

    async fn start_with<F: Frontend>(&self, state: &TaskState<'_, F>, runner: &Runner) -> LaunchResult {
        if let Some(before) = state.task.recorded_agent().filter(|before| runner.agent() != Some(before)) {
            // it waited there
            self.admission.leave_namespace(&before.namespace, &state.uid);
            self.admission.withdraw(&before, &state.uid).await?;
        }
        let limited = runner.agent().filter(|agent| self.caches.is_limited(agent));
        // who waits already asks first: its place is reported without evaluating it again
        match waits_for(state.task) {
            Some(Reason::NamespaceQuotaExceeded) => {
                if let Some(wait) = self.wait_for_namespace(state, runner).await? {
                    return Ok(wait);
                }
            }
            Some(Reason::AgentAtCapacity | Reason::QuotaExceeded | Reason::AgentSuspended) => {
                if let Some(agent) = limited
                    && let Some(wait) = self.queue(state, runner, agent).await?
                {
                    return Ok(wait);
                }
            }
            _ => {}
        }
        let weight = F::weight(state.object, runner, &self.caches);
        let held = match self.catalog.snapshot().hold(weight).await {
            Ok(held) => held,
            Err(error) => return self.try_later(state, &error).await,
        };
        let run = match self.read(state).await {
            Ok(Some(run)) => run,
            Ok(None) => return Ok(Some(SOON)),
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
        let (reads, metrics) = (self.config_maps.as_ref(), self.metrics.as_ref());
        let planned = match evaluate(&snapshot, reads, metrics, run, held).await {
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
        if let Some(agent) = limited
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

    /// Reads all that the Task's Pod is planned from, and keeps no object of it; `None`: the Task changed meanwhile.
    async fn read<F: Frontend>(&self, state: &TaskState<'_, F>) -> Result<Option<Run>, Unresolved> {
        if state.object.is_whole() {
            return F::resolve(&self.client, state.object, &self.caches, &state.settings).await.map(Some);
        }
        match whole_task::<F>(&self.client, state.task).await.map_err(Unresolved::Unanswered)? {
            None => Ok(None),
            Some(whole) => F::resolve(&self.client, &whole, &self.caches, &state.settings).await.map(Some),
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
        agent: &AgentKey,
    ) -> Result<Option<Option<Duration>>, ReconcileError> {
        let asked = match self.admission.request(agent, queued_task(state.task)).await {
            Err(error) if let Some(message) = too_large_agent(agent, &error) => {
                return self.wait_for_smaller_agent(state, &message).await.map(Some);
            }
            asked => asked?,
        };
        match asked {
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
    pub(super) async fn give_back<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
    ) -> Result<(), ReconcileError> {
        let Ok(Runner::Agent(key)) = F::spec_runner(state.object) else { return Ok(()) };
        self.admission.leave_queue(&key, &state.uid);
        if self.caches.is_limited(&key) {
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
            LaunchError::Api(error) => return Err(error.into()),
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
            CreateError::Terminating(words) => {
                let message = format!("{}; the Task waits for the namespace", refusal(&words).message);
                self.hold_up(state, Reason::WaitingForDependency, &message).await?;
                Ok(Some(LATER))
            }
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

    /// The Task can never run: whatever of it is gated is deleted, and slot and start go back, before its end is written.
    pub(super) async fn refuse<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        refusal: &Refusal,
    ) -> LaunchResult {
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
