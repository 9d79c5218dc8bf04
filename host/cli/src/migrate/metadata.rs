//! What stays of an object's metadata, and of an object that passes.
//!
//! May touch: JSON. Must not touch: a spec.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubeopencode_api::group::Group;
use serde_json::{Map, Value};

use super::objects::OLD_GROUP;
use super::warnings::Warnings;

/// What the API server writes.
const MANAGED: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What kubectl writes.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Name, namespace where it is written, labels and annotations of an object. What else it has is said, but for what a
/// cluster wrote.
pub(super) fn kept(value: &Value, place: &str, warnings: &mut Warnings) -> ObjectMeta {
    let metadata = &value["metadata"];
    let text = |field: &str| metadata[field].as_str().map(str::to_owned);
    for field in metadata.as_object().into_iter().flat_map(Map::keys) {
        let kept = ["name", "namespace", "labels", "annotations"].contains(&field.as_str());
        // the only one is the operator's, which it puts on what it launched
        if !kept && !MANAGED.contains(&field.as_str()) && field != "finalizers" {
            warnings.say(place, format!("metadata.{field}: left out; add it if you need it"));
        }
    }
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        labels: words(metadata, "labels", place, warnings),
        annotations: words(metadata, "annotations", place, warnings),
        ..ObjectMeta::default()
    }
}

/// Labels or annotations, without those of the two groups, which would say something else of another kind.
fn words(
    metadata: &Value,
    field: &str,
    place: &str,
    warnings: &mut Warnings,
) -> Option<BTreeMap<String, String>> {
    let mut kept = BTreeMap::new();
    for (key, value) in metadata[field].as_object().into_iter().flatten() {
        let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
        if Group::ALL.iter().any(|group| group.names().group == prefix) {
            // what it says is told where it is read
            if ![PAUSE, STOPS[0], STOPS[1]].contains(&key.as_str()) {
                warnings
                    .say(place, format!("metadata.{field}: {key} is left out: only KubeOpenCode sets it"));
            }
        } else if key != LAST_APPLIED {
            kept.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
        }
    }
    Some(kept).filter(|kept| !kept.is_empty())
}

/// Annotation on a Batch; the value `true` holds further Tasks back.
pub(super) const PAUSE: &str = "kubetask.io/pause";
const STOPS: &[&str] = Group::KubeTask.names().stop_annotations;

/// Whether an annotation says so.
pub(super) fn is_paused(value: &Value) -> bool {
    value["metadata"]["annotations"][PAUSE] == "true"
}

/// Whether an annotation stops the Task.
pub(super) fn is_stopped(value: &Value) -> bool {
    STOPS.iter().any(|key| value["metadata"]["annotations"][*key] == "true")
}

/// Whether it was read from a cluster.
pub(super) fn is_exported(value: &Value) -> bool {
    value["metadata"]["uid"].is_string()
}

/// The Batch that made a Task.
pub(super) fn batch_of(value: &Value) -> Option<&str> {
    let owners = value["metadata"]["ownerReferences"].as_array()?;
    let is_batch = |owner: &&Value| {
        let version = owner["apiVersion"].as_str().unwrap_or_default();
        owner["kind"] == "Batch" && version.starts_with(OLD_GROUP) && owner["controller"] == true
    };
    owners.iter().find(is_batch)?["name"].as_str()
}

/// An object that passes, without what a cluster wrote.
pub(super) fn passed(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !MANAGED.contains(&field.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    value
}

/// The first place of an object that names the group that is left, or the label of its Pods.
pub(super) fn names_old_group(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains("kubetask").then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(i, item)| Some(format!("[{i}]{}", names_old_group(item)?)))
        }
        Value::Object(members) => members.iter().find_map(|(key, member)| {
            let below = if key.contains("kubetask") { Some(String::new()) } else { names_old_group(member) };
            Some(format!(".{key}{}", below?))
        }),
        _ => None,
    }
}
