//! What the ledger learns from outside of itself: who started before it counted, and who is over.

use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kubeopencode_api::agent::{AgentSpec, AgentStatus, TaskStart};
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::TASK_UID_LABEL;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};

use super::Admission;
use super::ledger::{Started, counts_for_quota};
use super::queue::holds_slot;
use crate::cache::pod_view::PodView;
use crate::frontend::{Frontend, KubeOpenCode, live_task};

impl Admission {
    /// The Tasks of an Agent that were launched and still count, as the cache shows them; who runs comes first.
    pub(super) fn started(&self, agent: &AgentKey, spec: &AgentSpec, now: Timestamp) -> Vec<Started> {
        let tasks = self.caches.tasks.state();
        let started = tasks.iter().filter_map(|item| {
            let task = KubeOpenCode::task_ref(item)?;
            let is_agents = task.recorded_agent().is_some_and(|used| used == *agent);
            task.pod_uid().filter(|_| is_agents)?;
            let entry = TaskStart {
                task_uid: task.metadata.uid.clone()?,
                task_namespace: task.namespace().to_owned(),
                task_name: task.name().to_owned(),
                start_time: task.status?.start_time.clone()?,
            };
            let pods = self.caches.pods.of(&task.uid());
            let runs = !task.is_terminal() || pods.iter().any(|pod| !pod.is_over());
            (runs || counts_for_quota(spec, &entry, now)).then_some(Started { entry, runs })
        });
        let mut started: Vec<_> = started.collect();
        started.sort_by_key(|started| !started.runs);
        started
    }

    /// The cache may be behind: who has no slot is asked for before one is given back to it. Mostly there is nobody.
    pub(super) async fn drop_ended(
        &self,
        started: &mut [Started],
        status: &AgentStatus,
    ) -> Result<(), kube::Error> {
        let without_slot = |started: &&mut Started| {
            started.runs && !holds_slot(status, &TaskUid(started.entry.task_uid.clone()))
        };
        for started in started.iter_mut().filter(without_slot) {
            let TaskStart { task_uid, task_namespace, task_name, .. } = &started.entry;
            let key = TaskKey::new(Group::KubeOpenCode, task_namespace, task_name);
            let live = live_task(&self.client, &key, &TaskUid(task_uid.clone())).await?;
            let phase = live.map(|live| live.status.and_then(|status| status.phase).unwrap_or_default());
            let pods = self.caches.pods.of(&TaskUid(task_uid.clone()));
            started.runs =
                phase.is_some_and(|phase| !phase.is_terminal()) || pods.iter().any(|pod| !pod.is_over());
        }
        Ok(())
    }

    /// Whether an entry may go: its Task is terminal or gone, and no Pod of it is live. The cache may be behind, so
    /// what it does not show is asked for; what it shows as terminal stays terminal.
    pub(super) async fn is_over(&self, entry: &TaskStart) -> Result<bool, kube::Error> {
        let uid = TaskUid(entry.task_uid.clone());
        let key = TaskKey::new(Group::KubeOpenCode, &entry.task_namespace, &entry.task_name);
        let cached = self.caches.task(&key, |item| {
            KubeOpenCode::task_ref(item).filter(|task| task.uid() == uid).map(|task| task.is_terminal())
        });
        let task_is_over = match cached.flatten() {
            Some(is_terminal) => is_terminal,
            None => live_task(&self.client, &key, &uid).await?.is_none(),
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
}
