//! What the watches tell beyond a single Task: one vanished, an Agent came, went or changed.

use std::sync::Arc;

use kube::ResourceExt;
use kubeopencode_api::names::{ObjectKey, TaskUid};
use kubeopencode_api::task::Phase;
use kubeopencode_plan::agent_key;

use super::{Operator, running_agent};
use crate::caches::{GuardedTask, key_of};
use crate::sweep;

impl Operator {
    /// A Task vanished: what was kept of it goes, its slot may be free, and a Pod that it left behind is deleted.
    pub(crate) fn task_is_gone(self: &Arc<Self>, guarded: &GuardedTask) {
        let uid = TaskUid(guarded.uid().unwrap_or_default());
        let key = key_of(guarded);
        self.writer.tasks.forget(&uid.0);
        self.failures.forget(&uid);
        self.caches.pods.forget(&uid);
        if let Some(agent) = guarded.0.as_ref().ok().and_then(running_agent) {
            self.admission.leave(&agent, &uid);
            if self.caches.agent(&agent).is_some_and(|agent| agent.spec.is_limited()) {
                let _ = self.agents.send(agent);
            }
        }
        if !self.caches.pods.of(&uid).is_empty() {
            let operator = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = sweep::one(&operator, &uid, &key).await {
                    tracing::warn!(task = %key, %error, "Pods of a Task that is gone could not be deleted; tried again in ten minutes");
                }
            });
        }
    }

    /// Names the Tasks that an Agent's coming, going or change concerns: those that wait for it.
    pub(crate) fn agent_changed(&self, agent: &ObjectKey, mut wake: impl FnMut(ObjectKey)) {
        for guarded in self.caches.tasks.state() {
            let Ok(task) = &guarded.0 else { continue };
            let launched = task
                .status
                .as_ref()
                .is_some_and(|s| s.pod_uid.is_some() || s.phase.is_some_and(Phase::is_terminal));
            if !launched && agent_key(task).is_ok_and(|key| key == *agent) {
                wake(key_of(task));
            }
        }
    }

    /// Agents with a limit.
    pub(crate) fn limited_agents(&self) -> Vec<ObjectKey> {
        let agents = self.caches.agents.state();
        let limited = agents
            .iter()
            .filter_map(|guarded| guarded.0.as_ref().ok())
            .filter(|agent| agent.spec.is_limited());
        limited.map(key_of).collect()
    }
}
