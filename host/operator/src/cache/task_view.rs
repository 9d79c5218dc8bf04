//! What the shared stages see of a Task of either group: they know no spec.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::core::DynamicResourceScope;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{AGENT_LABEL, VERSION};
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_api::task::{Phase, TaskStatus};
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
    /// Whether an annotation asks to stop it.
    pub(crate) stop: bool,
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

    /// The Agent that its status names.
    pub(crate) fn recorded_agent(&self) -> Option<AgentKey> {
        self.status?.recorded_agent()
    }
}

/// The annotations of a Task that are meant to stop it: key and value. The value `true` does.
pub(crate) fn stop_annotations(
    group: Group,
    metadata: &ObjectMeta,
) -> impl Iterator<Item = (&'static str, &str)> {
    let annotations = metadata.annotations.as_ref();
    let keys = group.names().stop_annotations.iter();
    keys.filter_map(move |key| Some((*key, annotations?.get(*key)?.as_str())))
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
