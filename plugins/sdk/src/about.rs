//! What a plugin says about itself, the same for both kinds.

use crate::Descriptor;

/// What the host and the users learn about a plugin.
pub struct About {
    /// The `type` or `commandBuilder` that users write: `[A-Za-z][A-Za-z0-9-]{0,62}`.
    pub name: &'static str,
    /// The plugin's version, usually `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// One sentence, usually `env!("CARGO_PKG_DESCRIPTION")`.
    pub description: &'static str,
    /// JSON Schema 2020-12 of the payload, or of the Agent's `config`; without `$ref` and `$defs`. A property that
    /// names a Secret is marked `"x-kubeopencode-secret": true`.
    pub schema: &'static str,
    /// What its plans contain beyond text and files: `env`, `git`, `url`, `secret`, `init-container`.
    pub capabilities: &'static [&'static str],
}

impl From<&About> for Descriptor {
    fn from(about: &About) -> Self {
        Self {
            name: about.name.to_owned(),
            version: about.version.to_owned(),
            description: about.description.to_owned(),
            config_schema: about.schema.to_owned(),
            capabilities: about.capabilities.iter().map(|c| (*c).to_owned()).collect(),
            extensions: Vec::new(),
        }
    }
}
