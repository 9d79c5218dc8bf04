//! The one error type of this crate. Its texts are what a user reads in the Task's condition, as the container's
//! last line: each names the object, the place and the reason.

use std::io;
use std::path::PathBuf;

/// Why a pod tool gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment lacks a variable that the operator always sets.
    #[error("environment variable {0} is not set; the operator sets it, so start the tool through a Task")]
    EnvMissing(&'static str),
    /// A variable holds something that the tool cannot use.
    #[error("environment variable {name}: {reason}")]
    Env {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A source could not be read.
    #[error("cannot read {}: {}", path.display(), io_reason(source))]
    Read {
        /// The source.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A target could not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The target.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// One entry of a mapping failed.
    #[error("{entry}: {source}")]
    Entry {
        /// The entry, in the user's terms: key and path.
        entry: String,
        /// Why.
        source: Box<Error>,
    },
    /// Anything else, said in full.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    pub(crate) fn write(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Error::Write { path: path.into(), reason: reason.into() }
    }

    pub(crate) fn at(self, entry: impl Into<String>) -> Self {
        Error::Entry { entry: entry.into(), source: Box::new(self) }
    }
}

/// The reason alone, without the "(os error 2)" that says nothing to a user.
pub(crate) fn io_reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}
