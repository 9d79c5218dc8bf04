//! Names of the objects that the operator makes, and the cutting of names that grew too long.
//!
//! Every name is a pure function of the Task, so that a restarted operator finds what it made.

use std::fmt;

use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::group::Group;
use crate::literals::{MAX_LABEL, MAX_NAME};

/// `metadata.uid` of a Task: what tells two Tasks of one name apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskUid(pub String);

impl TaskUid {
    /// `metadata.uid` of a Task, empty before the API server gave one.
    pub fn of(task: &impl ResourceExt) -> Self {
        Self(task.uid().unwrap_or_default())
    }

    /// The first 8 characters, as they stand in names.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for TaskUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Task: its API group, namespace and name. Both groups may have a Task of one name in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskKey {
    /// The API group.
    pub group: Group,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl TaskKey {
    /// The key of the Task `name` in `namespace`.
    pub fn new(group: Group, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { group, namespace: namespace.into(), name: name.into() }
    }

    /// The key of this Task.
    pub fn of(group: Group, task: &impl ResourceExt) -> Self {
        Self::new(group, task.namespace().unwrap_or_default(), task.name_any())
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A Plugin, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName(pub String);

impl PluginName {
    /// The name of this Plugin.
    pub fn of(plugin: &impl ResourceExt) -> Self {
        Self(plugin.name_any())
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An Agent: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentKey {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl AgentKey {
    /// The key of the Agent `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of this Agent.
    pub fn of(agent: &impl ResourceExt) -> Self {
        Self::new(agent.namespace().unwrap_or_default(), agent.name_any())
    }
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The place of an object that is neither a Task nor an Agent: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl ObjectKey {
    /// The key of `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of this object.
    pub fn of(object: &impl ResourceExt) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which of its two possible names an object of a Task gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Naming {
    /// `<task>-pod`
    #[default]
    Plain,
    /// `<task>-<uid8>-pod`: the plain name is held by an object of somebody else
    WithUid,
}

/// The names of the objects that are made for a Task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskNames<'a> {
    task: &'a TaskKey,
    uid: &'a TaskUid,
    pod_namespace: &'a str,
    naming: Naming,
}

impl<'a> TaskNames<'a> {
    /// The names for a Task whose Pod runs in `pod_namespace`. Between namespaces each name has the UID in it, whatever
    /// `naming` says.
    pub fn new(task: &'a TaskKey, uid: &'a TaskUid, pod_namespace: &'a str, naming: Naming) -> Self {
        Self { task, uid, pod_namespace, naming }
    }

    /// Name of the Task's Pod. The kubelet keeps a Pod's logs in a directory `<namespace>_<name>_<uid>`: a longer name
    /// would be taken by the API server and run nowhere.
    pub fn pod(&self) -> String {
        let beside = self.pod_namespace.len() + UID_LENGTH + "__".len();
        self.with_ending(
            self.task.group.names().pod_ending,
            MAX_FILE_NAME.saturating_sub(beside).min(MAX_NAME),
        )
    }

    /// Name of the Task's `i`-th context ConfigMap.
    pub fn context(&self, i: usize) -> String {
        let ending = self.task.group.names().context_ending;
        match i {
            0 => self.with_ending(ending, MAX_NAME),
            i => self.with_ending(&format!("{ending}-{i}"), MAX_NAME),
        }
    }

    fn with_ending(&self, ending: &str, max: usize) -> String {
        let Self { task: TaskKey { namespace, name, .. }, uid, pod_namespace, naming, .. } = self;
        let stem = match (namespace == pod_namespace, naming) {
            (false, _) => format!("{namespace}-{name}-{}", uid.short()),
            (true, Naming::Plain) => name.clone(),
            (true, Naming::WithUid) => format!("{name}-{}", uid.short()),
        };
        format!("{}-{ending}", cut(&stem, max - ending.len() - 1))
    }
}

/// Longest name of a file on Linux, in bytes.
const MAX_FILE_NAME: usize = 255;
/// Length of a `metadata.uid`.
const UID_LENGTH: usize = 36;

/// `name` as a label value: over 63 characters it is cut and ends with a hash of the full name.
pub fn label_value(name: &str) -> String {
    cut(name, MAX_LABEL)
}

/// `name`, or its beginning and a hash of all of it, in at most `max` characters.
pub fn cut(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    let hash = short_hash(name);
    let keep = max - hash.len() - 1;
    let head: String = name.chars().take(keep).collect();
    format!("{}-{hash}", head.trim_end_matches(['-', '.', '_']))
}

/// The first 8 hex digits of the SHA-256 of `text`.
pub fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..4])
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: impl Into<String>) -> TaskKey {
        TaskKey::new(Group::KubeOpenCode, namespace, name)
    }

    fn names<'a>(task: &'a TaskKey, uid: &'a TaskUid, naming: Naming) -> TaskNames<'a> {
        TaskNames::new(task, uid, "team", naming)
    }

    #[test]
    fn names_follow_the_contract() {
        let uid = TaskUid("0123456789abcdef".into());
        let (fix, elsewhere) = (key("team", "fix"), key("dev", "fix"));
        let plain = names(&fix, &uid, Naming::Plain);
        assert_eq!(
            (plain.pod(), plain.context(0), plain.context(2)),
            ("fix-pod".into(), "fix-context".into(), "fix-context-2".into())
        );
        assert_eq!(names(&fix, &uid, Naming::WithUid).pod(), "fix-01234567-pod");
        assert_eq!(names(&elsewhere, &uid, Naming::Plain).pod(), "dev-fix-01234567-pod");
        let other = TaskKey::new(Group::KubeTask, "team", "fix");
        let other = TaskNames::new(&other, &uid, "team", Naming::Plain);
        assert_eq!((other.pod(), other.context(0)), ("fix-kt-pod".into(), "fix-kt-context".into()));
    }

    #[test]
    fn two_tasks_never_share_a_name_in_the_agents_namespace() {
        let (one, other) = (TaskUid("01234567-a".into()), TaskUid("89abcdef-b".into()));
        let short = [key("a-b", "c"), key("a", "b-c")];
        let long = [key("a-b", "c".repeat(253)), key("a", format!("b-{}", "c".repeat(251)))];
        for [first, second] in [short, long] {
            let first = names(&first, &one, Naming::Plain);
            let second = names(&second, &other, Naming::Plain);
            assert_ne!(first.pod(), second.pod());
            assert_ne!(first.context(0), second.context(0));
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_distinct() {
        let uid = TaskUid("0123456789abcdef".into());
        let long = |end: char| key("team", format!("{}{end}", "x".repeat(252)));
        let (a, b) = (long('x'), long('y'));
        let (pod_a, pod_b) = (names(&a, &uid, Naming::Plain).pod(), names(&b, &uid, Naming::Plain).pod());
        assert!(pod_a.ends_with("-pod"), "{pod_a}");
        assert_eq!(
            format!("team_{pod_a}_{}", "u".repeat(UID_LENGTH)).len(),
            MAX_FILE_NAME,
            "the kubelet's log directory"
        );
        assert_eq!(names(&a, &uid, Naming::Plain).context(0).len(), MAX_NAME);
        assert_ne!(pod_a, pod_b);
        assert_eq!(label_value(&a.name).len(), MAX_LABEL);
        assert_ne!(label_value(&a.name), label_value(&b.name));
    }

    #[test]
    fn a_cut_never_leaves_a_separator_before_the_hash() {
        let name = format!("{}-{}", "x".repeat(53), "y".repeat(40));
        assert!(!label_value(&name).contains("--"), "{}", label_value(&name));
    }
}
