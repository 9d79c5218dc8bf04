//! A Secret as payloads name it.

use serde::Deserialize;

/// `secretRef: {name}`. A reference is all that a plugin ever has of a Secret; in its schema the name is marked
/// `"x-kubeopencode-secret": true`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Its name.
    pub name: String,
}
