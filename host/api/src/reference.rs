//! The reference of the API as Markdown, written from the same schemas that the API server checks.
//!
//! May touch: the definitions. Must not touch: what the fields mean, which is said at the types.

use std::collections::HashMap;
use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionSpec;
use serde_json::Value;

use crate::crd;

const HEAD: &str = "# Reference\n\n<!-- Written by `make crds` from host/api; never edited. -->\n\n\
    Every field of every type. Fields in **bold** must be set. `[]` is an entry of a list, `{}` a value of a map.\n";

/// Parts of the API of at least so many fields are described once and referred to where they stand again.
const WORTH_A_REFERENCE: usize = 3;

/// The reference: one section a kind, one table for its `spec` and one for its `status`.
///
/// # Errors
/// When a generated schema does not fit a CustomResourceDefinition, which is a defect of the types.
pub fn markdown() -> Result<String, serde_json::Error> {
    let mut kinds: Vec<_> = crd::all()?.into_iter().map(|crd| crd.spec).collect();
    kinds.sort_by(|a, b| (&a.group, &a.names.kind).cmp(&(&b.group, &b.names.kind)));
    let mut text = HEAD.to_owned();
    let mut known = HashMap::new();
    for kind in &kinds {
        section(kind, &mut known, &mut text)?;
    }
    Ok(text)
}

fn section(
    kind: &CustomResourceDefinitionSpec,
    known: &mut HashMap<String, String>,
    text: &mut String,
) -> Result<(), serde_json::Error> {
    let names = &kind.names;
    for version in &kind.versions {
        let schema =
            serde_json::to_value(version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref()))?;
        let title = format!("{} ({}/{})", names.kind, kind.group, version.name);
        let short = names.short_names.iter().flatten().map(|short| format!(", short `{short}`"));
        let _ = write!(
            text,
            "\n## {title}\n\n{}\n\n`kubectl get {}.{}`{}, {}.\n",
            description(&schema["properties"]["spec"]),
            names.plural,
            kind.group,
            short.collect::<String>(),
            if kind.scope == "Namespaced" { "in a namespace" } else { "for the whole cluster" },
        );
        for message in rules(&schema) {
            let _ = write!(text, "\n* {message}");
        }
        if rules(&schema).next().is_some() {
            text.push('\n');
        }
        for part in ["spec", "status"] {
            let mut table = Table { title: &title, known, rows: String::new() };
            let schema = &schema["properties"][part];
            if let Some(there) = table.seen(schema, part) {
                let _ = write!(text, "\n`{part}` as in {there}.\n");
                continue;
            }
            table.fields(schema, part);
            if !table.rows.is_empty() {
                let _ = write!(text, "\n| `{part}` | type | |\n|---|---|---|\n{}", table.rows);
            }
        }
    }
    Ok(())
}

/// The table of a kind's `spec` or `status`.
struct Table<'a> {
    title: &'a str,
    /// where a part of the API was described first, by its schema
    known: &'a mut HashMap<String, String>,
    rows: String,
}

impl Table<'_> {
    /// Where the same fields were described before; if nowhere, it will be here.
    fn seen(&mut self, schema: &Value, path: &str) -> Option<String> {
        let fields = schema["properties"].as_object()?;
        if fields.len() < WORTH_A_REFERENCE || !is_ours(schema) {
            return None;
        }
        let here = format!("{}, `{path}`", self.title);
        let there = self.known.entry(Value::from(fields.clone()).to_string()).or_insert_with(|| here.clone());
        (*there != here).then(|| there.clone())
    }

    fn fields(&mut self, schema: &Value, path: &str) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let required = schema["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name));
            let shown = path.split_once('.').map_or(path.as_str(), |(_, rest)| rest);
            let field = if required { format!("**`{shown}`**") } else { format!("`{shown}`") };
            let mut words = vec![description(property)];
            words.extend(
                rules(property).chain(rules(&property["items"])).map(|rule| format!("Rule: {rule}.")),
            );
            let (inner, inner_path) = innermost(property, path);
            let seen = self.seen(inner, &inner_path);
            if let Some(there) = &seen {
                words.push(format!("As in {there}."));
            }
            let _ = writeln!(self.rows, "| {field} | {} | {} |", type_of(property), cell(&words.join(" ")));
            if is_ours(inner) && seen.is_none() {
                self.fields(inner, &inner_path);
            }
        }
    }
}

/// What is inside of a core type has no description: Kubernetes' own reference has it.
fn is_ours(schema: &Value) -> bool {
    schema["properties"].as_object().is_some_and(|p| p.values().any(|p| p["description"].is_string()))
}

/// The schema inside of lists and maps, and its path.
fn innermost(schema: &Value, path: String) -> (&Value, String) {
    for (key, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            return innermost(&schema[key], format!("{path}{sign}"));
        }
    }
    (schema, path)
}

fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn rules(schema: &Value) -> impl Iterator<Item = &str> {
    let rules = schema["x-kubernetes-validations"].as_array();
    rules.into_iter().flatten().filter_map(|rule| rule["message"].as_str())
}

/// The type in words, with its limits.
fn type_of(schema: &Value) -> String {
    let number = |key: &str| schema[key].as_f64().filter(|n| n.abs() < f64::from(i32::MAX));
    let limits = match (number("minimum"), number("maximum")) {
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        (Some(min), None) => format!(", at least {min}"),
        (None, Some(max)) => format!(", at most {max}"),
        (None, None) => String::new(),
    };
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", type_of(&schema["additionalProperties"]))
        }
        Some("string") if schema["format"] == "date-time" => "time".to_owned(),
        Some("string") if schema["pattern"].is_string() => {
            format!("string like `{}`", cell(schema["pattern"].as_str().unwrap_or_default()))
        }
        Some(type_) => format!("{type_}{limits}"),
        None if schema["properties"].is_object() => "string or object".to_owned(),
        None if schema["x-kubernetes-int-or-string"] == true => "integer or string".to_owned(),
        None => "any".to_owned(),
    }
}

/// A text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
