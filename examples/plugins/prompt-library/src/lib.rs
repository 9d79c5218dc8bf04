//! Context type `PromptLibrary`: snippets of a ConfigMap, one after another, with variables of the Task filled in.

mod template;
mod variable;

use std::collections::BTreeMap;

use kubeopencode_plugin_sdk::{
    About, Action, Answer, ConfigMapRef, ContextType, Entry, PluginError, Request, context_type, ready,
};
use serde::Deserialize;

use variable::{Variable, built_in};

/// The plugin.
pub struct PromptLibrary;

/// The item's `config`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    config_map: Named,
    snippets: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

impl ContextType for PromptLibrary {
    type Config = Config;
    const ABOUT: About = About {
        name: "PromptLibrary",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        default_name: Some("prompts"),
        ..About::NOTHING
    };

    fn evaluate(config: Config, request: &Request) -> Answer {
        for (name, variable) in &config.variables {
            variable.check().map_err(|problem| problem.at(format!("/variables/{name}")))?;
        }
        let library = ConfigMapRef { name: &config.config_map.name, optional: false, field: "/configMap" };
        let keys: Vec<_> = config.snippets.iter().map(String::as_str).collect();
        let entries = match library.read(&keys, request) {
            Ok(entries) => entries,
            Err(answer) => return answer,
        };
        let mut texts = Vec::with_capacity(keys.len());
        for (i, key) in keys.into_iter().enumerate() {
            let text = config
                .snippet(key, entries)
                .map_err(|problem| PluginError::unsatisfied(problem).at(format!("/snippets/{i}")))?;
            let filled = template::fill(text, |name| config.value(name, key, request))?;
            texts.push(filled.trim_end().to_owned());
        }
        ready([Action::Inline(texts.join("\n\n"))])
    }
}

impl Config {
    fn snippet<'e>(&self, key: &str, entries: &'e [Entry]) -> Result<&'e str, String> {
        let library = &self.config_map.name;
        let entry = entries.iter().find(|entry| entry.key == key);
        let entry = entry.ok_or_else(|| format!("key {key} not found in ConfigMap {library}"))?;
        entry.value.as_text().ok_or_else(|| format!("key {key} of ConfigMap {library} is not UTF-8 text"))
    }

    /// What `{{ name }}` stands for in a snippet.
    fn value(&self, name: &str, snippet: &str, request: &Request) -> Result<String, PluginError> {
        match self.variables.get(name) {
            Some(variable) => variable.value(name, request),
            None => built_in(name, request).ok_or_else(|| {
                let library = &self.config_map.name;
                PluginError::invalid_config(format!(
                    "key {snippet} of ConfigMap {library} uses {{{{ {name} }}}}, which nothing gives a value: add {name} \
                     to variables"
                ))
                .at("/variables")
            }),
        }
    }
}

context_type!(PromptLibrary);

#[cfg(test)]
mod tests;
