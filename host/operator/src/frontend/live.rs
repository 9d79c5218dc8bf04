//! Objects as the API server has them now: where the cache may be behind, or does not keep what is needed.

use std::sync::Arc;

use kube::Client;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kubeopencode_api::names::{ObjectKey, TaskKey, TaskUid};

use super::Frontend;
use crate::cache::item::{Item, Kind};
use crate::cache::recent::Recent;
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

/// The whole of an object of which the cache keeps a part, or that it does not show, as it is now or as it was read before; `None`:
/// there is none.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn whole_object<K>(
    client: &Client,
    key: &ObjectKey,
    cached: Option<Arc<Item<K>>>,
    recent: &Recent<K>,
) -> Result<Option<Arc<Item<K>>>, kube::Error>
where
    K: Kind<Scope = NamespaceResourceScope> + Send + Sync,
{
    if let Some(whole) = cached.and_then(|cached| recent.whole(&cached)) {
        return Ok(Some(whole));
    }
    let api = Api::<Item<K>>::namespaced(client.clone(), &key.namespace);
    let live = api.get_opt(&key.name).await?;
    Ok(live.map(|live| recent.keep(live)))
}
