//! What the shared stages see of a Task of either group: they know no spec.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference};
use kube::core::DynamicResourceScope;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{AGENT_LABEL, MADE_IN_ANNOTATION, VERSION};
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::task::{Phase, TaskStatus};
use kubeopencode_plan::is_namespace_name;
use serde::{Deserialize, Serialize};

use super::metadata::ours;

/// A Task as a [`Frontend`](crate::frontend::Frontend) shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskRef<'a> {
    /// Its API group.
    pub(crate) group: Group,
    /// `metadata`
    pub(crate) metadata: &'a ObjectMeta,
    /// `status`, once it has one.
    pub(crate) status: Option<&'a TaskStatus>,
    /// The annotation that asks to stop it.
    pub(crate) stop: Option<&'static str>,
    /// `spec.timeout`, as it was written.
    pub(crate) timeout: Option<&'a str>,
}

impl<'a> TaskRef<'a> {
    /// Group, namespace and name.
    pub(crate) fn key(&self) -> TaskKey {
        TaskKey::new(self.group, self.namespace(), self.name())
    }

    /// `metadata.namespace`
    pub(crate) fn namespace(&self) -> &'a str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.name`
    pub(crate) fn name(&self) -> &'a str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// `metadata.uid`, empty before the API server gave one.
    pub(crate) fn uid(&self) -> TaskUid {
        TaskUid(self.metadata.uid.clone().unwrap_or_default())
    }

    /// Its phase; Pending while no status says otherwise.
    pub(crate) fn phase(&self) -> Phase {
        self.status.and_then(|status| status.phase).unwrap_or_default()
    }

    /// Whether it is over.
    pub(crate) fn is_terminal(&self) -> bool {
        self.phase().is_terminal()
    }

    /// Whether it is being deleted.
    pub(crate) fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Its finalizers.
    pub(crate) fn finalizers(&self) -> &'a [String] {
        self.metadata.finalizers.as_deref().unwrap_or_default()
    }

    /// Whether it has the finalizer of its group.
    pub(crate) fn has_finalizer(&self) -> bool {
        self.finalizers().iter().any(|finalizer| finalizer == self.group.names().finalizer)
    }

    /// UID of the one Pod that may run for it, once that is recorded.
    pub(crate) fn pod_uid(&self) -> Option<&'a str> {
        self.status?.pod_uid.as_deref()
    }

    /// Its conditions.
    pub(crate) fn conditions(&self) -> &'a [Condition] {
        self.status.map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    /// Whether its label says this Agent.
    pub(crate) fn is_labelled(&self, label: &str) -> bool {
        self.metadata.labels.as_ref().and_then(|labels| labels.get(AGENT_LABEL)).is_some_and(|is| is == label)
    }

    /// An annotation that is meant to stop it and does not, because its value is not `true`: key and value.
    pub(crate) fn ignored_stop(&self) -> Option<(&'static str, &'a str)> {
        stop_annotations(self.group, self.metadata).find(|(_, value)| *value != "true")
    }

    /// In which other namespace something was made for it.
    pub(crate) fn made_in(&self) -> Option<MadeIn> {
        MadeIn::parse(self.metadata.annotations.as_ref()?.get(MADE_IN_ANNOTATION)?)
    }

    /// The Agent that its status names. A Task of `kubetask.io` has none, whatever stands there.
    pub(crate) fn recorded_agent(&self) -> Option<AgentKey> {
        self.status.filter(|_| self.group == Group::KubeOpenCode)?.recorded_agent()
    }

    /// The Batch that made it, by UID.
    pub(crate) fn batch(&self) -> Option<&'a OwnerReference> {
        batch_owner(self.metadata)
    }
}

/// The Batch that made a Task, by UID: the only owner that is kept.
pub(crate) fn batch_owner(task: &ObjectMeta) -> Option<&OwnerReference> {
    task.owner_references.as_ref()?.first()
}

/// The annotation that stops a Task.
pub(crate) fn stop_annotation(group: Group, metadata: &ObjectMeta) -> Option<&'static str> {
    stop_annotations(group, metadata).find(|(_, value)| *value == "true").map(|(key, _)| key)
}

/// The annotations of a Task that are meant to stop it: key and value. The value `true` does.
fn stop_annotations(group: Group, metadata: &ObjectMeta) -> impl Iterator<Item = (&'static str, &str)> {
    let annotations = metadata.annotations.as_ref();
    let keys = group.names().stop_annotations.iter();
    keys.filter_map(move |key| Some((*key, annotations?.get(*key)?.as_str())))
}

/// Most ConfigMaps that are believed: more directories than that do not fit into one Pod's environment.
const MAX_CONFIG_MAPS: usize = 2000;

/// The namespace of a foreign Agent where a Task's Pod is made, and how many ConfigMaps with it. The Task says so before
/// they are there: no owner reference reaches them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MadeIn {
    /// The namespace.
    pub(crate) namespace: String,
    /// ConfigMaps that were made there, at most.
    pub(crate) config_maps: usize,
}

impl MadeIn {
    fn parse(text: &str) -> Option<Self> {
        // users may write it: what is no namespace could never be asked
        let (namespace, count) =
            text.split_once('=').filter(|(namespace, _)| is_namespace_name(namespace))?;
        let config_maps = count.parse::<usize>().ok()?.min(MAX_CONFIG_MAPS);
        Some(Self { namespace: namespace.to_owned(), config_maps })
    }
}

impl fmt::Display for MadeIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.namespace, self.config_maps)
    }
}

/// What an answer of the API server shows of a Task of either group.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct TaskView {
    /// `metadata`, as far as the operator gives it a meaning.
    #[serde(deserialize_with = "ours")]
    pub(crate) metadata: ObjectMeta,
    /// `status`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<TaskStatus>,
}

impl kube::Resource for TaskView {
    type DynamicType = Group;
    type Scope = DynamicResourceScope;

    fn kind(_: &Group) -> Cow<'_, str> {
        "Task".into()
    }

    fn group(group: &Group) -> Cow<'_, str> {
        group.names().group.into()
    }

    fn version(_: &Group) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural(_: &Group) -> Cow<'_, str> {
        "tasks".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
impl TaskView {
    /// As a frontend would show it.
    pub(crate) fn task_ref(&self, group: Group) -> TaskRef<'_> {
        TaskRef { group, metadata: &self.metadata, status: self.status.as_ref(), stop: None, timeout: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_something_was_made_is_read_as_it_is_written() {
        let made_in = MadeIn { namespace: "platform".into(), config_maps: 3 };
        assert_eq!(made_in.to_string(), "platform=3");
        assert_eq!(MadeIn::parse("platform=3"), Some(made_in));
        let many = MadeIn { namespace: "platform".into(), config_maps: MAX_CONFIG_MAPS };
        assert_eq!(MadeIn::parse("platform=18446744073709551615"), Some(many), "users may write it");
        assert_eq!(
            ["", "platform", "platform=", "platform=-1", "platform=x", "=3", "a/../b=3", "no where=3"]
                .map(MadeIn::parse),
            [const { None }; 8]
        );
    }
}
