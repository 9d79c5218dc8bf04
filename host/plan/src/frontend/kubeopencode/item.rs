//! `spec.contexts[]`: one item, with the payload that belongs to its type.
//!
//! May touch: the item and the object that holds it. Must not touch: what a plugin makes of it.

use kubeopencode_api::context::{BuiltInType, ContextItem};
use serde_json::{Value, json};

use crate::Refusal;
use crate::frontend::item::{self, CONFIG, Place, Written};
use crate::item::Item;

pub(super) fn read(spec: &ContextItem, index: usize, place: &Place<'_>) -> Result<Item, Refusal> {
    let written = Written {
        field: format!("spec.contexts[{index}]"),
        type_: &spec.type_,
        name: spec.name.as_deref(),
        payload: payload(spec, BuiltInType::find(&spec.type_)),
        mount_path: spec.mount_path.as_deref(),
        file_mode: spec.file_mode,
        optional: spec.optional,
    };
    item::read(written, place)
}

/// What stands in the field of the item's type; another type's field is refused.
fn payload(spec: &ContextItem, built_in: Option<&BuiltInType>) -> Result<Value, String> {
    let type_ = spec.type_.as_str();
    let own = built_in.map_or(CONFIG, |type_| type_.field);
    let mut payload = None;
    for (field, value) in spec.payloads().map_err(|e| e.to_string())? {
        if field != own {
            return Err(format!(
                "type {type_} takes its content from {own}, not from {field}: remove {field}"
            ));
        }
        payload = Some(value);
    }
    match payload {
        Some(payload) => Ok(payload),
        None if built_in.is_none_or(|type_| type_.may_be_empty) => Ok(json!({})),
        None => Err(format!("type {type_} needs {own}: add it")),
    }
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::plugin::Origin;

    use super::*;
    use crate::conventions::KUBEOPENCODE;
    use crate::paths::AbsPath;

    fn read(json: Value) -> Result<Item, String> {
        let workspace = AbsPath::parse("/workspace", None).unwrap();
        let spec: ContextItem = serde_json::from_value(json).unwrap();
        let place = Place {
            origin: Origin::Task,
            namespace: "team",
            holder: "Task team/fix",
            workspace: &workspace,
            conventions: &KUBEOPENCODE,
        };
        super::read(&spec, 2, &place).map_err(|refusal| refusal.message)
    }

    #[test]
    fn the_payload_is_the_field_of_the_type() {
        for (item, payload) in [
            (json!({"type": "Text", "text": ""}), json!("")),
            (json!({"type": "ConfigMap", "configMap": {"name": "a"}}), json!({"name": "a"})),
            (json!({"type": "Runtime"}), json!({})),
            (json!({"type": "Jira", "config": {"issue": "A-1"}}), json!({"issue": "A-1"})),
            (json!({"type": "Jira"}), json!({})),
        ] {
            assert_eq!(read(item).unwrap().payload, payload);
        }
    }

    #[test]
    fn a_foreign_or_missing_payload_is_named() {
        for (item, words) in [
            (json!({"type": "Text"}), "spec.contexts[2] of Task team/fix: type Text needs text"),
            (
                json!({"type": "Text", "name": "n", "text": "x", "config": {}}),
                "spec.contexts[2] \"n\" of Task team/fix: type Text takes its content from text, not from config",
            ),
            (json!({"type": "Jira", "text": "x"}), "type Jira takes its content from config, not from text"),
            (json!({"type": "Text", "text": "x", "fileMode": 512}), "fileMode 512 is out of range"),
        ] {
            let message = read(item).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_mount_path_stays_out_of_what_is_not_the_users() {
        for (path, words) in [
            ("/tools/opencode", "reaches into /tools"),
            ("/proc", "reaches into /proc"),
            ("../x", "holds \"..\""),
            ("/", "is the root"),
        ] {
            let message = read(json!({"type": "Text", "text": "", "mountPath": path})).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
        let item = read(json!({"type": "Text", "text": "", "mountPath": "guides//a.md"})).unwrap();
        assert_eq!(item.mount_path().unwrap().as_str(), "/workspace/guides/a.md");
        assert_eq!(item.mount_path.unwrap().written, "guides//a.md");
    }
}
