//! Who is concerned by a change that is not the Task's own: one vanished, an Agent came, went or changed.

use std::sync::Arc;

use kubeopencode_api::group::Group;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::task::Task;

use crate::cache::Caches;
use crate::cache::item::Item;
use crate::frontend::{Frontend, KubeOpenCode};
use crate::task::orphans;
use crate::task::reconcile::{Context, recorded_or_spec_agent};

/// A Task vanished: what was kept of it goes, its slot may be free, and a Pod that it left behind is deleted.
pub(super) fn task_is_gone(context: &Arc<Context>, item: &Item<Task>) {
    let (uid, key) = (TaskUid::of(item), TaskKey::of(Group::KubeOpenCode, item));
    context.writer.tasks.forget(&uid.0);
    context.failures.forget(&uid);
    context.busy.forget(&uid);
    context.caches.pods.forget(&uid);
    if let Some(agent) = recorded_or_spec_agent::<KubeOpenCode>(item) {
        context.admission.leave(&agent, &uid);
        if context.caches.agent(&agent).is_some_and(|agent| agent.spec.is_limited()) {
            let _ = context.agent_queue.send(agent);
        }
    }
    if !context.caches.pods.of(&uid).is_empty() {
        let context = Arc::clone(context);
        tokio::spawn(async move {
            if let Err(error) = orphans::delete_of(&context, &uid, &key).await {
                tracing::warn!(task = %key, %error, "Pods of a Task that is gone could not be deleted; tried again in ten minutes");
            }
        });
    }
}

/// The Tasks that an Agent's coming, going or change concerns: those that wait for it.
pub(super) fn tasks_waiting_for(caches: &Caches, agent: &AgentKey) -> Vec<TaskKey> {
    let tasks = caches.tasks.state();
    let waiting = tasks.iter().filter_map(|item| {
        let task = KubeOpenCode::task_ref(item)?;
        let waits = task.pod_uid().is_none()
            && !task.is_terminal()
            && KubeOpenCode::spec_agent(item).is_ok_and(|key| key == *agent);
        waits.then(|| task.key())
    });
    waiting.collect()
}

/// The Tasks that a new list of Pods may concern: those that are not over, those that are being deleted, and those with a
/// Pod that is not over.
pub(super) fn tasks_with_a_pod_to_follow(caches: &Caches) -> Vec<TaskKey> {
    let tasks = caches.tasks.state();
    let tasks = tasks.iter().filter_map(|item| KubeOpenCode::task_ref(item));
    let open = tasks.filter(|task| !task.is_terminal() || task.is_deleting()).map(|task| task.key());
    open.chain(caches.pods.tasks_with_live_pods()).collect()
}
