//! Objects for tests, and what Tasks say.
//!
//! A field that is set twice, taken away where it is not, or written in YAML that is none, is a panic: a test never
//! runs another scenario than the one that it shows.

use std::fmt::Debug;
use std::marker::PhantomData;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::object::HasStatus;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::group::Group;
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::task::Task as KubeTask;
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::task::{Task, TaskStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kubelet::AGENT_DOES;

/// What can be applied: one object or several.
pub trait Objects {
    /// The objects as JSON.
    fn objects(self) -> Vec<Value>;
}

impl Objects for &str {
    fn objects(self) -> Vec<Value> {
        documents(self)
    }
}

impl Objects for &String {
    fn objects(self) -> Vec<Value> {
        documents(self)
    }
}

impl Objects for Value {
    fn objects(self) -> Vec<Value> {
        vec![self]
    }
}

impl Objects for Vec<Value> {
    fn objects(self) -> Vec<Value> {
        self
    }
}

impl<K> Objects for Builder<K> {
    fn objects(self) -> Vec<Value> {
        vec![self.object]
    }
}

impl<K> Objects for &Builder<K> {
    fn objects(self) -> Vec<Value> {
        vec![self.object.clone()]
    }
}

/// The documents of a YAML text as JSON.
///
/// # Panics
/// When it is no YAML.
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents =
        serde_norway::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap());
    documents.filter(|document| !document.is_null()).collect()
}

/// A text with another piece in place of one that must be in it.
///
/// # Panics
/// When it is not.
pub fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "there is no {from:?} in\n{text}");
    text.replace(from, to)
}

/// An object of a kind, to be.
#[derive(Debug)]
pub struct Builder<K> {
    object: Value,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Builder<K> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), kind: PhantomData }
    }
}

/// A Task with a description, whose agent succeeds.
pub fn task(name: &str) -> Builder<Task> {
    Builder::new("Task", name).set("/spec/description", "d")
}

/// A Task of `kubetask.io` with one piece of context, whose agent succeeds.
pub fn kubetask(name: &str) -> Builder<KubeTask> {
    let piece = json!({"type": "File", "file": {"name": "task.md", "source": {"inline": "d"}}});
    Builder::of(Group::KubeTask, "Task", name).set("/spec/contexts", json!([piece]))
}

/// A Batch of so many Tasks, whose agents succeed.
pub fn batch(name: &str, total: usize) -> Builder<Batch> {
    let piece =
        |name: &str, text: &str| json!({"type": "File", "file": {"name": name, "source": {"inline": text}}});
    let variable: Vec<_> = (0..total).map(|i| json!([piece("which.md", &format!("number {i}"))])).collect();
    Builder::of(Group::KubeTask, "Batch", name)
        .set("/spec/commonContext", json!([piece("task.md", "Do it")]))
        .set("/spec/variableContexts", variable)
}

/// A WorkspaceConfig that says nothing.
pub fn workspace_config(name: &str) -> Builder<WorkspaceConfig> {
    Builder::of(Group::KubeTask, "WorkspaceConfig", name)
}

/// An Agent with the ServiceAccount of [`crate::namespace::TEAM`].
pub fn agent(name: &str) -> Builder<Agent> {
    Builder::new("Agent", name).set("/spec/serviceAccountName", "kubeopencode-agent")
}

/// The settings of a namespace, as the fields of a `spec` in YAML.
pub fn config(fields: &str) -> Builder<KubeOpenCodeConfig> {
    Builder::new("KubeOpenCodeConfig", "default").spec(fields)
}

/// A ConfigMap.
pub fn config_map(name: &str, data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<_, _> =
        data.iter().map(|(key, text)| ((*key).to_owned(), Value::from(*text))).collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// A Secret.
pub fn secret(name: &str, data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<_, _> =
        data.iter().map(|(key, text)| ((*key).to_owned(), Value::from(*text))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
}

/// A Pod that says it is one of ours, is fat, and waits at a gate of its own.
///
/// # Panics
/// Never: it is a Pod.
pub fn foreign_pod(i: usize) -> Pod {
    let pod = json!({
        "metadata": {
            "name": format!("foreign-{i}"), "labels": {"app": "kubeopencode"},
            "annotations": {"example.com/fat": "f".repeat(250_000)},
        },
        "spec": {
            "schedulingGates": [{"name": "example.com/gate"}],
            "containers": [{"name": "c", "image": "i"}],
        },
    });
    serde_json::from_value(pod).unwrap()
}

/// A ServiceAccount.
pub fn service_account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
}

impl<K> Builder<K> {
    fn new(kind: &str, name: &str) -> Self {
        Self::of(Group::KubeOpenCode, kind, name)
    }

    /// An object of a group, without a spec.
    pub(crate) fn of(group: Group, kind: &str, name: &str) -> Self {
        let object =
            json!({"apiVersion": group.api_version(), "kind": kind, "metadata": {"name": name}, "spec": {}});
        Self { object, kind: PhantomData }
    }

    /// The object of this kind and name among YAML documents.
    ///
    /// # Panics
    /// When there is none.
    pub fn among(yaml: &str, kind: &str, name: &str) -> Self {
        let is_it = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
        let object = documents(yaml).into_iter().find(is_it);
        Self { object: object.unwrap_or_else(|| panic!("no {kind} {name} in\n{yaml}")), kind: PhantomData }
    }

    /// The object as JSON.
    pub fn json(&self) -> Value {
        self.object.clone()
    }

    /// Sets a field that is not there yet, by its JSON pointer; the objects on the way to it are made.
    ///
    /// # Panics
    /// When it is there.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut at = &mut self.object;
        for key in pointer.split('/').skip(1) {
            let key = key.replace("~1", "/");
            at = match at {
                Value::Array(items) => &mut items[key.parse::<usize>().expect("an index")],
                fields => &mut fields[key],
            };
        }
        assert!(at.is_null(), "{pointer} is set already: {at}");
        *at = value.into();
        self
    }

    /// Takes away a field that is there.
    ///
    /// # Panics
    /// When it is not there.
    pub fn without(mut self, pointer: &str) -> Self {
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        let parent = self.object.pointer_mut(parent).and_then(Value::as_object_mut);
        let removed = parent.and_then(|parent| parent.remove(field));
        assert!(removed.is_some(), "{pointer} is not there: {}", self.object);
        self
    }

    /// Sets another value where there is one.
    ///
    /// # Panics
    /// When the field is not there.
    pub fn change(self, pointer: &str, value: impl Into<Value>) -> Self {
        self.without(pointer).set(pointer, value)
    }

    /// Sets fields of `spec` that are not there yet, from a YAML mapping as in `timeout: 1s`, or in `{}`.
    ///
    /// # Panics
    /// When it is no mapping, or a field is there.
    pub fn spec(self, fields: &str) -> Self {
        let parsed: Result<serde_json::Map<String, Value>, _> = serde_norway::from_str(fields);
        let inline = parsed.or_else(|_| serde_norway::from_str(&format!("{{{fields}}}")));
        let fields = inline.unwrap_or_else(|error| panic!("no mapping: {error}\n{fields}"));
        fields.into_iter().fold(self, |object, (field, value)| object.set(&format!("/spec/{field}"), value))
    }

    /// An annotation.
    pub fn annotation(self, key: &str, value: &str) -> Self {
        self.set(&format!("/metadata/annotations/{}", key.replace('/', "~1")), value)
    }

    /// What the agent of a Task does, where the kubelet of the harness runs it: see [`AGENT_DOES`].
    pub fn does(self, what: &str) -> Self {
        self.annotation(AGENT_DOES, what)
    }
}

impl Builder<Task> {
    /// With this Agent of its namespace.
    pub fn agent(self, name: &str) -> Self {
        self.set("/spec/agentRef", name)
    }

    /// With this Agent of another namespace.
    pub fn agent_in(self, namespace: &str, name: &str) -> Self {
        self.set("/spec/agentRef", json!({"name": name, "namespace": namespace}))
    }

    /// Another description.
    pub fn description(self, text: &str) -> Self {
        self.change("/spec/description", text)
    }
}

impl Builder<Batch> {
    /// `parallelism`
    pub fn parallelism(self, tasks: usize) -> Self {
        self.set("/spec/parallelism", tasks)
    }

    /// What the agent of one index does.
    pub fn does_at(self, index: usize, what: &str) -> Self {
        self.annotation(&format!("{AGENT_DOES}-{index}"), what)
    }
}

impl Builder<Agent> {
    /// `maxConcurrentTasks`
    pub fn at_once(self, tasks: u32) -> Self {
        self.set("/spec/maxConcurrentTasks", tasks)
    }

    /// So many starts in so many seconds.
    pub fn quota(self, starts: u32, seconds: u32) -> Self {
        self.set("/spec/quota", json!({"maxTaskStarts": starts, "windowSeconds": seconds}))
    }
}

/// A Task of either group.
pub trait AnyTask: HasStatus<Status = TaskStatus> + Debug {}

impl<T: HasStatus<Status = TaskStatus> + Debug> AnyTask for T {}

/// The status of a Task that has one.
///
/// # Panics
/// When it has none.
pub fn status(task: &impl AnyTask) -> &TaskStatus {
    task.status().expect("a status")
}

/// A condition that must be there.
///
/// # Panics
/// When it is not.
pub fn condition<'a>(task: &'a impl AnyTask, type_: &str) -> &'a Condition {
    let found = status(task).conditions.iter().find(|condition| condition.type_ == type_);
    found.unwrap_or_else(|| panic!("no condition {type_}: {:#?}", task.status()))
}

/// Status, reason and message of a condition that must be there.
pub fn words<'a>(task: &'a impl AnyTask, type_: &str) -> (&'a str, &'a str, &'a str) {
    let Condition { status, reason, message, .. } = condition(task, type_);
    (status, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_says_what_it_says() {
        let fix = task("fix").agent("one-at-a-time").does("run-on").spec("timeout: 1s");
        let annotations = json!({AGENT_DOES: "run-on"});
        let expected = json!({
            "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task",
            "metadata": {"name": "fix", "annotations": annotations},
            "spec": {"description": "d", "agentRef": "one-at-a-time", "timeout": "1s"},
        });
        assert_eq!(fix.json(), expected);
        assert_eq!(task("fix").spec("{contexts: []}").json(), task("fix").spec("contexts: []").json());
        assert_eq!(task("a").description("e").json()["spec"], json!({"description": "e"}));
    }

    #[test]
    #[should_panic(expected = "/spec/agentRef is set already")]
    fn nothing_is_set_twice() {
        let _ = task("fix").agent("a").spec("agentRef: b");
    }

    #[test]
    #[should_panic(expected = "/spec/timeout is not there")]
    fn nothing_is_changed_that_is_not_there() {
        let _ = task("fix").change("/spec/timeout", "1s");
    }
}
