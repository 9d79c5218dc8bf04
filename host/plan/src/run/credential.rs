//! A Secret of the agent, as environment or files.
//!
//! May touch: these types. Must not touch: a Secret.

use crate::paths::AbsPath;

/// A credential that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Credential {
    /// As in `spec.credentials[0] "token" of Agent team/default`.
    pub(crate) described: String,
    pub(crate) secret: String,
    pub(crate) env: Option<CredentialEnv>,
    pub(crate) mount: Option<CredentialMount>,
}

/// What of a Secret becomes environment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CredentialEnv {
    All,
    Key { name: String, key: String },
}

/// What of a Secret becomes files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CredentialMount {
    /// One key as the file `path`; without it, all keys in the directory `path`.
    pub(crate) key: Option<String>,
    pub(crate) path: AbsPath,
    /// without it, one that the agent's user can read
    pub(crate) mode: Option<u32>,
}
