//! Why there is no plan.

use jiff::Timestamp;
use kubeopencode_plan::Refusal;

/// Why there is no plan; `E` is the error of the [`ConfigMapReader`](crate::ConfigMapReader).
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError<E> {
    /// The Task, or the server, can never run as it is.
    #[error("{0}")]
    Refused(Refusal),
    /// Something is missing that may still come; what it means when it does not.
    #[error("{0}")]
    Missing(Refusal),
    /// Nobody serves a type, and it is not known yet whether somebody will.
    #[error("{0}")]
    NotYet(Refusal),
    /// Nobody serves a type.
    #[error("{refusal}")]
    NoPlugin {
        /// What it means when nobody comes.
        refusal: Refusal,
        /// Since when this is known; `None`: since ever.
        settled: Option<Timestamp>,
    },
    /// All calls of this plugin that may run at the same time are taken: try again later.
    #[error("plugin \"{0}\" is busy")]
    Busy(String),
    /// The memory for evaluations is taken: try again later.
    #[error("others have the memory for large objects and contexts")]
    NoMemory,
    /// A ConfigMap could not be read.
    #[error("reading a ConfigMap: {0}")]
    Read(E),
}

impl<E> EvaluateError<E> {
    /// The refusal, where the Task goes on without the item if that is optional.
    pub(crate) fn into_refusal(self) -> Result<Refusal, Self> {
        match self {
            Self::Refused(refusal) | Self::Missing(refusal) | Self::NoPlugin { refusal, .. } => Ok(refusal),
            other => Err(other),
        }
    }
}
