//! Pods whose Task is gone: found at the start, every ten minutes, and when a Task vanishes without its finalizer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use kubeopencode_api::names::{TaskKey, TaskUid};
use kubeopencode_api::task::{Phase, Task};

use super::decide::PodDeletion;
use super::delete::{remove_config_map_of, remove_pod};
use super::reconcile::Context;
use crate::cache::item::Item;
use crate::frontend::{Frontend, KubeOpenCode, live_task};
use crate::runtime::api_error::words;

const RESYNC: Duration = Duration::from_secs(600);
const COUNT_RESYNC: Duration = Duration::from_secs(15);

/// Deletes them until it is dropped.
pub(crate) async fn run(context: Arc<Context>, tasks: Store<Item<Task>>) {
    if tasks.wait_until_ready().await.is_err() {
        return;
    }
    let (mut rounds, mut counts) = (tokio::time::interval(RESYNC), tokio::time::interval(COUNT_RESYNC));
    loop {
        tokio::select! {
            _ = rounds.tick() => {
                let known: HashSet<_> = tasks.state().iter().filter_map(|task| task.uid()).collect();
                context.caches.pods.forget_all_but(|uid| known.contains(&uid.0));
                for (uid, key) in context.caches.pods.tasks() {
                    if let Err(error) = delete_of(&context, &uid, &key).await {
                        tracing::warn!(task = %key, error = words(&error), "Pods of a Task that is gone could not be deleted; tried again in ten minutes");
                    }
                }
            }
            _ = counts.tick() => count(&context, &tasks),
        }
    }
}

/// Deletes the Pods of a Task if the API server knows no such Task.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn delete_of(context: &Context, uid: &TaskUid, key: &TaskKey) -> Result<(), kube::Error> {
    let known = context.caches.task(key, |task| TaskUid::of(task) == *uid);
    if known == Some(true) {
        return Ok(());
    }
    if live_task(&context.client, key, uid).await?.is_some() {
        return Ok(());
    }
    for pod in context.caches.pods.of(uid) {
        tracing::info!(pod = %pod.name_any(), namespace = pod.namespace(), task = %key, "deleting a Pod whose Task is gone");
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        // in the Task's own namespace garbage collection takes them
        if namespace != key.namespace {
            for name in pod.context_config_maps() {
                remove_config_map_of(&context.client, uid, namespace, name).await?;
            }
        }
        remove_pod(&context.client, &PodDeletion::of(Arc::clone(&pod))).await?;
    }
    Ok(())
}

fn count(context: &Context, tasks: &Store<Item<Task>>) {
    let phases = [Phase::Pending, Phase::Queued, Phase::Running, Phase::Completed, Phase::Failed];
    let mut counts = [0_i64; 5];
    for item in tasks.state() {
        let phase = KubeOpenCode::task_ref(&item).map(|task| task.phase()).unwrap_or_default();
        if let Some(count) = phases.iter().position(|known| *known == phase).and_then(|i| counts.get_mut(i)) {
            *count += 1;
        }
    }
    for (phase, count) in phases.into_iter().zip(counts) {
        context.metrics.tasks(phase, count);
    }
}
