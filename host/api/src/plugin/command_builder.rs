//! A command builder's question and answer: the process of a Task or of a server.
//!
//! May touch: these types. Must not touch: anything that acts on them.

use serde::Serialize;

use super::{Diagnostic, EnvVar, Extension, File};

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
    /// JSON text of a [`crate::report::ResultReader`]; `None`: the exit code alone counts.
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
