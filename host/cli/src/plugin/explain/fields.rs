//! A JSON Schema as a list of fields. Pure: what the host takes of JSON Schema has no references.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::variants::{self, is_required, properties};

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
    /// As in `string`, or in `"none" or {url: …}` of what may be one of several; none: anything.
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    pub(super) required: bool,
    /// What else has to be so that there is this field, as in `{"kind": "url"}`.
    pub(super) with: Map<String, Value>,
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
    /// What those mean that it may be one of, where no other field says it.
    #[serde(skip)]
    told: Vec<(String, String)>,
}

impl Field {
    /// What it is for, and what its values mean.
    pub(super) fn meaning(&self) -> String {
        let told = self.values.iter().zip(&self.value_descriptions);
        let told = told.filter_map(|(value, words)| Some(format!("{value}: {}", words.as_ref()?)));
        let told = told.chain(self.told.iter().map(|(form, words)| format!("{form}: {words}")));
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
        words.extend(self.with.iter().map(|(name, value)| format!("with {name} {value}")));
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
    let is_other = match schema.get("type") {
        Some(word) => word != "object",
        None => several(schema).is_some(),
    };
    if !is_object && is_other {
        found.push(field(schema, "config".to_owned(), true));
    }
    below(schema, "", &mut found);
    found
}

fn below(schema: &Value, path: &str, found: &mut Vec<Field>) {
    let at = |name: &str| at(path, name);
    // those that are required first: they are what a user begins with
    let members = properties(schema).into_iter().flatten();
    let (first, then): (Vec<_>, Vec<_>) = members.partition(|(name, _)| is_required(schema, name));
    for (name, member) in first.into_iter().chain(then) {
        found.push(field(member, at(name), is_required(schema, name)));
        below(member, &at(name), found);
    }
    if let Some(any) = schema.get("additionalProperties").filter(|any| any.is_object()) {
        found.push(field(any, at("*"), false));
        below(any, &at("*"), found);
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        below(items, &format!("{path}[]"), found);
    }
    of_variants(schema, path, found);
}

fn at(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The fields of each object that it may be one of.
fn of_variants(schema: &Value, path: &str, found: &mut Vec<Field>) {
    let mut objects = variants::members(schema);
    objects.retain(|member| properties(member).is_some());
    let tag = variants::tag(&objects);
    if let Some(tag) = tag {
        let value = |object: &&Value| {
            let value = variants::value_of(object, tag)?;
            Some(json!({"const": value, "description": object["description"]}))
        };
        let values: Vec<_> = objects.iter().filter_map(value).collect();
        found.push(field(&json!({"type": "string", "oneOf": values}), at(path, tag), true));
    }
    for object in &objects {
        let mut own = Vec::new();
        below(object, path, &mut own);
        for mut one in own {
            let dot = if path.is_empty() { "" } else { "." };
            let name = one.path.strip_prefix(path).and_then(|rest| rest.strip_prefix(dot));
            let name = name.filter(|name| properties(object).is_some_and(|all| all.contains_key(*name)));
            match (name, tag) {
                (Some(name), Some(tag)) if name == tag => continue,
                (Some(_), Some(tag)) if objects.len() > 1 => {
                    let value = variants::value_of(object, tag).cloned().unwrap_or_default();
                    one.with.insert(tag.to_owned(), value);
                }
                (Some(name), None) => {
                    one.required = objects.iter().all(|object| is_required(object, name));
                    let words = object["description"].as_str().filter(|_| says_itself(object));
                    one.description = words.map(str::to_owned).or(one.description);
                }
                _ => {}
            }
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
}

/// Whether the only field of an object says what the object is, as in `{url: …}`.
fn says_itself(object: &Value) -> bool {
    properties(object).is_some_and(|all| all.len() == 1)
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
        with: Map::new(),
        limits: limits(schema),
        item_limits: limits(&schema["items"]),
        told: told(schema),
    }
}

/// What those mean that are more than values, and have no field that says it.
fn told(schema: &Value) -> Vec<(String, String)> {
    let members = if values_of(schema).is_empty() { variants::members(schema) } else { Vec::new() };
    let objects: Vec<_> = members.iter().copied().filter(|member| properties(member).is_some()).collect();
    let has_tag = variants::tag(&objects).is_some();
    let is_told = |member: &&Value| properties(member).is_some() && (has_tag || says_itself(member));
    let words = |member: &Value| Some((label(member)?, member["description"].as_str()?.to_owned()));
    members.into_iter().filter(|member| !is_told(member)).filter_map(words).collect()
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
        _ => return several(schema),
    };
    Some(word)
}

/// As in `"none" or {url: …}`; none: a list of values alone, or no list.
fn several(schema: &Value) -> Option<String> {
    if !values_of(schema).is_empty() {
        return None;
    }
    let labels: Option<Vec<_>> = variants::members(schema).into_iter().map(label).collect();
    let mut labels = labels?;
    labels.dedup();
    (!labels.is_empty()).then(|| labels.join(" or "))
}

/// One of them in a few words.
fn label(member: &Value) -> Option<String> {
    match values_of_member(member).as_slice() {
        [] => variants::form(member).or_else(|| type_of(member)),
        values => Some(one_of(values.iter().map(|(value, _)| value))),
    }
}

#[cfg(test)]
mod tests {
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
            (json!({"oneOf": [all, {"type": "object"}]}), "\"all\" or object", "\"all\": Each issue"),
            (json!({"oneOf": [all, {}]}), "anything", "\"all\": Each issue"),
            (json!({"const": "a", "description": "Only this"}), "\"a\"", "Only this"),
        ] {
            let field = &fields(&json!({"properties": {"a": schema}}))[0];
            assert_eq!((field.in_words().as_str(), field.meaning().as_str()), (words, meaning), "{schema}");
        }
    }

    /// As schemars writes an enum, with and without a tag.
    #[test]
    fn what_may_be_one_of_several_has_the_fields_of_each() {
        let text = || json!({"type": "string"});
        let url = json!({"type": "object", "required": ["href"], "properties": {"href": text()}});
        let external = json!({"description": "Where from", "oneOf": [
            {"type": "string", "enum": ["nowhere"]},
            {"const": "all", "description": "Each"},
            {"type": "object", "description": "A server", "required": ["url"], "properties": {"url": url}},
            {"type": "object", "required": ["text"], "properties": {"text": text()}},
        ]});
        let internal = json!({"oneOf": [
            {
                "type": "object",
                "description": "A server",
                "required": ["kind", "href"],
                "properties": {"kind": {"const": "url"}, "href": text(), "proxy": text()},
            },
            {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "none"}}},
        ]});
        let untagged = json!({"anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "description": "A branch",
                "required": ["ref", "repo"],
                "properties": {"ref": text(), "repo": text()},
            },
            {"type": "object", "required": ["repo"], "properties": {"repo": text(), "tag": text()}},
        ]});
        let of_internal = |path: &str| {
            [
                format!("{path}kind: \"url\" or \"none\", required   \"url\": A server"),
                format!("{path}href: string, required, with kind \"url\""),
                format!("{path}proxy: string, with kind \"url\""),
            ]
        };
        let lines = |schema: &Value| -> Vec<String> {
            let line = |field: &Field| format!("{}: {}   {}", field.path, field.in_words(), field.meaning());
            fields(schema).iter().map(|field| line(field).trim_end().to_owned()).collect()
        };
        let lines_of = |member: Value| lines(&json!({"required": ["a"], "properties": {"a": member}}));
        assert_eq!(
            lines_of(external),
            [
                "a: \"nowhere\" or \"all\" or {url: …} or {text: …}, required   Where from (\"all\": Each)",
                "a.url: object   A server",
                "a.url.href: string, required",
                "a.text: string",
            ]
        );
        assert_eq!(
            lines_of(untagged),
            [
                "a: string or {ref: …, repo: …} or {repo: …}, required   {ref: …, repo: …}: A branch",
                "a.ref: string",
                "a.repo: string, required",
                "a.tag: string",
            ]
        );
        let optional = lines_of(json!({"anyOf": [internal, {"type": "null"}]}));
        assert_eq!(optional[0], "a: {kind: \"url\", …} or {kind: \"none\"} or null, required");
        assert_eq!(optional[1..], of_internal("a."));
        let listed = lines_of(json!({"type": "array", "items": internal}));
        assert_eq!(listed[0], "a: list of {kind: \"url\", …} or {kind: \"none\"}, required");
        assert_eq!(listed[1..], of_internal("a[]."));
        let root = lines(&internal);
        assert_eq!(root[0], "config: {kind: \"url\", …} or {kind: \"none\"}, required");
        assert_eq!(root[1..], of_internal(""));
        let href = fields(&internal).into_iter().find(|field| field.path == "href").unwrap();
        assert_eq!(serde_json::to_value(href).unwrap()["with"], json!({"kind": "url"}));
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
