//! What a plugin may do beyond text, files and ConfigMaps.
//!
//! May touch: the lists of a grant. Must not touch: a plan.

use kubeopencode_api::plugin::Capability;

/// What a plugin may do, beyond text, files and ConfigMaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granted {
    /// Kinds of action.
    pub capabilities: Vec<Capability>,
    /// Globs of the environment variables that it may set.
    pub env: Vec<String>,
    /// Globs of the images that it may run.
    pub images: Vec<String>,
    /// Secrets that it may use although no item names them.
    pub secrets: Vec<SecretGrant>,
    /// RFC 6901 pointers into the item's payload: where the item itself names a Secret.
    pub secret_fields: Vec<String>,
}

/// A Secret that a plugin may use, and where it may be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretGrant {
    /// Name of the Secret, in the namespace of the Pod.
    pub name: String,
    /// Globs of the hosts.
    pub hosts: Vec<String>,
}

impl Granted {
    /// What the built-in plugin of a type may do; for other types, nothing.
    pub fn builtin(type_: &str) -> Self {
        let (capability, secret_field) = match type_ {
            "Git" => (Some(Capability::Git), "/secretRef/name"),
            "URL" => (Some(Capability::Url), "/secretRef/name"),
            "File" => (None, "/source/secretKeyRef/name"),
            _ => return Self::none(),
        };
        Self {
            capabilities: capability.into_iter().chain([Capability::Secret]).collect(),
            secret_fields: vec![secret_field.to_owned()],
            ..Self::default()
        }
    }

    /// Text, files and ConfigMaps: what a plugin from a ConfigMap gets.
    pub fn none() -> Self {
        Self::default()
    }

    pub(crate) fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}
