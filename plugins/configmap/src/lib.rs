//! Context type `ConfigMap`: one key, or all of them, as text for the context file or as files at mountPath.

use kubeopencode_plugin_sdk::{
    Action, Answer, ConfigMapMount, ContextType, Entry, File, PluginError, Request, Resolved, TextFile,
    context_type, need, ready, skipped,
};
use serde::Deserialize;

/// The plugin.
pub struct ConfigMap;

/// The item's `configMap`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    name: String,
    key: Option<String>,
    #[serde(default)]
    optional: bool,
}

impl ContextType for ConfigMap {
    type Config = Config;
    const NAME: &'static str = "ConfigMap";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "One key or all keys of a ConfigMap";
    const SCHEMA: &'static str = include_str!("../schema.json");

    fn evaluate(config: Config, request: &Request) -> Answer {
        let name = &config.name;
        let entries = match request.input(name) {
            None => return need([name.as_str()]),
            Some(Resolved::ConfigMap(entries)) => entries,
            Some(Resolved::Missing) => return config.absent(format!("ConfigMap {name} not found"), "/name"),
            Some(Resolved::Extended(_)) => {
                return Err(PluginError::internal(format!(
                    "the answer for ConfigMap {name} is of another kind"
                )));
            }
        };
        match (&config.key, &request.mount_path) {
            (Some(key), mount_path) => match entries.iter().find(|entry| entry.key == *key) {
                Some(entry) => one_key(name, entry, mount_path.as_deref(), request.file_mode),
                None => config.absent(format!("key {key} not found in ConfigMap {name}"), "/key"),
            },
            (None, Some(path)) => ready([Action::MountConfigMap(ConfigMapMount {
                name: name.clone(),
                optional: config.optional,
                path: path.clone(),
                mode: request.file_mode,
            })]),
            (None, None) => all_keys(name, entries),
        }
    }
}

impl Config {
    fn absent(&self, message: String, field: &str) -> Answer {
        if self.optional { skipped(message) } else { Err(PluginError::unsatisfied(message).at(field)) }
    }
}

/// Bytes that are no text can still be a file.
fn one_key(config_map: &str, entry: &Entry, mount_path: Option<&str>, mode: Option<u32>) -> Answer {
    match (text(config_map, entry), mount_path) {
        (Ok(text), _) => ready([Action::Inline(text)]),
        (Err(_), Some(path)) => {
            let content = entry.value.clone();
            ready([Action::WriteFile(File { path: path.to_owned(), content, mode })])
        }
        (Err(error), None) => Err(error.at("/key")),
    }
}

fn all_keys(config_map: &str, entries: &[Entry]) -> Answer {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let files = sorted.into_iter().map(|entry| {
        let text = text(config_map, entry).map_err(|error| error.at("/name"))?;
        Ok(Action::InlineFile(TextFile { name: entry.key.clone(), text }))
    });
    ready(files.collect::<Result<Vec<_>, PluginError>>()?)
}

fn text(config_map: &str, entry: &Entry) -> Result<String, PluginError> {
    String::from_utf8(entry.value.clone()).map_err(|_| {
        let key = &entry.key;
        PluginError::unsatisfied(format!(
            "key {key} of ConfigMap {config_map} is not UTF-8 text and cannot be part of the context file: \
             set mountPath to get it as a file"
        ))
    })
}

context_type!(ConfigMap);

#[cfg(test)]
mod tests;
