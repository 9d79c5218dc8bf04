//! The CustomResourceDefinitions, generated from the types.
//!
//! Five things are changed after generation: `nullable` goes (a null is pruned, as with CRDs made from Go types, so
//! that `has()` in a rule means what it says), `default` goes (what an object leaves out is the operator's to fill in,
//! so that a later version may do better), the core types that are passed through to the Pod lose their
//! descriptions (148 KB of them), 32-bit numbers get their bounds, and quantities may be numbers, as everywhere in Kubernetes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::config::KubeOpenCodeConfig;
use crate::kubetask;
use crate::plugin_object::Plugin;
use crate::task::Task;

/// A field without a type: any JSON. Rules cannot look into it, so the operator checks it.
pub(crate) fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// An object of any fields.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// The rule of a duration, in CEL; [`timeout_of`](crate::task::timeout_of) is the same in Rust.
pub const DURATION_RULE: &str = "self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$') && self != '' && duration(self) >= duration('1s')";

/// A duration of hours, minutes and seconds, in this order; at least 1s. A `pattern` would be told to the user as it stands,
/// and beside it that CEL could not convert the text to a message of protobuf: one rule has words for all that can be wrong.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 21,
        "x-kubernetes-validations": [{
            "rule": DURATION_RULE,
            "message": "must be a duration of at least 1s in hours, minutes and seconds, for example 90s or 2h30m",
        }],
    })
}

/// `agentRef`: a name, or an object `{name, namespace}`. A structural schema cannot say "string or object", so the limits of
/// both stand beside each other, and each applies to its own kind of value. The operator refuses what is neither: the only
/// words that the API server has for a list are those on its number of items.
pub(crate) fn agent_ref(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-preserve-unknown-fields": true,
        "minLength": 1, "maxLength": 253,
        "required": ["name"], "maxProperties": 2,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 253, "description": "Name of the Agent."},
            "namespace": {
                "type": "string", "minLength": 1, "maxLength": 63,
                "description": "Namespace of the Agent. Default: the Task's.",
            },
        },
    })
}

/// Rules on the whole Task, of either group, so that the API server itself keeps what must not change.
const TASK_RULES: &[(&str, &str)] = &[
    (
        "!has(oldSelf.status) || !(has(oldSelf.status.podUID) || (has(oldSelf.status.phase) && \
         oldSelf.status.phase in ['Completed', 'Failed'])) || self.spec == oldSelf.spec",
        "spec cannot change once the Task has been launched or is over; make a new Task",
    ),
    (
        "!has(oldSelf.status) || !has(oldSelf.status.podUID) || (has(self.status) && has(self.status.podUID) && \
         self.status.podUID == oldSelf.status.podUID)",
        "status.podUID never changes once it is set",
    ),
    (
        "!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in ['Completed', 'Failed']) || \
         (has(self.status) && has(self.status.phase) && self.status.phase == oldSelf.status.phase)",
        "a Task that is over stays as it is",
    ),
];

/// The rule on a Task's text. etcd takes objects of 1.5 MiB: what is left is for annotations, the operator's finalizer
/// and label, and the status. Characters that need several bytes, and `config`, count for more than this rule sees: the
/// operator looks at the size of the whole object.
const TEXT_RULE: (&str, &str) = (
    "(has(self.spec.description) ? size(self.spec.description) : 0) + (has(self.spec.contexts) ? \
     self.spec.contexts.map(c, (has(c.text) ? size(c.text) : 0) + \
     (has(c.file) && has(c.file.source.inline) ? size(c.file.source.inline) : 0)).sum() : 0) <= 1048576",
    "spec.description and the text of spec.contexts have more than 1048576 characters together: put text into \
     ConfigMaps, or fetch it with Git or URL",
);

/// Rules on the whole Agent.
const AGENT_RULES: &[(&str, &str)] = &[(
    "!has(self.spec.serverConfig) || self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')",
    "an Agent with serverConfig gives its name to a Service: at most 63 of a-z, 0-9 and -, beginning with a letter",
)];

/// Rules on the whole KubeOpenCodeConfig.
const CONFIG_RULES: &[(&str, &str)] = &[(
    "self.metadata.name == 'default'",
    "a KubeOpenCodeConfig has the name \"default\": no other one is read",
)];

/// Rules on the whole Batch: its Tasks are found by their place in it. (Comparing the lists one by one, so that
/// `parallelism` could change, is beyond what the API server lets a rule cost.)
const BATCH_RULES: &[(&str, &str)] = &[
    (
        "!has(oldSelf.status) || !has(oldSelf.status.startTime) || self.spec == oldSelf.spec",
        "spec cannot change once the Batch has started; make a new Batch",
    ),
    (
        "!has(oldSelf.status) || !has(oldSelf.status.made) || (has(self.status) && has(self.status.made) && \
         self.status.made >= oldSelf.status.made)",
        "status.made never goes back: no Task of a Batch is made twice",
    ),
    (
        "!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in ['Completed', 'Failed']) || \
         (has(self.status) && has(self.status.phase) && self.status.phase == oldSelf.status.phase)",
        "a Batch that is over stays as it is",
    ),
];

/// The parts of `podSpec` and of `defaults` whose schema is that of a core type.
const PASSED_THROUGH: &[&str] = &[
    "affinity",
    "dnsConfig",
    "env",
    "hostAliases",
    "imagePullSecrets",
    "podSecurityContext",
    "resources",
    "securityContext",
    "tolerations",
    "topologySpreadConstraints",
    "volumeMounts",
    "volumes",
];

/// The definitions that the chart installs, in the order of their names.
///
/// # Errors
/// When a generated schema does not fit a CustomResourceDefinition, which is a defect of the types.
pub fn all() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    Ok(vec![
        finish(Agent::crd(), AGENT_RULES)?,
        finish(kubetask::batch::Batch::crd(), BATCH_RULES)?,
        finish(KubeOpenCodeConfig::crd(), CONFIG_RULES)?,
        finish(Plugin::crd(), &[])?,
        finish(Task::crd(), &[TASK_RULES, &[TEXT_RULE]].concat())?,
        finish(kubetask::task::Task::crd(), TASK_RULES)?,
        finish(kubetask::workspace_config::WorkspaceConfig::crd(), &[])?,
    ])
}

fn finish(
    crd: CustomResourceDefinition,
    rules: &[(&str, &str)],
) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(crd)?;
    if let Some(schema) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        tidy(schema, None, false);
        if !rules.is_empty() {
            let rules = rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message}));
            schema["x-kubernetes-validations"] = rules.collect();
        }
    }
    serde_json::from_value(crd)
}

/// Goes over a schema; `name` is the property that it stands for, `core` whether a core type is around it.
fn tidy(schema: &mut Value, name: Option<&str>, core: bool) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("nullable");
    object.remove("default");
    if object.get("format") == Some(&json!("int32")) {
        // the API server checks bounds, not formats: without them it takes numbers that nobody can read
        object.entry("minimum").or_insert_with(|| json!(i32::MIN));
        object.entry("maximum").or_insert_with(|| json!(i32::MAX));
    }
    if core {
        object.remove("description");
    }
    if core && matches!(name, Some("limits" | "requests" | "sizeLimit" | "divisor")) {
        let quantity = json!({"x-kubernetes-int-or-string": true});
        match object.get_mut("additionalProperties") {
            Some(values) => *values = quantity,
            None => *schema = quantity,
        }
        return;
    }
    for (key, value) in object.iter_mut() {
        match key.as_str() {
            "properties" => {
                for (name, property) in value.as_object_mut().into_iter().flatten() {
                    let passed = PASSED_THROUGH.contains(&name.as_str());
                    let description = property.get("description").cloned().filter(|_| passed && !core);
                    tidy(property, Some(name), core || passed);
                    if let Some(description) = description {
                        property["description"] = description;
                    }
                }
            }
            "items" | "additionalProperties" => tidy(value, None, core),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_stay_small_and_have_no_nullable_field() {
        for crd in all().unwrap() {
            let text = serde_json::to_string(&crd).unwrap();
            assert!(text.len() < 64 * 1024, "{} has {} bytes", crd.metadata.name.unwrap(), text.len());
            assert!(!text.contains("\"nullable\""));
        }
    }

    #[test]
    fn every_field_of_ours_is_described() {
        fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                let own = !PASSED_THROUGH.contains(&name.as_str());
                if property["description"].as_str().is_none_or(str::is_empty)
                    && !matches!(name.as_str(), "kind" | "apiVersion" | "metadata")
                {
                    found.push(path.clone());
                }
                if own {
                    undescribed(property, &path, found);
                    undescribed(&property["items"], &path, found);
                    undescribed(&property["items"]["items"], &path, found);
                }
            }
        }
        for crd in all().unwrap() {
            let schema =
                serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema)
                    .unwrap();
            let mut found = Vec::new();
            undescribed(&schema, "", &mut found);
            assert!(found.is_empty(), "{}: {found:?}", crd.metadata.name.unwrap());
        }
    }
}
