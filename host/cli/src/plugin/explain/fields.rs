//! A JSON Schema as a list of fields. Pure: what the host takes of JSON Schema has no references.

use serde::Serialize;
use serde_json::{Map, Value};

/// What limits a value, in the order in which it is said.
const LIMITS: &[&str] = &[
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// One field. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    /// As in `tokenSecret.name`, `steps[].run`, `labels.*`.
    pub(super) path: String,
    /// As in `string`; none: anything.
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    pub(super) required: bool,
    pub(super) default: Option<Value>,
    /// The only values.
    #[serde(rename = "enum")]
    pub(super) values: Vec<Value>,
    /// What each of them means, in their order, where the schema says it of one.
    pub(super) value_descriptions: Vec<Option<String>>,
    pub(super) description: Option<String>,
    /// It names a Secret.
    pub(super) secret: bool,
    /// What limits it, by the schema's own words, as in `{"maxLength": 63}`.
    pub(super) limits: Map<String, Value>,
    /// What limits each of its items, where they are no fields of their own.
    pub(super) item_limits: Map<String, Value>,
}

impl Field {
    /// What it is for, and what its values mean.
    pub(super) fn meaning(&self) -> String {
        let told = self.values.iter().zip(&self.value_descriptions);
        let told = told.filter_map(|(value, words)| Some(format!("{value}: {}", words.as_ref()?)));
        let values = told.collect::<Vec<_>>().join("; ");
        match (self.description.as_deref().unwrap_or_default(), values.as_str()) {
            (words, "") => words.to_owned(),
            ("", values) => values.to_owned(),
            (words, values) => format!("{words} ({values})"),
        }
    }

    /// Its type and what else there is in a few words.
    pub(super) fn in_words(&self) -> String {
        let mut words = vec![match self.values.is_empty() {
            true => self.type_.clone().unwrap_or_else(|| "anything".to_owned()),
            false => one_of(&self.values),
        }];
        words.extend(self.secret.then(|| "names a Secret".to_owned()));
        words.extend(self.required.then(|| "required".to_owned()));
        words.extend(limits_in_words(&self.limits));
        words.extend(limits_in_words(&self.item_limits).map(|limit| format!("each {limit}")));
        words.extend(self.default.as_ref().map(|default| format!("default {default}")));
        words.join(", ")
    }
}

/// All fields, those of objects below them.
pub(super) fn fields(schema: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    let is_object = schema.get("properties").is_some()
        || schema.get("additionalProperties").is_some_and(Value::is_object);
    if !is_object && schema.get("type").is_some() && schema["type"] != "object" {
        found.push(field(schema, "config".to_owned(), true));
    }
    below(schema, "", &mut found);
    found
}

fn below(schema: &Value, path: &str, found: &mut Vec<Field>) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    // those that are required first: they are what a user begins with
    let members = || schema["properties"].as_object().into_iter().flatten();
    let (first, then): (Vec<_>, Vec<_>) = members().partition(|(name, _)| required(name));
    for (name, member) in first.into_iter().chain(then) {
        found.push(field(member, at(name), required(name)));
        below(member, &at(name), found);
    }
    if let Some(any) = schema.get("additionalProperties").filter(|any| any.is_object()) {
        found.push(field(any, at("*"), false));
        below(any, &at("*"), found);
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        below(items, &format!("{path}[]"), found);
    }
}

fn field(schema: &Value, path: String, required: bool) -> Field {
    let (values, mut value_descriptions): (Vec<Value>, Vec<Option<String>>) =
        values_of(schema).into_iter().unzip();
    if value_descriptions.iter().all(Option::is_none) {
        value_descriptions.clear();
    }
    Field {
        path,
        type_: type_of(schema),
        required,
        default: schema.get("default").cloned(),
        values,
        value_descriptions,
        description: schema["description"].as_str().map(str::to_owned),
        secret: schema["x-kubeopencode-secret"] == true,
        limits: limits(schema),
        item_limits: limits(&schema["items"]),
    }
}

fn limits(schema: &Value) -> Map<String, Value> {
    let of = |word: &&str| Some(((*word).to_owned(), schema.get(*word)?.clone()));
    LIMITS.iter().filter_map(of).collect()
}

/// As in `minimum 1`, `pattern ^[a-z]+$`.
fn limits_in_words(limits: &Map<String, Value>) -> impl Iterator<Item = String> {
    LIMITS.iter().filter_map(move |word| match limits.get(*word)? {
        Value::Bool(is) => is.then(|| (*word).to_owned()),
        Value::String(text) => Some(format!("{word} {text}")),
        value => Some(format!("{word} {value}")),
    })
}

/// The only values that a schema takes, where it names them, with what each means.
fn values_of(schema: &Value) -> Vec<(Value, Option<String>)> {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| (value.clone(), None)).collect();
    }
    if let Some(value) = schema.get("const") {
        return vec![(value.clone(), None)];
    }
    let members = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    let members: Vec<_> = members.into_iter().flatten().map(values_of_member).collect();
    // what takes anything else too has no list of values
    if members.iter().any(Vec::is_empty) { Vec::new() } else { members.into_iter().flatten().collect() }
}

/// The same of a member of `oneOf` or `anyOf`: schemars writes one for each variant with a comment, and one for a None.
fn values_of_member(member: &Value) -> Vec<(Value, Option<String>)> {
    if member["type"] == "null" {
        return vec![(Value::Null, None)];
    }
    let mut values = values_of(member);
    if let [(_, words)] = values.as_mut_slice() {
        *words = member["description"].as_str().map(str::to_owned);
    }
    values
}

fn one_of<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    values.into_iter().map(Value::to_string).collect::<Vec<_>>().join(" or ")
}

fn type_of(schema: &Value) -> Option<String> {
    let word = match &schema["type"] {
        Value::String(word) if word == "array" => match type_of(&schema["items"]) {
            Some(items) => format!("list of {items}"),
            None => match values_of(&schema["items"]).as_slice() {
                [] => "list".to_owned(),
                values => format!("list of {}", one_of(values.iter().map(|(value, _)| value))),
            },
        },
        Value::String(word) => word.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => return None,
    };
    Some(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_have_paths() {
        let schema = json!({
            "type": "object",
            "required": ["steps", "mode"],
            "properties": {
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "mode": {"enum": ["a", "b"], "default": "a"},
                "secret": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "x-kubeopencode-secret": true, "description": "Which"}}},
                "steps": {"type": "array", "items": {"type": "object", "properties": {"run": {"type": ["string", "null"]}}}},
                "any": {},
            },
        });
        let lines: Vec<_> =
            fields(&schema).iter().map(|field| format!("{}: {}", field.path, field.in_words())).collect();
        assert_eq!(
            lines,
            [
                "mode: \"a\" or \"b\", required, default \"a\"",
                "steps: list of object, required",
                "steps[].run: string or null",
                "any: anything",
                "labels: object",
                "labels.*: string",
                "secret: object",
                "secret.name: string, names a Secret, required",
            ]
        );
        assert_eq!(fields(&json!({"type": "string"}))[0].path, "config");
    }

    #[test]
    fn values_with_comments_are_listed_with_them() {
        let all = json!({"type": "string", "const": "all", "description": "Each issue"});
        let released = json!({"type": "string", "const": "released"});
        let which = json!({"oneOf": [all, released], "description": "Which ones"});
        for (schema, words, meaning) in [
            (which.clone(), "\"all\" or \"released\"", "Which ones (\"all\": Each issue)"),
            (
                json!({"anyOf": [which, {"type": "null"}]}),
                "\"all\" or \"released\" or null",
                "\"all\": Each issue",
            ),
            (
                json!({"type": "array", "items": {"oneOf": [all, released]}}),
                "list of \"all\" or \"released\"",
                "",
            ),
            (json!({"oneOf": [released, {"enum": ["next"]}]}), "\"released\" or \"next\"", ""),
            (json!({"oneOf": [all, {"type": "object"}]}), "anything", ""),
            (json!({"const": "a", "description": "Only this"}), "\"a\"", "Only this"),
        ] {
            let field = &fields(&json!({"properties": {"a": schema}}))[0];
            assert_eq!((field.in_words().as_str(), field.meaning().as_str()), (words, meaning), "{schema}");
        }
    }

    #[test]
    fn limits_are_said_in_the_words_of_the_schema() {
        for (schema, words) in [
            (
                json!({"type": "integer", "maximum": 9, "minimum": 1, "default": 2}),
                "integer, minimum 1, maximum 9, default 2",
            ),
            (
                json!({"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}),
                "number, exclusiveMinimum 0, multipleOf 0.5",
            ),
            (
                json!({"type": "string", "pattern": "^[a-z]+$", "minLength": 1, "maxLength": 63}),
                "string, minLength 1, maxLength 63, pattern ^[a-z]+$",
            ),
            (
                json!({"type": "array", "minItems": 1, "maxItems": 5, "uniqueItems": true, "items": {"type": "string", "pattern": "^a"}}),
                "list of string, minItems 1, maxItems 5, uniqueItems, each pattern ^a",
            ),
            (
                json!({"type": "array", "uniqueItems": false, "items": {"enum": ["a", "b"]}}),
                "list of \"a\" or \"b\"",
            ),
            (json!({"type": "string", "enum": ["a", "b"]}), "\"a\" or \"b\""),
        ] {
            let schema = json!({"type": "object", "properties": {"a": schema}});
            assert_eq!(fields(&schema)[0].in_words(), words);
        }
        let field = &fields(&json!({"properties": {"a": {"type": "string", "maxLength": 3}}}))[0];
        assert_eq!(serde_json::to_value(field).unwrap()["limits"], json!({"maxLength": 3}));
        assert_eq!(fields(&json!({})), []);
    }
}
