//! A value that a schema takes, as a user may begin with. Pure: what is required, and values that the schema names.

use serde_json::{Map, Value, json};

/// What stands for a text, where the schema has nothing against it, and at most.
const DOTS: usize = 3;
const MAX_DOTS: usize = 64;

/// The value: what is required of it, or its first field where nothing is.
pub(super) fn of(schema: &Value) -> Value {
    for named in ["default", "const"] {
        if let Some(value) = schema.get(named) {
            return value.clone();
        }
    }
    for list in ["examples", "enum"] {
        if let Some(value) = schema[list].as_array().and_then(|all| all.first()) {
            return value.clone();
        }
    }
    let is_open = schema.get("type").is_none() && schema.get("properties").is_none();
    for list in ["oneOf", "anyOf"] {
        if let Some(member) = schema[list].as_array().and_then(|all| all.first()).filter(|_| is_open) {
            return of(member);
        }
    }
    let type_ = schema["type"].as_str().or_else(|| schema["type"].as_array()?.first()?.as_str());
    match type_.or_else(|| schema.get("properties").map(|_| "object")) {
        Some("string") => string(schema),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => json!(true),
        Some("array") => json!([of(&schema["items"])]),
        Some("null") => Value::Null,
        _ => object(schema),
    }
}

/// As short or as long as the schema wants it: a few dots, which a user replaces.
fn string(schema: &Value) -> Value {
    let number = |word: &str| schema[word].as_u64().and_then(|number| usize::try_from(number).ok());
    let least = number("minLength").unwrap_or_default().min(MAX_DOTS);
    let most = number("maxLength").unwrap_or(DOTS).min(DOTS);
    ".".repeat(most.max(least)).into()
}

fn object(schema: &Value) -> Value {
    let Some(members) = schema["properties"].as_object() else { return json!({}) };
    let is_required =
        |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let mut object: Map<_, _> = members
        .iter()
        .filter(|(name, _)| is_required(name))
        .map(|(name, member)| (name.clone(), of(member)))
        .collect();
    if object.is_empty() {
        object.extend(members.iter().next().map(|(name, member)| (name.clone(), of(member))));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_is_there() {
        let schema = json!({
            "type": "object",
            "required": ["a", "b", "c", "d"],
            "properties": {
                "a": {"type": "string", "examples": ["PAY-7"]},
                "b": {"type": "array", "items": {"type": "integer", "minimum": 3}},
                "c": {"properties": {"x": {"enum": ["y"]}, "z": {"type": "boolean"}}},
                "d": {"type": ["boolean", "null"]},
                "e": {"type": "string"},
            },
        });
        assert_eq!(of(&schema), json!({"a": "PAY-7", "b": [3], "c": {"x": "y"}, "d": true}));
        assert_eq!(of(&json!({})), json!({}));
    }

    #[test]
    fn of_several_it_is_the_first_and_a_text_has_the_length_that_it_may_have() {
        for (schema, value) in [
            (json!({"oneOf": [{"const": "all", "type": "string"}, {"const": "released"}]}), json!("all")),
            (json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]}), json!(true)),
            (
                json!({"oneOf": [{"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}]}),
                json!({"url": "..."}),
            ),
            // what else it says of an object
            (
                json!({"properties": {"a": {"type": "boolean"}}, "anyOf": [{"required": ["a"]}]}),
                json!({"a": true}),
            ),
            (json!({"type": "string", "minLength": 5}), json!(".....")),
            (json!({"type": "string", "maxLength": 2}), json!("..")),
            (json!({"type": "string", "maxLength": 9}), json!("...")),
        ] {
            assert_eq!(of(&schema), value, "{schema}");
        }
    }
}
