//! What is kept of an object's metadata: what decisions look at, and nothing that others may grow.
//!
//! `managedFields` are never decoded. Their depth is that of the object, so a deeply nested one would make the metadata
//! of any object unreadable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{
    AGENT_LABEL, AGENT_NAME_ANNOTATION, APP_LABEL, MADE_FOR_ANNOTATION, MADE_IN_ANNOTATION, PAUSE_ANNOTATION,
    PLAN_ANNOTATION, TASK_NAME_ANNOTATION,
};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest value of a label or an annotation that is kept, in bytes: no value that means something to the operator is
/// longer than a name (253).
const MAX_VALUE: usize = 253;

/// In front of the annotations that kubectl writes for itself.
const KUBECTL: &str = "kubectl.kubernetes.io/";

/// Reads an object's metadata; labels and annotations only as far as the operator gives them a meaning.
///
/// # Errors
/// When it is no metadata.
pub(crate) fn ours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let mut metadata = Metadata::<OurAnnotations>::deserialize(deserializer)?.into();
    keep_ours(&mut metadata);
    Ok(metadata)
}

/// The same with all labels and annotations, as plugins see them: without those of kubectl.
///
/// # Errors
/// When it is no metadata.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let mut metadata: ObjectMeta = Metadata::<BTreeMap<String, String>>::deserialize(deserializer)?.into();
    if let Some(annotations) = &mut metadata.annotations {
        // the whole object once more
        annotations.retain(|key, _| !key.starts_with(KUBECTL));
    }
    Ok(metadata)
}

/// Drops the labels and annotations that mean nothing to the operator.
pub(super) fn keep_ours(metadata: &mut ObjectMeta) {
    for map in [&mut metadata.labels, &mut metadata.annotations] {
        let Some(entries) = map else { continue };
        entries.retain(|key, value| has_meaning(key) && value.len() <= MAX_VALUE);
        if entries.is_empty() {
            *map = None;
        }
    }
}

fn has_meaning(key: &str) -> bool {
    const KEYS: [&str; 8] = [
        AGENT_LABEL,
        APP_LABEL,
        AGENT_NAME_ANNOTATION,
        MADE_FOR_ANNOTATION,
        MADE_IN_ANNOTATION,
        PAUSE_ANNOTATION,
        PLAN_ANNOTATION,
        TASK_NAME_ANNOTATION,
    ];
    let of_group = |group: Group| {
        let names = group.names();
        names.stop_annotations.contains(&key)
            || [names.task_label, names.task_uid_label, names.task_namespace_label].contains(&key)
    };
    KEYS.contains(&key) || Group::ALL.into_iter().any(of_group)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "A: Deserialize<'de> + Default"))]
struct Metadata<A> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    finalizers: Option<Vec<String>>,
    owner_references: Option<Vec<OwnerReference>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<A>,
}

/// The one owner whose contexts a Task may have: the Batch that made it. Of others, which garbage collection alone looks
/// at, a Pod has one, and nobody needs it.
fn is_batch(owner: &OwnerReference) -> bool {
    let is_kubetask =
        owner.api_version.split_once('/').is_some_and(|(group, _)| group == Group::KubeTask.names().group);
    owner.controller == Some(true) && owner.kind == "Batch" && is_kubetask
}

impl<A: Into<BTreeMap<String, String>>> From<Metadata<A>> for ObjectMeta {
    fn from(metadata: Metadata<A>) -> Self {
        Self {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            creation_timestamp: metadata.creation_timestamp,
            deletion_timestamp: metadata.deletion_timestamp,
            deletion_grace_period_seconds: metadata.deletion_grace_period_seconds,
            finalizers: metadata.finalizers,
            owner_references: metadata
                .owner_references
                .map(|owners| owners.into_iter().filter(is_batch).collect::<Vec<_>>())
                .filter(|owners| !owners.is_empty()),
            labels: metadata.labels,
            annotations: metadata.annotations.map(Into::into).filter(|annotations| !annotations.is_empty()),
            ..Self::default()
        }
    }
}

/// The annotations that mean something to the operator. The others, of up to 256 KiB, are skipped where they stand.
#[derive(Default)]
struct OurAnnotations(BTreeMap<String, String>);

impl From<OurAnnotations> for BTreeMap<String, String> {
    fn from(annotations: OurAnnotations) -> Self {
        annotations.0
    }
}

impl<'de> Deserialize<'de> for OurAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OurAnnotationsVisitor)
    }
}

struct OurAnnotationsVisitor;

impl<'de> Visitor<'de> for OurAnnotationsVisitor {
    type Value = OurAnnotations;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("annotations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut annotations = BTreeMap::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if has_meaning(&key) {
                let value = map.next_value::<String>()?;
                if value.len() <= MAX_VALUE {
                    annotations.insert(key.into_owned(), value);
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(OurAnnotations(annotations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_not_kept() {
        let nested = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
        let text = format!(
            r#"{{"name": "t", "uid": "u", "resourceVersion": "7", "creationTimestamp": null, "finalizers": ["a/b"],
                "managedFields": [{{"fieldsV1": {nested}}}], "ownerReferences": [{{}}],
                "labels": {{"team": "a", "kubeopencode.io/task-uid": "x"}},
                "annotations": {{"kubectl.kubernetes.io/last-applied-configuration": "{}", "kubeopencode.io/stop": "true",
                    "kubeopencode.io/plan": "{}"}}}}"#,
            "x".repeat(200_000),
            "x".repeat(254),
        );
        let metadata = ours(&mut serde_json::Deserializer::from_str(&text)).unwrap();
        let expected = serde_json::json!({
            "name": "t", "uid": "u", "resourceVersion": "7", "finalizers": ["a/b"],
            "labels": {"kubeopencode.io/task-uid": "x"}, "annotations": {"kubeopencode.io/stop": "true"},
        });
        assert_eq!(serde_json::to_value(metadata).unwrap(), expected);
    }

    #[test]
    fn of_owners_the_batch_that_controls_a_task_is_kept() {
        let owner = |version: &str, kind: &str, controls: bool| serde_json::json!({"apiVersion": version, "kind": kind, "name": "b", "uid": "u", "controller": controls});
        let owners = [
            owner("v1", "Batch", true),
            owner("kubetask.io/v1alpha1", "Batch", false),
            owner("kubetask.io/v1alpha1", "Task", true),
            owner("kubetask.io/v1alpha1", "Batch", true),
        ];
        let text = serde_json::json!({"name": "t", "ownerReferences": owners}).to_string();
        let metadata = ours(&mut serde_json::Deserializer::from_str(&text)).unwrap();
        assert_eq!(serde_json::to_value(metadata.owner_references).unwrap(), serde_json::json!([owners[3]]));
    }

    #[test]
    fn what_plugins_see_is_kept_until_the_rest_is_dropped() {
        let text = r#"{"name": "t", "labels": {"team": "a"}, "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}", "kubeopencode.io/stop": "true", "team": "a"}}"#;
        let mut metadata = whole(&mut serde_json::Deserializer::from_str(text)).unwrap();
        let keys = |metadata: &ObjectMeta| -> Vec<_> {
            metadata.annotations.iter().flatten().map(|(key, _)| key.clone()).collect()
        };
        assert_eq!(keys(&metadata), ["kubeopencode.io/stop", "team"]);
        keep_ours(&mut metadata);
        assert_eq!((keys(&metadata), metadata.labels), (vec!["kubeopencode.io/stop".to_owned()], None));
    }
}
