//! Who is concerned by a change that is not the Task's own: one vanished, an Agent came, went or changed.

use std::sync::Arc;

use kube::runtime::watcher::Event;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::task::Task;

use super::Queues;
use crate::cache::Caches;
use crate::cache::item::Item;
use crate::cache::pod_view::PodView;
use crate::frontend::{Frontend, KubeOpenCode};
use crate::runtime::api_error::words;
use crate::task::orphans;
use crate::task::reconcile::{Context, recorded_or_spec_agent};

/// An annotation that stops nothing came with this change, which the cache has not taken in yet: whoever set it hears of it.
pub(super) fn tell_of_ignored_stop(context: &Context, item: &Item<Task>) {
    let Some(task) = KubeOpenCode::task_ref(item).filter(|task| !task.is_terminal()) else { return };
    let Some((key, value)) = task.ignored_stop() else { return };
    let is_known = |before: &Item<Task>| {
        KubeOpenCode::task_ref(before).and_then(|task| task.ignored_stop()) == Some((key, value))
    };
    if !context.caches.task(&task.key(), is_known).unwrap_or(false) {
        let note = format!("The annotation {key} is \"{value}\": only \"true\" stops a Task");
        context.writer.warn(task, "StopIgnored", note);
    }
}

/// A Task vanished: what was kept of it goes, its slot may be free, and a Pod that it left behind is deleted.
pub(super) fn task_is_gone(context: &Arc<Context>, item: &Item<Task>) {
    let (uid, key) = (TaskUid::of(item), TaskKey::of(Group::KubeOpenCode, item));
    context.launches.cancel(&key);
    context.writer.tasks.forget(&uid.0);
    context.failures.forget(&uid);
    context.busy.forget(&uid);
    context.caches.pods.forget(&uid);
    if let Some(agent) = recorded_or_spec_agent::<KubeOpenCode>(item) {
        let was_launched = KubeOpenCode::task_ref(item).is_some_and(|task| task.pod_uid().is_some());
        context.admission.task_is_gone(&agent, &uid, was_launched);
    }
    if !context.caches.pods.of(&uid).is_empty() {
        let context = Arc::clone(context);
        tokio::spawn(async move {
            if let Err(error) = orphans::delete_of(&context, &uid, &key).await {
                tracing::warn!(task = %key, error = words(&error), "Pods of a Task that is gone could not be deleted; tried again in ten minutes");
            }
        });
    }
}

/// The Pod that this event, which the cache has not taken in yet, shows as over or gone for the first time.
pub(super) fn ended_pod<'a>(caches: &Caches, event: &'a Event<PodView>) -> Option<&'a PodView> {
    let pod = match event {
        Event::Apply(pod) if pod.is_over() => pod,
        Event::Delete(pod) => pod,
        _ => return None,
    };
    let known = caches.pods.of(&pod.task_uid()?);
    known.iter().any(|known| known.uid() == pod.uid() && !known.is_over()).then_some(pod)
}

/// A Pod is over or gone: whoever waits for room in its namespace may try, and where its Task is gone, nobody else tells
/// its Agent of the slot.
pub(super) fn pod_has_ended(context: &Context, queues: &Queues, pod: &PodView) {
    context.admission.namespace_has_room(pod.metadata.namespace.as_deref().unwrap_or_default());
    let uid = pod.task_uid();
    let task =
        pod.task_key().and_then(|key| context.caches.task(&key, |task| Some(TaskUid::of(task)) == uid));
    if let Some(agent) = pod.pod_agent().filter(|_| task != Some(true)) {
        let _ = queues.agents.send(agent);
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
