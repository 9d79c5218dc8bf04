//! What a value may be one of: `oneOf` and `anyOf` of a schema, as schemars writes an enum whose variants hold data. Pure.

use serde_json::{Map, Value};

/// All of them, those of members that list others included; none where nothing is listed.
pub(super) fn members(schema: &Value) -> Vec<&Value> {
    let listed = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    let mut all = Vec::new();
    for member in listed.into_iter().flatten() {
        let inner = if properties(member).is_some() { Vec::new() } else { members(member) };
        match inner.is_empty() {
            true => all.push(member),
            false => all.extend(inner),
        }
    }
    all
}

/// What an object looks like, as in `{kind: "url", …}` and `{url: …}`; none: nothing of it is required.
pub(super) fn form(object: &Value) -> Option<String> {
    let all = properties(object)?;
    let required: Vec<_> = all.iter().filter(|(name, _)| is_required(object, name)).collect();
    let fixed = |(name, property): &(&String, &Value)| Some(format!("{name}: {}", constant(property)?));
    let mut words: Vec<_> = required.iter().filter_map(fixed).collect();
    match words.len() {
        0 => words.extend(required.iter().map(|(name, _)| format!("{name}: …"))),
        number if number < all.len() => words.push("…".to_owned()),
        _ => {}
    }
    (!words.is_empty()).then(|| format!("{{{}}}", words.join(", ")))
}

/// The property that says which of these objects it is: in each of them it is required, and has one value alone.
pub(super) fn tag<'a>(objects: &[&'a Value]) -> Option<&'a str> {
    let first = objects.first().copied()?;
    let says_it = |name: &&String| {
        objects.iter().all(|object| is_required(object, name) && value_of(object, name).is_some())
    };
    properties(first)?.keys().find(says_it).map(String::as_str)
}

/// The only value that a property of an object has.
pub(super) fn value_of<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    constant(properties(object)?.get(name)?)
}

pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema["properties"].as_object()
}

pub(super) fn is_required(object: &Value, name: &str) -> bool {
    object["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
}

fn constant(property: &Value) -> Option<&Value> {
    let only = || match property["enum"].as_array()?.as_slice() {
        [value] => Some(value),
        _ => None,
    };
    property.get("const").or_else(only)
}
