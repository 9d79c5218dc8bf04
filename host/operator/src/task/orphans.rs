//! Pods whose Task is gone: found at the start, every ten minutes, and when a Task vanishes without its finalizer. Each
//! group is swept by itself: what is not known of one says nothing of the other.
//!
//! Of a Task that is gone only its Pods tell, and anybody may write what a Pod says. So nothing is deleted that an
//! operator would not have made, and nothing that somebody has copied.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::names::{AgentKey, TaskUid};
use kubeopencode_api::task::Phase;

use super::decide::PodDeletion;
use super::delete::{remove_config_map_of, remove_pod};
use super::reconcile::Context;
use crate::cache::pod_places::{PodPlaces, claimed};
use crate::cache::pod_view::PodView;
use crate::frontend::{Frontend, each_task, live_task};
use crate::runtime::api_error::words;

const RESYNC: Duration = Duration::from_secs(600);
const COUNT_RESYNC: Duration = Duration::from_secs(15);

/// Deletes those of a group until it is dropped.
pub(crate) async fn run<F: Frontend>(context: Arc<Context>) {
    let tasks = F::tasks(&context.caches);
    if !tasks.until_listed().await {
        return;
    }
    let mut rounds = tokio::time::interval(RESYNC);
    loop {
        rounds.tick().await;
        let known: HashSet<_> = tasks.state().iter().filter_map(|task| task.meta().uid.clone()).collect();
        context.caches.pods.forget_all_but(F::GROUP, |uid| known.contains(&uid.0));
        for pod in context.caches.pods.all() {
            let is_unknown =
                |places: &PodPlaces| places.key.group == F::GROUP && !known.contains(&places.uid.0);
            let Some(places) = claimed(&pod).filter(is_unknown) else { continue };
            if let Err(error) = delete_orphan(&context, &pod, &places).await {
                tracing::warn!(task = %places.key, error = words(&error), "Pods of a Task that is gone could not be deleted; tried again in ten minutes");
            }
        }
    }
}

/// Counts the Tasks of both groups by their phases, until it is dropped.
pub(crate) async fn run_counts(context: Arc<Context>) {
    if !context.caches.tasks.until_listed().await {
        return;
    }
    let mut counts = tokio::time::interval(COUNT_RESYNC);
    loop {
        counts.tick().await;
        count(&context);
    }
}

/// Deletes a Pod whose Task the cache does not show, if an operator made it where it is.
async fn delete_orphan(context: &Context, pod: &PodView, places: &PodPlaces) -> Result<(), kube::Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let was_made_here = if namespace == places.key.namespace {
        has_owner(&context.client, pod, &places.uid).await?
    } else {
        // a Pod without an owner can be copied as it is, and runs where its Agent is
        pod.pod_agent().is_some_and(|agent: AgentKey| context.caches.has_agent(&agent))
    };
    if was_made_here { delete_of(context, places).await } else { Ok(()) }
}

/// Whether the Task owns the Pod, so that Kubernetes would collect it, too. No copy in another namespace has that for
/// long.
async fn has_owner(client: &Client, pod: &PodView, task: &TaskUid) -> Result<bool, kube::Error> {
    let api = Api::<Pod>::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
    let there =
        api.get_metadata_opt(&pod.name_any()).await?.filter(|there| there.metadata.uid == pod.metadata.uid);
    Ok(there.is_some_and(|there| there.owner_references().iter().any(|owner| owner.uid == task.0)))
}

/// Deletes the Pods of a Task if the API server knows no such Task.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn delete_of(context: &Context, places: &PodPlaces) -> Result<(), kube::Error> {
    let PodPlaces { key, uid, .. } = places;
    if context.caches.task_uid(key).as_ref() == Some(uid)
        || live_task(&context.client, key, uid).await?.is_some()
    {
        return Ok(());
    }
    for pod in context.caches.pods.of(places) {
        tracing::info!(pod = %pod.name_any(), namespace = pod.namespace(), task = %key, "deleting a Pod whose Task is gone");
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        // in the Task's own namespace garbage collection takes them
        if namespace != key.namespace {
            for name in pod.own_config_maps() {
                remove_config_map_of(&context.client, (key.group, uid), namespace, name).await?;
            }
        }
        remove_pod(&context.client, &PodDeletion::of(Arc::clone(&pod))).await?;
    }
    Ok(())
}

fn count(context: &Context) {
    let phases = [Phase::Pending, Phase::Queued, Phase::Running, Phase::Completed, Phase::Failed];
    let mut counts = [0_i64; 5];
    each_task(&context.caches, |task| {
        let place = phases.iter().position(|known| *known == task.phase());
        if let Some(count) = place.and_then(|i| counts.get_mut(i)) {
            *count += 1;
        }
    });
    for (phase, count) in phases.into_iter().zip(counts) {
        context.metrics.tasks(phase, count);
    }
}
