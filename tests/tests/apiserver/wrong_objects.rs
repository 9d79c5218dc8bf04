//! What is refused of every type of both groups, with words that name the field: the tables of
//! tests/fixtures/wrong-objects, and beside them every field with a value of another type and every object with a field
//! that nobody knows. What only the operator can see ends in the Task's condition.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::status;
use kubeopencode_tests::verbatim::{Verbatim, fixtures};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::scenario;

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// A file of tests/fixtures/wrong-objects; its README.md says what is what.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    parts: BTreeMap<String, String>,
    good: Vec<Value>,
    wrong: Vec<Vec<Value>>,
}

/// A row of a table.
struct Row {
    field: String,
    value: Option<Value>,
    words: Option<String>,
}

/// A definition and its table.
struct Kind {
    crd: CustomResourceDefinition,
    schema: Value,
    good: Vec<Value>,
    rows: Vec<Row>,
}

/// An object and the words of its refusal; empty: it is taken.
struct Case {
    object: Value,
    words: String,
}

#[tokio::test]
async fn each_row_is_refused_with_words_that_name_the_field() {
    scenario(async |ns| {
        for kind in kinds() {
            let good = kind.good.iter().map(|spec| Case { object: kind.object(spec), words: String::new() });
            let wrong = kind.rows.iter().map(|row| kind.wrong(row));
            all_end_so(ns, &kind, good.chain(wrong).collect()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn values_of_another_type_and_unknown_fields_are_refused_everywhere() {
    scenario(async |ns| {
        for kind in kinds() {
            let mut cases = Vec::new();
            for spec in &kind.good {
                let mut wrong = Vec::new();
                of_another_type(&kind.schema, spec, "", &mut wrong);
                cases.extend(wrong.into_iter().map(|(field, value, words)| {
                    let mut spec = json!({ "": spec });
                    put(&mut spec, &format!("/{field}"), Some(value));
                    Case { object: kind.object(&spec[""]), words }
                }));
            }
            assert!(cases.len() > 10, "{} has a table without fields", kind.name());
            all_end_so(ns, &kind, cases).await;
        }
    })
    .await;
}

#[test]
fn every_field_has_its_row() {
    let mut missing = Vec::new();
    for kind in kinds() {
        let mut there = BTreeSet::new();
        for spec in &kind.good {
            fields_of(&kind.schema, spec, "spec", &mut there);
        }
        let rows = |taken_away: bool| -> BTreeSet<String> {
            let rows = kind.rows.iter().filter(|row| row.value.is_none() == taken_away);
            rows.map(|row| schema_path(&kind.schema, &row.field)).collect()
        };
        let (removed, changed) = (rows(true), rows(false));
        for field in fields(&kind.schema) {
            let what = if !there.contains(&field.path) {
                "is in no good spec"
            } else if field.required && !removed.contains(&field.path) {
                "is required, and no row takes it away"
            } else if field.limited && !changed.contains(&field.path) {
                "has a limit, and no row that breaks it"
            } else {
                continue;
            };
            missing.push(format!("{}: {} {what}", kind.name(), field.path));
        }
    }
    assert!(missing.is_empty(), "tests/fixtures/wrong-objects:\n{}", missing.join("\n"));
}

#[tokio::test]
async fn what_the_api_server_cannot_see_ends_in_the_tasks_condition() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        task: Option<Value>,
        agent: Option<Value>,
        reason: String,
        words: String,
    }
    let rows: Vec<Row> = serde_norway::from_str(&text("conditions")).unwrap();
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        for (i, row) in rows.iter().enumerate() {
            let (task, agent) = (format!("bad-{i}"), format!("odd-{i}"));
            if let Some(spec) = &row.agent {
                apply(ns, "Agent", &agent, &expanded_within(spec)).await;
            }
            let default = json!({"description": "d", "agentRef": agent});
            apply(ns, "Task", &task, row.task.as_ref().unwrap_or(&default)).await;
        }
        for (i, row) in rows.iter().enumerate() {
            let bad = ns.phase(&format!("bad-{i}"), Phase::Failed).await;
            let message = status(&bad).message.as_deref().unwrap();
            let of = |name: String| format!("{}/{name}", ns.name);
            let words = row.words.replace("{task}", &of(format!("bad-{i}")));
            let words = words.replace("{agent}", &of(format!("odd-{i}")));
            assert!(message.contains(&words), "{message}\ninstead of {words}");
            assert_eq!(status(&bad).reason.as_ref(), Some(&row.reason), "{message}");
        }
    })
    .await;
}

async fn apply(ns: &TestNamespace, kind: &str, name: &str, spec: &Value) {
    let object = json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    ns.apply(&object.to_string()).await;
}

/// Every kind of ours with its table.
fn kinds() -> Vec<Kind> {
    let crds = kubeopencode_api::crd::all().unwrap();
    crds.into_iter()
        .map(|crd| {
            let table = table(crd.metadata.name.as_deref().unwrap());
            let schema = &crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema;
            let schema = serde_json::to_value(schema).unwrap()["properties"]["spec"].take();
            Kind { crd, schema, good: table.good, rows: table.wrong.into_iter().map(row).collect() }
        })
        .collect()
}

impl Kind {
    fn name(&self) -> &str {
        self.crd.metadata.name.as_deref().unwrap()
    }

    fn object(&self, spec: &Value) -> Value {
        let api_version = format!("{}/{}", self.crd.spec.group, self.crd.spec.versions[0].name);
        json!({"apiVersion": api_version, "kind": self.crd.spec.names.kind, "metadata": {"name": "default"}, "spec": spec})
    }

    /// The row's value in the first good spec that has the field, or could have it.
    fn wrong(&self, row: &Row) -> Case {
        let field = format!("/{}", row.field.replace('.', "/"));
        let has = |path: &str| self.good.iter().find(|spec| spec.pointer(path).is_some());
        let parent = field.rsplit_once('/').unwrap().0;
        let good = has(&field).or_else(|| has(parent));
        let mut spec =
            good.unwrap_or_else(|| panic!("{}: no good spec has {}", self.name(), row.field)).clone();
        let old = spec.pointer(&field).cloned();
        put(&mut spec, &field, row.value.as_ref().map(|value| expanded(value, old.as_ref())));
        let words = row.words.clone().unwrap_or_else(|| shown(&row.field));
        Case { object: self.object(&spec), words }
    }
}

/// Tries all of them out and tells of those that end otherwise.
async fn all_end_so(ns: &TestNamespace, kind: &Kind, cases: Vec<Case>) {
    let tried = futures::stream::iter(cases).map(async |Case { object, words }| {
        let shown = object["spec"].to_string();
        let shown = shown.get(..600).unwrap_or(&shown);
        match Verbatim::new(&object.to_string(), &ns.name).try_out(&ns.client).await {
            Ok(_) if words.is_empty() => None,
            Ok(_) => Some(format!("taken, although {words} is wrong: {shown}")),
            Err(refusal) if !words.is_empty() && refusal.message.contains(&words) => None,
            Err(refusal) => Some(format!("{:.600}\ninstead of \"{words}\": {shown}", refusal.message)),
        }
    });
    let otherwise: Vec<String> = tried.buffer_unordered(AT_ONCE).filter_map(async |it| it).collect().await;
    assert!(otherwise.is_empty(), "{}:\n{}", kind.name(), otherwise.join("\n"));
}

fn text(name: &str) -> String {
    let found = fixtures("wrong-objects").into_iter().find(|(stem, _)| stem == name);
    found
        .unwrap_or_else(|| panic!("tests/fixtures/wrong-objects/{name}.yaml is missing: every kind has one"))
        .1
}

/// A table with what it takes from others.
fn table(name: &str) -> Table {
    let mut table: Table =
        serde_norway::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (place, part) in table.parts.clone() {
        let part: Table = serde_norway::from_str(&text(&part)).unwrap();
        *table.good[0].pointer_mut(&format!("/{}", place.replace('.', "/"))).expect("an empty list") =
            part.good.into();
        table.wrong.extend(part.wrong.into_iter().map(|mut row| {
            row[0] = format!("{place}.{}", plain(&row[0])).into();
            row
        }));
    }
    table
}

fn row(row: Vec<Value>) -> Row {
    let mut row = row.into_iter();
    Row {
        field: plain(&row.next().unwrap()),
        value: row.next().filter(|value| !value.is_null()),
        words: row.next().map(|words| plain(&words)),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value as a table writes it.
fn expanded(value: &Value, old: Option<&Value>) -> Value {
    let times =
        |key: &str| value.get(key).and_then(Value::as_u64).map(|times| usize::try_from(times).unwrap());
    if let Some(times) = times("long") {
        return "x".repeat(times).into();
    }
    if let Some(times) = times("many") {
        return vec![old.expect("a list")[0].clone(); times].into();
    }
    if let Some(times) = times("keys") {
        return (0..times).map(|i| (format!("k{i}"), json!("a"))).collect::<Map<_, _>>().into();
    }
    value.clone()
}

/// An Agent's spec as `conditions.yaml` writes it: texts may be long anywhere.
fn expanded_within(value: &Value) -> Value {
    match expanded(value, None) {
        Value::Object(fields) => {
            let of = |(name, value): (String, Value)| (name, expanded_within(&value));
            fields.into_iter().map(of).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(expanded_within).collect::<Vec<_>>().into(),
        other => other,
    }
}

/// Sets a field, or takes it away.
fn put(spec: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(fields), Some(value)) => _ = fields.insert(field.to_owned(), value),
        (Value::Object(fields), None) => _ = fields.remove(field).expect("a field that is there"),
        (Value::Array(items), Some(value)) => items[field.parse::<usize>().unwrap()] = value,
        (parent, _) => panic!("{pointer}: {parent}"),
    }
}

/// A field as the API server writes it: `spec.contexts[2].git`.
fn shown(field: &str) -> String {
    field.split('.').fold("spec".to_owned(), |path, part| {
        if part.parse::<usize>().is_ok() { format!("{path}[{part}]") } else { format!("{path}.{part}") }
    })
}

/// For each part of a good spec that the schema types: a value of another type; for each object, a field too many.
fn of_another_type(schema: &Value, spec: &Value, at: &str, wrong: &mut Vec<(String, Value, String)>) {
    let path = at.replace('/', ".");
    let place = if at.is_empty() { "spec".to_owned() } else { shown(path.trim_start_matches('.')) };
    let value = match schema["type"].as_str() {
        Some("string") => json!(5),
        Some(_) => json!("x"),
        None => return,
    };
    wrong.push((at.to_owned(), value, place.clone()));
    let takes_any = |key: &str| schema.get(key).is_some();
    if schema["type"] == "object"
        && !takes_any("additionalProperties")
        && !takes_any("x-kubernetes-preserve-unknown-fields")
    {
        wrong.push((format!("{at}/nonsense"), json!(1), format!("unknown field \"{place}.nonsense\"")));
    }
    for (name, value) in spec.as_object().into_iter().flatten() {
        of_another_type(property(schema, name), value, &format!("{at}/{name}"), wrong);
    }
    for (i, value) in spec.as_array().into_iter().flatten().enumerate() {
        of_another_type(&schema["items"], value, &format!("{at}/{i}"), wrong);
    }
}

fn property<'a>(schema: &'a Value, name: &str) -> &'a Value {
    schema["properties"].get(name).unwrap_or(&schema["additionalProperties"])
}

/// A field of a schema.
struct Field {
    path: String,
    required: bool,
    /// Not every value of its type is right.
    limited: bool,
}

/// Every field of a spec but for what is inside of a core type, which has descriptions no more.
fn fields(schema: &Value) -> Vec<Field> {
    fn walk(schema: &Value, path: &str, required: bool, found: &mut Vec<Field>) {
        const LIMITS: &[&str] = &[
            "pattern",
            "enum",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
        ];
        const UNBOUNDED: [i64; 2] = [i32::MIN as i64, i32::MAX as i64];
        let bound =
            |key: &str| schema[key].as_f64().is_some_and(|bound| !UNBOUNDED.contains(&(bound as i64)));
        let limited =
            LIMITS.iter().any(|limit| schema.get(limit).is_some()) || bound("minimum") || bound("maximum");
        found.push(Field { path: path.to_owned(), required, limited });
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if property["description"].is_string() {
                let required =
                    schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
                walk(property, &format!("{path}.{name}"), required, found);
            }
        }
        for (key, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
            if schema[key].is_object() {
                walk(&schema[key], &format!("{path}{sign}"), false, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(schema, "spec", false, &mut found);
    found
}

/// The fields of a schema that a spec has.
fn fields_of(schema: &Value, spec: &Value, path: &str, found: &mut BTreeSet<String>) {
    found.insert(path.to_owned());
    for (name, value) in spec.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name).is_some();
        let path = if known { format!("{path}.{name}") } else { format!("{path}{{}}") };
        fields_of(property(schema, name), value, &path, found);
    }
    for value in spec.as_array().into_iter().flatten() {
        fields_of(&schema["items"], value, &format!("{path}[]"), found);
    }
}

/// A row's field as [`fields`] writes it.
fn schema_path(schema: &Value, field: &str) -> String {
    let mut found = "spec".to_owned();
    let mut schema = schema;
    for part in field.split('.') {
        if schema["items"].is_object() {
            found += "[]";
            schema = &schema["items"];
        } else {
            let known = schema["properties"].get(part).is_some();
            found += &if known { format!(".{part}") } else { "{}".to_owned() };
            schema = property(schema, part);
        }
    }
    found
}
