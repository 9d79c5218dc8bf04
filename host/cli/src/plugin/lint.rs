//! What is wrong with a schema that the plugin host takes all the same: JSON Schema passes over words that it does not know, and
//! over a default that nobody may write. Pure.

use jsonschema::{Draft, PatternOptions};
use kubeopencode_api::plugin::SECRET_KEYWORD;
use serde_json::{Map, Value};
use similar::get_close_matches;

/// The keywords of JSON Schema 2020-12 that a schema of a plugin may have.
const KEYWORDS: [&str; 51] = [
    "$comment",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "then",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
    SECRET_KEYWORD,
    // the plugin host refuses them, in words of its own
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Words of OpenAPI and of editors that are near a keyword, are meant, and say nothing here.
const FOREIGN: [&str; 4] = ["example", "enumNames", "enumDescriptions", "nullable"];
/// Begins what is a keyword of ours, or should be one.
const OURS: &str = "x-kubeopencode";
/// How alike two words have to be, from 0 to 1.
const ALIKE: f32 = 0.75;

/// What a schema's author did not mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The schema does not say what it should.
    Wrong(String),
    /// It may be meant.
    Doubtful(String),
}

/// All that is found, each with its place.
pub(super) fn lint(schema: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    visit(schema, "", &mut found);
    found
}

fn visit(schema: &Value, place: &str, found: &mut Vec<Finding>) {
    let Some(members) = schema.as_object() else { return };
    for (key, value) in members {
        found.extend(unknown(key, place));
        let at = |part: &str| format!("{place}/{key}/{}", part.replace('~', "~0").replace('/', "~1"));
        match key.as_str() {
            "properties" | "patternProperties" | "dependentSchemas" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    visit(member, &at(name), found);
                }
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                for (i, member) in value.as_array().into_iter().flatten().enumerate() {
                    visit(member, &at(&i.to_string()), found);
                }
            }
            "additionalProperties"
            | "contains"
            | "contentSchema"
            | "else"
            | "if"
            | "items"
            | "not"
            | "propertyNames"
            | "then" => visit(value, &format!("{place}/{key}"), found),
            _ => {}
        }
    }
    found.extend(values(members, place));
    found.extend(required(members, place));
}

fn unknown(key: &str, place: &str) -> Option<Finding> {
    if KEYWORDS.contains(&key) || (key.starts_with("x-") && !key.starts_with(OURS)) {
        return None;
    }
    let words = format!("\"{key}\" at {place}/{key} is no keyword of JSON Schema, and says nothing");
    Some(match nearest(key).filter(|_| !FOREIGN.contains(&key)) {
        Some(known) => Finding::Wrong(format!("{words}: write \"{known}\"")),
        None => Finding::Doubtful(format!("{words}: remove it, or begin it with \"x-\"")),
    })
}

/// The keyword that is meant: one that is alike, however its words are joined.
fn nearest(key: &str) -> Option<&'static str> {
    let plain = |word: &str| {
        word.chars().filter(|c| !"_- ".contains(*c)).flat_map(char::to_lowercase).collect::<String>()
    };
    let known = KEYWORDS.map(plain);
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let key = plain(key);
    let found = get_close_matches(key.as_str(), &known, 1, ALIKE).into_iter().next()?;
    known.iter().position(|word| *word == found).map(|at| KEYWORDS[at])
}

/// Values beside a schema that it does not take.
fn values(members: &Map<String, Value>, place: &str) -> Vec<Finding> {
    let default = members.get("default").map(|value| (format!("{place}/default"), value, true));
    let examples = members.get("examples").and_then(Value::as_array).into_iter().flatten();
    let examples = examples.enumerate().map(|(i, value)| (format!("{place}/examples/{i}"), value, false));
    let mut values = default.into_iter().chain(examples).peekable();
    if values.peek().is_none() {
        return Vec::new();
    }
    // what the host took once, it takes again
    let Ok(validator) = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(false)
        .with_pattern_options(PatternOptions::regex())
        .build(&Value::Object(members.clone()))
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (at, value, is_default) in values {
        let Err(error) = validator.validate(value) else { continue };
        let inner = error.instance_path().as_str().to_owned();
        let inner = if inner.is_empty() { inner } else { format!(" at {inner}") };
        let words = format!("{at} is nothing that its own schema takes{inner}: {error}");
        found.push(if is_default { Finding::Wrong(words) } else { Finding::Doubtful(words) });
    }
    found
}

/// What is required and may not be there.
fn required(members: &Map<String, Value>, place: &str) -> Vec<Finding> {
    let is_closed = members.get("additionalProperties") == Some(&Value::Bool(false))
        && !members.contains_key("patternProperties");
    let known: Vec<&str> = match members.get("properties").and_then(Value::as_object) {
        Some(known) if is_closed => known.keys().map(String::as_str).collect(),
        _ => return Vec::new(),
    };
    let names = members.get("required").and_then(Value::as_array).into_iter().flatten();
    let missing = names.filter_map(Value::as_str).filter(|name| !known.contains(name));
    let words = |name: &str| {
        let remedy = match get_close_matches(name, &known, 1, ALIKE).first() {
            Some(near) => format!(": write \"{near}\""),
            None => ": nobody can write what it takes".to_owned(),
        };
        Finding::Wrong(format!(
            "{place}/required names \"{name}\", which {place}/properties does not have{remedy}"
        ))
    };
    missing.map(words).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_misspelt_keyword_is_named_with_the_one_that_is_meant() {
        for (schema, words) in [
            (
                json!({"propertys": {}}),
                "\"propertys\" at /propertys is no keyword of JSON Schema, and says nothing: write \"properties\"",
            ),
            (
                json!({"properties": {"n": {"maxmum": 5}}}),
                "\"maxmum\" at /properties/n/maxmum is no keyword of JSON Schema, and says nothing: write \"maximum\"",
            ),
            (
                json!({"items": {"max_lenght": 5}}),
                "\"max_lenght\" at /items/max_lenght is no keyword of JSON Schema, and says nothing: write \"maxLength\"",
            ),
            (
                json!({"properties": {"a/b": {"maxLenght": 5}}}),
                "\"maxLenght\" at /properties/a~1b/maxLenght is no keyword of JSON Schema, and says nothing: write \"maxLength\"",
            ),
            (
                json!({"anyOf": [{}, {"requierd": []}]}),
                "\"requierd\" at /anyOf/1/requierd is no keyword of JSON Schema, and says nothing: write \"required\"",
            ),
            (
                json!({"additionalproperties": false}),
                "\"additionalproperties\" at /additionalproperties is no keyword of JSON Schema, and says nothing: write \"additionalProperties\"",
            ),
            (
                json!({"x-kubeopencode-secrets": true}),
                "\"x-kubeopencode-secrets\" at /x-kubeopencode-secrets is no keyword of JSON Schema, and says nothing: write \"x-kubeopencode-secret\"",
            ),
            (
                json!({"desciption": "a"}),
                "\"desciption\" at /desciption is no keyword of JSON Schema, and says nothing: write \"description\"",
            ),
        ] {
            assert_eq!(lint(&schema), [Finding::Wrong(words.to_owned())], "{schema}");
        }
        let words = |word: &str| {
            let words = format!(
                "\"{word}\" at /{word} is no keyword of JSON Schema, and says nothing: remove it, or begin it with \"x-\""
            );
            vec![Finding::Doubtful(words)]
        };
        for word in ["nullable", "example", "foo", "order"] {
            assert_eq!(lint(&json!({word: true})), words(word));
        }
    }

    #[test]
    fn what_is_no_keyword_of_a_schema_is_left_alone() {
        for schema in [
            json!({"properties": {"propertys": {"type": "string"}, "maxmum": {}}, "x-order": 1, "x-kubeopencode-secret": true}),
            json!({"default": {"propertys": 1}, "const": {"maxmum": 1}, "enum": [{"maxmum": 1}], "required": ["maxmum"]}),
            json!({"properties": {"n": {"type": "integer", "default": 5, "examples": [1, 2]}}, "required": ["n"], "additionalProperties": false}),
            json!(true),
        ] {
            let found: Vec<_> = lint(&schema)
                .into_iter()
                .filter(|one| matches!(one, Finding::Wrong(words) if words.contains("keyword")))
                .collect();
            assert_eq!(found, [], "{schema}");
        }
    }

    #[test]
    fn a_default_that_its_schema_refuses_is_named() {
        for (schema, finding) in [
            (
                json!({"properties": {"n": {"type": "integer", "default": "5"}}}),
                Finding::Wrong("/properties/n/default is nothing that its own schema takes: \"5\" is not of type \"integer\"".to_owned()),
            ),
            (
                json!({"items": {"type": "array", "items": {"maximum": 3}, "default": [1, 4]}}),
                Finding::Wrong("/items/default is nothing that its own schema takes at /1: 4 is greater than the maximum of 3".to_owned()),
            ),
            (
                json!({"properties": {"n": {"type": "string", "examples": ["a", 4]}}}),
                Finding::Doubtful("/properties/n/examples/1 is nothing that its own schema takes: 4 is not of type \"string\"".to_owned()),
            ),
        ] {
            assert_eq!(lint(&schema), [finding], "{schema}");
        }
    }

    #[test]
    fn what_is_required_and_may_not_be_there_is_named() {
        let schema = |required: &str| json!({"properties": {"issue": {}}, "required": [required], "additionalProperties": false});
        assert_eq!(lint(&schema("issue")), []);
        let words = "/required names \"isue\", which /properties does not have: write \"issue\"";
        assert_eq!(lint(&schema("isue")), [Finding::Wrong(words.to_owned())]);
        let words =
            "/required names \"key\", which /properties does not have: nobody can write what it takes";
        assert_eq!(lint(&schema("key")), [Finding::Wrong(words.to_owned())]);
        assert_eq!(lint(&json!({"properties": {"issue": {}}, "required": ["key"]})), [], "it may be there");
    }

    #[test]
    fn the_schemas_of_our_own_plugins_say_what_they_should() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut read = 0;
        for folder in ["plugins", "examples/plugins"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path().join("schema.json");
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                assert_eq!(lint(&serde_json::from_str(&text).unwrap()), [], "{}", path.display());
                read += 1;
            }
        }
        assert!(read >= 7, "{read}");
    }
}
