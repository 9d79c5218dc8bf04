//! What crosses the plugin boundary, as plain Rust: the mirror of `wit/plugin.wit`.
//!
//! Stages before and after a plugin (gather, plan, render) speak these types and never wasmtime's; the plugin
//! host converts at its border. `host-info` is not part of the requests here: the plugin host adds it itself.
//!
//! May touch: types and pure functions over them. Must not touch: wasmtime, files, a client.
//!
//! # Who escapes what
//!
//! **Only the host writes delimiters, so only the host escapes.** A plugin hands over raw text:
//! * [`Action::Inline`] is one piece of text: in the context file [`escape_content`] goes over all of it;
//! * [`Action::InlineFile`] is one named piece: the host writes `<file name="…">` around it ([`file_block`]) and
//!   escapes the text between.
//!
//! So `</context>` or `</file>` in a Text or in a ConfigMap's value can never close a block that the host opened,
//! whatever the plugin does, and no plugin can forget it. A file (an item with a mountPath) is never escaped.

mod command_builder;
mod context_text;
mod context_type;
mod git_write;
mod needs;
mod secret_names;

pub use command_builder::{BuildRequest, CommandPlan, ServeRequest, ServerPlan, Tools};
pub use context_text::{escape_attribute, escape_content, file_block};
pub use context_type::{
    Action, BroughtFile, ConfigMapMount, ConfigMapRead, Entry, EvaluateRequest, GitFetch, Header,
    HeaderValue, HttpRequest, Input, Origin, Outcome, Plan, Required, Requirement, Resolved, RunInit,
    SecretFile, SecretText, UrlFetch,
};
pub use git_write::GitWrite;
pub use needs::{MAX_INPUT_BYTES, MAX_READS, MAX_ROUNDS, NeedsError, grow_needs};
pub use secret_names::{SECRET_KEYWORD, SecretField, SecretStep};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The extension of [`GitWrite`].
pub const GIT_WRITE: &str = "git-write";

/// Names of the extensions and features that this host understands, as listed in `host-info.features`, beyond what the
/// interface has itself.
pub const FEATURES: &[&str] = &[GIT_WRITE];

/// Which of the two plugin kinds a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Turns one context item into actions.
    ContextType,
    /// Builds the agent's command line; may also export `server`.
    CommandBuilder,
}

impl Kind {
    /// The word that users write: `context-type` or `command-builder`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContextType => "context-type",
            Self::CommandBuilder => "command-builder",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The context types that come with KubeOpenCode, as messages list them.
pub const BUILT_IN_TYPES: &str = "Text, ConfigMap, Git, URL, Runtime and File";

/// Longest name of a plugin, in characters.
pub const MAX_PLUGIN_NAME: usize = 63;

/// What a plugin may be called, as the schemas say it; [`is_plugin_name`] says the same.
pub const PLUGIN_NAME: &str = r"^[A-Za-z][A-Za-z0-9-]{0,62}$";

/// Whether a plugin may be called that: `type` of a context item, or `commandBuilder`.
pub fn is_plugin_name(name: &str) -> bool {
    name.len() <= MAX_PLUGIN_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// How large a plugin is: `large` is for one that brings an interpreter. Default `default`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitClass {
    /// For plugins in Rust and the like.
    #[default]
    Default,
    /// For plugins that bring an interpreter (JavaScript, Python).
    Large,
}

impl LimitClass {
    /// The word in a Plugin's `limits.class`, and for the compile worker.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Large => "large",
        }
    }

    /// Reads [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Default, Self::Large].into_iter().find(|class| class.as_str() == word)
    }
}

/// What `mountPath` means to a context type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountPathRule {
    /// Without one the content goes to the context file.
    #[default]
    Optional,
    /// The content has to go somewhere.
    Required,
    /// The content goes to the context file in any case.
    Ignored,
}

impl MountPathRule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Optional, Self::Required, Self::Ignored];

    /// The word that a descriptor writes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Required => "required",
            Self::Ignored => "ignored",
        }
    }

    /// Reads [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == word)
    }
}

/// What a plugin may do beyond text, files and ConfigMaps; needs a grant when the plugin is not built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// `set-env`
    Env,
    /// `fetch-git`
    Git,
    /// `fetch-url`
    Url,
    /// `inline-secret`, `mount-secret`, and environment from Secrets
    Secret,
    /// `run-init`
    InitContainer,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Env, Self::Git, Self::Url, Self::Secret, Self::InitContainer];

    /// Reads the name that a descriptor or a grant writes.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == name)
    }

    /// The name that a descriptor or a grant writes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Git => "git",
            Self::Url => "url",
            Self::Secret => "secret",
            Self::InitContainer => "init-container",
        }
    }
}

/// What a plugin says about itself, asked once per digest.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The `type` or `commandBuilder` that users write; see [`PLUGIN_NAME`].
    pub name: String,
    /// The plugin's own version, for people.
    pub version: String,
    /// One sentence, for people.
    pub description: String,
    /// JSON Schema 2020-12 of the payload; the host checks payloads against it before each call.
    pub config_schema: serde_json::Value,
    /// The same of its settings; `None`: it takes none.
    pub settings_schema: Option<serde_json::Value>,
    /// What its plans may contain beyond text and files.
    pub capabilities: Vec<Capability>,
    /// Features of the host without which it does not work; each is in [`FEATURES`].
    pub requires: Vec<String>,
    /// Context types: what an item's `mountPath` means to it.
    pub mount_path: MountPathRule,
    /// Context types: the name of an item that has none, as readers of the context file see it.
    pub default_name: Option<String>,
    /// Growth; each kind is in [`FEATURES`].
    pub extensions: Vec<Extension>,
}

/// The door for growth: a kind that both sides know and its JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Extension {
    /// Must be listed in [`FEATURES`].
    pub kind: String,
    /// UTF-8 JSON text.
    pub body: String,
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
    /// metadata.creationTimestamp: the only time that a plugin knows.
    pub created: jiff::Timestamp,
    /// metadata.labels, sorted by key
    pub labels: Vec<(String, String)>,
    /// metadata.annotations, sorted by key, without those of kubectl and of KubeOpenCode
    pub annotations: Vec<(String, String)>,
}

/// What a plugin sees of the Agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// metadata.name
    pub name: String,
    /// metadata.namespace
    pub namespace: String,
    /// Absolute path of the workspace.
    pub workspace_dir: String,
}

/// A key of a Secret: always a reference, its bytes never enter a plugin nor the operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SecretKey {
    /// The Secret's name, in the namespace of the item's origin.
    pub name: String,
    /// The key in it.
    pub key: String,
    /// A missing Secret or key is no error.
    pub optional: bool,
}

/// Where an environment variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EnvSource {
    /// A literal value.
    Value(String),
    /// A key of a Secret.
    Secret(SecretKey),
    /// Growth.
    Extended(Extension),
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value's source.
    pub source: EnvSource,
}

impl EnvVar {
    /// A variable with a literal value.
    pub fn value(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), source: EnvSource::Value(value.into()) }
    }
}

/// A file that a plan writes; a relative path lies in the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct File {
    /// Absolute, or relative to the workspace.
    pub path: String,
    /// Any bytes.
    pub content: Vec<u8>,
    /// Permission bits, 0-0777.
    pub mode: Option<u32>,
}

/// How grave a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Probably not what the user wanted.
    Warning,
}

/// A remark that a plugin makes beside a good plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How grave.
    pub severity: Severity,
    /// A stable word, for example `OptionalSkipped`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Why a plugin gave no plan; decides what becomes of the Task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The user must change the spec: the Task fails.
    InvalidConfig,
    /// Something that the item refers to is missing or malformed: tried again when it changes.
    Unsatisfied,
    /// Needs a feature that this host does not have.
    Unsupported,
    /// A defect of the plugin.
    Internal,
}

/// The plugin's own, orderly answer that it cannot make a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct PluginError {
    /// What becomes of the Task.
    pub kind: ErrorKind,
    /// Names object, field and remedy, for people.
    pub message: String,
    /// RFC 6901 pointer into the item's payload.
    pub field: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_name_is_a_word() {
        for name in ["a", "Jira-2", &"a".repeat(MAX_PLUGIN_NAME)] {
            assert!(is_plugin_name(name), "{name}");
        }
        for name in ["", "2x", "a b", "-a", "ä", "a_b", &"a".repeat(MAX_PLUGIN_NAME + 1)] {
            assert!(!is_plugin_name(name), "{name}");
        }
        let rest = MAX_PLUGIN_NAME - 1;
        assert_eq!(PLUGIN_NAME, format!("^[A-Za-z][A-Za-z0-9-]{{0,{rest}}}$"));
    }
}
