//! A context type's question and answer: one item of a Task, and the actions it comes to.
//!
//! May touch: these types. Must not touch: anything that acts on them.

use serde::Serialize;

use super::{AgentView, Diagnostic, EnvVar, Extension, File, SecretKey, TaskView};

/// Who wrote an item; a word in the interface. It decides the namespace that its references are resolved in.
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

impl Origin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Task, Self::Defaults, Self::Batch];

    /// The word that plugins read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Task => "task",
            Self::Defaults => "defaults",
            Self::Batch => "batch",
        }
    }
}

/// A header's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HeaderValue {
    /// In the open.
    Value(String),
    /// A Secret's, with text around it.
    Secret(SecretText),
    /// Growth.
    Extended(Extension),
}

/// A Secret's value with text around it, such as `Bearer `.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretText {
    /// In front of it.
    pub before: String,
    /// The key.
    pub secret: SecretKey,
    /// Behind it.
    pub after: String,
}

/// A request header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: HeaderValue,
}

impl Header {
    /// A header whose value is in the open.
    pub fn value(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: HeaderValue::Value(value.into()) }
    }
}

/// A request of the Pod's programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequest {
    /// http or https.
    pub url: String,
    /// `None`: GET; else POST. It may be sent more than once.
    pub body: Option<String>,
    /// Request headers.
    pub headers: Vec<Header>,
    /// A Secret with token or username/password.
    pub credentials: Option<String>,
    /// Hex digest that the content must have.
    pub sha256: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_tls_verify: bool,
    /// For the whole download.
    pub timeout_seconds: u32,
}

/// A read that the host does for a plugin: by name, in the namespace of the item's origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Requirement {
    /// Entries of a ConfigMap.
    ConfigMap(ConfigMapRead),
    /// The Task's description.
    Prompt,
    /// The answer to a request. Feature `fetch`, which this version does not have.
    Fetch(HttpRequest),
    /// Growth.
    Extended(Extension),
}

/// Which entries of which ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigMapRead {
    /// The ConfigMap, in the namespace of the item's origin.
    pub name: String,
    /// Keys; empty: all. One that is not there is left out.
    pub keys: Vec<String>,
}

impl ConfigMapRead {
    /// All entries of a ConfigMap.
    pub fn all(name: impl Into<String>) -> Self {
        Self { name: name.into(), keys: Vec::new() }
    }
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
    /// The Task's description.
    Prompt(String),
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
    /// Which of the component's types, by the name in its descriptor.
    pub type_name: String,
    /// The Task; `None`: the contexts of an Agent's server.
    pub task: Option<TaskView>,
    /// The Agent.
    pub agent: AgentView,
    /// Who wrote the item.
    pub origin: Origin,
    /// Where the item's references are looked up.
    pub namespace: String,
    /// The item's `name`.
    pub item_name: Option<String>,
    /// As written by the user.
    pub mount_path: Option<String>,
    /// As written by the user.
    pub file_mode: Option<u32>,
    /// Built-in types: the item's own field (`text`, `git`, …); custom types: `config`.
    /// The host hands it over as compact JSON with sorted keys.
    pub payload: serde_json::Value,
    /// What the installer wrote for the plugin.
    pub settings: serde_json::Value,
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
    /// Permission bits of the files, 0-0777; `None`: as the repository has them.
    pub mode: Option<u32>,
}

/// Downloads a file or an archive before the agent starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlFetch {
    /// What is asked for.
    pub request: HttpRequest,
    /// Lay out the archive under `path`.
    pub unpack: bool,
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

/// A file that another action of the plan brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BroughtFile {
    /// Absolute, or relative to the workspace.
    pub path: String,
    /// One that is not there is no error.
    pub optional: bool,
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
    /// As [`Action::Inline`], from a file that a clone, a download or an init container of the plan left behind: joined
    /// inside the Pod.
    InlineBrought(BroughtFile),
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
    /// Growth.
    Extended(Extension),
}
