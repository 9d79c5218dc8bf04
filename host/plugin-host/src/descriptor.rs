//! What a plugin says about itself, held to the rules.
//!
//! May touch: the descriptor. Must not touch: grants, which are the operator's to compare with.

use kubeopencode_api::plugin::{Capability, Descriptor, FEATURES, MAX_PLUGIN_NAME, is_plugin_name};

use crate::bindings::types;
use crate::error::LoadError;
use crate::schema::Schema;

const VERSION: usize = 64;
const DESCRIPTION: usize = 1024;
const EXTENSIONS: usize = 16;

/// Checks a descriptor and reads its schema.
pub(crate) fn check(raw: types::Descriptor) -> Result<(Descriptor, Schema), LoadError> {
    let refuse = |why: String| LoadError::Descriptor(why);
    if !is_plugin_name(&raw.name) {
        return Err(refuse(format!(
            "name {:?} must begin with a letter and have at most {MAX_PLUGIN_NAME} letters, digits and dashes",
            crate::error::quote(&raw.name)
        )));
    }
    for (what, text, limit) in
        [("version", &raw.version, VERSION), ("description", &raw.description, DESCRIPTION)]
    {
        if text.len() > limit || text.chars().any(char::is_control) {
            return Err(refuse(format!("its {what} must have at most {limit} bytes on one line")));
        }
    }
    let mut capabilities = raw
        .capabilities
        .iter()
        .map(|name| {
            Capability::parse(name).ok_or_else(|| {
                let name = crate::error::quote(name);
                refuse(format!(
                    "capability {name:?} does not exist; there are env, git, init-container, secret and url"
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    capabilities.sort_unstable();
    capabilities.dedup();
    if raw.extensions.len() > EXTENSIONS {
        return Err(refuse(format!("it has more than {EXTENSIONS} extensions")));
    }
    if let Some(unknown) = raw.extensions.iter().find(|e| !FEATURES.contains(&e.kind.as_str())) {
        let kind = crate::error::quote(&unknown.kind);
        return Err(refuse(format!("it uses extension {kind:?}, which this version does not have")));
    }
    let (schema, config_schema) = Schema::parse(&raw.config_schema).map_err(LoadError::Schema)?;
    let descriptor = Descriptor {
        name: raw.name,
        version: raw.version,
        description: raw.description,
        config_schema,
        capabilities,
        extensions: raw.extensions.into_iter().map(Into::into).collect(),
    };
    Ok((descriptor, schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> types::Descriptor {
        types::Descriptor {
            name: "Jira-2".into(),
            version: "1.0".into(),
            description: "An issue".into(),
            config_schema: "{}".into(),
            capabilities: vec!["url".into(), "env".into(), "url".into()],
            extensions: vec![],
        }
    }

    fn refusal(change: impl FnOnce(&mut types::Descriptor)) -> String {
        let mut raw = raw();
        change(&mut raw);
        check(raw).err().unwrap().to_string()
    }

    #[test]
    fn a_good_descriptor_is_taken_over() {
        let (descriptor, _) = check(raw()).unwrap();
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
                .contains(r#"it uses extension "x""#)
        );
        assert!(
            refusal(|raw| raw.config_schema = r##"{"$ref":"#"}"##.into())
                .starts_with("the plugin's config-schema is not usable")
        );
    }
}
