//! The step `Launch`: gather, ask for a start, launch, and what each way of not getting there means for the Task.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::{ConditionType, Reason, find};
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::task::Task;
use kubeopencode_plan::{Refusal, agent_key};

use super::{Case, Looked, Operator, ReconcileError, SOON, waiting};
use crate::admission::Turn;
use crate::answers::{Denied, REFUSAL_PATIENCE};
use crate::decide::Doomed;
use crate::gather::{GatherError, Live, Plugins, gather};
use crate::launch::{LaunchError, Launcher};
use crate::ledger::Blocked;
use crate::status::Draft;

/// Until a ResourceQuota, or a namespace in deletion, is asked again.
const LATER: Duration = Duration::from_secs(15);
/// Until a start is asked for again while the operator comes up.
const AT_START: Duration = Duration::from_millis(100);

impl Operator {
    pub(super) async fn launch(&self, case: &Case<'_>) -> Looked {
        let agent_key = match agent_key(case.task) {
            Ok(key) => key,
            Err(refusal) => return self.refuse(case, &refusal).await,
        };
        if let Some(before) = agent_before(case.task).filter(|before| *before != agent_key) {
            // it waited there
            self.admission.withdraw(&before, &case.uid).await?;
        }
        let Some(agent) = self.caches.agent(&agent_key) else {
            let missing = match self.caches.broken_agent(&agent_key) {
                Some(error) => Refusal {
                    message: format!("agent \"{}\" cannot be read: {error}", agent_key.name),
                    ..Refusal::agent_not_found(&agent_key)
                },
                None => Refusal::agent_not_found(&agent_key),
            };
            return self.missing(case, &agent_key, &missing).await;
        };
        let limited = agent.spec.is_limited();
        // who waits already asks first: its place is told without evaluating it again
        if limited
            && in_line(case.task)
            && let Some(wait) = self.queue(case, &agent_key, &agent).await?
        {
            return Ok(wait);
        }
        let plugins = Plugins { host: &self.host, metrics: &self.metrics };
        let gathered = match gather(plugins, &Live(&self.client), case.task, &agent, &case.settings).await {
            Ok(gathered) => gathered,
            Err(GatherError::Api(error)) => return Err(error.into()),
            Err(GatherError::Missing(refusal)) => {
                self.give_back(case, &agent_key, limited).await?;
                return self.missing(case, &agent_key, &refusal).await;
            }
            Err(GatherError::Refused(refusal)) => {
                self.give_back(case, &agent_key, limited).await?;
                return self.refuse(case, &refusal).await;
            }
        };
        if limited && let Some(wait) = self.queue(case, &agent_key, &agent).await? {
            return Ok(wait);
        }
        let launcher = Launcher {
            client: &self.client,
            writer: &self.writer,
            task: case.task,
            uid: &case.uid,
            pods: &case.pods,
            agent: &agent_key,
            limited,
        };
        match launcher.launch(&gathered).await {
            Ok(()) => Ok(Action::await_change()),
            Err(error) => self.not_launched(case, &agent_key, limited, error).await,
        }
    }

    /// Asks for a start; who has to wait is told his place, and for what the look waits. `None`: it may start.
    async fn queue(
        &self,
        case: &Case<'_>,
        key: &ObjectKey,
        agent: &Agent,
    ) -> Result<Option<Action>, ReconcileError> {
        match self.admission.request(agent, waiting(case.task, &case.uid)).await? {
            Turn::Admitted => Ok(None),
            Turn::Later => Ok(Some(Action::requeue(AT_START))),
            Turn::Queued { blocked, position } => {
                let status = Draft::of(case.task, case.now).queued(key, &blocked, Some(position));
                self.write(case.task, &status).await?;
                Ok(Some(Action::await_change()))
            }
        }
    }

    /// It does not start now: slot and start of a limited Agent go back.
    async fn give_back(
        &self,
        case: &Case<'_>,
        agent: &ObjectKey,
        limited: bool,
    ) -> Result<(), ReconcileError> {
        if limited {
            self.admission.withdraw(agent, &case.uid).await?;
        }
        Ok(())
    }

    async fn not_launched(
        &self,
        case: &Case<'_>,
        agent: &ObjectKey,
        limited: bool,
        error: LaunchError,
    ) -> Looked {
        let (kind, name, denied) = match error {
            LaunchError::Api(error) => return Err(error.into()),
            LaunchError::Again => return Ok(Action::requeue(SOON)),
            LaunchError::Refused(refusal) => return self.refuse(case, &refusal).await,
            LaunchError::PreviousPod(pod) => {
                let message = format!("Waiting for Pod \"{pod}\" of an older Task of this name to end");
                let blocked = Blocked { reason: Reason::WaitingForPreviousPod, message };
                return self.step_back(case, agent, limited, &blocked).await;
            }
            LaunchError::Denied { kind, name, denied } => (kind, name, denied),
        };
        let reason = if kind == "Pod" { Reason::PodCreationError } else { Reason::ConfigMapCreationError };
        let refusal = |words: &str| Refusal {
            condition: ConditionType::Ready,
            reason,
            message: format!("{kind} \"{}/{name}\": {words}", agent.namespace),
        };
        match denied {
            Denied::Exists | Denied::Unknown => Ok(Action::requeue(SOON)),
            Denied::Invalid(words) => self.refuse(case, &refusal(&words)).await,
            Denied::NoRoom(words) => {
                let blocked = Blocked { reason: Reason::NamespaceQuotaExceeded, message: words };
                self.step_back(case, agent, limited, &blocked).await
            }
            Denied::Terminating(_) => Ok(Action::requeue(LATER)),
            Denied::NoServiceAccount(words) => {
                self.give_back(case, agent, limited).await?;
                self.missing(case, agent, &refusal(&words)).await
            }
            Denied::Refused(words) => self.refused_for_now(case, &refusal(&words)).await,
        }
    }

    /// It was let start and cannot: the slot goes back, the place in the queue stays.
    async fn step_back(
        &self,
        case: &Case<'_>,
        agent: &ObjectKey,
        limited: bool,
        blocked: &Blocked,
    ) -> Looked {
        self.give_back(case, agent, limited).await?;
        self.write(case.task, &Draft::of(case.task, case.now).queued(agent, blocked, None)).await?;
        Ok(Action::requeue(LATER))
    }

    /// A Role in upgrade refuses just as a missing one: it is asked again for a while.
    async fn refused_for_now(&self, case: &Case<'_>, refusal: &Refusal) -> Looked {
        let conditions = case.task.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
        let since = find(conditions, ConditionType::Ready)
            .filter(|c| c.status == "Unknown")
            .map(|c| c.last_transition_time.0);
        let waited = since.map(|since| case.now.duration_since(since).unsigned_abs());
        if waited.is_some_and(|waited| waited >= REFUSAL_PATIENCE) {
            return self.refuse(case, refusal).await;
        }
        self.write(case.task, &Draft::of(case.task, case.now).held_up(refusal.reason, &refusal.message))
            .await?;
        Ok(Action::requeue(SOON * 5))
    }

    /// Something is missing that may still come. The grace runs from the first miss, also across restarts.
    async fn missing(&self, case: &Case<'_>, agent: &ObjectKey, refusal: &Refusal) -> Looked {
        self.admission.leave(agent, &case.uid);
        let conditions = case.task.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
        let since = find(conditions, ConditionType::Accepted)
            .filter(|c| c.status == "Unknown")
            .map(|c| c.last_transition_time.0);
        let deadline = since.unwrap_or(case.now).checked_add(case.settings.grace()).unwrap_or(case.now);
        if case.now >= deadline {
            return self.refuse(case, refusal).await;
        }
        self.write(case.task, &Draft::of(case.task, case.now).waiting(&refusal.message)).await?;
        let left = deadline.duration_since(case.now).unsigned_abs();
        let waited = since.map(|since| case.now.duration_since(since).unsigned_abs()).unwrap_or_default();
        // soon after the first miss, more and more rarely later; an Agent's coming wakes at once
        let pause = (waited / 2).clamp(Duration::from_millis(250), Duration::from_secs(10));
        Ok(Action::requeue(pause.min(left + Duration::from_millis(10))))
    }

    /// The Task can never run: whatever of it is gated goes first.
    async fn refuse(&self, case: &Case<'_>, refusal: &Refusal) -> Looked {
        let live = self.live_pods(&case.uid).await?;
        if let Some(pod) = live.iter().find(|pod| !pod.is_gated()) {
            return self.record(case, pod).await;
        }
        let doomed: Vec<_> = live.into_iter().map(|pod| Doomed { pod: Arc::new(pod), gated: true }).collect();
        if !self.delete(&doomed).await? {
            return Ok(Action::requeue(SOON));
        }
        self.conclude(case, &Draft::of(case.task, case.now).refused(refusal)).await
    }
}

/// The Agent that the Task was told it waits for.
fn agent_before(task: &Task) -> Option<ObjectKey> {
    let agent = task.status.as_ref()?.agent_ref.as_ref()?;
    Some(ObjectKey::new(&agent.namespace, &agent.name))
}

/// Whether the Task waits for a slot or a start of its Agent, and was evaluated before.
fn in_line(task: &Task) -> bool {
    let conditions = task.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    let blocked = find(conditions, ConditionType::Queued).filter(|c| c.status == "True");
    let by_agent = [Reason::AgentAtCapacity, Reason::QuotaExceeded];
    blocked.and_then(|c| c.reason.parse().ok()).is_some_and(|reason| by_agent.contains(&reason))
}
