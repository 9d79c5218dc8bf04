//! Names of the objects that the operator makes, and the cutting of names that grew too long.
//!
//! Every name is a pure function of the Task, so that a restarted operator finds what it made.

use std::fmt;

use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::literals::{MAX_LABEL, MAX_NAME};
use crate::task::Task;

/// `metadata.uid` of a Task: what tells two Tasks of one name apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskUid(pub String);

impl TaskUid {
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

/// An object's place: namespace and name.
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

/// What names are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskNames<'a> {
    /// Namespace of the Task.
    pub task_namespace: &'a str,
    /// Name of the Task.
    pub task: &'a str,
    /// UID of the Task.
    pub uid: &'a TaskUid,
    /// Namespace that the Pod runs in.
    pub pod_namespace: &'a str,
    /// The plain names or those with the UID.
    pub naming: Naming,
}

impl<'a> TaskNames<'a> {
    /// The names of this Task's objects, which are in `pod_namespace`.
    pub fn of(task: &'a Task, uid: &'a TaskUid, pod_namespace: &'a str, naming: Naming) -> Self {
        Self {
            task_namespace: task.metadata.namespace.as_deref().unwrap_or_default(),
            task: task.metadata.name.as_deref().unwrap_or_default(),
            uid,
            pod_namespace,
            naming,
        }
    }

    /// Name of the Task's Pod. The kubelet keeps a Pod's logs in a directory `<namespace>_<name>_<uid>`: a longer name
    /// would be taken by the API server and run nowhere.
    pub fn pod(&self) -> String {
        let beside = self.pod_namespace.len() + UID_LENGTH + "__".len();
        self.with_suffix("pod", MAX_FILE_NAME.saturating_sub(beside).min(MAX_NAME))
    }

    /// Name of the Task's `i`-th context ConfigMap.
    pub fn context(&self, i: usize) -> String {
        match i {
            0 => self.with_suffix("context", MAX_NAME),
            i => self.with_suffix(&format!("context-{i}"), MAX_NAME),
        }
    }

    fn with_suffix(&self, suffix: &str, max: usize) -> String {
        let Self { task_namespace, task, uid, pod_namespace, naming } = self;
        let stem = match (task_namespace == pod_namespace, naming) {
            (false, _) => format!("{task_namespace}-{task}-{}", uid.short()),
            (true, Naming::Plain) => (*task).to_owned(),
            (true, Naming::WithUid) => format!("{task}-{}", uid.short()),
        };
        let room = max - suffix.len() - 1;
        format!("{}-{suffix}", cut(&stem, room))
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

/// `name`, or its beginning and a hash of all of it, in at most `room` characters.
pub fn cut(name: &str, room: usize) -> String {
    if name.len() <= room {
        return name.to_owned();
    }
    let hash = short_hash(name);
    let keep = room - hash.len() - 1;
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

    fn names<'a>(task_namespace: &'a str, task: &'a str, uid: &'a TaskUid, naming: Naming) -> TaskNames<'a> {
        TaskNames { task_namespace, task, uid, pod_namespace: "team", naming }
    }

    #[test]
    fn names_follow_the_contract() {
        let uid = TaskUid("0123456789abcdef".into());
        let plain = names("team", "fix", &uid, Naming::Plain);
        assert_eq!(
            (plain.pod(), plain.context(0), plain.context(2)),
            ("fix-pod".into(), "fix-context".into(), "fix-context-2".into())
        );
        assert_eq!(names("team", "fix", &uid, Naming::WithUid).pod(), "fix-01234567-pod");
        assert_eq!(names("dev", "fix", &uid, Naming::Plain).pod(), "dev-fix-01234567-pod");
    }

    #[test]
    fn two_tasks_never_share_a_name_in_the_agents_namespace() {
        let (one, other) = (TaskUid("01234567-a".into()), TaskUid("89abcdef-b".into()));
        let pairs = [("a-b", "c"), ("a", "b-c")].map(|(namespace, task)| (namespace, task.to_owned()));
        let long = [("a-b", "c".repeat(253)), ("a", format!("b-{}", "c".repeat(251)))];
        for [first, second] in [pairs, long] {
            let first = names(first.0, &first.1, &one, Naming::Plain);
            let second = names(second.0, &second.1, &other, Naming::Plain);
            assert_ne!(first.pod(), second.pod());
            assert_ne!(first.context(0), second.context(0));
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_distinct() {
        let uid = TaskUid("0123456789abcdef".into());
        let (a, b) = ("x".repeat(253), format!("{}y", "x".repeat(252)));
        let (pod_a, pod_b) =
            (names("team", &a, &uid, Naming::Plain).pod(), names("team", &b, &uid, Naming::Plain).pod());
        assert!(pod_a.ends_with("-pod"), "{pod_a}");
        assert_eq!(
            format!("team_{pod_a}_{}", "u".repeat(UID_LENGTH)).len(),
            MAX_FILE_NAME,
            "the kubelet's log directory"
        );
        assert_eq!(names("team", &a, &uid, Naming::Plain).context(0).len(), MAX_NAME);
        assert_ne!(pod_a, pod_b);
        assert_eq!(label_value(&a).len(), MAX_LABEL);
        assert_ne!(label_value(&a), label_value(&b));
    }

    #[test]
    fn a_cut_never_leaves_a_separator_before_the_hash() {
        let name = format!("{}-{}", "x".repeat(53), "y".repeat(40));
        assert!(!label_value(&name).contains("--"), "{}", label_value(&name));
    }
}
