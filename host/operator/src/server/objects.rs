//! Objects of a server: created, applied, removed; only where the Agent owns them.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::literals::CONTEXT_FILES_VOLUME;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::runtime::api_error::{is_conflict, is_not_found};

/// Who the API server sees as the writer of these objects' fields.
const FIELD_MANAGER: &str = "kubeopencode";

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is there as planned.
    AsPlanned,
    /// Its name is held by an object that does not belong to the Agent: kind and name.
    Taken(String),
}

#[expect(
    clippy::disallowed_methods,
    reason = "what makes an Agent's server; Pods of Tasks are made by launch alone"
)]
/// Makes an object, or brings it back to its plan. By server-side apply, so that what leaves the plan leaves the object,
/// and what others add stays; one that can never change is created.
///
/// # Errors
/// When the API server does not answer or refuses.
pub(crate) async fn apply<K>(
    client: &Client,
    agent: &Agent,
    planned: &K,
    mutable: bool,
) -> Result<Applied, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let (api, name) = (api::<K>(client, agent), planned.name_any());
    let there = api.get_metadata_opt(&name).await?;
    if there.as_ref().is_some_and(|there| !is_owned_by(there, agent)) {
        return Ok(Applied::Taken(format!("{} \"{name}\"", K::kind(&()))));
    }
    match there {
        None if !mutable => drop(api.create(&PostParams::default(), planned).await?),
        Some(_) if !mutable => {}
        there => {
            // what people changed by hand is changed back; what stands as planned costs no revision
            let params = PatchParams { force: there.is_some(), ..PatchParams::apply(FIELD_MANAGER) };
            let mut planned = planned.clone();
            planned.meta_mut().uid = there.and_then(|there| there.uid());
            api.patch(&name, &params, &Patch::Apply(&planned)).await?;
        }
    }
    Ok(Applied::AsPlanned)
}

/// An object of the Agent as it is now: of a Deployment the cache keeps its state alone.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn get_own<K>(client: &Client, agent: &Agent, name: &str) -> Result<Option<K>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let there = api::<K>(client, agent).get_opt(name).await?;
    Ok(there.filter(|there| is_owned_by(there, agent)))
}

/// Deletes an object of the Agent in the background; one of somebody else stays.
///
/// # Errors
/// When the API server does not answer.
#[expect(clippy::disallowed_methods, reason = "what the Agent owns, with its UID")]
pub(crate) async fn remove<K>(client: &Client, agent: &Agent, name: &str) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api = api::<K>(client, agent);
    let there = api.get_metadata_opt(name).await?;
    let Some(there) = there.filter(|there| is_owned_by(there, agent)) else { return Ok(()) };
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: there.uid(), resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Err(error) if !is_not_found(&error) && !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether the Agent owns an object.
pub(crate) fn is_owned_by(there: &impl ResourceExt, agent: &Agent) -> bool {
    there.owner_references().iter().any(|owner| Some(&owner.uid) == agent.metadata.uid.as_ref())
}

/// Names of the ConfigMaps with the contexts that a Deployment's Pods mount.
pub(crate) fn config_maps_of(deployment: &Deployment) -> Vec<String> {
    let volumes =
        deployment.spec.iter().filter_map(|spec| spec.template.spec.as_ref()).flat_map(|pod| &pod.volumes);
    let ours = volumes.flatten().filter(|volume| volume.name == CONTEXT_FILES_VOLUME);
    let names = ours.flat_map(|volume| {
        let plain = volume.config_map.iter().map(|map| &map.name);
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let projected = projected.filter_map(|source| source.config_map.as_ref()).map(|map| &map.name);
        plain.chain(projected).cloned().collect::<Vec<_>>()
    });
    names.collect()
}

fn api<K>(client: &Client, agent: &Agent) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), agent.metadata.namespace.as_deref().unwrap_or_default())
}
