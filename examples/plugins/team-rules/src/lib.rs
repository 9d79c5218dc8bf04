//! Context type `TeamRules`: rules that the installer wrote, of which the Task's labels decide.

use std::collections::BTreeMap;

use kubeopencode_plugin_sdk::{
    About, Answer, ContextType, PluginError, Request, context_type, schema_of, skipped, text,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin.
pub struct TeamRules;

/// What an item leaves out of the rules
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Rules that do not apply here, by their names
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    without: Vec<String>,
}

/// The Plugin's `spec.config`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// In the order in which agents read them
    #[schemars(length(min = 1, max = 64))]
    rules: Vec<Rule>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    /// The heading that it has
    #[schemars(length(min = 1, max = 63))]
    name: String,
    /// What it says
    #[schemars(length(min = 1, max = 16384))]
    text: String,
    /// Labels of the Task, each with the values for which the rule applies; none: it applies to every Task
    #[serde(default)]
    labels: BTreeMap<String, Vec<String>>,
}

impl ContextType for TeamRules {
    type Config = Config;
    const ABOUT: About = About {
        name: "TeamRules",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        default_name: Some("rules"),
        ..About::NOTHING
    };

    fn config_schema() -> String {
        schema_of::<Config>()
    }

    fn settings_schema() -> Option<String> {
        Some(schema_of::<Settings>())
    }

    fn evaluate(config: Config, request: &Request) -> Answer {
        let Settings { rules } = request.settings()?;
        for (i, name) in config.without.iter().enumerate() {
            if rules.iter().all(|rule| rule.name != *name) {
                let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
                let problem = format!("there is no rule \"{name}\": the rules are {}", names.join(", "));
                return Err(PluginError::invalid_config(problem).at(format!("/without/{i}")));
            }
        }
        // the contexts of an Agent's server are for Tasks of any label
        let labels = request.task.as_ref().map_or(&[][..], |task| &task.labels);
        let applying: Vec<_> = rules
            .iter()
            .filter(|rule| rule.applies(labels) && !config.without.contains(&rule.name))
            .map(|rule| format!("## {}\n\n{}", rule.name, rule.text.trim()))
            .collect();
        if applying.is_empty() {
            return skipped("no rule applies to a Task with these labels");
        }
        text(applying.join("\n\n"))
    }
}

impl Rule {
    fn applies(&self, labels: &[(String, String)]) -> bool {
        let has = |(key, values): (&String, &Vec<String>)| {
            labels.iter().any(|(label, value)| label == key && values.contains(value))
        };
        self.labels.iter().all(has)
    }
}

context_type!(TeamRules);
