//! The Tasks that a Batch makes: what each is called, and what stands in it.
//!
//! May touch: names and labels. Must not touch: when a Task is made.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use super::batch::{Batch, BatchSpec};
use super::task::{Task, TaskSpec};
use crate::group::Group;
use crate::literals::MAX_NAME;
use crate::names::{cut, label_value};

/// Label on a Batch's Tasks: name of the Batch, cut to 63 characters.
pub const BATCH_LABEL: &str = "kubetask.io/batch";
/// Label on a Batch's Tasks: which of the Batch's lists of contexts is the Task's, from 0.
pub const BATCH_INDEX_LABEL: &str = "kubetask.io/batch-index";

/// Name of a Batch's Task: `<batch>-task-<index>`, the Batch's name cut and with a hash where that is too long.
pub fn batch_task_name(batch: &str, index: usize) -> String {
    let ending = format!("-task-{index}");
    format!("{}{ending}", cut(batch, MAX_NAME - ending.len()))
}

/// A Batch's Task. Its contexts stay in the Batch, so that a Batch of a thousand is written once. It has the finalizer of
/// Tasks from its first moment: no index is forgotten because somebody deleted its Task before it was counted.
pub fn batch_task(batch: &Batch, index: usize) -> Task {
    let name = batch.name_any();
    let owner = OwnerReference {
        api_version: Batch::api_version(&()).into_owned(),
        kind: Batch::kind(&()).into_owned(),
        name: name.clone(),
        uid: batch.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let labels = BTreeMap::from([
        (BATCH_LABEL.to_owned(), label_value(&name)),
        (BATCH_INDEX_LABEL.to_owned(), index.to_string()),
    ]);
    let metadata = ObjectMeta {
        name: Some(batch_task_name(&name, index)),
        namespace: batch.namespace(),
        labels: Some(labels),
        owner_references: Some(vec![owner]),
        finalizers: Some(vec![Group::KubeTask.names().finalizer.to_owned()]),
        ..ObjectMeta::default()
    };
    let BatchSpec { workspace_config_ref, timeout, .. } = &batch.spec;
    let spec = TaskSpec {
        workspace_config_ref: workspace_config_ref.clone(),
        timeout: timeout.clone(),
        ..TaskSpec::default()
    };
    Task { metadata, spec, status: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_its_batchs_and_says_which() {
        let spec = BatchSpec {
            workspace_config_ref: Some("claude".into()),
            timeout: Some("5m".into()),
            ..BatchSpec::default()
        };
        let mut batch = Batch::new("update", spec);
        batch.metadata.namespace = Some("team".into());
        batch.metadata.uid = Some("a-b".into());
        let task = batch_task(&batch, 12);
        let Task { metadata, spec, .. } = task;
        assert_eq!(
            (metadata.name.as_deref(), metadata.namespace.as_deref()),
            (Some("update-task-12"), Some("team"))
        );
        let [owner] = metadata.owner_references.unwrap().try_into().unwrap();
        assert_eq!((owner.api_version.as_str(), owner.kind.as_str()), ("kubetask.io/v1alpha1", "Batch"));
        assert_eq!(
            (owner.name.as_str(), owner.uid.as_str(), owner.controller),
            ("update", "a-b", Some(true))
        );
        let labels = metadata.labels.unwrap();
        assert_eq!((labels[BATCH_LABEL].as_str(), labels[BATCH_INDEX_LABEL].as_str()), ("update", "12"));
        assert_eq!((spec.contexts.len(), spec.workspace_config_ref.as_deref()), (0, Some("claude")));
        assert_eq!(spec.timeout.as_deref(), Some("5m"));
        assert_eq!(metadata.finalizers.unwrap(), ["kubetask.io/task-cleanup"]);
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let long = "x".repeat(250);
        let names: Vec<_> = [0, 7, 12, 999].map(|i| batch_task_name(&long, i)).into();
        assert!(names.iter().all(|name| name.len() <= MAX_NAME), "{names:?}");
        assert!(names[2].ends_with("-task-12"), "{names:?}");
        assert_ne!(batch_task_name(&format!("{long}a"), 0), names[0]);
    }
}
