//! `spec.contexts[]`: one item, with the payload that belongs to its type.
//!
//! May touch: the item and the object that holds it. Must not touch: what a plugin makes of it.

use kubeopencode_api::context::{BuiltInType, ContextItem};
use kubeopencode_api::plugin::Origin;
use serde_json::{Value, json};

use crate::Refusal;
use crate::conventions::Conventions;
use crate::item::{Item, MountPath, UNNAMED, described, file_mode};
use crate::paths::AbsPath;

/// Field of the payload of a plugin's type.
const CONFIG: &str = "config";

/// Where an item stands.
pub(super) struct Place<'a> {
    pub(super) origin: Origin,
    pub(super) namespace: &'a str,
    pub(super) holder: &'a str,
    pub(super) index: usize,
    pub(super) workspace: &'a AbsPath,
    pub(super) conventions: &'a Conventions,
}

pub(super) fn read(spec: &ContextItem, place: &Place<'_>) -> Result<Item, Refusal> {
    let field = format!("spec.contexts[{}]", place.index);
    let name = spec.name.clone().filter(|name| !name.is_empty());
    let refuse = |problem: String| {
        Refusal::context(format!("{}: {problem}", described(&field, name.as_deref(), place.holder)))
    };
    let built_in = BuiltInType::find(&spec.type_);
    let payload = payload(spec, built_in).map_err(refuse)?;
    let mount_path = spec.mount_path.as_deref().filter(|path| !path.is_empty());
    let mount_path = mount_path.map(|written| MountPath::read(written, place.workspace, place.conventions));
    let mount_path = mount_path.transpose().map_err(refuse)?;
    let file_mode = spec.file_mode.map(file_mode).transpose().map_err(refuse)?;
    Ok(Item {
        origin: place.origin,
        namespace: place.namespace.to_owned(),
        type_: spec.type_.clone(),
        optional: spec.optional.unwrap_or(false),
        holder: place.holder.to_owned(),
        built_in: built_in.is_some(),
        unnamed: UNNAMED.to_owned(),
        payload,
        mount_path,
        file_mode,
        field,
        name,
    })
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
    use super::*;
    use crate::conventions::KUBEOPENCODE;

    fn read(json: Value) -> Result<Item, String> {
        let workspace = AbsPath::parse("/workspace", None).unwrap();
        let spec: ContextItem = serde_json::from_value(json).unwrap();
        let place = Place {
            origin: Origin::Task,
            namespace: "team",
            holder: "Task team/fix",
            index: 2,
            workspace: &workspace,
            conventions: &KUBEOPENCODE,
        };
        super::read(&spec, &place).map_err(|refusal| refusal.message)
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
