//! Context type `ConfigMap`: one key, or all of them, as text for the context file or as files at mountPath.

use kubeopencode_plugin_sdk::{
    About, Action, Answer, ConfigMapMount, ConfigMapRef, ContextType, Request, TextFile, context_type, ready,
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
    const ABOUT: About = About {
        name: "ConfigMap",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        ..About::NOTHING
    };

    fn evaluate(config: Config, request: &Request) -> Answer {
        let map = ConfigMapRef { name: &config.name, optional: config.optional, field: "" };
        if let Some(key) = &config.key {
            return map.one_key(key, request);
        }
        let entries = match map.entries(request) {
            Ok(entries) => entries,
            Err(answer) => return answer,
        };
        if let Some(path) = request.mount_path.clone() {
            let (name, optional, mode) = (config.name, config.optional, request.file_mode);
            return ready([Action::MountConfigMap(ConfigMapMount { name, optional, path, mode })]);
        }
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|entry| &entry.key);
        let mut actions = Vec::with_capacity(entries.len());
        for entry in entries {
            actions.push(Action::InlineFile(TextFile { name: entry.key.clone(), text: map.text(entry)? }));
        }
        ready(actions)
    }
}

context_type!(ConfigMap);

#[cfg(test)]
mod tests;
