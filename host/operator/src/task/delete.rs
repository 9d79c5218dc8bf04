//! Deleting Pods and ConfigMaps of Tasks, never more than what was seen: every delete carries the UID.

use futures::stream::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::{Client, ResourceExt};
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{Naming, TaskKey, TaskNames, TaskUid};

use super::decide::PodDeletion;
use crate::cache::pod_view::PodView;
use crate::cache::task_view::MadeIn;
use crate::runtime::api_error::{is_conflict, is_not_found};

/// ConfigMaps of one Task that are asked for at the same time.
const AT_ONCE: usize = 8;
/// ConfigMaps of a row. The launch makes one row after another, so that a row of which none is there is the end: how many there
/// may be says an annotation, which the Task's author may write.
pub(super) const IN_A_ROW: usize = 16;

/// What became of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The object is no longer there.
    Gone,
    /// It ends, in its own time.
    Going,
    /// It is not what it was: reconcile again.
    Changed,
}

/// Deletes a Pod. A gated one exactly as it was seen and at once: nothing runs in it, and should its gate have been
/// opened meanwhile, the delete is refused. Any other one gracefully.
///
/// # Errors
/// When the API server does not answer.
#[expect(clippy::disallowed_methods, reason = "this is the deletion of Pods, with their UIDs")]
pub(crate) async fn remove_pod(client: &Client, deletion: &PodDeletion) -> Result<Removal, kube::Error> {
    let pod = &deletion.pod;
    let api =
        Api::<PodView>::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
    let preconditions = Preconditions {
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone().filter(|_| deletion.gated),
    };
    let grace_period_seconds = deletion.gated.then_some(0);
    let params =
        DeleteParams { preconditions: Some(preconditions), grace_period_seconds, ..DeleteParams::default() };
    match api.delete(&pod.name_any(), &params).await {
        Ok(either) => Ok(either.left().map_or(Removal::Gone, |left| {
            // the answer shows the Pod as it was last, also when nothing is left to wait for
            if deletion.gated && left.finalizers().is_empty() { Removal::Gone } else { Removal::Going }
        })),
        Err(error) if is_not_found(&error) => Ok(Removal::Gone),
        Err(error) if is_conflict(&error) => Ok(Removal::Changed),
        Err(error) => Err(error),
    }
}

/// Deletes the ConfigMaps that were made for a Task in another namespace, where no garbage collection reaches: each name that
/// one of them can have is asked for, until [`IN_A_ROW`] are not there. Says whether all are gone.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn remove_config_maps(
    client: &Client,
    key: &TaskKey,
    uid: &TaskUid,
    made_in: &MadeIn,
) -> Result<bool, kube::Error> {
    // between namespaces every name has the UID in it
    let names = TaskNames::new(key, uid, &made_in.namespace, Naming::Plain);
    let ask = |name: String| async move {
        config_map_of(client, (key.group, uid), &made_in.namespace, &name).await
    };
    let mut there: Vec<ObjectMeta> = Vec::new();
    for first in (0..made_in.config_maps).step_by(IN_A_ROW) {
        let row = first..made_in.config_maps.min(first + IN_A_ROW);
        let answers = futures::stream::iter(row.map(|i| ask(names.context(i)))).buffered(AT_ONCE);
        let known = there.len();
        there.extend(answers.try_collect::<Vec<_>>().await?.into_iter().flatten());
        if there.len() == known {
            break;
        }
    }
    // the last ones first, so that those that are left when this ends half-way are found again
    let remove = |map: ObjectMeta| async move { remove_config_map(client, &map).await };
    let removals = futures::stream::iter(there.into_iter().rev().map(remove));
    let removed: Vec<_> = removals.buffered(AT_ONCE).try_collect().await?;
    Ok(!removed.contains(&Removal::Changed))
}

/// The ConfigMap of this name, if it was made for this Task.
async fn config_map_of(
    client: &Client,
    (group, task): (Group, &TaskUid),
    namespace: &str,
    name: &str,
) -> Result<Option<ObjectMeta>, kube::Error> {
    let there = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_metadata_opt(name).await?;
    let its = there.filter(|map| map.labels().get(group.names().task_uid_label) == Some(&task.0));
    Ok(its.map(|map| map.metadata))
}

/// Deletes the ConfigMap of this name if it was made for this Task; `None`: it was not, or there is none.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn remove_config_map_of(
    client: &Client,
    task: (Group, &TaskUid),
    namespace: &str,
    name: &str,
) -> Result<Option<Removal>, kube::Error> {
    match config_map_of(client, task, namespace, name).await? {
        Some(map) => remove_config_map(client, &map).await.map(Some),
        None => Ok(None),
    }
}

/// Deletes a ConfigMap exactly as it was seen.
///
/// # Errors
/// When the API server does not answer.
#[expect(clippy::disallowed_methods, reason = "this is the deletion of ConfigMaps, with their UIDs")]
pub(crate) async fn remove_config_map(client: &Client, map: &ObjectMeta) -> Result<Removal, kube::Error> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), map.namespace.as_deref().unwrap_or_default());
    let preconditions =
        Preconditions { uid: map.uid.clone(), resource_version: map.resource_version.clone() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(map.name.as_deref().unwrap_or_default(), &params).await {
        Ok(_) => Ok(Removal::Gone),
        Err(error) if is_not_found(&error) => Ok(Removal::Gone),
        Err(error) if is_conflict(&error) => Ok(Removal::Changed),
        Err(error) => Err(error),
    }
}
