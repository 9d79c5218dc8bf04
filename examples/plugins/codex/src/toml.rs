//! A value as `-c key=value` takes it: TOML in one line.

use serde_json::Value;

/// What a value is in TOML.
///
/// # Errors
/// There is no null in TOML.
pub(crate) fn inline(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Null => return Err("null is no value of Codex CLI: leave the key out".to_owned()),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        // strings of JSON are strings of TOML, but for one letter
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(items) => {
            let items = items.iter().map(inline).collect::<Result<Vec<_>, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                Ok(format!("{} = {}", inline(&Value::String(key.clone()))?, inline(value)?))
            };
            let fields = fields.iter().map(field).collect::<Result<Vec<_>, String>>()?;
            format!("{{{}}}", fields.join(", "))
        }
    })
}
