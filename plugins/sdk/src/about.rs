//! What a plugin says about itself, the same for both kinds.

use crate::Descriptor;

/// What the host and the users learn about a plugin. What is not said is as in [`About::NOTHING`]:
/// `About { name: "Jira", ..About::NOTHING }`.
pub struct About {
    /// The `type` or `commandBuilder` that users write: `[A-Za-z][A-Za-z0-9-]{0,62}`.
    pub name: &'static str,
    /// The plugin's version, usually `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// One sentence, usually `env!("CARGO_PKG_DESCRIPTION")`.
    pub description: &'static str,
    /// JSON Schema 2020-12 of the payload, or of the Agent's `config`; without `$ref` and `$defs`. A string that names a
    /// Secret is marked `"x-kubeopencode-secret": true`.
    pub schema: &'static str,
    /// The same of the settings that the installer writes; `None`: it takes none.
    pub settings_schema: Option<&'static str>,
    /// What its plans contain beyond text, files and ConfigMaps: `env`, `git`, `url`, `secret`, `init-container`.
    pub capabilities: &'static [&'static str],
    /// Features of the host without which it does not work, of `host-info.features`.
    pub requires: &'static [&'static str],
    /// Context types: what an item's `mountPath` means to it.
    pub mount_path: MountPath,
    /// Context types: the name of an item that has none, as the agent sees it.
    pub default_name: Option<&'static str>,
}

/// What `mountPath` means to a context type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountPath {
    /// Without one the content goes to the context file.
    Optional,
    /// The content has to go somewhere: the host does not call without one.
    Required,
    /// The content goes to the context file in any case.
    Ignored,
}

impl About {
    /// Nothing is said: any payload, no settings, no capabilities, a `mountPath` or none.
    pub const NOTHING: Self = Self {
        name: "",
        version: "",
        description: "",
        schema: "{}",
        settings_schema: None,
        capabilities: &[],
        requires: &[],
        mount_path: MountPath::Optional,
        default_name: None,
    };
}

impl From<&About> for Descriptor {
    fn from(about: &About) -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            name: about.name.to_owned(),
            version: about.version.to_owned(),
            description: about.description.to_owned(),
            config_schema: about.schema.to_owned(),
            settings_schema: about.settings_schema.map(str::to_owned),
            capabilities: words(about.capabilities),
            requires: words(about.requires),
            mount_path: match about.mount_path {
                MountPath::Optional => "optional",
                MountPath::Required => "required",
                MountPath::Ignored => "ignored",
            }
            .to_owned(),
            default_name: about.default_name.map(str::to_owned),
            extensions: Vec::new(),
        }
    }
}
