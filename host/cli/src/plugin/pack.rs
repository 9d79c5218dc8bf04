//! From a component that was found good to the objects that install it. Pure.

use k8s_openapi::api::core::v1::ConfigMap;
use kubeopencode_api::plugin::{Kind, LimitClass};
use kubeopencode_api::plugin_object::{
    ConfigMapSource, Grants, OciSource, Plugin, PluginLimits, PluginSource, PluginSpec,
};
use kubeopencode_operator::PackedPlugin;
use kubeopencode_plan::is_object_name;
use serde_json::{Value, json};

use super::report::{Bytes, Report};

/// Characters of a digest in a name, as in the names of kept components.
const HASH: usize = 16;

/// How a component is to be installed.
pub(super) struct Wanted<'a> {
    /// None: after its first type.
    pub(super) name: Option<&'a str>,
    pub(super) namespace: &'a str,
    pub(super) grants: Option<Grants>,
    /// A ConfigMap of another name for each version.
    pub(super) versioned: bool,
    /// Where it lies in a registry, in place of ConfigMaps.
    pub(super) image: Option<&'a str>,
}

/// What is applied, in this order.
pub(super) struct Objects {
    /// Where the operator does not make it itself as it has to be.
    pub(super) plugin: Option<Plugin>,
    pub(super) config_maps: Vec<ConfigMap>,
    /// In words.
    pub(super) summary: String,
}

impl Objects {
    /// Each of them. The Plugin is the first: otherwise the operator would make one of its own.
    ///
    /// # Errors
    /// A defect of their types.
    pub(super) fn each(&self) -> serde_json::Result<Vec<Value>> {
        let plugin = self.plugin.iter().map(serde_json::to_value);
        plugin.chain(self.config_maps.iter().map(serde_json::to_value)).collect()
    }

    /// All of them as the one object that kubectl has for several.
    ///
    /// # Errors
    /// See [`Self::each`].
    pub(super) fn list(&self) -> serde_json::Result<Value> {
        let items = self.each()?;
        Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
    }
}

/// The objects for a component of this kind.
///
/// # Errors
/// A name that no object can have.
pub(super) fn objects(
    report: &Report,
    kind: Kind,
    packed: &PackedPlugin,
    wanted: Wanted<'_>,
) -> Result<Objects, String> {
    let Wanted { name, namespace, grants, versioned, image } = wanted;
    let type_name = report.types.first().map(|type_| type_.name.as_str()).unwrap_or_default();
    let name = name.map_or_else(|| kebab(type_name), str::to_owned);
    if !is_object_name(&name) {
        return Err(format!(
            "\"{name}\" is no name of a Plugin: write it with lower case letters, digits and dashes, with --name or as name of plugin.toml"
        ));
    }
    let sha256 = report.digest.trim_start_matches("sha256:");
    let limits = (report.class != LimitClass::Default).then_some(PluginLimits { class: Some(report.class) });
    let plugin = |source, grants, limits| {
        let sha256 = Some(sha256.to_owned());
        Plugin::new(&name, PluginSpec { kind, source, sha256, grants, limits, ..PluginSpec::default() })
    };
    if let Some(image) = image {
        let summary = format!("Plugin {name} ({}) of {image}", granted(&report.digest, grants.as_ref()));
        let source =
            PluginSource { oci: Some(OciSource { image: image.to_owned() }), ..PluginSource::default() };
        let plugin = Some(plugin(source, grants, limits));
        return Ok(Objects { plugin, config_maps: Vec::new(), summary });
    }
    let source =
        if versioned { format!("{name}-{}", sha256.get(..HASH).unwrap_or(sha256)) } else { name.clone() };
    let config_maps = packed.config_maps(&source, namespace, kind, sha256);
    let mut summary = format!("{} {source} ({})", counted(config_maps.len()), Bytes(packed.len()));
    let is_to_be_written = grants.is_some() || limits.is_some() || versioned;
    let plugin = is_to_be_written.then(|| {
        let source = PluginSource {
            config_map: Some(ConfigMapSource { name: source.clone(), key: None }),
            ..PluginSource::default()
        };
        summary += &format!(" and Plugin {name} ({})", granted(&report.digest, grants.as_ref()));
        plugin(source, grants, limits)
    });
    Ok(Objects { plugin, config_maps, summary })
}

fn counted(config_maps: usize) -> String {
    match config_maps {
        1 => "ConfigMap".to_owned(),
        number => format!("{number} ConfigMaps"),
    }
}

/// What a Plugin grants to which bytes.
fn granted(digest: &str, grants: Option<&Grants>) -> String {
    let mut words =
        vec![digest.get(.."sha256:".len() + 8).map_or(String::new(), |start| format!("{start}..."))];
    let Some(grants) = grants else { return words.remove(0) };
    words.extend(grants.capabilities.iter().map(|capability| capability.as_str().to_owned()));
    words.extend(grants.env.iter().map(|glob| format!("variable {glob}")));
    words.extend(grants.images.iter().map(|glob| format!("image {glob}")));
    words.extend(grants.hosts.iter().map(|glob| format!("host {glob}")));
    let secret = |grant: &kubeopencode_api::plugin_object::SecretGrant| {
        format!("Secret {} to {}", grant.name, grant.hosts.join(" and "))
    };
    words.extend(grants.secrets.iter().map(secret));
    words.join(", ")
}

/// `prompt-library` of `PromptLibrary`, `url-list` of `URLList`.
pub(super) fn kebab(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut words = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| letters.get(i));
        let begins = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                let ends = before.is_ascii_lowercase() || before.is_ascii_digit();
                let next = letters.get(i + 1).is_some_and(char::is_ascii_lowercase);
                ends || before.is_ascii_uppercase() && next
            });
        if begins {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::kebab;

    #[test]
    fn a_type_has_a_name_for_objects() {
        for (type_, name) in [
            ("Jira", "jira"),
            ("PromptLibrary", "prompt-library"),
            ("URL", "url"),
            ("URLList", "url-list"),
            ("Jira-2", "jira-2"),
            ("S3Object", "s3-object"),
            ("claude-code", "claude-code"),
        ] {
            assert_eq!(kebab(type_), name);
        }
    }
}
