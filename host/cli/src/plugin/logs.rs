//! `plugin logs`: what the operator's log has of one Plugin: how it was loaded, and what the component itself logged.
//!
//! May touch: one Plugin, and the logs of the operator's Pods.

use std::io::Write;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use kubeopencode_api::plugin_object::{Plugin, served_name};
use serde_json::Value;

use crate::args::{InstalledPlugin, LogsOfPlugin, Output};
use crate::cluster::{client, refused};
use crate::error::CliError;

/// The operator's Pods, as the chart labels them, and their container.
const PODS: &str = "app.kubernetes.io/name=kubeopencode,app.kubernetes.io/component=controller";
const CONTAINER: &str = "controller";

/// Prints the lines.
///
/// # Errors
/// When the cluster cannot be asked, says no, or has no such Plugin, or no operator.
pub(super) fn logs(flags: &LogsOfPlugin) -> Result<(), CliError> {
    crate::runtime()?.block_on(print(flags))
}

async fn print(flags: &LogsOfPlugin) -> Result<(), CliError> {
    let InstalledPlugin { name, namespace, cluster } = &flags.plugin;
    let client = client(cluster.kubeconfig.as_deref()).await?;
    let plugin = Api::<Plugin>::all(client.clone()).get(name).await;
    let plugin = plugin.map_err(|error| refused("Plugin", name, "read", &error))?;
    let pods = Api::<Pod>::namespaced(client, namespace);
    let listed = pods.list(&ListParams::default().labels(PODS)).await;
    let listed = listed.map_err(|error| refused("Pods of namespace", namespace, "listed", &error))?;
    if listed.items.is_empty() {
        return Err(CliError::Plugin(format!(
            "namespace {namespace} has no Pod of the operator ({PODS}); say with --namespace where it is"
        )));
    }
    let params = LogParams {
        container: Some(CONTAINER.to_owned()),
        follow: flags.follow,
        since_seconds: flags.since.and_then(|since| i64::try_from(since.as_secs()).ok()),
        ..LogParams::default()
    };
    let mut logs = Vec::new();
    for pod in listed.items {
        let full_name = format!("{namespace}/{}", pod.name_any());
        let log = pods.log_stream(&pod.name_any(), &params).await;
        logs.push(
            log.map_err(|error| refused("the log of Pod", &full_name, "read", &error))?.lines().boxed(),
        );
    }
    let names = own_names(&plugin);
    let mut lines = stream::select_all(logs);
    while let Some(line) = lines.try_next().await? {
        let Some(readable) = readable(&line, name, &names) else { continue };
        let line = match flags.output {
            Output::Text => readable,
            Output::Json => line,
        };
        writeln!(std::io::stdout().lock(), "{line}")?;
    }
    Ok(())
}

/// What the component calls its types: so its lines are marked, whatever its Plugin calls them.
fn own_names(plugin: &Plugin) -> Vec<String> {
    let served = plugin.status.iter().flat_map(|status| &status.types).map(|type_| type_.name.as_str());
    let names = &plugin.spec.names;
    let own = |served: &str| {
        let own = names.keys().find(|own| served_name(names, own) == served);
        own.map_or_else(|| served.to_owned(), Clone::clone)
    };
    served.map(own).collect()
}

/// A line of the operator's log, which is JSON, if it is about this Plugin. Pure.
fn readable(line: &str, plugin: &str, own_names: &[String]) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |field: &str| line[field].as_str().unwrap_or_default();
    let of = text("plugin");
    let is_its_own = text("target") == "plugin" && own_names.iter().any(|name| name == of);
    if !is_its_own && (text("target") == "plugin" || of != plugin) {
        return None;
    }
    let who = if is_its_own { of } else { "operator" };
    let more = ["types", "digest", "problem", "error", "dropped"].into_iter().filter_map(|field| match &line
        [field]
    {
        Value::Null => None,
        Value::String(text) => Some(format!(" {field}={text}")),
        other => Some(format!(" {field}={other}")),
    });
    let more: String = more.collect();
    Some(format!("{} {:<5} {who}: {}{more}", text("timestamp"), text("level"), text("message")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_about_the_plugin_is_readable_and_nothing_else_is_there() {
        let of = |line: Value| readable(&line.to_string(), "jira", &["Jira".to_owned()]);
        let said = json!({"timestamp": "2026-01-02T03:04:05Z", "level": "INFO", "target": "plugin", "plugin": "Jira",
            "message": "asked for PAY-7"});
        assert_eq!(of(said).unwrap(), "2026-01-02T03:04:05Z INFO  Jira: asked for PAY-7");
        let serves = json!({"timestamp": "t", "level": "WARN", "target": "kubeopencode_operator::plugins", "plugin": "jira",
            "message": "what served stays as it was", "problem": "bad bytes"});
        assert_eq!(of(serves).unwrap(), "t WARN  operator: what served stays as it was problem=bad bytes");
        for other in [
            json!({"target": "plugin", "plugin": "Other", "message": "m"}),
            json!({"target": "plugin", "plugin": "jira", "message": "a type of this name, of another Plugin"}),
            json!({"target": "kubeopencode_operator", "message": "reconciled"}),
            json!("no line of the operator's"),
        ] {
            assert_eq!(of(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn lines_bear_the_components_own_names() {
        let plugin: Plugin = serde_json::from_value(json!({
            "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Plugin", "metadata": {"name": "jira"},
            "spec": {"kind": "context-type", "source": {"configMap": {"name": "jira"}}, "names": {"Jira": "JiraCloud"}},
            "status": {"types": [{"name": "JiraCloud"}, {"name": "JiraSearch"}]},
        }))
        .unwrap();
        assert_eq!(own_names(&plugin), ["Jira", "JiraSearch"]);
    }
}
