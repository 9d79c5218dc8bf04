//! Whether an object is one that the API server would take: its own schema, and no field beside it.
//!
//! May touch: generated schemas and JSON, and of rules in CEL the one for durations. Must not touch: rules across fields,
//! which the plan's own checks keep.

use jsonschema::{Draft, Keyword, ValidationError, Validator};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubeopencode_api::crd::{self, DURATION_RULE};
use kubeopencode_api::task::timeout_of;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::error::CliError;

/// The schema of a kind.
pub(crate) struct Schema {
    version: String,
    kind: String,
    schema: Value,
    validator: Validator,
}

/// The schemas of the kinds that are read: those of the definitions, and ConfigMap.
///
/// # Errors
/// A defect of the types.
pub(crate) fn all() -> Result<Vec<Schema>, CliError> {
    let metadata = of::<ObjectMeta>()?;
    let mut schemas = vec![Schema::new("v1", "ConfigMap", of::<ConfigMap>()?)?];
    for definition in crd::all()? {
        let definition = serde_json::to_value(definition)?;
        let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        let properties = &mut schema["properties"];
        properties["metadata"] = metadata.clone();
        for field in ["apiVersion", "kind"] {
            properties[field] = json!({"type": "string"});
        }
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = format!("{}/{}", text(&spec["group"]), text(&spec["versions"][0]["name"]));
        schemas.push(Schema::new(&version, &text(&spec["names"]["kind"]), schema)?);
    }
    Ok(schemas)
}

fn of<T: JsonSchema>() -> Result<Value, CliError> {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let mut schema = serde_json::to_value(settings.into_generator().into_root_schema_for::<T>())?;
    // for what is checked here the dialects are the same
    schema.as_object_mut().map(|schema| schema.remove("$schema"));
    Ok(schema)
}

impl Schema {
    fn new(version: &str, kind: &str, mut schema: Value) -> Result<Self, CliError> {
        whole_numbers(&mut schema);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(false)
            .with_keyword("x-kubernetes-validations", |_, rules, _| Ok(Box::new(Rules::of(rules))))
            .build(&schema);
        let validator = validator.map_err(|error| CliError::Object {
            place: format!("the schema of {kind}"),
            problem: error.to_string(),
        })?;
        Ok(Self { version: version.to_owned(), kind: kind.to_owned(), schema, validator })
    }

    /// Whether it is that of this kind.
    pub(crate) fn is_of(&self, version: &str, kind: &str) -> bool {
        self.version == version && self.kind == kind
    }

    /// Takes out what counts as not set, and checks the rest: every field that is not known or has no value for it.
    pub(crate) fn check(&self, object: &mut Value) -> Vec<String> {
        prune(object);
        let mut fields = Vec::new();
        unknown(&self.schema, object, String::new(), &mut fields);
        let unknown = fields.into_iter().map(|field| format!("unknown field \"{field}\""));
        let invalid = self.validator.iter_errors(object).map(|error| {
            let field = path(error.instance_path().as_str());
            if field.is_empty() { error.to_string() } else { format!("{field}: {error}") }
        });
        unknown.chain(invalid).collect()
    }
}

/// `x-kubernetes-validations`: the message of the rule for durations, where that is the rule.
struct Rules(Option<String>);

impl Rules {
    fn of(rules: &Value) -> Self {
        let rule = rules.as_array().and_then(|rules| rules.iter().find(|rule| rule["rule"] == DURATION_RULE));
        Self(rule.and_then(|rule| rule["message"].as_str()).map(str::to_owned))
    }
}

impl<'i> Keyword<'i> for Rules {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        match (&self.0, value.as_str()) {
            (Some(message), Some(text)) if timeout_of(text).is_none() => {
                Err(ValidationError::custom(format!("{value} {message}")))
            }
            _ => Ok(()),
        }
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        self.validate(value).is_ok()
    }
}

/// The definitions hold bounds as floating point, and messages would say 511.0.
fn whole_numbers(schema: &mut Value) {
    match schema {
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15) {
                *number = (whole as i64).into();
            }
        }
        _ => {}
    }
}

/// The API server drops a null.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

/// The fields that the schema does not have.
fn unknown(schema: &Value, value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let any = schema.get("x-kubernetes-preserve-unknown-fields").is_some()
                || schema.get("properties").is_none();
            for (key, member) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let known = schema["properties"].get(key).or(schema.get("additionalProperties"));
                match known {
                    Some(schema) => unknown(schema, member, path, found),
                    None if any => {}
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (i, item) in items.iter().enumerate() {
                unknown(schema, item, format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

/// `/spec/contexts/0/fileMode` as `spec.contexts[0].fileMode`.
fn path(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{part}]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut object: Value) -> Vec<String> {
        let schemas = all().unwrap();
        let schema = schemas.iter().find(|schema| object["kind"] == schema.kind.as_str()).unwrap();
        schema.check(&mut object)
    }

    #[test]
    fn what_the_api_server_takes_is_taken() {
        for object in [
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"b": "c"}},
                "data": {"any": "text"}}),
            json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task", "metadata": {"name": "a"},
                "spec": {"agentRef": {"name": "a", "namspace": "b"}, "description": null,
                    "contexts": [{"type": "Jira", "config": {"any": [1]}}]}}),
            json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Agent", "metadata": {"name": "a"},
                "spec": {"serviceAccountName": "b", "config": "{}", "podSpec": {"resources": {"limits": {"cpu": 2}},
                    "volumes": [{"name": "c", "emptyDir": {"sizeLimit": "1Gi"}}]}}}),
        ] {
            assert_eq!(check(object.clone()), Vec::<String>::new(), "{object}");
        }
    }

    #[test]
    fn what_it_refuses_is_refused_with_the_fields_path() {
        let task = |contexts: Value| json!({"kind": "Task", "metadata": {"name": "a"}, "spec": {"contexts": contexts}});
        let agent = |spec: Value| json!({"kind": "Agent", "metadata": {"name": "a"}, "spec": spec});
        for (object, words) in [
            (
                json!({"kind": "Task", "metadata": {"name": "a"}, "spec": {}, "sepc": {}}),
                "unknown field \"sepc\"",
            ),
            (
                json!({"kind": "Task", "metadata": {"nmae": "a"}, "spec": {}}),
                "unknown field \"metadata.nmae\"",
            ),
            (task(json!([{"type": "Text", "txt": "a"}])), "unknown field \"spec.contexts[0].txt\""),
            (
                task(json!([{"type": "Text", "text": "a", "fileMode": 512}])),
                "spec.contexts[0].fileMode: 512 is",
            ),
            (task(json!([{"type": "Text", "text": "a", "fileMode": "0400"}])), "spec.contexts[0].fileMode: "),
            (task(json!([{"text": "a"}])), "spec.contexts[0]: \"type\" is a required property"),
            (
                agent(
                    json!({"serviceAccountName": "a", "podSpec": {"volumes": [{"name": "v", "empty": {}}]}}),
                ),
                "unknown field \"spec.podSpec.volumes[0].empty\"",
            ),
            (agent(json!({})), "spec: \"serviceAccountName\" is a required property"),
            (json!({"kind": "ConfigMap", "metadata": {"name": "a"}, "date": {}}), "unknown field \"date\""),
        ] {
            let problems = check(object);
            assert!(problems.len() == 1 && problems[0].starts_with(words), "{problems:?}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let contexts =
            json!([{"type": "Text", "txt": "a"}, {"type": "Text", "text": "a", "fileMode": 512}, {}]);
        let problems =
            check(json!({"kind": "Task", "metadata": {"nmae": "a"}, "spec": {"contexts": contexts}}));
        let expected = [
            "unknown field \"metadata.nmae\"",
            "unknown field \"spec.contexts[0].txt\"",
            "spec.contexts[1].fileMode: 512 is",
            "spec.contexts[2]: \"type\" is a required property",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, words) in problems.iter().zip(expected) {
            assert!(problem.starts_with(words), "{problem}");
        }
    }
}
