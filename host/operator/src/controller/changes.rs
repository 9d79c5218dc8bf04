//! Who is concerned by a change that is not the Task's own: one vanished, an Agent came, went or changed.

use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::watcher::Event;
use kubeopencode_api::condition::{Reason, TaskCondition, find};
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::plugin::Kind;
use kubeopencode_api::task::Task;

use super::Queues;
use crate::cache::Caches;
use crate::cache::item::Item;
use crate::cache::pod_places::PodPlaces;
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
    let Some(places) = places_of(item).filter(|places| !context.caches.pods.of(places).is_empty()) else {
        return;
    };
    let context = Arc::clone(context);
    tokio::spawn(async move {
        if let Err(error) = orphans::delete_of(&context, &places).await {
            tracing::warn!(task = %key, error = words(&error), "Pods of a Task that is gone could not be deleted; tried again in ten minutes");
        }
    });
}

/// Where the Pods of a Task may be, by all that the cache knows of it.
fn places_of(item: &Item<Task>) -> Option<PodPlaces> {
    let task = KubeOpenCode::task_ref(item)?;
    let places = PodPlaces::of(task).and_in(task.namespace());
    let agent = KubeOpenCode::spec_agent(item).ok().filter(|_| task.pod_uid().is_none());
    Some(agent.into_iter().fold(places, |places, agent| places.and_in(&agent.namespace)))
}

/// Whether a Task may still ask how this Pod ended, which is gone. While not all Tasks were listed, any may.
pub(super) fn may_ask_for(caches: &Caches, pod: &PodView) -> bool {
    if caches.tasks.wait_until_ready().now_or_never().is_none() {
        return true;
    }
    let Some(key) = pod.task_key() else { return false };
    let is_its_tasks = caches.task(&key, |item| places_of(item).is_some_and(|places| places.fit(pod)));
    is_its_tasks == Some(true)
}

/// The Pod that this event, which the cache has not taken in yet, shows as over or gone for the first time.
pub(super) fn ended_pod<'a>(caches: &Caches, event: &'a Event<PodView>) -> Option<&'a PodView> {
    let pod = match event {
        Event::Apply(pod) if pod.is_over() => pod,
        Event::Delete(pod) => pod,
        _ => return None,
    };
    caches.pods.knows_live(pod).then_some(pod)
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

/// The Tasks that an Agent's coming, going or change concerns: those that wait for it, and those that run with it and have
/// no timeout of their own.
pub(super) fn tasks_of_agent(caches: &Caches, agent: &AgentKey) -> Vec<TaskKey> {
    let tasks = caches.tasks.state();
    let concerned = tasks.iter().filter_map(|item| {
        let task = KubeOpenCode::task_ref(item).filter(|task| !task.is_terminal())?;
        let is_concerned = match task.pod_uid() {
            None => KubeOpenCode::spec_agent(item).is_ok_and(|key| key == *agent),
            Some(_) => task.timeout.is_none() && task.recorded_agent().is_some_and(|key| key == *agent),
        };
        is_concerned.then(|| task.key())
    });
    concerned.collect()
}

/// The Tasks that a new list of Pods may concern: those that are not over, those that are being deleted, and those with a
/// Pod that is not over.
pub(super) fn tasks_with_a_pod_to_follow(caches: &Caches) -> Vec<TaskKey> {
    let tasks = caches.tasks.state();
    let tasks = tasks.iter().filter_map(|item| KubeOpenCode::task_ref(item));
    let open = tasks.filter(|task| !task.is_terminal() || task.is_deleting()).map(|task| task.key());
    open.chain(caches.pods.tasks_with_live_pods()).collect()
}

/// The Tasks that wait for a plugin of one of these types, by what they say themselves; `None`: of any type.
pub(super) fn tasks_that_wait_for_plugins(caches: &Caches, types: Option<&[(Kind, String)]>) -> Vec<TaskKey> {
    let tasks = caches.tasks.state();
    let waiting = tasks.iter().filter_map(|item| {
        let task = KubeOpenCode::task_ref(item).filter(|task| !task.is_terminal())?;
        waits_for_plugin(task.conditions(), types).then(|| task.key())
    });
    waiting.collect()
}

fn waits_for_plugin(conditions: &[Condition], types: Option<&[(Kind, String)]>) -> bool {
    let Some(accepted) = find(conditions, TaskCondition::Accepted) else { return false };
    let waits = accepted.status == "Unknown" && accepted.reason == Reason::WaitingForDependency.as_str();
    let named = |(kind, name): &(Kind, String)| {
        let words = format!("no plugin for {} \"{name}\"", kind.as_str().replace('-', " "));
        accepted.message.contains(&words)
    };
    waits && types.is_none_or(|types| types.iter().any(named))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use kubeopencode_api::condition::{ConditionStatus, Conditions};

    use super::*;

    #[test]
    fn who_waits_for_a_type_is_woken_by_it_alone() {
        let mut conditions = Vec::new();
        let message = "no plugin for context type \"Jira\" yet: Plugin \"jira\" is loading";
        Conditions::new(&mut conditions, None, Timestamp::UNIX_EPOCH).set(
            TaskCondition::Accepted,
            ConditionStatus::Unknown,
            Reason::WaitingForDependency,
            message,
        );
        let types = |kind, name: &str| [(kind, name.to_owned())];
        assert!(waits_for_plugin(&conditions, None));
        assert!(waits_for_plugin(&conditions, Some(&types(Kind::ContextType, "Jira"))));
        assert!(!waits_for_plugin(&conditions, Some(&types(Kind::ContextType, "JiraSearch"))));
        assert!(!waits_for_plugin(&conditions, Some(&types(Kind::CommandBuilder, "Jira"))));
        assert!(!waits_for_plugin(&[], None));
    }
}
