//! Who is concerned by a change that is not the Task's own: one vanished, an Agent came, went or changed.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kubeopencode_api::condition::{Reason, TaskCondition, find};
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_api::names::{AgentKey, ObjectKey, TaskKey, TaskUid};
use kubeopencode_api::plugin::Kind;

use super::Queues;
use crate::cache::Caches;
use crate::cache::item::Item;
use crate::cache::pod_places::PodPlaces;
use crate::cache::pod_view::PodView;
use crate::cache::task_view::TaskRef;
use crate::frontend::{Frontend, KubeOpenCode, KubeTask, Runner, cached_task, tasks_that};
use crate::runtime::api_error::words;
use crate::task::orphans;
use crate::task::reconcile::{Context, recorded_or_spec_runner};

/// An annotation that stops nothing came with this change, which the cache has not taken in yet: whoever set it hears of it.
pub(super) fn tell_of_ignored_stop<F: Frontend>(context: &Context, item: &Item<F::Object>) {
    let Some(task) = F::task_ref(item).filter(|task| !task.is_terminal()) else { return };
    let Some((key, value)) = task.ignored_stop() else { return };
    let is_known = |before: TaskRef<'_>| before.ignored_stop() == Some((key, value));
    if !cached_task(&context.caches, &task.key(), is_known).unwrap_or(false) {
        let note = format!("The annotation {key} is \"{value}\": only \"true\" stops a Task");
        context.writer.warn(task, "StopIgnored", note);
    }
}

/// A Task vanished: what was kept of it goes, its slot may be free, and a Pod that it left behind is deleted.
pub(super) fn task_is_gone<F: Frontend>(context: &Arc<Context>, item: &Item<F::Object>) {
    let (uid, key) = (TaskUid::of(item), TaskKey::of(F::GROUP, item));
    context.launches.cancel(&key);
    context.writer.tasks(F::GROUP).forget(&uid.0);
    context.failures.forget(&uid);
    context.busy.forget(&uid);
    context.caches.pods.forget(&uid);
    if let Some(runner) = recorded_or_spec_runner::<F>(item) {
        let was_launched = F::task_ref(item).is_some_and(|task| task.pod_uid().is_some());
        context.admission.task_is_gone(&runner, &uid, was_launched);
    }
    let Some(places) = places_of::<F>(item).filter(|places| !context.caches.pods.of(places).is_empty())
    else {
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
fn places_of<F: Frontend>(item: &Item<F::Object>) -> Option<PodPlaces> {
    let task = F::task_ref(item)?;
    let places = PodPlaces::of(task).and_in(task.namespace());
    let runner = F::spec_runner(item).ok().filter(|_| task.pod_uid().is_none());
    Some(runner.into_iter().fold(places, |places, runner| places.and_in(runner.namespace())))
}

/// Whether a Task may still ask how this Pod ended, which is gone. While not all Tasks were listed, any may.
pub(super) fn may_ask_for(caches: &Caches, pod: &PodView) -> bool {
    if !caches.has_tasks_of(pod.group()) {
        return true;
    }
    let Some(key) = pod.task_key() else { return false };
    match key.group {
        Group::KubeOpenCode => is_at_its_places::<KubeOpenCode>(caches, &key, pod),
        Group::KubeTask => is_at_its_places::<KubeTask>(caches, &key, pod),
    }
}

fn is_at_its_places<F: Frontend>(caches: &Caches, key: &TaskKey, pod: &PodView) -> bool {
    let item = F::tasks(caches).get(&ObjectRef::new(&key.name).within(&key.namespace));
    item.and_then(|item| places_of::<F>(&item)).is_some_and(|places| places.fit(pod))
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
    let known = pod.task_key().and_then(|key| context.caches.task_uid(&key));
    if let Some(agent) = pod.pod_agent().filter(|_| known.is_none() || known != pod.task_uid()) {
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
            None => KubeOpenCode::spec_runner(item).is_ok_and(|runner| runner.agent() == Some(agent)),
            Some(_) => task.timeout.is_none() && task.recorded_agent().is_some_and(|key| key == *agent),
        };
        is_concerned.then(|| task.key())
    });
    concerned.collect()
}

/// Settings that changed. Whoever may write those of one namespace enqueues nobody of another.
pub(super) struct ChangedSettings<'a> {
    namespaces: Vec<String>,
    operator_namespace: &'a str,
}

impl<'a> ChangedSettings<'a> {
    /// Of these KubeOpenCodeConfigs; `None`: one of another name is nobody's settings.
    pub(super) fn of(changed: Vec<ObjectKey>, operator_namespace: &'a str) -> Option<Self> {
        let settings = changed.into_iter().filter(|key| key.name == DEFAULT_NAME);
        let namespaces: Vec<_> = settings.map(|key| key.namespace).collect();
        (!namespaces.is_empty()).then_some(Self { namespaces, operator_namespace })
    }

    /// Whether they hold for what is in this namespace: those of the operator's do everywhere.
    pub(super) fn hold_in(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|of| of == namespace || of == self.operator_namespace)
    }

    /// Whether they concern a Task: it is not over, and they hold in its namespace, or where its Pod runs.
    pub(super) fn concern<F: Frontend>(&self, item: &Item<F::Object>) -> bool {
        let task = F::task_ref(item);
        if task.is_some_and(|task| task.is_terminal()) {
            return false;
        }
        let recorded = task.and_then(|task| task.recorded_agent()).map(Runner::Agent);
        let runners = [recorded, F::spec_runner(item).ok()];
        self.hold_in(item.meta().namespace.as_deref().unwrap_or_default())
            || runners.iter().flatten().any(|runner| self.hold_in(runner.namespace()))
    }
}

/// The Tasks that a new list of Pods may concern: those that are not over, those that are being deleted, and those with a
/// Pod that is not over.
pub(super) fn tasks_with_a_pod_to_follow(caches: &Caches) -> Vec<TaskKey> {
    let mut tasks = tasks_that(caches, |task| !task.is_terminal() || task.is_deleting());
    tasks.extend(caches.pods.tasks_with_live_pods());
    tasks
}

/// The Tasks that a WorkspaceConfig's coming, going or change concerns: those that wait for it, or whose Pod waits for its
/// image.
pub(super) fn tasks_of_workspace(caches: &Caches, workspace: &ObjectKey) -> Vec<TaskKey> {
    let tasks = caches.kubetask.tasks.state();
    let concerned = tasks.iter().filter_map(|item| {
        let task = KubeTask::task_ref(item).filter(|task| !task.is_terminal())?;
        let runner = KubeTask::spec_runner(item).ok()?;
        matches!(&runner, Runner::Workspace(key) if key == workspace).then(|| task.key())
    });
    concerned.collect()
}

/// The Tasks that a Batch's coming, going or change concerns.
pub(super) fn tasks_of_batch(caches: &Caches, batch: &ObjectKey) -> Vec<TaskKey> {
    let is_of = |task: TaskRef<'_>| {
        task.namespace() == batch.namespace && task.batch().is_some_and(|owner| owner.name == batch.name)
    };
    tasks_that(caches, |task| !task.is_terminal() && is_of(task))
}

/// The Tasks that wait for a plugin of one of these types, by what they say themselves; `None`: of any type.
pub(super) fn tasks_that_wait_for_plugins(caches: &Caches, types: Option<&[(Kind, String)]>) -> Vec<TaskKey> {
    tasks_that(caches, |task| !task.is_terminal() && waits_for_plugin(task.conditions(), types))
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
    use kubeopencode_api::task::Task;
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_concern_who_is_there_or_has_a_pod_there_and_those_of_the_operator_everybody() {
        let task = |status: serde_json::Value| -> Item<Task> {
            let spec = json!({"description": "d", "agentRef": {"name": "default", "namespace": "agents"}});
            let metadata = json!({"name": "fix", "namespace": "team", "uid": "u"});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
        };
        let was_elsewhere =
            json!({"phase": "Queued", "agentRef": {"name": "default", "namespace": "before"}});
        let concern = |namespace: &str, status: serde_json::Value| {
            let changed = vec![ObjectKey::new(namespace, DEFAULT_NAME)];
            ChangedSettings::of(changed, "system").unwrap().concern::<KubeOpenCode>(&task(status))
        };
        for (namespace, concerned) in
            [("team", true), ("agents", true), ("before", true), ("system", true), ("other", false)]
        {
            assert_eq!(concern(namespace, was_elsewhere.clone()), concerned, "{namespace}");
            assert!(!concern(namespace, json!({"phase": "Completed"})), "{namespace}");
        }
        assert!(ChangedSettings::of(vec![ObjectKey::new("team", "mine")], "system").is_none());
    }

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
