//! The types that there are: those that come with the program, and those of Plugins. Pure.

use kubeopencode_api::plugin::{Capability, Kind};
use kubeopencode_api::plugin_object::{Plugin as PluginObject, PluginStatus};
use kubeopencode_plugin_host::Plugin;
use serde::Serialize;

/// A row: a type, or a Plugin that serves none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// What users write.
    #[serde(rename = "type")]
    pub(crate) type_: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) version: Option<String>,
    /// What it asks for.
    pub(crate) capabilities: Vec<Capability>,
    /// Name of its Plugin; none: it comes with the program.
    pub(crate) plugin: Option<String>,
    pub(crate) ready: bool,
    /// Of the first condition that is false.
    pub(crate) reason: Option<String>,
}

/// The types of a plugin that comes with the program.
pub(crate) fn built_in(plugin: &Plugin) -> Vec<Row> {
    let row = |type_: &kubeopencode_plugin_host::PluginType| {
        let descriptor = type_.descriptor();
        Row {
            type_: Some(descriptor.name.clone()),
            kind: plugin.kind(),
            version: Some(descriptor.version.clone()),
            capabilities: descriptor.capabilities.clone(),
            plugin: None,
            ready: true,
            reason: None,
        }
    };
    plugin.types().iter().map(row).collect()
}

/// The types of a Plugin of the cluster.
pub(crate) fn of_cluster(plugin: &PluginObject) -> Vec<Row> {
    let nothing = PluginStatus::default();
    let status = plugin.status.as_ref().unwrap_or(&nothing);
    let is = |type_: &str, is: &str| status.conditions.iter().any(|c| c.type_ == type_ && c.status == is);
    let row = |type_: Option<&kubeopencode_api::plugin_object::ServedType>| Row {
        type_: type_.map(|type_| type_.name.clone()),
        kind: plugin.spec.kind,
        version: status.version.clone(),
        capabilities: type_.map(|type_| type_.capabilities.clone()).unwrap_or_default(),
        plugin: plugin.metadata.name.clone(),
        ready: is("Ready", "True"),
        reason: status.conditions.iter().find(|c| c.status == "False").map(|c| c.reason.clone()),
    };
    match status.types.as_slice() {
        [] => vec![row(None)],
        types => types.iter().map(|type_| row(Some(type_))).collect(),
    }
}

/// The rows as a table, with the words of kubectl's.
pub(crate) fn table(rows: &[Row]) -> String {
    let titles = ["TYPE", "KIND", "VERSION", "ASKS FOR", "PLUGIN", "READY", "REASON"].map(str::to_owned);
    let mut lines = vec![titles];
    lines.extend(rows.iter().map(cells));
    let mut widths = [0; 7];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.len().max(*width);
        }
    }
    let text = lines.iter().map(|line| {
        let padded: String =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}   ")).collect();
        format!("{}\n", padded.trim_end())
    });
    text.collect()
}

fn cells(row: &Row) -> [String; 7] {
    let or = |text: &Option<String>, other: &str| text.clone().unwrap_or_else(|| other.to_owned());
    let capabilities: Vec<_> = row.capabilities.iter().map(|capability| capability.as_str()).collect();
    [
        or(&row.type_, "<none>"),
        row.kind.to_string(),
        or(&row.version, "<none>"),
        capabilities.join(","),
        or(&row.plugin, "<built in>"),
        if row.ready { "True" } else { "False" }.to_owned(),
        or(&row.reason, ""),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(status: &serde_json::Value) -> Vec<Row> {
        let plugin = json!({
            "apiVersion": "kubeopencode.io/v1alpha1",
            "kind": "Plugin",
            "metadata": {"name": "jira"},
            "spec": {"kind": "context-type", "source": {"configMap": {"name": "jira"}}},
            "status": status,
        });
        of_cluster(&serde_json::from_value(plugin).unwrap())
    }

    #[test]
    fn plugins_of_the_cluster_stand_beside_the_built_in_ones() {
        let condition = |type_: &str, status: &str, reason: &str| json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"});
        let built_in = Row {
            type_: Some("Git".to_owned()),
            kind: Kind::ContextType,
            version: Some("0.1.0".to_owned()),
            capabilities: vec![Capability::Git, Capability::Secret],
            plugin: None,
            ready: true,
            reason: None,
        };
        let mut all = vec![built_in];
        all.extend(rows(&json!({
            "version": "1.2.0",
            "types": [{"name": "Jira", "capabilities": ["url"]}, {"name": "JiraSearch"}],
            "conditions": [condition("Compiled", "False", "Invalid"), condition("Ready", "True", "Ready")],
        })));
        all.extend(rows(&json!({"conditions": [condition("Ready", "False", "NotFound")]})));
        all.extend(rows(&json!({})));
        assert_eq!(
            table(&all),
            "\
TYPE         KIND           VERSION   ASKS FOR     PLUGIN       READY   REASON
Git          context-type   0.1.0     git,secret   <built in>   True
Jira         context-type   1.2.0     url          jira         True    Invalid
JiraSearch   context-type   1.2.0                  jira         True    Invalid
<none>       context-type   <none>                 jira         False   NotFound
<none>       context-type   <none>                 jira         False
"
        );
    }
}
