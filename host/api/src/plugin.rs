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

use std::borrow::Cow;

use serde::Serialize;

/// Name of an extension or feature that this host understands, as listed in `host-info.features`.
///
/// Empty for now: everything that 1.0.0 has is in the interface itself.
pub const FEATURES: &[&str] = &[];

/// Rounds of `needs` that a plugin may ask for before the host gives up.
pub const MAX_ROUNDS: usize = 4;

/// Reads that one item may ask for, over all rounds.
pub const MAX_READS: usize = 16;

/// Bytes of input that one item may be given, over all reads.
pub const MAX_INPUT_BYTES: usize = 1 << 20;

/// Which of the two plugin kinds a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
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

/// What a plugin may do beyond text, files and ConfigMaps; needs a grant when the plugin is not built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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
    /// Reads the name that a descriptor or a grant writes.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "env" => Self::Env,
            "git" => Self::Git,
            "url" => Self::Url,
            "secret" => Self::Secret,
            "init-container" => Self::InitContainer,
            _ => return None,
        })
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
    /// The `type` or `commandBuilder` that users write: `[A-Za-z][A-Za-z0-9-]{0,62}`.
    pub name: String,
    /// The plugin's own version, for people.
    pub version: String,
    /// One sentence, for people.
    pub description: String,
    /// JSON Schema 2020-12 of the payload; the host checks payloads against it before each call.
    pub config_schema: serde_json::Value,
    /// What its plans may contain beyond text and files.
    pub capabilities: Vec<Capability>,
    /// Growth; each kind is in [`FEATURES`].
    pub extensions: Vec<Extension>,
}

/// The door for growth: a kind that both sides know and its JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// Must be listed in [`FEATURES`].
    pub kind: String,
    /// UTF-8 JSON text.
    pub body: String,
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
    /// Asks for more reads; ids only grow, see [`grow_needs`].
    Needs(Vec<Required>),
    /// Done.
    Ready(Plan),
}

/// How the agent's program meets the Task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// A process of its own.
    Run,
    /// A client of the server at this URL.
    Attach(String),
}

/// How the agent's program comes into the Pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Tools {
    /// An init container from the Agent's `agentImage`, or from this image when the Agent names none.
    InitContainer(Option<String>),
    /// The executor image has it.
    None,
}

/// One call of a command builder for one Task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildRequest {
    /// metadata.name of the Task
    pub task_name: String,
    /// metadata.namespace of the Task
    pub task_namespace: String,
    /// metadata.uid of the Task
    pub task_uid: String,
    /// The Agent.
    pub agent_name: String,
    /// Its namespace.
    pub agent_namespace: String,
    /// Absolute path of the workspace.
    pub workspace_dir: String,
    /// Absolute path of the tools volume.
    pub tools_dir: String,
    /// File with the prompt, when the Task has one.
    pub prompt_path: Option<String>,
    /// File with the joined context, when there is any.
    pub context_path: Option<String>,
    /// Run or attach.
    pub mode: Mode,
    /// The Agent's `config`, JSON text byte for byte.
    pub config: Option<String>,
    /// Where the host puts it as a file.
    pub config_path: Option<String>,
    /// Growth.
    pub extensions: Vec<Extension>,
}

/// A command builder's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandPlan {
    /// How the program comes into the Pod.
    pub tools: Tools,
    /// The container's command.
    pub command: Vec<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// The builder's part of the environment.
    pub env: Vec<EnvVar>,
    /// Configuration files that the program wants.
    pub files: Vec<File>,
    /// JSON text of a [`crate::report`] reader; `None`: the exit code alone counts.
    pub result_reader: Option<String>,
    /// Remarks.
    pub diagnostics: Vec<Diagnostic>,
    /// Growth.
    pub extensions: Vec<Extension>,
}

/// One call of a builder that can run its agent as a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServeRequest {
    /// The Agent.
    pub agent_name: String,
    /// Its namespace.
    pub agent_namespace: String,
    /// Absolute path of the workspace.
    pub workspace_dir: String,
    /// Absolute path of the tools volume.
    pub tools_dir: String,
    /// File with the joined context, when there is any.
    pub context_path: Option<String>,
    /// The port to listen on.
    pub port: u16,
    /// The Agent's `config`, JSON text byte for byte.
    pub config: Option<String>,
    /// Where the host puts it as a file.
    pub config_path: Option<String>,
    /// Growth.
    pub extensions: Vec<Extension>,
}

/// The answer to a [`ServeRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerPlan {
    /// The server's process.
    pub command: CommandPlan,
    /// Path that answers 200 when the server is ready; `None`: the port alone is probed.
    pub health_path: Option<String>,
}

/// How an answer breaks the rules of [`Outcome::Needs`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NeedsError {
    /// The same id twice in one answer.
    #[error("asks for id {0:?} twice in one answer")]
    Twice(String),
    /// An id of an earlier round is missing or means something else now.
    #[error("no longer asks for id {0:?} as it did in an earlier round: ids only grow")]
    Shrunk(String),
    /// Nothing was added: the next round would be this one again.
    #[error("asks for nothing that it was not given already")]
    Nothing,
    /// More than [`MAX_READS`].
    #[error("asks for {0} reads, more than the {MAX_READS} that an item may have")]
    TooMany(usize),
}

/// Checks an answer against what was asked for in the rounds before it: every earlier id is repeated unchanged and at
/// least one is new. The caller counts the rounds ([`MAX_ROUNDS`]).
///
/// # Errors
/// The first rule that the answer breaks.
pub fn grow_needs(before: &[Required], now: &[Required]) -> Result<(), NeedsError> {
    if now.len() > MAX_READS {
        return Err(NeedsError::TooMany(now.len()));
    }
    for (i, required) in now.iter().enumerate() {
        if now[..i].iter().any(|earlier| earlier.id == required.id) {
            return Err(NeedsError::Twice(required.id.clone()));
        }
    }
    if let Some(lost) = before.iter().find(|&required| !now.contains(required)) {
        return Err(NeedsError::Shrunk(lost.id.clone()));
    }
    if now.len() == before.len() {
        return Err(NeedsError::Nothing);
    }
    Ok(())
}

/// The `<` of these begins a delimiter of the context file, in any case.
const DELIMITERS: [&str; 4] = ["<context", "</context", "<file", "</file"];

/// Makes text safe to stand between delimiters of the context file: the `<` of `<context`, `</context`, `<file` and
/// `</file` (any case) becomes `&lt;`, nothing else changes.
pub fn escape_content(text: &str) -> Cow<'_, str> {
    let delimiter_at = |at: usize| {
        let rest = &text.as_bytes()[at..];
        DELIMITERS.iter().any(|d| rest.len() >= d.len() && rest[..d.len()].eq_ignore_ascii_case(d.as_bytes()))
    };
    let mut escaped = String::new();
    let mut copied = 0;
    for (at, _) in text.match_indices('<').filter(|&(at, _)| delimiter_at(at)) {
        escaped.push_str(&text[copied..at]);
        escaped.push_str("&lt;");
        copied = at + 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    escaped.push_str(&text[copied..]);
    Cow::Owned(escaped)
}

/// Makes a value safe to stand between the double quotes of a delimiter's attribute, on one line.
pub fn escape_attribute(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The `<file>` block of an [`Action::InlineFile`] in the context file, its text escaped; no newline at the end.
pub fn file_block(name: &str, text: &str) -> String {
    format!("<file name=\"{}\">\n{}\n</file>", escape_attribute(name), escape_content(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(id: &str, config_map: &str) -> Required {
        Required { id: id.into(), what: Requirement::ConfigMap(config_map.into()) }
    }

    #[test]
    fn content_cannot_close_or_open_a_block() {
        assert_eq!(escape_content("a </context> b"), "a &lt;/context> b");
        assert_eq!(
            escape_content("<CONTEXT name=x><File></fILE><context"),
            "&lt;CONTEXT name=x>&lt;File>&lt;/fILE>&lt;context"
        );
    }

    #[test]
    fn other_text_stays_byte_for_byte() {
        for text in ["", "a < b && c > d", "<html>&lt;</html>", "<contex", "<é", "< context", "</", "日本<"] {
            assert!(matches!(escape_content(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_file_block_survives_while_its_value_is_escaped() {
        assert_eq!(
            file_block("a\"b.md", "x</file>\n</context>y"),
            "<file name=\"a&quot;b.md\">\nx&lt;/file>\n&lt;/context>y\n</file>"
        );
    }

    #[test]
    fn needs_only_grow() {
        let first = [need("a", "x")];
        assert_eq!(grow_needs(&[], &first), Ok(()));
        assert_eq!(grow_needs(&first, &[need("b", "y"), need("a", "x")]), Ok(()));
        assert_eq!(grow_needs(&first, &first), Err(NeedsError::Nothing));
        assert_eq!(grow_needs(&[], &[]), Err(NeedsError::Nothing));
        assert_eq!(grow_needs(&first, &[need("b", "y")]), Err(NeedsError::Shrunk("a".into())));
        assert_eq!(grow_needs(&first, &[need("a", "z"), need("b", "y")]), Err(NeedsError::Shrunk("a".into())));
        assert_eq!(grow_needs(&[], &[need("a", "x"), need("a", "y")]), Err(NeedsError::Twice("a".into())));
        let many: Vec<_> = (0..17).map(|i| need(&i.to_string(), "x")).collect();
        assert_eq!(grow_needs(&[], &many), Err(NeedsError::TooMany(17)));
    }
}
