//! Slots and starts of limited Agents: the thin edge around `ledger`.
//!
//! The ledger in memory orders and wakes, `Agent.status` on the API server arbitrates. One look at a time for each
//! Agent; whoever looks admits everybody who fits, in one PATCH with the resourceVersion that it decided on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use kubeopencode_api::agent::{Agent, AgentSpec, AgentStatus, TaskStart};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::TASK_UID_LABEL;
use kubeopencode_api::names::{ObjectKey, TaskUid};
use kubeopencode_api::task::Task;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use crate::answers::{is_conflict, is_not_found};
use crate::caches::{Caches, key_of};
use crate::ledger::{
    Blocked, Changes, NEAR, Started, Verdict, Waiting, admit, counts_for_quota, worth_writing,
};
use crate::metrics::Metrics;
use crate::view::PodView;
use crate::wakes::name_later;

/// Tries to write one Agent's status before the next reconcile gets its turn.
const TRIES: usize = 8;
/// Most entries that are taken up at once: an Agent's status has at most 1.5 MiB. The rest follows as these leave.
const MOST_STARTED: usize = 1000;
/// How long starts wait, after the operator has come up, for the first look at every Task: a restart lets nobody
/// overtake, and a Task that cannot be looked at holds nobody up for longer.
pub(crate) const FIRST_LOOKS: Duration = Duration::from_secs(5);

/// What a Task is told that asks for a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may start: its entry stands in `Agent.status.admitted`.
    Admitted,
    /// It waits.
    Queued {
        /// For what.
        blocked: Blocked,
        /// Its place in the queue, 1 = next.
        position: i64,
    },
    /// The operator has just started and has not looked at everybody yet who may have been here before: ask again.
    Later,
}

/// Slots and starts of limited Agents.
pub struct Admission {
    client: Client,
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
    /// Tasks to look at again.
    tasks: UnboundedSender<ObjectKey>,
    /// Agents to look at again, now or later.
    agents: UnboundedSender<ObjectKey>,
    queues: Mutex<HashMap<ObjectKey, Arc<Queue>>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The newest Agent that an answer showed; held while its ledger is settled.
    latest: tokio::sync::Mutex<Option<Agent>>,
    /// UID and generation of the Agent whose ledger has all Tasks that started under the ones before.
    counted: Mutex<Option<(String, i64)>>,
    waiting: Mutex<Line>,
}

/// Who waits, and which place each was told.
#[derive(Debug, Default)]
struct Line {
    order: BTreeSet<Waiting>,
    told: HashMap<TaskUid, i64>,
    /// Why they wait.
    blocked: Option<Reason>,
    wake: Option<Timestamp>,
    /// Tasks of the first list that nobody has looked at yet; until then, who came first is not known.
    unseen: HashSet<TaskUid>,
    /// Nobody waits longer than this for them.
    deadline: Option<Instant>,
}

impl Line {
    fn is_complete(&self) -> bool {
        self.unseen.is_empty() || self.deadline.is_none_or(|deadline| Instant::now() >= deadline)
    }

    /// Those whose place is worth telling anew.
    fn moved(&self) -> Vec<ObjectKey> {
        let places = self.order.iter().zip(1_i64..);
        let moved = places.filter(|(waiting, position)| {
            self.told.get(&waiting.uid).is_some_and(|told| worth_writing(Some(*told), *position))
        });
        moved.map(|(waiting, _)| waiting.key()).collect()
    }
}

impl Admission {
    /// The ledgers, empty; `tasks` and `agents` get whom to look at again.
    pub fn new(
        client: Client,
        caches: Arc<Caches>,
        metrics: Arc<Metrics>,
        tasks: UnboundedSender<ObjectKey>,
        agents: UnboundedSender<ObjectKey>,
    ) -> Self {
        Self { client, caches, metrics, tasks, agents, queues: Mutex::default() }
    }

    /// A Task that was queued before the operator started keeps its place.
    pub fn remember(&self, agent: &ObjectKey, waiting: Waiting) {
        lock(&self.queue(agent).waiting).order.insert(waiting);
    }

    /// A Task that nobody has looked at yet when the operator starts: it may have come before those that ask.
    pub fn expect(&self, agent: &ObjectKey, uid: TaskUid) {
        let queue = self.queue(agent);
        let mut line = lock(&queue.waiting);
        line.deadline.get_or_insert_with(|| Instant::now() + FIRST_LOOKS);
        line.unseen.insert(uid);
    }

    /// Asks for a start.
    ///
    /// # Errors
    /// When the API server does not answer, or others write the Agent's status faster than we do.
    pub async fn request(&self, agent: &Agent, waiting: Waiting) -> Result<Turn, kube::Error> {
        let key = key_of(agent);
        let queue = self.queue(&key);
        let uid = waiting.uid.clone();
        {
            let mut line = lock(&queue.waiting);
            line.order.insert(waiting.clone());
            line.unseen.remove(&uid);
            if !self.knows_everybody(&line) {
                return Ok(Turn::Later);
            }
        }
        let mut latest = queue.latest.lock().await;
        let (verdict, holds) =
            self.settle(&key, &queue, &mut latest, &Changes::default(), Some(&uid)).await?;
        if holds {
            self.leave(&key, &uid);
            return Ok(Turn::Admitted);
        }
        let mut line = lock(&queue.waiting);
        let position = i64::try_from(line.order.range(..=&waiting).count()).unwrap_or(i64::MAX);
        if worth_writing(line.told.get(&uid).copied(), position) {
            line.told.insert(uid, position);
        }
        let blocked = verdict.blocked.unwrap_or_else(|| Blocked {
            reason: Reason::AgentAtCapacity,
            message: format!("Waiting for agent \"{}\" capacity (max: 0)", key.name),
        });
        Ok(Turn::Queued { blocked, position })
    }

    /// The Task did not start after all: its slot and its start go back.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn withdraw(&self, agent: &ObjectKey, uid: &TaskUid) -> Result<(), kube::Error> {
        self.leave(agent, uid);
        let queue = self.queue(agent);
        let mut latest = queue.latest.lock().await;
        let changes = Changes { withdrawn: [uid.0.clone()].into(), ..Changes::default() };
        self.settle(agent, &queue, &mut latest, &changes, None).await.map(|_| ())
    }

    /// The Task waits for no start (any more).
    pub fn leave(&self, agent: &ObjectKey, uid: &TaskUid) {
        let Some(queue) = lock(&self.queues).get(agent).cloned() else { return };
        let mut line = lock(&queue.waiting);
        line.order.retain(|waiting| waiting.uid != *uid);
        line.told.remove(uid);
        line.unseen.remove(uid);
        // somebody who leaves the middle of the line moves up those behind
        for task in line.moved() {
            let _ = self.tasks.send(task);
        }
    }

    /// Takes in what changed: frees slots, lets the next ones start.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pump(&self, agent: &ObjectKey) -> Result<(), kube::Error> {
        let queue = self.queue(agent);
        let mut latest = queue.latest.lock().await;
        {
            let mut line = lock(&queue.waiting);
            line.wake = None;
            if !self.knows_everybody(&line) {
                // whoever asks then settles
                return Ok(());
            }
        }
        self.settle(agent, &queue, &mut latest, &Changes::default(), None).await.map(|_| ())
    }

    /// Whether the Agent's ledger may have an entry of this Task. The cache may be behind our own writes, so that of
    /// an Agent with limits always may.
    pub fn may_hold(&self, agent: &ObjectKey, uid: &TaskUid) -> bool {
        self.caches.agent(agent).is_some_and(|agent| {
            agent.spec.is_limited() || agent.status.as_ref().is_some_and(|status| has(status, uid))
        })
    }

    /// Nobody starts before those that run are counted, and those that came before have been looked at.
    fn knows_everybody(&self, line: &Line) -> bool {
        line.is_complete() && self.caches.tasks.wait_until_ready().now_or_never().is_some()
    }

    fn queue(&self, agent: &ObjectKey) -> Arc<Queue> {
        Arc::clone(lock(&self.queues).entry(agent.clone()).or_default())
    }

    #[expect(clippy::disallowed_methods, reason = "this writes the ledger")]
    /// Brings the Agent's status up to date. Also says whether `asking` holds a slot afterwards.
    async fn settle(
        &self,
        key: &ObjectKey,
        queue: &Queue,
        latest: &mut Option<Agent>,
        changes: &Changes,
        asking: Option<&TaskUid>,
    ) -> Result<(Verdict, bool), kube::Error> {
        let api = Api::<Agent>::namespaced(self.client.clone(), &key.namespace);
        let mut last_error = None;
        for _ in 0..TRIES {
            let Some(agent) = newest(latest.take(), self.caches.agent(key)) else {
                // its series would stand still for ever
                self.metrics.forget_agent(key);
                return Ok((Verdict::nothing(), false));
            };
            let status = agent.status.clone().unwrap_or_default();
            let mut changes = changes.clone();
            for entry in &status.admitted {
                if self.is_over(entry).await? {
                    changes.released.insert(entry.task_uid.clone());
                }
            }
            let identity = (agent.uid().unwrap_or_default(), agent.metadata.generation.unwrap_or(0));
            let now = Timestamp::now();
            let mut all_counted = true;
            if agent.spec.is_limited() && lock(&queue.counted).as_ref() != Some(&identity) {
                changes.started = self.started(key, &agent.spec, now);
                all_counted = changes.started.len() <= MOST_STARTED;
                changes.started.truncate(MOST_STARTED);
            }
            let verdict = admit(&key.name, &agent.spec, &status, &changes, &lock(&queue.waiting).order, now);
            if !verdict.changed {
                *lock(&queue.counted) = all_counted.then_some(identity);
                let holds = asking.is_some_and(|uid| has(&status, uid));
                *latest = Some(agent);
                self.tell(key, queue, latest.as_ref(), &verdict, asking);
                return Ok((verdict, holds));
            }
            let patch = json!({
                "metadata": {"resourceVersion": agent.resource_version()},
                "status": {"admitted": verdict.admitted, "taskStartHistory": verdict.history},
            });
            match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(written) => {
                    *lock(&queue.counted) = all_counted.then_some(identity);
                    let holds =
                        asking.is_some_and(|uid| written.status.as_ref().is_some_and(|s| has(s, uid)));
                    *latest = Some(written);
                    self.tell(key, queue, latest.as_ref(), &verdict, asking);
                    return Ok((verdict, holds));
                }
                Err(error) if is_conflict(&error) => {
                    *latest = Some(api.get(&key.name).await?);
                    last_error = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last_error
            .unwrap_or_else(|| kube::Error::Service("the Agent's status could not be written".into())))
    }

    /// The Tasks of an Agent that were launched and still count, as the cache shows them; who runs comes first.
    fn started(&self, agent: &ObjectKey, spec: &AgentSpec, now: Timestamp) -> Vec<Started> {
        let tasks = self.caches.tasks.state();
        let started = tasks.iter().filter_map(|guarded| {
            let task = guarded.0.as_ref().ok()?;
            let status = task.status.as_ref()?;
            let used = status.agent_ref.as_ref()?;
            let is_agents = used.name == agent.name && used.namespace == agent.namespace;
            status.pod_uid.as_ref().filter(|_| is_agents)?;
            let entry = TaskStart {
                task_uid: task.uid()?,
                task_namespace: task.namespace()?,
                task_name: task.name_any(),
                start_time: status.start_time.clone()?,
            };
            let is_over = status.phase.is_some_and(|phase| phase.is_terminal());
            let pods = self.caches.pods.of(&TaskUid(entry.task_uid.clone()));
            let runs = !is_over || pods.iter().any(|pod| !pod.is_over());
            (runs || counts_for_quota(spec, &entry, now)).then_some(Started { entry, runs })
        });
        let mut started: Vec<_> = started.collect();
        started.sort_by_key(|started| !started.runs);
        started
    }

    /// Wakes whom the verdict concerns.
    fn tell(
        &self,
        key: &ObjectKey,
        queue: &Queue,
        agent: Option<&Agent>,
        verdict: &Verdict,
        asking: Option<&TaskUid>,
    ) {
        let mut line = lock(&queue.waiting);
        let (mut woken, mut moved) = (Vec::new(), Vec::new());
        line.order.retain(|waiting| {
            // by what stands there, not by what this write changed: an earlier one may have been done unanswered
            let admitted =
                agent.and_then(|agent| agent.status.as_ref()).is_some_and(|status| has(status, &waiting.uid));
            if admitted {
                woken.push((waiting.uid.clone(), waiting.key()));
            }
            !admitted
        });
        for (uid, _) in &woken {
            line.told.remove(uid);
        }
        if !woken.is_empty() {
            moved = line.moved();
        }
        let reason = verdict.blocked.as_ref().map(|blocked| blocked.reason);
        if reason.is_some() && line.blocked.is_some_and(|before| Some(before) != reason) {
            // something else stands in their way now: those who come next are told
            let next = line.order.iter().take(NEAR.into()).filter(|waiting| Some(&waiting.uid) != asking);
            moved.extend(next.map(Waiting::key));
        }
        line.blocked = reason;
        let woken = woken.into_iter().filter(|(uid, _)| Some(uid) != asking).map(|(_, task)| task);
        for task in woken.chain(moved) {
            let _ = self.tasks.send(task);
        }
        self.metrics.agent(key, agent.and_then(|agent| agent.spec.capacity()), line.order.len());
        if let Some(wake) = verdict.wake.filter(|wake| line.wake.is_none_or(|known| *wake < known)) {
            line.wake = Some(wake);
            let pause = wake.duration_since(Timestamp::now()).try_into().unwrap_or_default();
            name_later(&self.agents, key.clone(), pause);
        }
    }

    /// Whether an entry may go: its Task is terminal or gone, and no Pod of it is live. The cache may be behind, so
    /// what it does not show is asked for; what it shows as terminal stays terminal.
    async fn is_over(&self, entry: &TaskStart) -> Result<bool, kube::Error> {
        let (uid, key) =
            (TaskUid(entry.task_uid.clone()), ObjectKey::new(&entry.task_namespace, &entry.task_name));
        let cached = self.caches.task(&key, |task| {
            let phase = task.status.as_ref().and_then(|s| s.phase);
            let same = task.metadata.uid.as_deref() == Some(&uid.0);
            same.then(|| phase.is_some_and(|phase| phase.is_terminal()))
        });
        let task_is_over = match cached.flatten() {
            Some(is_terminal) => is_terminal,
            None => self.is_gone(&key, &uid).await?,
        };
        if !task_is_over {
            return Ok(false);
        }
        let pods = self.caches.pods.of(&uid);
        if !pods.is_empty() {
            return Ok(pods.iter().all(|pod| pod.is_over()));
        }
        let selector = ListParams::default().labels(&format!("{TASK_UID_LABEL}={uid}"));
        let live = Api::<PodView>::all(self.client.clone()).list(&selector).await?;
        Ok(live.items.iter().all(PodView::is_over))
    }

    async fn is_gone(&self, key: &ObjectKey, uid: &TaskUid) -> Result<bool, kube::Error> {
        match Api::<Task>::namespaced(self.client.clone(), &key.namespace).get_metadata(&key.name).await {
            Ok(task) => Ok(task.metadata.uid.as_deref() != Some(&uid.0)),
            Err(error) if is_not_found(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn has(status: &AgentStatus, uid: &TaskUid) -> bool {
    status.admitted.iter().any(|entry| entry.task_uid == uid.0)
}

/// The newer of what our own answers showed and what the cache shows. Another UID: the cache's.
fn newest(ours: Option<Agent>, cached: Option<Agent>) -> Option<Agent> {
    let version = |agent: &Agent| agent.resource_version().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    let cached = cached?;
    match ours {
        Some(ours) if ours.metadata.uid == cached.metadata.uid && version(&ours) >= version(&cached) => {
            Some(ours)
        }
        _ => Some(cached),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
