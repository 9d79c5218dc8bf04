//! JSON as TOML: a line for each key, its value inline.

use kubeopencode_plugin_sdk::PluginError;
use serde_json::{Map, Value};

/// The lines of this table.
///
/// # Errors
/// It holds a null, which TOML has not.
pub(crate) fn lines(table: &Map<String, Value>) -> Result<String, PluginError> {
    Ok(pairs(table, "")?.iter().map(|pair| format!("{pair}\n")).collect())
}

fn pairs(table: &Map<String, Value>, at: &str) -> Result<Vec<String>, PluginError> {
    let pairs = table.iter().map(|(key, value)| {
        let value = inline(value, &format!("{at}/{key}"))?;
        Ok(format!("{} = {value}", string(key)))
    });
    pairs.collect()
}

fn inline(value: &Value, at: &str) -> Result<String, PluginError> {
    Ok(match value {
        Value::Null => {
            return Err(PluginError::invalid_config(format!(
                "spec.config of the Agent: {at} is null, for which Codex's config.toml has no word: leave it out"
            )));
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => string(text),
        Value::Array(items) => {
            let items = items.iter().enumerate().map(|(i, item)| inline(item, &format!("{at}/{i}")));
            format!("[{}]", items.collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        Value::Object(table) => format!("{{{}}}", pairs(table, at)?.join(", ")),
    })
}

/// A string of JSON is one of TOML, but for the control character DEL, which TOML wants escaped.
fn string(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}
