//! `plugin uninstall`: takes a Plugin and the ConfigMaps of its component out of a cluster, and waits until it serves no more.
//!
//! May touch: one Plugin and its ConfigMaps in a cluster.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PartialObjectMeta, PropagationPolicy};
use kube::runtime::wait::await_condition;
use kubeopencode_api::literals::{PLUGIN_LABEL, PLUGIN_NAME_ANNOTATION};
use kubeopencode_api::plugin_object::Plugin;
use serde::Serialize;

use super::report::json;
use crate::args::{InstalledPlugin, Output, UninstallPlugin};
use crate::cluster::{client, is_not_there, refused};
use crate::error::CliError;

/// What is gone. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Debug, Serialize)]
struct Uninstalled<'a> {
    /// Name of the Plugin.
    plugin: &'a str,
    /// The objects that were deleted, by kind and name.
    deleted: Vec<String>,
}

/// Deletes and waits; what is to be printed.
///
/// # Errors
/// When the cluster cannot be asked, says no, or has nothing of that name.
pub(super) fn uninstall(flags: &UninstallPlugin) -> Result<String, CliError> {
    let deleted = crate::runtime()?.block_on(delete(flags))?;
    Ok(match flags.output {
        Output::Text => lines(&deleted),
        Output::Json => json(&Uninstalled { plugin: &flags.plugin.name, deleted })?,
    })
}

fn lines(deleted: &[String]) -> String {
    deleted.iter().map(|object| format!("{object} deleted\n")).collect()
}

async fn delete(flags: &UninstallPlugin) -> Result<Vec<String>, CliError> {
    let InstalledPlugin { name, namespace, cluster } = &flags.plugin;
    let client = client(cluster.kubeconfig.as_deref()).await?;
    let plugins = Api::<Plugin>::all(client.clone());
    let config_maps = Api::<ConfigMap>::namespaced(client, namespace);
    let plugin = plugins.get_opt(name).await.map_err(|error| refused("Plugin", name, "read", &error))?;
    let labelled = ListParams::default().labels(PLUGIN_LABEL);
    let listed = config_maps.list_metadata(&labelled).await;
    let listed = listed.map_err(|error| refused("ConfigMaps of namespace", namespace, "listed", &error))?;
    let source = source_of(plugin.as_ref(), name);
    let mut deleted = Vec::new();
    let params =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
    // the ConfigMaps first: without its Plugin, the operator would make one of its own for them
    for map in listed.iter().filter(|map| source.is_some_and(|source| holds(map, source))) {
        let full_name = format!("{namespace}/{}", map.name_any());
        match config_maps.delete(&map.name_any(), &params).await {
            Err(error) if !is_not_there(&error) => {
                return Err(refused("ConfigMap", &full_name, "deleted", &error));
            }
            _ => deleted.push(format!("ConfigMap {full_name}")),
        }
    }
    if plugin.is_none() && deleted.is_empty() {
        return Err(CliError::Plugin(format!(
            "there is no Plugin {name}, and no ConfigMap with its component in namespace {namespace}; `kubeopencode plugin list` \
             shows what there is"
        )));
    }
    // the operator takes away one that it made itself: that it is gone already is well
    match plugins.delete(name, &params).await {
        Err(error) if !is_not_there(&error) => return Err(refused("Plugin", name, "deleted", &error)),
        _ => {}
    }
    let gone = await_condition(plugins, name, |plugin: Option<&Plugin>| plugin.is_none());
    match tokio::time::timeout(flags.timeout, gone).await {
        Ok(Ok(_)) => {
            // there is none where no operator looked
            if plugin.is_some() {
                deleted.push(format!("Plugin {name}"));
            }
            Ok(deleted)
        }
        Ok(Err(error)) => Err(CliError::Plugin(format!("Plugin {name} cannot be watched: {error}"))),
        Err(_) => Err(CliError::Plugin(format!(
            "{}Plugin {name} is still there after {} s: look at its finalizers",
            lines(&deleted),
            flags.timeout.as_secs()
        ))),
    }
}

/// Where the component of a Plugin is, if in ConfigMaps.
fn source_of<'a>(plugin: Option<&'a Plugin>, name: &'a str) -> Option<&'a str> {
    match plugin {
        None => Some(name),
        Some(plugin) => plugin.spec.source.config_map.as_ref().map(|source| source.name.as_str()),
    }
}

/// Whether a ConfigMap is this component's, or a part of it.
fn holds(map: &PartialObjectMeta<ConfigMap>, source: &str) -> bool {
    match map.annotations().get(PLUGIN_NAME_ANNOTATION) {
        Some(of) => of == source,
        None => map.name_any() == source,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn map(name: &str, annotations: &Value) -> PartialObjectMeta<ConfigMap> {
        serde_json::from_value(json!({"metadata": {"name": name, "annotations": annotations}})).unwrap()
    }

    #[test]
    fn parts_go_with_what_they_are_parts_of_and_neighbours_stay() {
        let part = json!({"kubeopencode.io/plugin-name": "jira"});
        assert!(holds(&map("jira", &json!({})), "jira"));
        assert!(holds(&map("jira", &part), "jira") && holds(&map("jira-part-2", &part), "jira"));
        assert!(!holds(&map("jira-part-2", &json!({})), "jira"));
        assert!(!holds(&map("jira", &json!({"kubeopencode.io/plugin-name": "other"})), "jira"));
    }
}
