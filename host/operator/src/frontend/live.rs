//! A Task as the API server has it now: where the cache may be behind, or does not keep what is needed.

use kube::Client;
use kube::api::Api;
use kubeopencode_api::names::{TaskKey, TaskUid};

use super::Frontend;
use crate::cache::item::Item;
use crate::cache::task_view::{TaskRef, TaskView};

/// Metadata and status of a Task; `None`: there is none of this UID.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn live_task(
    client: &Client,
    key: &TaskKey,
    uid: &TaskUid,
) -> Result<Option<TaskView>, kube::Error> {
    let api = Api::<TaskView>::namespaced_with(client.clone(), &key.namespace, &key.group);
    let live = api.get_opt(&key.name).await?;
    Ok(live.filter(|live| live.metadata.uid.as_ref() == Some(&uid.0)))
}

/// The whole Task of which the cache keeps a part; `None`: it changed meanwhile.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn whole_task<F: Frontend>(
    client: &Client,
    task: TaskRef<'_>,
) -> Result<Option<Item<F::Object>>, kube::Error> {
    let api = Api::<Item<F::Object>>::namespaced(client.clone(), task.namespace());
    let live = api.get_opt(task.name()).await?;
    Ok(live.filter(|live| {
        let live = kube::Resource::meta(live);
        live.uid == task.metadata.uid && live.generation == task.metadata.generation
    }))
}
