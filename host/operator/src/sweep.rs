//! Pods whose Task is gone: found at the start, every ten minutes, and when a Task vanishes without its finalizer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::reflector::Store;
use kubeopencode_api::names::{ObjectKey, TaskUid};
use kubeopencode_api::task::{Phase, Task};

use crate::answers::is_not_found;
use crate::caches::GuardedTask;
use crate::decide::Doomed;
use crate::reconcile::Operator;
use crate::remove::{remove_config_map_of, remove_pod};

const ROUND: Duration = Duration::from_secs(600);
const COUNT_ROUND: Duration = Duration::from_secs(15);

/// Sweeps until it is dropped.
pub(crate) async fn run(operator: Arc<Operator>, tasks: Store<GuardedTask>) {
    if tasks.wait_until_ready().await.is_err() {
        return;
    }
    let (mut rounds, mut counts) = (tokio::time::interval(ROUND), tokio::time::interval(COUNT_ROUND));
    loop {
        tokio::select! {
            _ = rounds.tick() => {
                let known: HashSet<_> = tasks.state().iter().filter_map(|task| task.uid()).collect();
                operator.caches.pods.forget_all_but(|uid| known.contains(&uid.0));
                for (uid, key) in operator.caches.pods.tasks() {
                    if let Err(error) = one(&operator, &uid, &key).await {
                        tracing::warn!(task = %key, %error, "Pods of a Task that is gone could not be deleted; tried again in ten minutes");
                    }
                }
            }
            _ = counts.tick() => count(&operator, &tasks),
        }
    }
}

/// Deletes the Pods of a Task if the API server knows no such Task.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn one(operator: &Operator, uid: &TaskUid, key: &ObjectKey) -> Result<(), kube::Error> {
    let known = operator.caches.task(key, |task| task.metadata.uid.as_deref() == Some(&uid.0));
    if known == Some(true) {
        return Ok(());
    }
    let live = Api::<Task>::namespaced(operator.client.clone(), &key.namespace).get_metadata(&key.name).await;
    match live {
        Ok(task) if task.uid().as_deref() == Some(&uid.0) => return Ok(()),
        Ok(_) => {}
        Err(error) if is_not_found(&error) => {}
        Err(error) => return Err(error),
    }
    for pod in operator.caches.pods.of(uid) {
        tracing::info!(pod = %pod.name_any(), namespace = ?pod.namespace(), task = %key, "deleting a Pod whose Task is gone");
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        // in the Task's own namespace garbage collection takes them
        if namespace != key.namespace {
            for name in pod.context_config_maps() {
                remove_config_map_of(&operator.client, uid, namespace, name).await?;
            }
        }
        remove_pod(&operator.client, &Doomed { gated: pod.is_gated(), pod: Arc::clone(&pod) }).await?;
    }
    Ok(())
}

fn count(operator: &Operator, tasks: &Store<GuardedTask>) {
    let phases = [Phase::Pending, Phase::Queued, Phase::Running, Phase::Completed, Phase::Failed];
    let mut counts = [0_i64; 5];
    for guarded in tasks.state() {
        let phase = guarded.0.as_ref().ok().and_then(|task| task.status.as_ref()?.phase).unwrap_or_default();
        if let Some(count) = phases.iter().position(|known| *known == phase).and_then(|i| counts.get_mut(i)) {
            *count += 1;
        }
    }
    for (phase, count) in phases.into_iter().zip(counts) {
        operator.metrics.tasks(phase, count);
    }
}
