//! The Tasks of `kubetask.io`: their WorkspaceConfigs, and the Batches that their contexts may stand in.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::Api;
use kube::runtime::reflector::Store;
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::{Batch, BatchPhase};
use kubeopencode_api::kubetask::batch_task::{BATCH_LABEL, batch_task_name};
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_plan::frontend::kubetask::{self as plan, BatchPart};
use kubeopencode_plan::{Refusal, Run, Settings};

use super::{Frontend, Runner, Unresolved, readable};
use crate::cache::item::{Item, Kind};
use crate::cache::task_view::{TaskRef, stop_annotation};
use crate::cache::{Caches, is_listed};

/// The second group.
pub(crate) struct KubeTask;

impl Frontend for KubeTask {
    const GROUP: Group = Group::KubeTask;

    type Object = Task;

    fn tasks(caches: &Caches) -> &Store<Item<Task>> {
        &caches.kubetask.tasks
    }

    fn task_ref(task: &Item<Task>) -> Option<TaskRef<'_>> {
        Some(TaskRef {
            group: Self::GROUP,
            metadata: task.meta(),
            status: task.status().ok()?,
            stop: stop_annotation(Self::GROUP, task.meta()),
            timeout: task.get().ok().and_then(|task| task.spec.timeout.as_deref()),
        })
    }

    fn slim(task: &mut Item<Task>) {
        task.slim(|task| task.spec.contexts = Vec::new());
    }

    fn spec_runner(task: &Item<Task>) -> Result<Runner, Refusal> {
        let read = readable(task)?;
        Ok(Runner::Workspace(workspace_key(read)))
    }

    /// None: a WorkspaceConfig has no timeout, and a Batch writes its own into its Tasks.
    fn timeout(_: Option<&Runner>, _: &Caches) -> Option<(String, String)> {
        None
    }

    fn agent_images(caches: &Caches, runner: &Runner, settings: &Settings) -> Option<[String; 2]> {
        let Runner::Workspace(key) = runner else { return None };
        let item = caches.kubetask.workspace(key);
        // one that was named and is gone may be on its way back
        if item.is_none() && key.name != DEFAULT_NAME {
            return None;
        }
        let workspace = item.as_deref().map(Item::get).transpose().ok()?;
        Some(plan::agent_images(workspace, settings))
    }

    async fn resolve(
        client: &Client,
        item: &Item<Task>,
        caches: &Caches,
        settings: &Settings,
    ) -> Result<Run, Unresolved> {
        let task = readable(item).map_err(Unresolved::Refused)?;
        let batch = match controller(task) {
            Some(owner) => Some(batch_of(client, task, owner, caches).await?),
            None if task.labels().contains_key(BATCH_LABEL) && task.spec.contexts.is_empty() => {
                return Err(Unresolved::Refused(batch_is_gone(task)));
            }
            None => None,
        };
        let batch = batch.as_ref().map(|(batch, index)| BatchPart { batch, index: *index });
        let workspace = workspace_of(client, task, caches).await?;
        plan::task(task, batch, workspace.as_ref(), settings).map_err(Unresolved::Refused)
    }
}

/// Whether a Batch made the Task that is not over, or of which that is not known.
pub(crate) fn is_of_open_batch(caches: &Caches, task: TaskRef<'_>) -> bool {
    let Some(owner) = task.batch() else { return false };
    if !is_listed(&caches.kubetask.batches) {
        return true;
    }
    // by UID: one of the same name may be another one
    let batch = caches.kubetask.batch(&ObjectKey::new(task.namespace(), &owner.name));
    batch.filter(|batch| batch.meta().uid.as_ref() == Some(&owner.uid)).is_some_and(|batch| !is_over(&batch))
}

/// Whether a Batch is over.
pub(crate) fn is_over(batch: &Item<Batch>) -> bool {
    let phase = batch.status().ok().flatten().and_then(|status| status.phase);
    phase.is_some_and(BatchPhase::is_terminal)
}

fn workspace_key(task: &Task) -> ObjectKey {
    ObjectKey::new(task.namespace().unwrap_or_default(), plan::workspace_name(task))
}

fn controller(task: &Task) -> Option<&OwnerReference> {
    task.metadata.owner_references.as_ref()?.first()
}

/// The Task's WorkspaceConfig; `None`: there is none and none is named. A watch of files that were applied in one go may
/// show the Task first, so the API server is asked before one counts as missing.
async fn workspace_of(
    client: &Client,
    task: &Task,
    caches: &Caches,
) -> Result<Option<WorkspaceConfig>, Unresolved> {
    let key = workspace_key(task);
    let cached = caches.kubetask.workspace(&key);
    let live = match cached {
        Some(_) => None,
        None => live::<WorkspaceConfig>(client, &key).await?,
    };
    match cached.as_deref().or(live.as_ref()).map(Item::get) {
        Some(Ok(workspace)) => Ok(Some(workspace.clone())),
        // as with an Agent: it may be mended
        Some(Err(unreadable)) => Err(Unresolved::Missing(Refusal::workspace_config(format!(
            "WorkspaceConfig \"{}\" cannot be read: {unreadable}",
            key.name
        )))),
        None if plan::is_explicit(task) => Err(Unresolved::Missing(plan::workspace_not_found(task))),
        None => Ok(None),
    }
}

/// The Batch that controls the Task, and which of its Tasks this is.
async fn batch_of(
    client: &Client,
    task: &Task,
    owner: &OwnerReference,
    caches: &Caches,
) -> Result<(Batch, usize), Unresolved> {
    let key = ObjectKey::new(task.namespace().unwrap_or_default(), &owner.name);
    let is_it = |batch: &Item<Batch>| batch.meta().uid.as_ref() == Some(&owner.uid);
    let cached = caches.kubetask.batch(&key).filter(|batch| is_it(batch));
    let live = match cached {
        Some(_) => None,
        None => live::<Batch>(client, &key).await?.filter(is_it),
    };
    let batch = match cached.as_deref().or(live.as_ref()).map(Item::get) {
        Some(Ok(batch)) => batch,
        Some(Err(unreadable)) => {
            let message = format!("Batch \"{}\" cannot be read: {unreadable}", key.name);
            return Err(Unresolved::Missing(Refusal::context(message)));
        }
        None => return Err(Unresolved::Refused(batch_is_gone(task))),
    };
    match index_of(&key.name, &task.name_any()).filter(|index| *index < batch.spec.variable_contexts.len()) {
        Some(index) => Ok((batch.clone(), index)),
        None => Err(Unresolved::Refused(Refusal::context(format!(
            "Task \"{}\" has the Batch \"{}\" as its controller and the name of none of its Tasks: remove \
             metadata.ownerReferences, or make a Task of your own",
            task.name_any(),
            key.name
        )))),
    }
}

/// Which Task of a Batch has this name.
fn index_of(batch: &str, task: &str) -> Option<usize> {
    let (_, index) = task.rsplit_once("-task-")?;
    let index = index.parse().ok()?;
    (batch_task_name(batch, index) == task).then_some(index)
}

fn batch_is_gone(task: &Task) -> Refusal {
    Refusal::context(format!("Task \"{}\": its Batch is gone, and its contexts with it", task.name_any()))
}

async fn live<K>(client: &Client, key: &ObjectKey) -> Result<Option<Item<K>>, Unresolved>
where
    K: Kind<Scope = kube::core::NamespaceResourceScope> + Send + Sync,
{
    let api = Api::<Item<K>>::namespaced(client.clone(), &key.namespace);
    api.get_opt(&key.name).await.map_err(Unresolved::Unanswered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batchs_task_is_known_by_its_name() {
        for (batch, task, index) in [
            ("update", "update-task-0", Some(0)),
            ("update", "update-task-12", Some(12)),
            ("a-task-3", "a-task-3-task-4", Some(4)),
            ("update", "update-task-01", None),
            ("update", "update-task-", None),
            ("update", "updates-task-1", None),
            ("update", "fix", None),
        ] {
            assert_eq!(index_of(batch, task), index, "{task} of {batch}");
        }
        let long = "x".repeat(250);
        assert_eq!(index_of(&long, &batch_task_name(&long, 999)), Some(999), "a name that was cut");
    }
}
