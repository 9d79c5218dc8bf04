//! Context type `File`: one file from a text, a ConfigMap's key or a Secret's key, at mountPath or as a piece of the
//! context file.

use kubeopencode_plugin_sdk::{
    About, Action, Answer, ConfigMapRef, ContextType, Request, SecretKey, context_type, ready,
};
use serde::Deserialize;

/// The plugin.
pub struct File;

/// The item's `file`; its `name` is for people.
#[derive(Deserialize)]
pub struct Config {
    source: Source,
}

/// Exactly one of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Source {
    Inline(String),
    ConfigMapKeyRef(KeyRef),
    SecretKeyRef(KeyRef),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRef {
    name: String,
    key: String,
    #[serde(default)]
    optional: bool,
}

impl ContextType for File {
    type Config = Config;
    const ABOUT: About = About {
        name: "File",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        capabilities: &["secret"],
        ..About::NOTHING
    };

    fn evaluate(config: Config, request: &Request) -> Answer {
        match config.source {
            Source::Inline(text) => ready([Action::Inline(text)]),
            Source::ConfigMapKeyRef(KeyRef { name, key, optional }) => {
                let map = ConfigMapRef { name: &name, optional, field: "/source/configMapKeyRef" };
                map.one_key(&key, request)
            }
            Source::SecretKeyRef(KeyRef { name, key, optional }) => {
                ready([Action::InlineSecret(SecretKey { name, key, optional })])
            }
        }
    }
}

context_type!(File);

#[cfg(test)]
mod tests {
    use kubeopencode_plugin_sdk::testing::{config_map, evaluate, missing, request};
    use kubeopencode_plugin_sdk::{
        Action, Answer, ConfigMapRead, ErrorKind, Input, Outcome, Request, Required, Requirement, SecretKey,
        ready,
    };
    use serde_json::{Value, json};

    use super::File;

    fn item(source: Value, inputs: Vec<Input>) -> Request {
        let mut request = request(json!({"name": "notes.md", "source": source}));
        request.inputs = inputs;
        request
    }

    fn answer(source: Value, inputs: Vec<Input>) -> Answer {
        evaluate::<File>(&item(source, inputs))
    }

    #[test]
    fn a_text_is_handed_over_as_written() {
        assert_eq!(answer(json!({"inline": "a\n"}), vec![]), ready([Action::Inline("a\n".into())]));
    }

    #[test]
    fn a_config_maps_key_is_asked_for_and_then_its_text() {
        let source = json!({"configMapKeyRef": {"name": "rules", "key": "a.md"}});
        let read = ConfigMapRead { name: "rules".into(), keys: vec!["a.md".into()] };
        let need = Required { id: "rules".into(), what: Requirement::ConfigMap(read) };
        assert_eq!(answer(source.clone(), vec![]), Ok(Outcome::Needs(vec![need])));
        let rules = config_map("rules", &[("a.md", b"one")]);
        assert_eq!(answer(source, vec![rules]), ready([Action::Inline("one".into())]));
    }

    #[test]
    fn what_is_missing_is_named_unless_it_is_optional() {
        let source =
            |optional| json!({"configMapKeyRef": {"name": "rules", "key": "b.md", "optional": optional}});
        for (input, message, field) in [
            (missing("rules"), "ConfigMap rules not found", "/source/configMapKeyRef/name"),
            (
                config_map("rules", &[]),
                "key b.md not found in ConfigMap rules",
                "/source/configMapKeyRef/key",
            ),
        ] {
            let error = answer(source(false), vec![input.clone()]).unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unsatisfied, message));
            assert_eq!(error.field.as_deref(), Some(field));
            let Outcome::Ready(plan) = answer(source(true), vec![input]).unwrap() else { panic!() };
            assert!(plan.actions.is_empty());
            assert_eq!(plan.diagnostics[0].message, message);
        }
    }

    #[test]
    fn a_secrets_key_stays_a_reference() {
        let source = json!({"secretKeyRef": {"name": "keys", "key": "ssh", "optional": true}});
        let secret = SecretKey { name: "keys".into(), key: "ssh".into(), optional: true };
        assert_eq!(answer(source, vec![]), ready([Action::InlineSecret(secret)]));
    }

    #[test]
    fn there_is_one_source() {
        for source in [json!({}), json!({"inline": "a", "secretKeyRef": {"name": "s", "key": "k"}})] {
            assert_eq!(answer(source, vec![]).unwrap_err().kind, ErrorKind::InvalidConfig);
        }
    }
}
