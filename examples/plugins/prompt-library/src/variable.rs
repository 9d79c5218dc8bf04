//! What a variable's value is.

use kubeopencode_plugin_sdk::{PluginError, Request};
use serde::Deserialize;

/// One of `variables`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    value: Option<String>,
    label: Option<String>,
    annotation: Option<String>,
    default: Option<String>,
}

enum Source<'a> {
    Value(&'a str),
    Label(&'a str),
    Annotation(&'a str),
}

impl Variable {
    /// Whether it says one source.
    ///
    /// # Errors
    /// It says none, or several.
    pub(crate) fn check(&self) -> Result<(), PluginError> {
        self.source().map(drop)
    }

    fn source(&self) -> Result<Source<'_>, PluginError> {
        match (&self.value, &self.label, &self.annotation) {
            (Some(value), None, None) => Ok(Source::Value(value)),
            (None, Some(key), None) => Ok(Source::Label(key)),
            (None, None, Some(key)) => Ok(Source::Annotation(key)),
            _ => Err(PluginError::invalid_config("write one of value, label and annotation")),
        }
    }

    /// The value of the variable of this name.
    ///
    /// # Errors
    /// The Task has no such label or annotation, and there is no default.
    pub(crate) fn value(&self, name: &str, request: &Request) -> Result<String, PluginError> {
        let task = request.task.as_ref();
        let (word, key, pairs) = match self.source()? {
            Source::Value(value) => return Ok(value.to_owned()),
            Source::Label(key) => ("label", key, task.map(|task| &task.labels)),
            Source::Annotation(key) => ("annotation", key, task.map(|task| &task.annotations)),
        };
        let found = pairs.into_iter().flatten().find(|(own, _)| own == key).map(|(_, value)| value);
        found.or(self.default.as_ref()).cloned().ok_or_else(|| {
            let problem = match task {
                Some(task) => format!(
                    "Task {}/{} has no {word} {key}: set it, or give variable {name} a default",
                    task.namespace, task.name
                ),
                None => format!(
                    "the server of an Agent has no {word} {key} of a Task: give variable {name} a default"
                ),
            };
            PluginError::invalid_config(problem).at(format!("/variables/{name}/{word}"))
        })
    }
}

/// What every snippet may use: the day on which the Task was created, its name and its namespace. An Agent's server has
/// no Task.
pub(crate) fn built_in(name: &str, request: &Request) -> Option<String> {
    let task = request.task.as_ref()?;
    Some(match name {
        "date" => task.created.split('T').next().unwrap_or_default().to_owned(),
        "task" => task.name.clone(),
        "namespace" => task.namespace.clone(),
        _ => return None,
    })
}
