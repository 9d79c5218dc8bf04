//! What holds for everything that a plugin says about itself, for the fuzz targets `descriptor` and `schema`.

use kubeopencode_api::plugin::Kind;
use serde_json::Value;

use crate::bindings::types;
use crate::descriptor::{self, PluginType};
use crate::limits::PAYLOAD;
use crate::schema::Schema;

/// Most bytes of a refusal: it becomes the message of a condition.
const MAX_WORDS: usize = 8192;

/// Name, version, description, schema, that of settings, mount-path, then capabilities, with zero bytes between them.
///
/// # Panics
/// When something is taken over that breaks a rule, or a refusal has no bound.
pub fn descriptor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parts = text.split('\0').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let raw = types::Descriptor {
        name: next(),
        version: next(),
        description: next(),
        config_schema: next(),
        settings_schema: Some(next()).filter(|schema| !schema.is_empty()),
        mount_path: next(),
        capabilities: parts.collect(),
        requires: Vec::new(),
        default_name: None,
        extensions: Vec::new(),
    };
    match descriptor::check(raw, Kind::ContextType) {
        Err(error) => bounded(&error.to_string()),
        Ok(PluginType { descriptor, .. }) => {
            let label = |c: char| c.is_ascii_alphanumeric() || c == '-';
            assert!((1..=63).contains(&descriptor.name.len()) && descriptor.name.chars().all(label));
            for text in [&descriptor.version, &descriptor.description] {
                assert!(text.len() <= 1024 && !text.contains(char::is_control));
            }
            assert!(descriptor.capabilities.is_sorted_by(|one, other| one < other));
        }
    }
}

/// A schema and a payload, with a zero byte between them.
///
/// # Panics
/// When a payload is passed on changed, or a refusal has no bound or names a place that is not there.
pub fn schema(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (schema, payload) = text.split_once('\0').unwrap_or((text, "{}"));
    let schema = match Schema::parse(schema) {
        Err(problem) => return bounded(&problem),
        Ok((schema, _)) => schema,
    };
    let Ok(payload) = serde_json::from_str::<Value>(payload) else { return };
    match schema.check(&payload) {
        Err(error) => {
            assert!(payload.pointer(&error.field).is_some(), "{:?} is no place in {payload}", error.field);
            bounded(&error.message);
        }
        Ok(passed) => {
            assert!(passed.len() <= PAYLOAD);
            assert_eq!(serde_json::from_str::<Value>(&passed).ok(), Some(payload), "{passed}");
        }
    }
}

fn bounded(words: &str) {
    assert!(words.len() <= MAX_WORDS, "{} bytes: {words}", words.len());
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
#[test]
fn holds_for_the_seeds() {
    seeds::each("descriptor", descriptor);
    seeds::each("schema", schema);
}
