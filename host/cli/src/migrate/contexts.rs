//! Contexts of `kubetask.io` as items of `kubeopencode.io`, and as text where that is known.
//!
//! May touch: contexts and the ConfigMaps of the files. Must not touch: which object holds an item.

use kubeopencode_api::context::{BuiltInType, ContextItem, FileContext, KeyRef};
use kubeopencode_api::kubetask::context::Context;
use kubeopencode_api::literals::DEFAULT_WORKSPACE_DIR;
use kubeopencode_api::names::ObjectKey;
use serde_json::Value;

use super::objects::ConfigMaps;
use crate::render::objects::{Problems, refuse};

const FILE: &str = "File";
const TEXT: &str = "Text";

/// A context, and what it becomes.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Where it stands, as in `spec.contexts[2]`.
    pub(super) field: String,
    pub(super) becomes: Becomes,
}

/// What a context becomes.
#[derive(Clone, Debug)]
pub(super) enum Becomes {
    /// A part of the prompt.
    Text(String),
    /// An item; where its text is not known here and would have been a part of the prompt: why, and the remedy.
    Item(Box<ContextItem>, Option<String>),
    /// Nothing: what it names is optional and not there, as these words say.
    Nothing(String),
}

impl Part {
    /// Where its file goes, with one spelling for each place.
    pub(super) fn path(&self) -> Option<String> {
        match &self.becomes {
            Becomes::Item(item, _) => item.mount_path.as_deref().map(normal),
            _ => None,
        }
    }
}

/// A list of contexts of the object at `place` as items, each with its field.
///
/// # Errors
/// What the API server, or the operator, would refuse.
pub(super) fn items(
    contexts: &[Context],
    list: &str,
    place: &str,
) -> Result<Vec<(String, ContextItem)>, Problems> {
    let (mut items, mut problems) = (Vec::with_capacity(contexts.len()), Problems::new());
    for (i, context) in contexts.iter().enumerate() {
        let field = format!("{list}[{i}]");
        match item(context) {
            Ok(item) => items.push((field, item)),
            Err(problem) => problems.extend(refuse(place, format!("{field}: {problem}"))),
        }
    }
    if problems.is_empty() { Ok(items) } else { Err(problems) }
}

fn item(context: &Context) -> Result<ContextItem, String> {
    let path = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
    let type_ = context.type_.as_str();
    if type_ == FILE {
        let file = context.file.as_ref().ok_or("type File needs file: add it")?;
        let foreign = [
            ("name", context.name.is_some()),
            ("mountPath", context.mount_path.is_some()),
            ("fileMode", context.file_mode.is_some()),
            ("optional", context.optional.is_some()),
            ("config", context.config.is_some()),
        ];
        if let Some((field, _)) = foreign.iter().find(|(_, is_set)| *is_set) {
            return Err(format!("{field} belongs to plugins' types: remove it, a File has file"));
        }
        return Ok(ContextItem {
            type_: FILE.to_owned(),
            name: Some(file.name.clone()),
            mount_path: path(&file.mount_path),
            file: Some(FileContext { name: file.name.clone(), source: file.source.clone() }),
            ..ContextItem::default()
        });
    }
    if context.file.is_some() {
        return Err(format!("file belongs to type File alone, and this is a {type_}: remove it"));
    }
    let item = ContextItem {
        type_: type_.to_owned(),
        name: context.name.clone(),
        mount_path: path(&context.mount_path),
        file_mode: context.file_mode,
        optional: context.optional,
        ..ContextItem::default()
    };
    match (BuiltInType::find(type_), &context.config) {
        (None, config) => Ok(ContextItem { config: config.clone(), ..item }),
        (Some(built_in), Some(config)) => with_payload(&item, built_in.field, config)
            .map_err(|error| format!("config is none of type {type_}: {error}")),
        (Some(built_in), None) if built_in.may_be_empty => Ok(item),
        (Some(_), None) => Err(format!("type {type_} needs config: add it")),
    }
}

/// The payload of a built-in type stands in a field of its own there.
fn with_payload(item: &ContextItem, field: &str, payload: &Value) -> Result<ContextItem, serde_json::Error> {
    let mut value = serde_json::to_value(item)?;
    value[field] = payload.clone();
    serde_json::from_value(value)
}

/// What the items of a Task or Batch become.
pub(super) fn parts(
    items: Vec<(String, ContextItem)>,
    namespace: &str,
    config_maps: &ConfigMaps,
) -> Vec<Part> {
    let part = |(field, item): (String, ContextItem)| {
        let becomes = match item.mount_path {
            Some(_) => Becomes::Item(Box::new(item), None),
            None => piece(item, namespace, config_maps),
        };
        Part { field, becomes }
    };
    items.into_iter().map(part).collect()
}

/// What becomes of an item that was joined into the prompt.
fn piece(item: ContextItem, namespace: &str, config_maps: &ConfigMaps) -> Becomes {
    let unknown = |item, why: String| Becomes::Item(Box::new(item), Some(why));
    if item.type_ == TEXT
        && let Some(text) = item.text
    {
        return Becomes::Text(text);
    }
    let Some(file) = &item.file else {
        let why = format!("its plugin {} says its text at the launch", item.type_);
        return unknown(item, why);
    };
    if let Some(text) = &file.source.inline {
        return Becomes::Text(text.clone());
    }
    let Some(reference) = &file.source.config_map_key_ref else {
        return unknown(item, "it comes from a Secret".to_owned());
    };
    match text_of(reference, namespace, config_maps) {
        Ok(text) => Becomes::Text(text),
        Err(Missing::Key(why)) if reference.optional == Some(true) => Becomes::Nothing(why),
        Err(Missing::Key(why) | Missing::Map(why)) => unknown(item, why),
    }
}

/// Why a text is not known.
enum Missing {
    Map(String),
    Key(String),
}

fn text_of(reference: &KeyRef, namespace: &str, config_maps: &ConfigMaps) -> Result<String, Missing> {
    let KeyRef { name, key, .. } = reference;
    let Some(map) = config_maps.get(&ObjectKey::new(namespace, name)) else {
        return Err(Missing::Map(format!(
            "ConfigMap {namespace}/{name} is not among the files (add it with -f to have the text in spec.description)"
        )));
    };
    if let Some(text) = map.data.as_ref().and_then(|data| data.get(key)) {
        return Ok(text.clone());
    }
    match map.binary_data.as_ref().and_then(|data| data.get(key)) {
        None => Err(Missing::Key(format!("ConfigMap {namespace}/{name} has no key {key}"))),
        Some(bytes) => String::from_utf8(bytes.0.clone())
            .map_err(|_| Missing::Map(format!("key {key} of ConfigMap {namespace}/{name} is no UTF-8"))),
    }
}

/// A path with one spelling for each place, below the default workspace where it is relative.
pub(super) fn normal(path: &str) -> String {
    let base = if path.starts_with('/') { "" } else { DEFAULT_WORKSPACE_DIR };
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.fold(base.to_owned(), |path, part| format!("{path}/{part}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(context: Value) -> Result<Value, String> {
        let context: Context = serde_json::from_value(context).unwrap();
        super::item(&context).map(|item| serde_json::to_value(item).unwrap())
    }

    #[test]
    fn the_path_of_a_file_stands_one_level_up_and_a_plugins_item_stays() {
        let source = json!({"secretKeyRef": {"name": "s", "key": "k", "optional": true}});
        let file = json!({"name": "a", "source": source});
        let with_path = json!({"name": "a", "source": source, "mountPath": "/etc/a"});
        for (context, expected) in [
            (
                json!({"type": "File", "file": with_path}),
                json!({"type": "File", "name": "a", "mountPath": "/etc/a", "file": file}),
            ),
            (
                json!({"type": "Jira", "name": "b", "mountPath": "b", "fileMode": 256, "optional": true, "config": {"c": 1}}),
                json!({"type": "Jira", "name": "b", "mountPath": "b", "fileMode": 256, "optional": true, "config": {"c": 1}}),
            ),
            (json!({"type": "Text", "config": "a\n"}), json!({"type": "Text", "text": "a\n"})),
            (
                json!({"type": "Git", "mountPath": "src", "config": {"repository": "https://a/b", "ref": "c"}}),
                json!({"type": "Git", "mountPath": "src", "git": {"repository": "https://a/b", "ref": "c"}}),
            ),
            (json!({"type": "Runtime"}), json!({"type": "Runtime"})),
        ] {
            assert_eq!(item(context.clone()), Ok(expected), "{context}");
        }
    }

    #[test]
    fn what_the_api_server_would_refuse_is_named() {
        let file = json!({"name": "a", "source": {"inline": "b"}});
        for (context, words) in [
            (json!({"type": "File"}), "type File needs file"),
            (json!({"type": "File", "file": file, "name": "a"}), "name belongs to plugins' types"),
            (json!({"type": "File", "file": file, "mountPath": "/a"}), "mountPath belongs to plugins' types"),
            (json!({"type": "Jira", "file": file}), "file belongs to type File alone, and this is a Jira"),
            (json!({"type": "Git", "mountPath": "a"}), "type Git needs config"),
            (json!({"type": "Git", "config": {"ref": "c"}}), "config is none of type Git: missing field"),
        ] {
            let problem = item(context.clone()).unwrap_err();
            assert!(problem.starts_with(words), "{problem}");
        }
    }

    #[test]
    fn one_place_has_one_spelling() {
        assert_eq!(normal("//etc/./a/"), "/etc/a");
        assert_eq!(normal("a"), "/workspace/a");
    }
}
