//! Slots and starts of limited Agents: the only writer of `Agent.status.admitted` and `taskStartHistory`.
//!
//! The queues in memory order, `Agent.status` on the API server arbitrates. One reconciliation at a time for each
//! Agent's ledger; it admits everybody who fits, in one PATCH with the resourceVersion that it decided on.

pub(crate) mod ledger;
pub(crate) mod live_pods;
mod namespace_gate;
mod namespaces;
mod queue;
mod recovery;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use kubeopencode_api::agent::{Agent, MAX_ENTRIES};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use crate::cache::Caches;
use crate::cache::item::Item;
use crate::frontend::{Runner, cached_task, slim_agent};
use crate::runtime::api_error::is_conflict;
use crate::runtime::keyed_queue::enqueue_after;
use crate::runtime::metrics::Metrics;
use ledger::{Blocked, Changes, LedgerUpdate, QueuedTask, admit};
use namespace_gate::NamespaceGate;
use queue::{AgentQueue, WaitQueue, holds_slot};
use recovery::Slot;

/// Tries to write one Agent's status before the next reconciliation gets its turn.
const MAX_TRIES: usize = 8;

/// The answer to a Task that asks for a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdmissionResult {
    /// It may start: its entry stands in `Agent.status.admitted`.
    Admitted,
    /// It waits.
    Queued {
        /// For what.
        blocked: Blocked,
        /// Its place in the queue, 1 = next.
        position: i64,
    },
    /// The operator has just started and has not reconciled everybody yet who may have been here before: ask again.
    Later,
    /// The Task is over or gone: it was deleted while it was evaluated.
    Gone,
}

/// Slots and starts of limited Agents.
pub(crate) struct Admission {
    client: Client,
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
    /// Tasks to reconcile again.
    task_queue: UnboundedSender<TaskKey>,
    /// Agents whose ledger is to be processed, now or later.
    agent_queue: UnboundedSender<AgentKey>,
    queues: Mutex<HashMap<AgentKey, Arc<AgentQueue>>>,
    /// Namespaces whose ResourceQuota is full.
    gates: Mutex<HashMap<String, NamespaceGate>>,
}

impl Admission {
    /// The queues, empty.
    pub(crate) fn new(
        client: Client,
        caches: Arc<Caches>,
        metrics: Arc<Metrics>,
        task_queue: UnboundedSender<TaskKey>,
        agent_queue: UnboundedSender<AgentKey>,
    ) -> Self {
        Self {
            client,
            caches,
            metrics,
            task_queue,
            agent_queue,
            queues: Mutex::default(),
            gates: Mutex::default(),
        }
    }

    /// A Task that was queued before the operator started keeps its place.
    pub(crate) fn remember(&self, agent: &AgentKey, task: QueuedTask) {
        self.queue(agent).waiting.lock().enqueue(task);
    }

    /// A Task that nobody has reconciled yet when the operator starts: it may have come before those that ask.
    pub(crate) fn expect(&self, agent: &AgentKey, uid: TaskUid) {
        self.queue(agent).waiting.lock().expect(uid);
    }

    /// Asks for a start.
    ///
    /// # Errors
    /// When the API server does not answer, or others write the Agent's status faster than we do.
    pub(crate) async fn request(
        &self,
        key: &AgentKey,
        task: QueuedTask,
    ) -> Result<AdmissionResult, kube::Error> {
        let uid = task.uid.clone();
        let queue = self.queue(key);
        let everybody_is_known = {
            let mut waiting = queue.waiting.lock();
            waiting.enqueue(task.clone());
            self.knows_everybody(&waiting)
        };
        // who vanished before this line has left a queue in which it did not stand yet
        if !self.may_start(&task) {
            self.leave_queue(key, &uid);
            return Ok(AdmissionResult::Gone);
        }
        if !everybody_is_known {
            return Ok(AdmissionResult::Later);
        }
        let mut latest = queue.latest.lock().await;
        let (update, holds) =
            self.reconcile_ledger(key, &queue, &mut latest, &Changes::default(), Some(&uid)).await?;
        if holds {
            self.leave_queue(key, &uid);
            return Ok(AdmissionResult::Admitted);
        }
        let position = queue.waiting.lock().report_position(&task);
        let blocked = update.blocked.unwrap_or_else(|| Blocked {
            reason: Reason::AgentAtCapacity,
            message: format!("Waiting for agent \"{}\" capacity (max: 0)", key.name),
        });
        Ok(AdmissionResult::Queued { blocked, position })
    }

    /// The Task did not start after all: its slot and its start go back.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn withdraw(&self, agent: &AgentKey, uid: &TaskUid) -> Result<(), kube::Error> {
        self.leave_queue(agent, uid);
        let queue = self.queue(agent);
        let mut latest = queue.latest.lock().await;
        let changes = Changes { withdrawn: [uid.0.clone()].into(), ..Changes::default() };
        self.reconcile_ledger(agent, &queue, &mut latest, &changes, None).await.map(|_| ())
    }

    /// The Task waits for nothing here (any more): neither for a start of the Agent nor for room in its namespace.
    pub(crate) fn leave(&self, runner: &Runner, uid: &TaskUid) {
        if let Some(agent) = runner.agent() {
            self.leave_queue(agent, uid);
        }
        self.leave_namespace(runner.namespace(), uid);
    }

    /// The Task waits for no start of the Agent (any more).
    pub(crate) fn leave_queue(&self, agent: &AgentKey, uid: &TaskUid) {
        let Some(queue) = self.queues.lock().get(agent).cloned() else { return };
        for task in queue.waiting.lock().leave(&HashSet::from([uid.clone()])) {
            let _ = self.task_queue.send(task);
        }
    }

    /// Takes in what changed: frees slots, admits the next ones.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn process(&self, agent: &AgentKey) -> Result<(), kube::Error> {
        let queue = self.queue(agent);
        let mut latest = queue.latest.lock().await;
        {
            let mut waiting = queue.waiting.lock();
            waiting.requeue_at = None;
            if !self.knows_everybody(&waiting) {
                // the first who then asks has it reconciled, but for an Agent without limits nobody asks
                if let Some(capacity) = self.caches.of_agent(agent, |known| known.spec.capacity()) {
                    self.metrics.agent(agent, capacity, waiting.in_order().len());
                }
                return Ok(());
            }
        }
        self.reconcile_ledger(agent, &queue, &mut latest, &Changes::default(), None).await?;
        drop(latest);
        self.forget_if_gone(agent);
        Ok(())
    }

    /// Whether the Agent's ledger may have an entry of this Task. The cache may be behind our own writes, so that of
    /// an Agent with limits always may.
    pub(crate) fn may_hold(&self, agent: &AgentKey, uid: &TaskUid) -> bool {
        let may = |agent: &Agent| {
            agent.spec.is_limited() || agent.status.as_ref().is_some_and(|status| holds_slot(status, uid))
        };
        self.caches.of_agent(agent, may) == Some(true)
    }

    /// Whether the Task has a slot of the Agent, by what the API server answered us or by the cache.
    pub(crate) async fn shows_slot(&self, agent: &AgentKey, uid: &TaskUid) -> bool {
        let shows = |agent: &Agent| agent.status.as_ref().is_some_and(|status| holds_slot(status, uid));
        let queue = self.queues.lock().get(agent).cloned();
        if let Some(queue) = queue
            && queue.latest.lock().await.as_ref().is_some_and(shows)
        {
            return true;
        }
        self.caches.of_agent(agent, shows) == Some(true)
    }

    /// Whether the cache shows the Task, and shows it as one that may still start.
    fn may_start(&self, task: &QueuedTask) -> bool {
        let may = cached_task(&self.caches, &task.key, |cached| {
            cached.uid() == task.uid && !cached.is_deleting() && !cached.is_terminal()
        });
        may == Some(true)
    }

    /// Nobody starts before those that run are counted, and those that came before have been reconciled.
    fn knows_everybody(&self, waiting: &WaitQueue) -> bool {
        waiting.is_complete() && self.caches.has_tasks_of(Group::KubeOpenCode)
    }

    fn queue(&self, agent: &AgentKey) -> Arc<AgentQueue> {
        Arc::clone(self.queues.lock().entry(agent.clone()).or_default())
    }

    /// Nothing is kept of an Agent that is gone and that nobody waits for or works on.
    fn forget_if_gone(&self, agent: &AgentKey) {
        if self.caches.of_agent(agent, |_| ()).is_some() {
            return;
        }
        let mut queues = self.queues.lock();
        let unused = queues.get(agent).is_some_and(|queue| {
            // ours, and the one in the map
            Arc::strong_count(queue) <= 2 && queue.waiting.lock().is_empty()
        });
        if unused {
            queues.remove(agent);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the only writer of the ledger")]
    /// Brings the Agent's status up to date. Also says whether `asking` holds a slot afterwards.
    async fn reconcile_ledger(
        &self,
        key: &AgentKey,
        queue: &AgentQueue,
        latest: &mut Option<Agent>,
        changes: &Changes,
        asking: Option<&TaskUid>,
    ) -> Result<(LedgerUpdate, bool), kube::Error> {
        let api = Api::<Item<Agent>>::namespaced(self.client.clone(), &key.namespace);
        let mut last_error = None;
        for _ in 0..MAX_TRIES {
            let Some((agent, is_answer)) = self.newest(key, latest.take()) else {
                // its series would stand still for ever
                self.metrics.forget_agent(key);
                return Ok((LedgerUpdate::nothing(), false));
            };
            let status = agent.status.clone().unwrap_or_default();
            let mut changes = changes.clone();
            let never_launched = queue.waiting.lock().never_launched.clone();
            for entry in &status.admitted {
                match self.slot(key, entry, &never_launched).await? {
                    Slot::Held => {}
                    Slot::Released => drop(changes.released.insert(entry.task_uid.clone())),
                    Slot::Withdrawn => drop(changes.withdrawn.insert(entry.task_uid.clone())),
                }
            }
            let identity = (agent.uid().unwrap_or_default(), agent.metadata.generation.unwrap_or(0));
            let now = Timestamp::now();
            let mut all_counted = true;
            if agent.spec.is_limited() && queue.counted.lock().as_ref() != Some(&identity) {
                changes.started = self.started(key, &agent.spec, now);
                self.drop_ended(key, &mut changes.started, &status).await?;
                all_counted = changes.started.len() <= MAX_ENTRIES;
                // the rest follows as these leave
                changes.started.truncate(MAX_ENTRIES);
            }
            let (update, gone) = {
                let (waiting, mut gone) = (queue.waiting.lock(), HashSet::new());
                let may_start = |task: &&QueuedTask| {
                    let may = self.may_start(task);
                    if !may {
                        gone.insert(task.uid.clone());
                    }
                    may
                };
                let line = waiting.in_order().filter(may_start);
                (admit(&key.name, &agent.spec, &status, &changes, line, now), gone)
            };
            let current = if update.changed {
                let patch = json!({
                    "metadata": {"resourceVersion": agent.resource_version()},
                    "status": {
                        "admitted": update.admitted, "running": update.admitted.len(),
                        "taskStartHistory": update.history,
                    },
                });
                match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                    Ok(written) => kept(written)?,
                    Err(error) if is_conflict(&error) => {
                        *latest = Some(kept(api.get(&key.name).await?)?);
                        last_error = Some(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            } else {
                agent
            };
            let holds = asking
                .is_some_and(|uid| current.status.as_ref().is_some_and(|status| holds_slot(status, uid)));
            if holds && !is_answer && !update.changed {
                // another operator may have taken the slot back, and nothing was written that would show it
                *latest = Some(kept(api.get(&key.name).await?)?);
                continue;
            }
            *queue.counted.lock() = all_counted.then_some(identity);
            let moved = {
                let mut waiting = queue.waiting.lock();
                waiting.never_launched.retain(|uid| !never_launched.contains(uid));
                waiting.leave(&gone)
            };
            for task in moved {
                let _ = self.task_queue.send(task);
            }
            self.publish(key, queue, &current, &update, asking);
            *latest = Some(current);
            return Ok((update, holds));
        }
        Err(last_error
            .unwrap_or_else(|| kube::Error::Service("the Agent's status could not be written".into())))
    }

    /// The newer of what the API server answered us and what the cache shows, and whether it is an answer. Another UID: the
    /// cache's, which is copied only then.
    fn newest(&self, key: &AgentKey, ours: Option<Agent>) -> Option<(Agent, bool)> {
        let version =
            |agent: &Agent| agent.resource_version().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let is_newer = |ours: &Agent, cached: &Agent| {
            ours.metadata.uid == cached.metadata.uid && version(ours) >= version(cached)
        };
        let cached = self.caches.of_agent(key, |cached| {
            let is_older = ours.as_ref().is_some_and(|ours| is_newer(ours, cached));
            (!is_older).then(|| cached.clone())
        })?;
        match cached {
            Some(cached) => Some((cached, false)),
            None => ours.map(|ours| (ours, true)),
        }
    }

    /// Takes those who were admitted out of the queue, enqueues whom the new state concerns, and sets the metrics.
    fn publish(
        &self,
        key: &AgentKey,
        queue: &AgentQueue,
        agent: &Agent,
        update: &LedgerUpdate,
        asking: Option<&TaskUid>,
    ) {
        let mut waiting = queue.waiting.lock();
        let blocked = update.blocked.as_ref().map(|blocked| blocked.reason);
        let affected = waiting.apply(agent.status.as_ref(), blocked, asking);
        for task in affected.admitted.into_iter().map(|task| task.key).chain(affected.moved) {
            let _ = self.task_queue.send(task);
        }
        self.metrics.agent(key, agent.spec.capacity(), waiting.in_order().len());
        let earlier = |at: &Timestamp| waiting.requeue_at.is_none_or(|known| *at < known);
        if let Some(at) = update.requeue_at.filter(earlier) {
            waiting.requeue_at = Some(at);
            let pause = at.duration_since(Timestamp::now()).try_into().unwrap_or_default();
            enqueue_after(&self.agent_queue, key.clone(), pause);
        }
    }
}

/// What is kept of an answer: what the watch would keep of it.
fn kept(mut answer: Item<Agent>) -> Result<Agent, kube::Error> {
    slim_agent(&mut answer);
    answer.into_object()
}
