//! What the ledger learns from outside of itself: who started before it counted, and who is over.

use std::collections::HashSet;

use jiff::Timestamp;
use kubeopencode_api::agent::{AgentSpec, AgentStatus, TaskStart};
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};

use super::Admission;
use super::ledger::{Started, counts_for_quota};
use super::live_pods::live_pods;
use super::queue::holds_slot;
use crate::cache::pod_places::PodPlaces;
use crate::cache::pod_view::PodView;
use crate::cache::task_view::TaskRef;
use crate::frontend::{Runner, cached_task, each_task, live_task};

/// What an entry of `status.admitted` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A Task that may start or runs.
    Held,
    /// One that is over: the slot is free, the start counts.
    Released,
    /// One that was never launched and never will be: neither counts.
    Withdrawn,
}

impl Admission {
    /// The Task is gone. Where it was never launched, its slot and its start go back; nobody else can say later which it
    /// was.
    pub(crate) fn task_is_gone(&self, runner: &Runner, uid: &TaskUid, was_launched: bool) {
        self.leave(runner, uid);
        let Some(agent) = runner.agent() else { return };
        if self.may_hold(agent, uid) {
            if !was_launched {
                self.queue(agent).waiting.lock().never_launched.insert(uid.0.clone());
            }
            let _ = self.agent_queue.send(agent.clone());
        }
    }

    /// The watch listed all Tasks anew: whoever is not among them vanished without a word, and waits no more.
    pub(crate) fn tasks_were_listed(&self) {
        let queues: Vec<_> = self.queues.lock().values().cloned().collect();
        for queue in queues {
            let gone: HashSet<_> = {
                let waiting = queue.waiting.lock();
                waiting.in_order().filter(|task| !self.may_start(task)).map(|task| task.uid.clone()).collect()
            };
            for task in queue.waiting.lock().leave(&gone) {
                let _ = self.task_queue.send(task);
            }
        }
        self.leave_namespaces();
        // and may have held a slot
        for agent in self.caches.limited_agents() {
            let _ = self.agent_queue.send(agent);
        }
    }

    /// The Tasks of an Agent that were launched and still count, as the cache shows them; who runs comes first.
    pub(super) fn started(&self, agent: &AgentKey, spec: &AgentSpec, now: Timestamp) -> Vec<Started> {
        let mut started = Vec::new();
        let entry = |task: TaskRef<'_>| {
            let is_agents = task.recorded_agent().is_some_and(|used| used == *agent);
            task.pod_uid().filter(|_| is_agents)?;
            let entry = TaskStart {
                task_uid: task.metadata.uid.clone()?,
                task_namespace: task.namespace().to_owned(),
                task_name: task.name().to_owned(),
                start_time: task.status?.start_time.clone()?,
            };
            let pods = self.caches.pods.of(&PodPlaces::of(task));
            let runs = !task.is_terminal() || pods.iter().any(|pod| !pod.agent_is_over());
            (runs || counts_for_quota(spec, &entry, now)).then_some(Started { entry, runs })
        };
        each_task(&self.caches, |task| started.extend(entry(task)));
        started.sort_by_key(|started| !started.runs);
        started
    }

    /// The cache may be behind: who has no slot is asked for before one is given back to it. Mostly there is nobody.
    pub(super) async fn drop_ended(
        &self,
        agent: &AgentKey,
        started: &mut [Started],
        status: &AgentStatus,
    ) -> Result<(), kube::Error> {
        let without_slot = |started: &&mut Started| {
            started.runs && !holds_slot(status, &TaskUid(started.entry.task_uid.clone()))
        };
        for started in started.iter_mut().filter(without_slot) {
            let TaskStart { task_uid, task_namespace, task_name, .. } = &started.entry;
            let key = TaskKey::new(Group::KubeOpenCode, task_namespace, task_name);
            let uid = TaskUid(task_uid.clone());
            let live = live_task(&self.client, &key, &uid).await?;
            let phase = live.map(|live| live.status.and_then(|status| status.phase).unwrap_or_default());
            let pods = self.caches.pods.of(&PodPlaces::new(key, uid).and_in(&agent.namespace));
            started.runs = phase.is_some_and(|phase| !phase.is_terminal())
                || pods.iter().any(|pod| !pod.agent_is_over());
        }
        Ok(())
    }

    /// Whether an entry may go: its Task is terminal or gone, and no agent of it runs. The cache may be behind, so
    /// what it does not show is asked for; what it shows as terminal stays terminal, and what the watch showed as gone
    /// without a recorded Pod (`never_launched`) was never launched.
    pub(super) async fn slot(
        &self,
        agent: &AgentKey,
        entry: &TaskStart,
        never_launched: &HashSet<String>,
    ) -> Result<Slot, kube::Error> {
        let uid = TaskUid(entry.task_uid.clone());
        let key = TaskKey::new(Group::KubeOpenCode, &entry.task_namespace, &entry.task_name);
        let cached = cached_task(&self.caches, &key, |task| {
            let is_it = task.uid() == uid;
            is_it.then(|| {
                let is_launched = task.pod_uid().is_some();
                if is_launched && task.recorded_agent().is_some_and(|used| used != *agent) {
                    return None;
                }
                Some((task.is_terminal(), is_launched, PodPlaces::of(task)))
            })
        });
        let (over, places) = match cached.flatten() {
            // its agentRef was changed after this entry and before its launch: it runs by a slot of the other Agent
            Some(None) => return Ok(Slot::Withdrawn),
            Some(Some((false, ..))) => return Ok(Slot::Held),
            Some(Some((true, true, places))) => (Slot::Released, places),
            Some(Some((true, false, places))) => (Slot::Withdrawn, places),
            None => {
                let over = if never_launched.contains(&uid.0) {
                    Slot::Withdrawn
                } else if live_task(&self.client, &key, &uid).await?.is_none() {
                    Slot::Released
                } else {
                    return Ok(Slot::Held);
                };
                (over, PodPlaces::new(key, uid))
            }
        };
        let places = places.and_in(&agent.namespace);
        let pods = self.caches.pods.of(&places);
        let all_are_over = if pods.is_empty() {
            live_pods(&self.client, &places).await?.iter().all(PodView::agent_is_over)
        } else {
            pods.iter().all(|pod| pod.agent_is_over())
        };
        Ok(if all_are_over { over } else { Slot::Held })
    }
}
