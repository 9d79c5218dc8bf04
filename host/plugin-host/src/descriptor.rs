//! What a plugin says about itself, held to the rules.
//!
//! May touch: the descriptor. Must not touch: grants, which are the operator's to compare with.

use kubeopencode_api::plugin::{
    Capability, Descriptor, FEATURES, Kind, MAX_PLUGIN_NAME, MountPathRule, SecretField, is_plugin_name,
};
use serde_json::Value;

use crate::bindings::types;
use crate::error::{LoadError, PayloadError, quote};
use crate::schema::Schema;

const VERSION: usize = 64;
const DESCRIPTION: usize = 1024;
const DEFAULT_NAME: usize = 253;
const EXTENSIONS: usize = 16;
/// Types of one component.
const TYPES: usize = 16;

/// One of the types that a plugin serves: its descriptor, and its schemas ready to check with.
pub struct PluginType {
    pub(crate) descriptor: Descriptor,
    pub(crate) schema: Schema,
    pub(crate) settings: Option<Schema>,
}

impl PluginType {
    /// What it says about itself.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Where a payload names Secrets, as the schema marks them.
    pub fn secret_fields(&self) -> &[SecretField] {
        self.schema.secret_fields()
    }

    /// Checks a payload against the schema; the calls of the plugin do so themselves.
    ///
    /// # Errors
    /// The first place that does not fit.
    pub fn check_payload(&self, payload: &Value) -> Result<(), PayloadError> {
        self.schema.check(payload).map(drop)
    }

    /// Whether [`Self::check_payload`] takes no longer than a few milliseconds.
    pub fn is_checked_soon(&self, payload: &Value) -> bool {
        self.schema.is_quick(payload)
    }

    /// Checks the installer's settings; a type without a schema of them takes none.
    ///
    /// # Errors
    /// The first place that does not fit.
    pub fn check_settings(&self, settings: &Value) -> Result<(), PayloadError> {
        self.settings_text(settings).map(drop)
    }

    /// The settings as plugins get them.
    pub(crate) fn settings_text(&self, settings: &Value) -> Result<String, PayloadError> {
        match &self.settings {
            Some(schema) => schema.check(settings),
            None if settings.as_object().is_some_and(serde_json::Map::is_empty) => Ok("{}".to_owned()),
            None => Err(PayloadError { field: String::new(), message: "it takes no settings".to_owned() }),
        }
    }
}

/// Checks what a component says of its types.
pub(crate) fn check_all(raw: Vec<types::Descriptor>, kind: Kind) -> Result<Vec<PluginType>, LoadError> {
    let refuse = |why: String| Err(LoadError::Descriptor(why));
    if raw.is_empty() {
        return refuse("it describes no type".to_owned());
    }
    if raw.len() > TYPES {
        return refuse(format!("it describes {} types, more than {TYPES}", raw.len()));
    }
    let types = raw.into_iter().map(|raw| check(raw, kind)).collect::<Result<Vec<_>, _>>()?;
    for (i, type_) in types.iter().enumerate() {
        let name = &type_.descriptor.name;
        if types[..i].iter().any(|earlier| earlier.descriptor.name == *name) {
            return refuse(format!("it describes two types {name:?}"));
        }
    }
    Ok(types)
}

/// Checks a descriptor and reads its schemas.
pub(crate) fn check(raw: types::Descriptor, kind: Kind) -> Result<PluginType, LoadError> {
    let refuse = |why: String| LoadError::Descriptor(why);
    if !is_plugin_name(&raw.name) {
        return Err(refuse(format!(
            "name {:?} must begin with a letter and have at most {MAX_PLUGIN_NAME} letters, digits and dashes",
            quote(&raw.name)
        )));
    }
    for (what, text, limit) in [
        ("version", &raw.version, VERSION),
        ("description", &raw.description, DESCRIPTION),
        ("default-name", raw.default_name.as_ref().unwrap_or(&String::new()), DEFAULT_NAME),
    ] {
        if text.len() > limit || text.chars().any(char::is_control) {
            return Err(refuse(format!("its {what} must have at most {limit} bytes on one line")));
        }
    }
    let mut capabilities = raw
        .capabilities
        .iter()
        .map(|name| {
            Capability::parse(name).ok_or_else(|| {
                let words = words(Capability::ALL.map(Capability::as_str));
                refuse(format!("capability {:?} does not exist; there are {words}", quote(name)))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    capabilities.sort_unstable();
    capabilities.dedup();
    if raw.requires.len() > EXTENSIONS || raw.extensions.len() > EXTENSIONS {
        return Err(refuse(format!("it has more than {EXTENSIONS} extensions or required features")));
    }
    let needed = raw.requires.iter().chain(raw.extensions.iter().map(|extension| &extension.kind));
    if let Some(missing) = needed.into_iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
        return Err(LoadError::MissingFeature(quote(missing)));
    }
    let mount_path = match (kind, raw.mount_path.as_str()) {
        (Kind::CommandBuilder, _) => MountPathRule::Optional,
        (Kind::ContextType, word) => MountPathRule::parse(word).ok_or_else(|| {
            let words = words(MountPathRule::ALL.map(MountPathRule::as_str));
            refuse(format!("mount-path {:?} is none that this version knows; there are {words}", quote(word)))
        })?,
    };
    let (schema, config_schema) = Schema::parse(&raw.config_schema).map_err(LoadError::Schema)?;
    let settings = raw.settings_schema.as_deref().map(Schema::parse).transpose();
    let (settings, settings_schema) = settings.map_err(LoadError::SettingsSchema)?.unzip();
    let descriptor = Descriptor {
        name: raw.name,
        version: raw.version,
        description: raw.description,
        config_schema,
        settings_schema,
        capabilities,
        requires: raw.requires,
        mount_path,
        default_name: raw.default_name.filter(|name| !name.is_empty()),
        extensions: raw.extensions.into_iter().map(Into::into).collect(),
    };
    Ok(PluginType { descriptor, schema, settings })
}

fn words<const N: usize>(words: [&str; N]) -> String {
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw() -> types::Descriptor {
        types::Descriptor {
            name: "Jira-2".into(),
            version: "1.0".into(),
            description: "An issue".into(),
            config_schema: "{}".into(),
            settings_schema: None,
            capabilities: vec!["url".into(), "env".into(), "url".into()],
            requires: vec![],
            mount_path: "optional".into(),
            default_name: None,
            extensions: vec![],
        }
    }

    fn refusal(change: impl FnOnce(&mut types::Descriptor)) -> String {
        let mut raw = raw();
        change(&mut raw);
        check(raw, Kind::ContextType).err().unwrap().to_string()
    }

    #[test]
    fn a_good_descriptor_is_taken_over() {
        let PluginType { descriptor, .. } = check(raw(), Kind::ContextType).unwrap();
        assert_eq!(descriptor.name, "Jira-2");
        assert_eq!(descriptor.capabilities, [Capability::Env, Capability::Url]);
    }

    #[test]
    fn rules_are_named() {
        for name in ["", "2x", "a b", "-a", "ä", &"a".repeat(64)] {
            let refusal = refusal(|raw| raw.name = name.into());
            assert!(refusal.contains("must begin with a letter"), "{refusal}");
        }
        assert!(refusal(|raw| raw.version = "1\n".into()).contains("its version must have at most 64 bytes"));
        assert!(
            refusal(|raw| raw.capabilities.push("root".into()))
                .contains(r#"capability "root" does not exist"#)
        );
        assert!(
            refusal(|raw| raw.extensions.push(types::Extension { kind: "x".into(), body: "{}".into() }))
                .contains(r#"needs the feature "x""#)
        );
        assert!(refusal(|raw| raw.requires.push("fetch".into())).contains(r#"needs the feature "fetch""#));
        assert!(
            refusal(|raw| raw.mount_path = "sometimes".into())
                .contains("there are optional, required, ignored")
        );
        assert!(refusal(|raw| raw.default_name = Some("a\nb".into())).contains("its default-name must"));
        assert!(
            refusal(|raw| raw.settings_schema = Some("{".into()))
                .starts_with("the plugin's settings-schema is not usable")
        );
        assert!(
            refusal(|raw| raw.config_schema = r##"{"$ref":"#"}"##.into())
                .starts_with("the plugin's config-schema is not usable")
        );
    }

    #[test]
    fn a_builder_says_nothing_of_mount_paths() {
        let raw = types::Descriptor { mount_path: String::new(), ..raw() };
        assert_eq!(check(raw, Kind::CommandBuilder).unwrap().descriptor.mount_path, MountPathRule::Optional);
    }

    #[test]
    fn types_are_at_least_one_and_each_has_a_name_of_its_own() {
        let refusal = |raw| check_all(raw, Kind::ContextType).err().unwrap().to_string();
        assert!(refusal(vec![]).contains("it describes no type"));
        assert!(refusal(vec![raw(), raw()]).contains(r#"two types "Jira-2""#));
        let other = types::Descriptor { name: "JiraSearch".into(), ..raw() };
        assert_eq!(check_all(vec![raw(), other], Kind::ContextType).unwrap().len(), 2);
    }

    #[test]
    fn settings_are_held_to_their_schema() {
        let takes = |schema: Option<&str>, settings: Value| {
            let raw = types::Descriptor { settings_schema: schema.map(str::to_owned), ..raw() };
            check(raw, Kind::ContextType).unwrap().settings_text(&settings).map_err(|error| error.message)
        };
        assert_eq!(takes(None, json!({})).unwrap(), "{}");
        assert_eq!(takes(None, json!({"a": 1})).unwrap_err(), "it takes no settings");
        let schema = Some(r#"{"required": ["url"]}"#);
        assert_eq!(takes(schema, json!({"url": "x", "a": 1})).unwrap(), r#"{"a":1,"url":"x"}"#);
        assert!(takes(schema, json!({})).unwrap_err().contains("url"));
    }
}
