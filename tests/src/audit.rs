//! The API server's audit log: who wrote what.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;

/// The log of one API server.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
    /// The operator's user name.
    operator: &'static str,
}

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// A request that was answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `create`, `update`, `patch`, `delete`, `get`, `list`, `watch`
    pub verb: String,
    /// When the answer was complete.
    pub stage_timestamp: Timestamp,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: Status,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

/// What a request was about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ObjectRef {
    /// Empty: the core group.
    pub(crate) api_group: String,
    /// Empty: no resource at all, as for `/version`.
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

impl Entry {
    /// As in `patch tasks/status 200`.
    pub fn summary(&self) -> String {
        let ObjectRef { resource, subresource, .. } = &self.object_ref;
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{} {resource}{slash}{subresource} {}", self.verb, self.response_status.code)
    }

    /// The answer's HTTP status.
    pub fn code(&self) -> u16 {
        self.response_status.code
    }

    /// Name of the object.
    pub fn name(&self) -> &str {
        &self.object_ref.name
    }

    pub(crate) fn object(&self) -> &ObjectRef {
        &self.object_ref
    }
}

impl AuditLog {
    /// The log in this file.
    pub fn new(path: PathBuf, operator: &'static str) -> Self {
        Self { path, operator }
    }

    /// The end of the log.
    pub fn mark(&self) -> Mark {
        Mark(std::fs::metadata(&self.path).map(|file| file.len()).unwrap_or_default())
    }

    /// The operator's writes in a namespace, oldest first, but for Events.
    pub fn writes_since(&self, mark: Mark, namespace: &str) -> Vec<Entry> {
        let mut writes = self.all_writes_since(mark, namespace);
        writes.retain(|entry| entry.user.username == self.operator);
        writes
    }

    /// The operator's reads in a namespace, oldest first; a watch is one read.
    pub fn reads_since(&self, mark: Mark, namespace: &str) -> Vec<Entry> {
        let mut reads = self.entries_since(mark, namespace);
        reads.retain(|entry| {
            entry.user.username == self.operator && matches!(entry.verb.as_str(), "get" | "list" | "watch")
        });
        reads
    }

    /// The operator's reads and writes in a namespace, oldest first, but for Events that it made.
    pub fn requests_since(&self, mark: Mark, namespace: &str) -> Vec<Entry> {
        let mut requests = self.entries_since(mark, namespace);
        requests
            .retain(|entry| entry.user.username == self.operator && entry.summary() != "create events 201");
        requests
    }

    /// The operator's Events in a namespace that the API server took, oldest first.
    pub fn events_since(&self, mark: Mark, namespace: &str) -> Vec<Entry> {
        let mut events = self.entries_since(mark, namespace);
        events.retain(|entry| entry.user.username == self.operator && entry.summary() == "create events 201");
        events
    }

    /// Searches for Pods by the UID of one of these Tasks, whoever asked, and over all namespaces too.
    pub fn searches_since(&self, mark: Mark, tasks: &HashSet<String>) -> usize {
        let lines = self.lines_since(mark);
        let by_uid = lines.filter_map(|line| Some(line.split_once("task-uid%3D")?.1.get(..36)?.to_owned()));
        by_uid.filter(|uid| tasks.contains(uid)).count()
    }

    /// Everybody's writes in a namespace, oldest first, but for Events.
    pub fn all_writes_since(&self, mark: Mark, namespace: &str) -> Vec<Entry> {
        let mut writes = self.entries_since(mark, namespace);
        writes.retain(|entry| {
            entry.object_ref.resource != "events"
                && matches!(entry.verb.as_str(), "create" | "update" | "patch" | "delete")
        });
        writes
    }

    fn entries_since(&self, mark: Mark, namespace: &str) -> Vec<Entry> {
        // cheap first: other scenarios write at the same time
        let ours = self.lines_since(mark).filter(|line| line.contains(namespace));
        ours.filter_map(|line| serde_json::from_str::<Entry>(&line).ok())
            .filter(|entry| entry.object_ref.namespace == namespace)
            .collect()
    }

    fn lines_since(&self, mark: Mark) -> impl Iterator<Item = String> + use<> {
        let mut file = std::fs::File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(mark.0)).unwrap();
        BufReader::new(file).lines().map_while(Result::ok)
    }

    /// All that the operator ever asked for, oldest first.
    pub fn asked(&self) -> impl Iterator<Item = Entry> + use<> {
        let operator = self.operator;
        let ours = self.lines_since(Mark(0)).filter(move |line| line.contains(operator));
        let entries = ours.filter_map(|line| serde_json::from_str::<Entry>(&line).ok());
        entries.filter(move |entry| entry.user.username == operator)
    }

    /// How often each kind of write happened.
    pub fn count(entries: &[Entry]) -> BTreeMap<String, usize> {
        entries.iter().fold(BTreeMap::new(), |mut counts, entry| {
            *counts.entry(entry.summary()).or_default() += 1;
            counts
        })
    }
}
