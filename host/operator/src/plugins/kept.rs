//! The last good component of each Plugin: kept in ConfigMaps of the operator's namespace, so that it serves on after a
//! restart or a failover when the bytes in its source are bad, or gone. They belong to the Plugin and go with it.
//!
//! Whoever may write ConfigMaps there could write such a one: it is believed only where its bytes have the digest that the
//! Plugin's status names, which the operator alone writes.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::literals::{
    PLUGIN_KEPT_LABEL, PLUGIN_NAME_ANNOTATION, PLUGIN_PART_ANNOTATION, SHA256_ANNOTATION,
};
use kubeopencode_api::names::short_hash;
use kubeopencode_api::plugin::LimitClass;
use kubeopencode_api::plugin_object::Plugin;

use super::decode;
use super::pack::PART;
use crate::runtime::api_error::{is_conflict, is_not_found};

/// The key of a part.
const KEY: &str = "component.wasm.zst";

/// Keeps a component, unless it is kept already.
///
/// # Errors
/// The API server's.
pub(super) async fn keep(
    client: &Client,
    namespace: &str,
    plugin: &Plugin,
    digest: &str,
    component: &[u8],
) -> Result<(), kube::Error> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    if api.get_opt(&name(plugin, digest, 1)).await?.is_none() {
        let bytes = component.to_vec();
        let packed = tokio::task::spawn_blocking(move || decode::pack(&bytes)).await;
        let Ok(Ok(packed)) = packed else {
            tracing::warn!(plugin = plugin.name_any(), "the component could not be packed, and is not kept");
            return Ok(());
        };
        let parts: Vec<_> = packed.chunks(PART).collect();
        // the first one last: where it is, all are
        for (i, part) in parts.iter().enumerate().rev() {
            create(&api, &config_map(plugin, digest, i + 1, parts.len(), part)).await?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "what is kept is written here alone")]
async fn create(api: &Api<ConfigMap>, map: &ConfigMap) -> Result<(), kube::Error> {
    match api.create(&PostParams::default(), map).await {
        Err(error) if !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Removes what is kept of a Plugin beside this digest.
///
/// # Errors
/// The API server's.
#[expect(clippy::disallowed_methods, reason = "what is kept is written here alone")]
pub(super) async fn remove_others(
    client: &Client,
    namespace: &str,
    plugin: &Plugin,
    digest: &str,
) -> Result<(), kube::Error> {
    let api = Api::<PartialObjectMeta<ConfigMap>>::namespaced(client.clone(), namespace);
    let hash = short_hash(&plugin.name_any());
    let all = api.list(&ListParams::default().labels(&format!("{PLUGIN_KEPT_LABEL}={hash}"))).await?;
    // the first part goes last: while it is there, not all of them are gone
    let (firsts, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_first_part);
    for kept in others.into_iter().chain(firsts) {
        let annotations = kept.annotations();
        let is_its = annotations.get(PLUGIN_NAME_ANNOTATION) == Some(&plugin.name_any());
        if !is_its || annotations.get(SHA256_ANNOTATION).is_some_and(|hex| digest.ends_with(hex)) {
            continue;
        }
        let preconditions = Preconditions { uid: kept.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match api.delete(&kept.name_any(), &params).await {
            Err(error) if !is_not_found(&error) && !is_conflict(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn is_first_part(kept: &PartialObjectMeta<ConfigMap>) -> bool {
    kept.annotations().get(PLUGIN_PART_ANNOTATION).is_some_and(|part| part.starts_with("1/"))
}

/// Whether something is kept of the component of this digest.
///
/// # Errors
/// The API server's.
pub(super) async fn has(
    client: &Client,
    namespace: &str,
    plugin: &Plugin,
    digest: &str,
) -> Result<bool, kube::Error> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    Ok(api.get_metadata_opt(&name(plugin, digest, 1)).await?.is_some())
}

/// The component of this digest, where it is kept.
///
/// # Errors
/// The API server's.
pub(super) async fn load(
    client: &Client,
    namespace: &str,
    plugin: &Plugin,
    digest: &str,
    class: LimitClass,
) -> Result<Option<Vec<u8>>, kube::Error> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let Some(first) = api.get_opt(&name(plugin, digest, 1)).await? else { return Ok(None) };
    let number =
        first.annotations().get(PLUGIN_PART_ANNOTATION).and_then(|part| part.split_once('/')?.1.parse().ok());
    let (mut packed, number) = (bytes(first), number.unwrap_or(1_usize).min(64));
    for i in 2..=number {
        let Some(part) = api.get_opt(&name(plugin, digest, i)).await? else { return Ok(None) };
        packed.extend(bytes(part));
    }
    let decoded = tokio::task::spawn_blocking(move || decode::kept(packed.as_slice(), class)).await;
    Ok(decoded.ok().flatten())
}

fn bytes(map: ConfigMap) -> Vec<u8> {
    map.binary_data.and_then(|mut data| data.remove(KEY)).unwrap_or_default().0
}

/// A pure function of Plugin, digest and part.
fn name(plugin: &Plugin, digest: &str, part: usize) -> String {
    let hex = digest.rsplit(':').next().unwrap_or_default();
    let hex = hex.get(..16).unwrap_or(hex);
    format!("plugin-kept-{}-{hex}-{part}", short_hash(&plugin.uid().unwrap_or_default()))
}

fn config_map(plugin: &Plugin, digest: &str, part: usize, of: usize, bytes: &[u8]) -> ConfigMap {
    let hex = digest.rsplit(':').next().unwrap_or_default().to_owned();
    let owner = OwnerReference {
        api_version: Plugin::api_version(&()).into_owned(),
        kind: Plugin::kind(&()).into_owned(),
        name: plugin.name_any(),
        uid: plugin.uid().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let annotations = [
        (PLUGIN_NAME_ANNOTATION, plugin.name_any()),
        (PLUGIN_PART_ANNOTATION, format!("{part}/{of}")),
        (SHA256_ANNOTATION, hex),
    ];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(plugin, digest, part)),
            labels: Some([(PLUGIN_KEPT_LABEL.to_owned(), short_hash(&plugin.name_any()))].into()),
            annotations: Some(annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        binary_data: Some([(KEY.to_owned(), ByteString(bytes.to_vec()))].into()),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}
