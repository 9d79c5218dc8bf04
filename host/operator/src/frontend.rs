//! How the Tasks of an API group come in: the only modules that know a spec of a Task. Everything behind them works on
//! [`TaskRef`] and on what [`Frontend::resolve`] gives.

mod kubeopencode;
mod kubetask;
mod live;
mod runner;

use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource};
use kubeopencode_api::group::Group;
use kubeopencode_api::names::TaskKey;
use kubeopencode_api::task::TaskStatus;
use kubeopencode_plan::{Refusal, Run, Settings};

use crate::cache::Caches;
use crate::cache::item::{Item, Kind};
use crate::cache::listed::Cached;
use crate::cache::task_view::{TaskRef, stop_annotation};

pub(crate) use kubeopencode::{KubeOpenCode, slim_agent, whole_agent};
pub(crate) use kubetask::{
    BatchObject, KubeTask, OverBatch, batches_that_are_over, batches_that_go_on, is_of, is_of_batch, is_over,
    slim_workspace,
};
pub(crate) use live::{live_task, whole_task};
pub(crate) use runner::Runner;

/// The Tasks of one API group.
pub(crate) trait Frontend: Send + Sync + 'static {
    /// The group.
    const GROUP: Group;

    /// Its Task.
    type Object: Kind<Scope = NamespaceResourceScope> + HasStatus<Status = TaskStatus> + Send + Sync + 'static;

    /// Those that the watch shows.
    fn tasks(caches: &Caches) -> &Cached<Item<Self::Object>>;

    /// `spec.timeout` of a Task, as it was written.
    fn own_timeout(task: &Self::Object) -> Option<&str>;

    /// What the shared stages see of it; `None`: its status cannot be read.
    fn task_ref(task: &Item<Self::Object>) -> Option<TaskRef<'_>> {
        Some(TaskRef {
            group: Self::GROUP,
            metadata: task.meta(),
            status: task.status().ok()?,
            stop: stop_annotation(Self::GROUP, task.meta()),
            timeout: task.get().ok().and_then(Self::own_timeout),
        })
    }

    /// Whether a Task that is being deleted has to stay a moment, since somebody has not taken note of it or of its end.
    fn is_to_be_counted(_: TaskRef<'_>, _: &Caches) -> bool {
        false
    }

    /// Drops what only the launch needs: contexts, prompt, labels.
    fn slim(task: &mut Item<Self::Object>);

    /// What the Task names to run its agent: where that has limits, they hold for the Task.
    ///
    /// # Errors
    /// What of it cannot be read, or cannot be the name of such an object.
    fn spec_runner(task: &Item<Self::Object>) -> Result<Runner, Refusal>;

    /// The timeout of a Task that has none of its own, before that of the settings: text, and the field that it stands in.
    fn timeout(runner: Option<&Runner>, caches: &Caches) -> Option<(String, String)>;

    /// What the container `agent` of a Pod with this runner may run now; `None`: that is not known.
    fn agent_images(caches: &Caches, runner: &Runner, settings: &Settings) -> Option<[String; 2]>;

    /// What the objects take in memory that its launch reads: `spec_weight` of those that the caches show.
    fn weight(task: &Item<Self::Object>, runner: &Runner, caches: &Caches) -> usize;

    /// Reads and checks all that the Task's Pod is planned from. What the caches do not show may be asked for.
    fn resolve(
        client: &Client,
        task: &Item<Self::Object>,
        caches: &Caches,
        settings: &Settings,
    ) -> impl Future<Output = Result<Run, Unresolved>> + Send;
}

/// Why there is nothing to evaluate.
#[derive(Debug)]
pub(crate) enum Unresolved {
    /// The Task can never run as it is.
    Refused(Refusal),
    /// Something is missing that may still come.
    Missing(Refusal),
    /// The API server did not answer.
    Unanswered(kube::Error),
}

/// What `read` says of a Task of either group; `None`: the cache does not show it, or its status cannot be read.
pub(crate) fn cached_task<R>(
    caches: &Caches,
    key: &TaskKey,
    read: impl FnOnce(TaskRef<'_>) -> R,
) -> Option<R> {
    fn of<F: Frontend, R>(caches: &Caches, key: &TaskKey, read: impl FnOnce(TaskRef<'_>) -> R) -> Option<R> {
        let item = F::tasks(caches).get(&ObjectRef::new(&key.name).within(&key.namespace))?;
        F::task_ref(&item).map(read)
    }
    match key.group {
        Group::KubeOpenCode => of::<KubeOpenCode, R>(caches, key, read),
        Group::KubeTask => of::<KubeTask, R>(caches, key, read),
    }
}

/// Shows each Task of both groups whose status can be read.
pub(crate) fn each_task(caches: &Caches, mut look: impl FnMut(TaskRef<'_>)) {
    fn of<F: Frontend>(caches: &Caches, look: &mut impl FnMut(TaskRef<'_>)) {
        F::tasks(caches).state().iter().filter_map(|item| F::task_ref(item)).for_each(look);
    }
    of::<KubeOpenCode>(caches, &mut look);
    of::<KubeTask>(caches, &mut look);
}

/// The Tasks of both groups that `are` so.
pub(crate) fn tasks_that(caches: &Caches, mut are: impl FnMut(TaskRef<'_>) -> bool) -> Vec<TaskKey> {
    let mut keys = Vec::new();
    each_task(caches, |task| {
        if are(task) {
            keys.push(task.key());
        }
    });
    keys
}

fn readable<K: Kind>(task: &Item<K>) -> Result<&K, Refusal> {
    task.get().map_err(|unreadable| Refusal::invalid_config(unreadable.to_string()))
}
