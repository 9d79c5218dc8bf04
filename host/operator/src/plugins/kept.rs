//! The last good component of each Plugin: kept in ConfigMaps of the operator's namespace, so that it serves on after a
//! restart or a failover when the bytes in its source are bad, or gone. They belong to the Plugin and go with it.
//!
//! Whoever may write ConfigMaps there could write such a one: it is believed only where its bytes have the digest that the
//! Plugin's status names, which the operator alone writes.

use std::cmp::Reverse;

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
    if api.get_metadata_opt(&name(plugin, digest, 1)).await?.is_none() {
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
    let labelled = ListParams::default().labels(&format!("{PLUGIN_KEPT_LABEL}={hash}"));
    let mut all = api.list(&labelled).await?.items;
    // the first part goes first: where it is, all are; the second one goes last: while it is there, not all of them are gone
    all.sort_by_key(|kept| match part_of(kept) {
        Some(1) | None => Reverse(usize::MAX),
        Some(part) => Reverse(part),
    });
    for kept in all {
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

fn part_of(kept: &PartialObjectMeta<ConfigMap>) -> Option<usize> {
    kept.annotations().get(PLUGIN_PART_ANNOTATION)?.split_once('/')?.0.parse().ok()
}

/// Whether something is kept of the component of this digest, or [`remove_others`] left something of it.
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
    for part in [1, 2] {
        if api.get_metadata_opt(&name(plugin, digest, part)).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::future::ready;
    use std::sync::Arc;

    use http::Method;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;
    use crate::runtime::test_client::answered_by;

    const PARTS: usize = 4;

    /// An API server that has these parts of what is kept, and deletes none of them when so few are left.
    fn answer(parts: &mut BTreeSet<usize>, left: usize, method: &Method, path: &str) -> (u16, Value) {
        let failure = |code: u16, reason: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason});
            (code, status)
        };
        let part = path.rsplit('-').next().and_then(|part| part.parse::<usize>().ok());
        let map = |part: &usize| {
            let annotations = json!({
                PLUGIN_NAME_ANNOTATION: "jira",
                PLUGIN_PART_ANNOTATION: format!("{part}/{PARTS}"),
                SHA256_ANNOTATION: "aa",
            });
            json!({"metadata": {"name": format!("kept-{part}"), "uid": "u", "annotations": annotations}})
        };
        match part {
            None => {
                let items: Vec<_> = parts.iter().map(map).collect();
                (200, json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": items}))
            }
            Some(part) if !parts.contains(&part) => failure(404, "NotFound"),
            Some(_) if method == Method::DELETE && parts.len() <= left => failure(500, "InternalError"),
            Some(part) if method == Method::DELETE => {
                parts.remove(&part);
                (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            Some(part) => (200, map(&part)),
        }
    }

    fn plugin() -> Plugin {
        serde_json::from_value(json!({
            "apiVersion": "kubeopencode.io/v1alpha1",
            "kind": "Plugin",
            "metadata": {"name": "jira", "uid": "a"},
            "spec": {"kind": "context-type", "source": {"configMap": {"name": "jira"}}},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_component_is_fetched_neither_to_keep_what_is_kept_nor_to_remove_others() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let client = answered_by(move |request| {
            let accepted = request.headers().get(http::header::ACCEPT);
            let is_of_metadata = accepted
                .and_then(|accepted| accepted.to_str().ok())
                .is_some_and(|a| a.contains("as=Partial"));
            heard.lock().push((request.method().clone(), is_of_metadata));
            let (code, answer) = answer(&mut BTreeSet::from([1]), 0, request.method(), request.uri().path());
            ready((code, answer.to_string()))
        });
        keep(&client, "system", &plugin(), "sha256:aa", b"component").await.unwrap();
        remove_others(&client, "system", &plugin(), "sha256:aa").await.unwrap();
        assert_eq!(*asked.lock(), [(Method::GET, true), (Method::GET, true)]);
    }

    #[tokio::test]
    async fn a_component_that_is_half_removed_is_neither_taken_for_a_whole_one_nor_forgotten() {
        let plugin = plugin();
        for left in 0..PARTS {
            let parts = Arc::new(Mutex::new((1..=PARTS).collect::<BTreeSet<_>>()));
            let there = Arc::clone(&parts);
            let client = answered_by(move |request| {
                let (code, answer) = answer(&mut there.lock(), left, request.method(), request.uri().path());
                ready((code, answer.to_string()))
            });
            let removed = remove_others(&client, "system", &plugin, "sha256:bb").await;
            assert_eq!((removed.is_ok(), parts.lock().len()), (left == 0, left));
            assert!(
                load(&client, "system", &plugin, "sha256:aa", LimitClass::default()).await.unwrap().is_none()
            );
            assert!(!parts.lock().contains(&1), "who keeps it again looks at this one alone");
            assert_eq!(has(&client, "system", &plugin, "sha256:aa").await.unwrap(), left > 0, "{left}");
        }
    }
}
