//! A command builder's question and answer: the process of a Task or of a server.
//!
//! May touch: these types. Must not touch: anything that acts on them.

use serde::Serialize;

use super::{AgentView, Diagnostic, EnvVar, Extension, File, TaskView};

/// How the agent's program comes into the Pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Tools {
    /// An init container from the Agent's `agentImage`, or from this image when the Agent names none.
    InitContainer(Option<String>),
    /// The executor image has it.
    None,
    /// Growth.
    Extended(Extension),
}

/// One call of a command builder for one Task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildRequest {
    /// The Task.
    pub task: TaskView,
    /// The Agent.
    pub agent: AgentView,
    /// Absolute path of the tools volume.
    pub tools_dir: String,
    /// File with the prompt, when the Task has one.
    pub prompt_path: Option<String>,
    /// File with the joined context, when there is any.
    pub context_path: Option<String>,
    /// `None`: a process of its own; else a client of the server at this URL.
    pub attach_to: Option<String>,
    /// The Agent's `config`, JSON text byte for byte.
    pub config: Option<String>,
    /// Where the host puts it as a file.
    pub config_path: Option<String>,
    /// What the installer wrote for the plugin.
    pub settings: serde_json::Value,
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
    pub agent: AgentView,
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
    /// What the installer wrote for the plugin.
    pub settings: serde_json::Value,
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
