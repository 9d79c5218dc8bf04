//! What is kept of an object's metadata: what decisions look at, and nothing that others may grow.
//!
//! `managedFields` are never decoded. Their depth is that of the object, so a deeply nested one would make the metadata
//! of any object unreadable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{
    AGENT_LABEL, AGENT_NAME_ANNOTATION, APP_LABEL, MADE_FOR_ANNOTATION, MADE_IN_ANNOTATION, PLAN_ANNOTATION,
    TASK_NAME_ANNOTATION,
};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest value of a label or an annotation that is kept, in bytes: no value that means something to the operator is
/// longer than a name (253).
const MAX_VALUE: usize = 253;

/// Reads an object's metadata; labels and annotations only as far as the operator gives them a meaning.
///
/// # Errors
/// When it is no metadata.
pub(crate) fn ours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let mut metadata = with_labels(deserializer)?;
    keep_our_labels(&mut metadata);
    Ok(metadata)
}

/// The same with all labels.
///
/// # Errors
/// When it is no metadata.
pub(super) fn with_labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Ok(Metadata::deserialize(deserializer)?.into())
}

/// Drops the labels that mean nothing to the operator.
pub(super) fn keep_our_labels(metadata: &mut ObjectMeta) {
    let Some(labels) = &mut metadata.labels else { return };
    labels.retain(|key, value| has_meaning(key) && value.len() <= MAX_VALUE);
    if labels.is_empty() {
        metadata.labels = None;
    }
}

fn has_meaning(key: &str) -> bool {
    const KEYS: [&str; 7] = [
        AGENT_LABEL,
        APP_LABEL,
        AGENT_NAME_ANNOTATION,
        MADE_FOR_ANNOTATION,
        MADE_IN_ANNOTATION,
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
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    finalizers: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: OurAnnotations,
}

impl From<Metadata> for ObjectMeta {
    fn from(metadata: Metadata) -> Self {
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
            labels: metadata.labels,
            annotations: Some(metadata.annotations.0).filter(|annotations| !annotations.is_empty()),
            ..Self::default()
        }
    }
}

/// The annotations that mean something to the operator. The others, of up to 256 KiB, are skipped where they stand.
#[derive(Default)]
struct OurAnnotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for OurAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(OurAnnotationsVisitor)
    }
}

struct OurAnnotationsVisitor;

impl<'de> Visitor<'de> for OurAnnotationsVisitor {
    type Value = OurAnnotations;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("annotations")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(OurAnnotations::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
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
}
