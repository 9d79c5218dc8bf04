//! A context type's question and answer: one item of a Task, and the actions it comes to.
//!
//! May touch: these types. Must not touch: anything that acts on them.

use serde::Serialize;

use super::{Diagnostic, EnvVar, Extension, File, SecretKey};

/// Who wrote an item: decides the namespace that its references are resolved in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The Agent's contexts.
    Agent,
    /// The Task's contexts.
    Task,
    /// WorkspaceConfig's defaults (kubetask.io).
    Defaults,
    /// A Batch's contexts (kubetask.io).
    Batch,
}

/// What a plugin sees of the Task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// metadata.name
    pub name: String,
    /// metadata.namespace
    pub namespace: String,
    /// metadata.uid
    pub uid: String,
    /// metadata.labels, sorted by key
    pub labels: Vec<(String, String)>,
    /// The Agent that the Task runs on.
    pub agent_name: String,
    /// Its namespace.
    pub agent_namespace: String,
    /// Absolute path of the workspace.
    pub workspace_dir: String,
}

/// A read that the host does for a plugin: by name, in the namespace of the item's origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Requirement {
    /// All entries of the ConfigMap of this name.
    ConfigMap(String),
    /// Growth.
    Extended(Extension),
}

/// A [`Requirement`] under the id that its answer will carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Required {
    /// Chosen by the plugin, unique in the item.
    pub id: String,
    /// What is to be read.
    pub what: Requirement,
}

/// One entry of a ConfigMap, from `data` or `binaryData`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// What became of a read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Resolved {
    /// No such object.
    Missing,
    /// The ConfigMap's entries, sorted by key.
    ConfigMap(Vec<Entry>),
    /// Growth: UTF-8 JSON text.
    Extended(String),
}

/// The answer to a [`Required`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// The id that the plugin chose.
    pub id: String,
    /// What became of it.
    pub value: Resolved,
}

/// One call of a context type for one item.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluateRequest {
    /// The Task.
    pub task: TaskView,
    /// Who wrote the item.
    pub origin: Origin,
    /// The item's `name`.
    pub item_name: Option<String>,
    /// As written by the user.
    pub mount_path: Option<String>,
    /// As written by the user.
    pub file_mode: Option<u32>,
    /// Built-in types: the item's own field (`text`, `git`, …); custom types: `config`.
    /// The host hands it over as compact JSON with sorted keys.
    pub payload: serde_json::Value,
    /// Empty in the first round; afterwards one for each id asked for so far.
    pub inputs: Vec<Input>,
    /// Growth.
    pub extensions: Vec<Extension>,
}

/// Mounts a whole ConfigMap as a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigMapMount {
    /// The ConfigMap, in the namespace of the item's origin.
    pub name: String,
    /// A missing ConfigMap is no error.
    pub optional: bool,
    /// Absolute, or relative to the workspace.
    pub path: String,
    /// Permission bits of its files, 0-0777.
    pub mode: Option<u32>,
}

/// Mounts one key of a Secret as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretFile {
    /// The key.
    pub secret: SecretKey,
    /// Absolute, or relative to the workspace.
    pub path: String,
    /// Permission bits, 0-0777.
    pub mode: Option<u32>,
}

/// Clones a repository before the agent starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GitFetch {
    /// https, http, ssh or `user@host:path`.
    pub repository: String,
    /// Branch, tag or commit.
    pub r#ref: String,
    /// Path inside the repository, empty for all of it.
    pub sub_path: String,
    /// Commits of history, 0 = all.
    pub depth: u32,
    /// Fetch submodules too.
    pub submodules: bool,
    /// A Secret with username/password or ssh-privatekey/ssh-known-hosts.
    pub credentials: Option<String>,
    /// Absolute, or relative to the workspace.
    pub path: String,
}

/// Downloads a file or an archive before the agent starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlFetch {
    /// http or https.
    pub url: String,
    /// Request headers.
    pub headers: Vec<(String, String)>,
    /// Hex digest that the content must have.
    pub sha256: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_tls_verify: bool,
    /// Lay out the archive under `path`.
    pub unpack: bool,
    /// For the whole download.
    pub timeout_seconds: u32,
    /// A Secret with token or username/password.
    pub credentials: Option<String>,
    /// Absolute, or relative to the workspace.
    pub path: String,
    /// Permission bits, 0-0777.
    pub mode: Option<u32>,
}

/// A container that runs before the agent, with the workspace mounted; its image must be granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunInit {
    /// For people; the container's name is the host's.
    pub name: String,
    /// The image.
    pub image: String,
    /// Replaces its entrypoint, when not empty.
    pub command: Vec<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<EnvVar>,
}

/// One thing that a plan wants done; data, checked by the PlanValidator before anything acts on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Raw text for the context file, where the host escapes and delimits it;
    /// or, when the item has a mountPath, the content of that file with the item's fileMode.
    Inline(String),
    /// Raw text under a name: a `<file>` block in the context file;
    /// or, when the item has a mountPath, the file of that name in that directory.
    InlineFile {
        /// One path segment: not empty, no `/`, not `.` or `..`.
        name: String,
        /// Raw text.
        text: String,
    },
    /// As [`Action::Inline`], from a Secret: joined inside the Pod.
    InlineSecret(SecretKey),
    /// A file.
    WriteFile(File),
    /// A ConfigMap as a directory.
    MountConfigMap(ConfigMapMount),
    /// A Secret's key as a file.
    MountSecret(SecretFile),
    /// A clone.
    FetchGit(GitFetch),
    /// A download.
    FetchUrl(UrlFetch),
    /// An init container.
    RunInit(RunInit),
    /// An environment variable of the agent.
    SetEnv(EnvVar),
    /// Growth.
    Extended(Extension),
}

/// What a context item comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// In the order in which they take effect.
    pub actions: Vec<Action>,
    /// Remarks.
    pub diagnostics: Vec<Diagnostic>,
    /// Growth.
    pub extensions: Vec<Extension>,
}

/// A context type's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Asks for more reads; ids only grow, see [`grow_needs`](super::grow_needs).
    Needs(Vec<Required>),
    /// Done.
    Ready(Plan),
}
