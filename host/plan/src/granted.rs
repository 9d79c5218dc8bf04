//! What a plugin may do beyond text, files and ConfigMaps.
//!
//! May touch: the lists of a grant. Must not touch: a plan.

use kubeopencode_api::plugin::{Capability, Descriptor, SecretField};
use kubeopencode_api::plugin_object::SecretGrant;

/// What a plugin may do, beyond text, files and ConfigMaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granted {
    /// The Plugin whose grants these are; `None`: it has none, as what comes with KubeOpenCode and what `render` is given.
    pub plugin: Option<String>,
    /// Kinds of action.
    pub capabilities: Vec<Capability>,
    /// Those that its type declares; `None`: nobody asked it.
    pub declared: Option<Vec<Capability>>,
    /// Globs of the environment variables that it may set.
    pub env: Vec<String>,
    /// Globs of the images that it may run.
    pub images: Vec<String>,
    /// Secrets that it may use although no item names them.
    pub secrets: Vec<SecretGrant>,
    /// Where the item's payload itself names Secrets, as the schema of its type marks them.
    pub secret_fields: Vec<SecretField>,
}

impl Granted {
    /// What a plugin may do that comes with KubeOpenCode: all that it says it wants.
    pub fn built_in(descriptor: &Descriptor) -> Self {
        Self { capabilities: descriptor.capabilities.clone(), ..Self::default() }
    }

    /// The same for one type, which declares what it wants, and whose schema says where payloads name Secrets.
    #[must_use]
    pub fn of_type(&self, descriptor: &Descriptor, secret_fields: &[SecretField]) -> Self {
        let declared = Some(descriptor.capabilities.clone());
        Self { declared, secret_fields: secret_fields.to_vec(), ..self.clone() }
    }

    /// Text, files and ConfigMaps: what a plugin from a ConfigMap gets.
    pub fn none() -> Self {
        Self::default()
    }

    pub(crate) fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }

    /// What is to be done about a capability that is not granted: by its author first, where the type does not declare it.
    pub(crate) fn remedy_of(&self, capability: Capability) -> String {
        let remedy = self.remedy("capabilities");
        match &self.declared {
            Some(declared) if !declared.contains(&capability) => {
                format!(
                    "its type does not declare it: add it to the type's own capabilities first, then {remedy}"
                )
            }
            _ => remedy,
        }
    }

    /// What is to be done about something that is not granted, by the field of the Plugin's grants.
    pub(crate) fn remedy(&self, field: &str) -> String {
        match &self.plugin {
            Some(plugin) => format!("add it to spec.grants.{field} of Plugin \"{plugin}\""),
            None => format!("it is for spec.grants.{field} of a Plugin to grant it"),
        }
    }
}
