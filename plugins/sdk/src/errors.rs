//! The four ways of a plugin to say no, and small makers of common records.

use crate::{EnvSource, EnvVar, ErrorKind, PluginError};

impl PluginError {
    /// The user must change the spec. Name object, field and remedy.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidConfig, message: message.into(), field: None }
    }

    /// Something that the item refers to is missing or malformed: tried again when it changes.
    pub fn unsatisfied(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsatisfied, message: message.into(), field: None }
    }

    /// Needs a feature that `host-info.features` does not list.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, message: message.into(), field: None }
    }

    /// A defect of the plugin.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Internal, message: message.into(), field: None }
    }

    /// Points at a place in the item's payload (RFC 6901).
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl EnvVar {
    /// A variable with a literal value.
    pub fn value(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), source: EnvSource::Value(value.into()) }
    }
}
