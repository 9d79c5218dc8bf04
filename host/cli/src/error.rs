//! What ends a command, in the words that stand on stderr.

use std::process::ExitCode;

use kubeopencode_operator::{RegistryError, RunError};

/// What clap ends with as well.
const USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// No cluster is configured.
    #[error("no cluster: {0}; run inside a Pod, or set KUBECONFIG")]
    Cluster(String),
    /// A cluster is configured, and nobody is there.
    #[error("the cluster cannot be asked: {0}")]
    Unreachable(String),
    /// The plugin host did not start.
    #[error("plugins: {0}")]
    Plugins(String),
    /// The API server said no.
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] kube::Error),
    /// The operator stopped.
    #[error(transparent)]
    Operator(#[from] RunError),
    /// A schema that cannot be made.
    #[error("making the CustomResourceDefinitions: {0}")]
    Schema(#[from] serde_json::Error),
    /// A file cannot be read, or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What a file holds makes no sense.
    #[error("{place}: {problem}")]
    Object {
        /// File and object.
        place: String,
        /// What is wrong with it, naming the field.
        problem: String,
    },
    /// An object that cannot be written as YAML.
    #[error("writing YAML: {0}")]
    Yaml(String),
    /// Objects that cannot be used as they are, one message each.
    #[error("{}", .0.join("\nkubeopencode: "))]
    Refused(Vec<String>),
    /// A Task that did not end well, or in time.
    #[error("{0}")]
    Task(String),
    /// What could not be done with a Plugin of a cluster.
    #[error("{0}")]
    Plugin(String),
    /// A plugin that nobody has written a golden case for.
    #[error("{0}")]
    NoCase(String),
    /// What a registry has not, or does not take.
    #[error("{0}")]
    Registry(String),
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// The machine said no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl From<RegistryError> for CliError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Call(words) => Self::Usage(words),
            RegistryError::Registry(words) => Self::Registry(words),
        }
    }
}

impl CliError {
    /// What the program ends with.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(USAGE),
            _ => ExitCode::FAILURE,
        }
    }
}
