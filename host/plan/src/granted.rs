//! What a plugin may do beyond text, files and ConfigMaps.
//!
//! May touch: the lists of a grant. Must not touch: a plan.

use kubeopencode_api::plugin::{Capability, Descriptor};
use kubeopencode_api::plugin_object::SecretGrant;

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

impl Granted {
    /// What a plugin may do that comes with KubeOpenCode: all that it says it wants, with the Secrets that an item names
    /// in these fields of its payload.
    pub fn built_in(descriptor: &Descriptor, secret_fields: &[String]) -> Self {
        Self {
            capabilities: descriptor.capabilities.clone(),
            secret_fields: secret_fields.to_vec(),
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
