//! The Tasks of `kubetask.io`: their WorkspaceConfigs, and the Batches that their contexts may stand in.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::{Batch, BatchPhase, BatchSpec};
use kubeopencode_api::kubetask::batch_task::{BATCH_LABEL, batch_task_name};
use kubeopencode_api::kubetask::context::Context;
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_api::kubetask::workspace_config::{WorkspaceConfig, WorkspaceConfigSpec};
use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_plan::frontend::kubetask::{self as plan, BatchPart};
use kubeopencode_plan::{Refusal, Run, Settings};

use super::live::whole_object;
use super::{Frontend, Runner, Unresolved, readable};
use crate::cache::Caches;
use crate::cache::item::{Item, Unreadable};
use crate::cache::listed::Cached;
use crate::cache::task_view::{TaskRef, batch_owner};

/// The second group.
pub(crate) struct KubeTask;

impl Frontend for KubeTask {
    const GROUP: Group = Group::KubeTask;

    type Object = Task;

    fn tasks(caches: &Caches) -> &Cached<Item<Task>> {
        &caches.kubetask.tasks
    }

    fn own_timeout(task: &Task) -> Option<&str> {
        task.spec.timeout.as_deref()
    }

    fn is_to_be_counted(task: TaskRef<'_>, caches: &Caches) -> bool {
        let Some(batch) = cached_batch(caches, task) else { return false };
        let index = index_of(&batch.name_any(), task.name());
        index.is_some_and(|index| !has_counted(&batch, index, task.is_terminal()))
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

    fn weight(task: &Item<Task>, runner: &Runner, caches: &Caches) -> usize {
        let workspace = match runner {
            Runner::Workspace(key) => caches.kubetask.workspace(key),
            Runner::Agent(_) => None,
        };
        let batch = Self::task_ref(task).and_then(|task| cached_batch(caches, task));
        // of one that was read before the launch has its own contexts alone, which it weighs itself
        let batch = batch.filter(|batch| caches.kubetask.recent_batches.whole(batch).is_none());
        task.spec_weight()
            + workspace.map_or(0, |workspace| workspace.spec_weight())
            + batch.map_or(0, |batch| batch.spec_weight())
    }

    async fn resolve(
        client: &Client,
        item: &Item<Task>,
        caches: &Caches,
        settings: &Settings,
    ) -> Result<Run, Unresolved> {
        let task = readable(item).map_err(Unresolved::Refused)?;
        let batch = match batch_owner(&task.metadata) {
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

/// Of a large WorkspaceConfig it is kept which image it names: the rest only a launch looks at.
pub(crate) fn slim_workspace(item: &mut Item<WorkspaceConfig>) {
    item.slim_if_large(|workspace| {
        let agent_image = workspace.spec.agent_image.take();
        workspace.spec = WorkspaceConfigSpec { agent_image, ..WorkspaceConfigSpec::default() };
    });
}

/// Whether a Batch made the Task that is still there, or of which that is not known.
pub(crate) fn is_of_batch(caches: &Caches, task: TaskRef<'_>) -> bool {
    task.batch().is_some() && (!caches.kubetask.batches.is_listed() || cached_batch(caches, task).is_some())
}

/// The Batch that made the Task, where the cache shows it.
fn cached_batch(caches: &Caches, task: TaskRef<'_>) -> Option<Arc<Item<Batch>>> {
    let batch = caches.kubetask.batch(&ObjectKey::new(task.namespace(), &task.batch()?.name));
    batch.filter(|batch| is_of(batch, task))
}

/// Whether the Batch made the Task.
pub(crate) fn is_of(batch: &Item<Batch>, task: TaskRef<'_>) -> bool {
    task.batch().is_some_and(|owner| is_named(batch, owner))
}

/// Whether an owner reference means this Batch: by UID, as one of the same name may be another one.
fn is_named(batch: &Item<Batch>, owner: &OwnerReference) -> bool {
    batch.meta().uid.as_ref() == Some(&owner.uid)
}

/// Whether a Batch that goes on has counted a Task: that it was made, and of one that is over, how it ended.
fn has_counted(batch: &Item<Batch>, index: usize, is_terminal: bool) -> bool {
    if batch.meta().deletion_timestamp.is_some() {
        return true;
    }
    match batch.status() {
        Ok(Some(status)) if is_terminal => status.is_over(index),
        Ok(Some(status)) => status.made() > index,
        Ok(None) => false,
        // nobody counts
        Err(_) => true,
    }
}

/// What makes Tasks of this group, for those who know only Tasks.
pub(crate) type BatchObject = Batch;

/// A Batch that is over and not being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OverBatch {
    /// `status.completionTime`
    pub(crate) completed: Timestamp,
    /// `metadata.creationTimestamp`
    pub(crate) created: Timestamp,
    /// Namespace and name.
    pub(crate) key: ObjectKey,
    /// `metadata.uid`
    pub(crate) uid: String,
}

impl OverBatch {
    fn of(batch: &Item<Batch>) -> Option<Self> {
        let (metadata, status) = (batch.meta(), batch.status().ok()??);
        if !is_over(batch) || metadata.deletion_timestamp.is_some() {
            return None;
        }
        Some(Self {
            completed: status.completion_time.as_ref()?.0,
            created: metadata.creation_timestamp.as_ref().map(|t| t.0).unwrap_or_default(),
            key: ObjectKey::of(batch),
            uid: metadata.uid.clone()?,
        })
    }
}

/// The Batches that are not over: of the others, of which there may be thousands, nothing is to be done any more.
pub(crate) fn batches_that_go_on(batches: &Cached<Item<Batch>>) -> Vec<ObjectKey> {
    let batches = batches.state();
    batches.iter().filter(|batch| !is_over(batch)).map(|batch| ObjectKey::of(batch.as_ref())).collect()
}

/// The Batches that are over.
pub(crate) fn batches_that_are_over(caches: &Caches) -> Vec<OverBatch> {
    caches.kubetask.batches.state().iter().filter_map(|batch| OverBatch::of(batch)).collect()
}

/// Whether a Batch is over.
pub(crate) fn is_over(batch: &Item<Batch>) -> bool {
    let phase = batch.status().ok().flatten().and_then(|status| status.phase);
    phase.is_some_and(BatchPhase::is_terminal)
}

fn workspace_key(task: &Task) -> ObjectKey {
    ObjectKey::new(task.namespace().unwrap_or_default(), plan::workspace_name(task))
}

/// The Task's WorkspaceConfig; `None`: there is none and none is named. A watch of files that were applied in one go may
/// show the Task first, so the API server is asked before one counts as missing.
async fn workspace_of(
    client: &Client,
    task: &Task,
    caches: &Caches,
) -> Result<Option<WorkspaceConfig>, Unresolved> {
    let key = workspace_key(task);
    let (cached, recent) = (caches.kubetask.workspace(&key), &caches.kubetask.recent_workspaces);
    let whole = whole_object(client, &key, cached, recent).await.map_err(Unresolved::Unanswered)?;
    match whole.as_deref().map(Item::get) {
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

/// The Batch that controls the Task, with no contexts of its other Tasks, and which of its Tasks this is.
async fn batch_of(
    client: &Client,
    task: &Task,
    owner: &OwnerReference,
    caches: &Caches,
) -> Result<(Batch, usize), Unresolved> {
    let key = ObjectKey::new(task.namespace().unwrap_or_default(), &owner.name);
    let cached = caches.kubetask.batch(&key).filter(|batch| is_named(batch, owner));
    let recent = &caches.kubetask.recent_batches;
    let whole = whole_object(client, &key, cached.clone(), recent).await.map_err(Unresolved::Unanswered)?;
    let Some(whole) = whole.filter(|batch| is_named(batch, owner)) else {
        return Err(Unresolved::Refused(batch_is_gone(task)));
    };
    let cannot_be_read = |unreadable: &Unreadable| {
        let message = format!("Batch \"{}\" cannot be read: {unreadable}", key.name);
        Unresolved::Missing(Refusal::context(message))
    };
    let batch = whole.get().map_err(cannot_be_read)?;
    // one that was read a while ago knows less of what is over
    let status = cached.as_ref().unwrap_or(&whole).status().map_err(cannot_be_read)?;
    match index_of(&key.name, &task.name_any()).filter(|index| *index < batch.spec.variable_contexts.len()) {
        // two operators made it, one of them long ago: what was counted does not run again
        Some(index) if status.is_some_and(|status| status.is_over(index)) => {
            let message = format!("index {index} of Batch \"{}\" is over: delete this Task", key.name);
            Err(Unresolved::Refused(Refusal::context(message)))
        }
        Some(index) => Ok((part_of(batch, index), index)),
        None => Err(Unresolved::Refused(Refusal::context(format!(
            "Task \"{}\" has the Batch \"{}\" as its controller and the name of none of its Tasks: remove \
             metadata.ownerReferences, or make a Task of your own",
            task.name_any(),
            key.name
        )))),
    }
}

/// What of a Batch is one Task's: it is kept while the Task is evaluated.
fn part_of(batch: &Batch, index: usize) -> Batch {
    let lists = batch.spec.variable_contexts.iter().enumerate();
    let own = |(i, contexts): (usize, &Vec<Context>)| if i == index { contexts.clone() } else { Vec::new() };
    let spec = BatchSpec {
        common_context: batch.spec.common_context.clone(),
        variable_contexts: lists.map(own).collect(),
        ..BatchSpec::default()
    };
    Batch { metadata: batch.metadata.clone(), spec, status: None }
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

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::cache::item::MAX_WHOLE;
    use crate::cache::listed::cached;

    fn batch(deleted: Value, status: Value) -> Item<Batch> {
        let metadata = json!({"name": "b", "namespace": "n", "uid": "u", "deletionTimestamp": deleted});
        let batch = json!({"metadata": metadata, "spec": {"variableContexts": [[]]}, "status": status});
        serde_json::from_value(batch).unwrap()
    }

    #[test]
    fn a_batch_is_over_with_its_phase_and_its_time() {
        let batch = |phase: &str, deleted: Value| {
            batch(deleted, json!({"phase": phase, "completionTime": "1970-01-01T00:00:45Z"}))
        };
        let over = OverBatch::of(&batch("Failed", json!(null))).unwrap();
        assert_eq!(
            (over.completed.as_second(), over.key, over.uid.as_str()),
            (45, ObjectKey::new("n", "b"), "u")
        );
        assert_eq!(OverBatch::of(&batch("Running", json!(null))), None);
        assert_eq!(OverBatch::of(&batch("Failed", json!("2026-01-01T00:00:00Z"))), None);
    }

    #[tokio::test]
    async fn batches_that_are_over_are_not_looked_at_again() {
        let named = |(name, status): (&str, Value)| {
            let mut batch = batch(json!(null), status);
            batch.meta_mut().name = Some(name.to_owned());
            batch
        };
        let listed = [
            ("completed", json!({"phase": "Completed"})),
            ("failed", json!({"phase": "Failed"})),
            ("new", json!({})),
            ("paused", json!({"phase": "Paused"})),
            ("running", json!({"phase": "Running"})),
            ("unreadable", json!({"phase": "Unheard"})),
        ];
        let listed = listed.map(named).map(Event::InitApply);
        let events = [Event::Init].into_iter().chain(listed).chain([Event::InitDone]);
        let (batches, writer) = cached::<Item<Batch>>();
        writer.reflect(futures::stream::iter(events.map(Ok))).for_each(|_| async {}).await;
        let mut names: Vec<_> = batches_that_go_on(&batches).into_iter().map(|key| key.name).collect();
        names.sort();
        assert_eq!(names, ["new", "paused", "running", "unreadable"]);
    }

    #[test]
    fn a_task_has_what_is_common_and_its_own_of_a_batch() {
        let file = |text: &str| json!({"type": "File", "file": {"name": "f", "source": {"inline": text}}});
        let spec = json!({"commonContext": [file("all")], "variableContexts": [[file("a")], [file("b")], [file("c")]]});
        let batch: Batch =
            serde_json::from_value(json!({"metadata": {"name": "b", "namespace": "n"}, "spec": spec}))
                .unwrap();
        let part = part_of(&batch, 1);
        assert_eq!(part.metadata, batch.metadata);
        assert_eq!(part.spec.common_context, batch.spec.common_context);
        let own = batch.spec.variable_contexts[1].clone();
        assert_eq!(part.spec.variable_contexts, [Vec::new(), own, Vec::new()]);
    }

    #[test]
    fn a_task_stays_until_its_batch_has_counted_it() {
        let (made, over) =
            (json!({"made": 3}), json!({"made": 3, "completedIndexes": "0,1", "failedIndexes": "2"}));
        for (batch, index, is_terminal, expected) in [
            (batch(json!(null), json!({})), 0, false, false),
            (batch(json!(null), made.clone()), 2, false, true),
            (batch(json!(null), made.clone()), 3, false, false),
            (batch(json!(null), made), 2, true, false),
            (batch(json!(null), over), 2, true, true),
            (batch(json!("2026-01-01T00:00:00Z"), json!({})), 2, true, true),
            (batch(json!(null), json!({"made": "many"})), 0, false, true),
        ] {
            assert_eq!(has_counted(&batch, index, is_terminal), expected, "{index} {is_terminal}");
        }
    }

    #[test]
    fn of_a_large_workspace_config_the_image_is_kept() {
        let kept = |text: &str| {
            let piece = json!({"type": "File", "file": {"name": "f", "source": {"inline": text}}});
            let spec = json!({"agentImage": "i", "serviceAccountName": "s", "defaultContexts": [piece]});
            let object =
                json!({"metadata": {"name": "default", "finalizers": ["example.com/a"]}, "spec": spec});
            let mut item = serde_json::from_value(object).unwrap();
            slim_workspace(&mut item);
            assert_eq!(item.meta().finalizers, None);
            item
        };
        let large: Item<WorkspaceConfig> = kept(&"x".repeat(MAX_WHOLE));
        assert!(!large.is_whole());
        assert_eq!(json!(large.get().unwrap().spec), json!({"agentImage": "i"}));
        let small = kept("x");
        assert!(small.is_whole());
        assert_eq!(small.get().unwrap().spec.default_contexts.len(), 1);
    }

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
