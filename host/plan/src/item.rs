//! One context item, read and checked: what its plugin is asked with, and what it may write to.
//!
//! May touch: the item and the object that holds it. Must not touch: what a plugin makes of it.

use std::fmt;

use kubeopencode_api::context::ContextItem;
use kubeopencode_api::plugin::Origin;
use serde_json::{Value, json};

use crate::Refusal;
use crate::paths::AbsPath;

/// The types that come with KubeOpenCode, and the field that each takes its payload from.
const BUILT_IN: [(&str, &str); 6] = [
    ("Text", "text"),
    ("ConfigMap", "configMap"),
    ("Git", "git"),
    ("URL", "url"),
    ("Runtime", "runtime"),
    ("File", "file"),
];

/// Whether a type comes with KubeOpenCode: its name is taken.
pub fn is_built_in(type_: &str) -> bool {
    BUILT_IN.iter().any(|(built_in, _)| *built_in == type_)
}

/// One context item of a Task or its Agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Who wrote it.
    pub origin: Origin,
    /// Namespace that its references are resolved in.
    pub namespace: String,
    /// `type`: a built-in one or the name of a plugin.
    pub type_: String,
    /// `name`, if it has one.
    pub name: Option<String>,
    /// Its place in the object that holds it, as in `spec.contexts[2]`.
    pub field: String,
    /// The Task goes on without it, whatever fails.
    pub optional: bool,
    /// What its plugin is given: the type's own field, or `config`.
    pub payload: Value,
    /// The object that holds it, as in `Task team/fix`.
    pub(crate) holder: String,
    pub(crate) mount_path: Option<MountPath>,
    pub(crate) file_mode: Option<u32>,
}

/// Where an item goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MountPath {
    /// as the user wrote it
    pub(crate) written: String,
    pub(crate) path: AbsPath,
}

/// Where an item stands.
pub(crate) struct Place<'a> {
    pub(crate) origin: Origin,
    pub(crate) namespace: &'a str,
    pub(crate) holder: &'a str,
    pub(crate) index: usize,
    pub(crate) workspace: &'a AbsPath,
}

impl fmt::Display for Item {
    /// `spec.contexts[2] "guide" of Task team/fix`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&described(&self.field, self.name.as_deref(), &self.holder))
    }
}

fn described(field: &str, name: Option<&str>, holder: &str) -> String {
    match name {
        Some(name) => format!("{field} \"{name}\" of {holder}"),
        None => format!("{field} of {holder}"),
    }
}

impl Item {
    pub(crate) fn read(spec: &ContextItem, place: &Place<'_>) -> Result<Self, Refusal> {
        let field = format!("spec.contexts[{}]", place.index);
        let name = spec.name.clone().filter(|name| !name.is_empty());
        let refuse = |problem: String| {
            Refusal::context(format!("{}: {problem}", described(&field, name.as_deref(), place.holder)))
        };
        let payload = payload(spec).map_err(refuse)?;
        let mount_path = mount_path(spec, place.workspace).map_err(refuse)?;
        let file_mode = spec.file_mode.map(file_mode).transpose().map_err(refuse)?;
        Ok(Self {
            origin: place.origin,
            namespace: place.namespace.to_owned(),
            type_: spec.type_.clone(),
            optional: spec.optional.unwrap_or(false),
            holder: place.holder.to_owned(),
            payload,
            mount_path,
            file_mode,
            field,
            name,
        })
    }

    /// No plugin gives this item's type.
    pub fn no_plugin(&self) -> Refusal {
        let type_ = &self.type_;
        Refusal::plugin(format!(
            "no plugin for context type \"{type_}\": {self} needs it; install the plugin, or correct the type"
        ))
    }

    /// The item cannot be resolved.
    pub fn refused(&self, problem: impl fmt::Display) -> Refusal {
        Refusal::context(format!("{self}: {problem}"))
    }

    /// The plan of the item's plugin is refused. The built-in plugins only repeat what the user wrote.
    pub(crate) fn plan_refused(&self, problem: impl fmt::Display) -> Refusal {
        if is_built_in(&self.type_) {
            return self.refused(problem);
        }
        Refusal::plugin(format!("{self}: plan of plugin \"{}\" refused: {problem}", self.type_))
    }

    /// `name` in the delimiters of the context file.
    pub(crate) fn tag_name(&self) -> &str {
        let default = if self.type_ == "Runtime" { "runtime" } else { "context" };
        self.name.as_deref().unwrap_or(default)
    }

    pub(crate) fn mount_path(&self) -> Option<&AbsPath> {
        self.mount_path.as_ref().map(|mount| &mount.path)
    }
}

fn payload(spec: &ContextItem) -> Result<Value, String> {
    let type_ = spec.type_.as_str();
    let fields = [
        ("text", spec.text.clone().map(Value::String)),
        ("configMap", value(spec.config_map.as_ref())?),
        ("git", value(spec.git.as_ref())?),
        ("url", value(spec.url.as_ref())?),
        ("runtime", value(spec.runtime.as_ref())?),
        ("file", value(spec.file.as_ref())?),
        ("config", spec.config.clone()),
    ];
    let own = BUILT_IN.iter().find(|(known, _)| *known == type_).map_or("config", |(_, field)| field);
    let mut payload = None;
    for (field, value) in fields {
        match value {
            Some(value) if field == own => payload = Some(value),
            Some(_) => {
                return Err(format!(
                    "type {type_} takes its content from {own}, not from {field}: remove {field}"
                ));
            }
            None => {}
        }
    }
    match payload {
        Some(payload) => Ok(payload),
        // neither needs one
        None if matches!(own, "runtime" | "config") => Ok(json!({})),
        None => Err(format!("type {type_} needs {own}: add it")),
    }
}

fn value<T: serde::Serialize>(field: Option<&T>) -> Result<Option<Value>, String> {
    field.map(serde_json::to_value).transpose().map_err(|e| e.to_string())
}

fn mount_path(spec: &ContextItem, workspace: &AbsPath) -> Result<Option<MountPath>, String> {
    if spec.type_ == "Runtime" {
        return Ok(None);
    }
    let Some(written) = spec.mount_path.clone().filter(|path| !path.is_empty()) else {
        return match spec.type_.as_str() {
            "Git" | "URL" => {
                let type_ = spec.type_.to_lowercase();
                Err(format!("{type_} context requires mountPath to be specified"))
            }
            _ => Ok(None),
        };
    };
    let path =
        AbsPath::parse(&written, Some(workspace)).map_err(|e| format!("mountPath \"{written}\" {e}"))?;
    if let Some(reserved) = path.touches_reserved() {
        return Err(format!(
            "mountPath \"{written}\" reaches into {reserved}, which is reserved: choose another"
        ));
    }
    if workspace != &path && workspace.is_within(&path) {
        return Err(format!("mountPath \"{written}\" would cover the workspace {workspace}: choose another"));
    }
    Ok(Some(MountPath { written, path }))
}

/// `fileMode` as permission bits.
pub(crate) fn file_mode(mode: i32) -> Result<u32, String> {
    u32::try_from(mode)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("fileMode {mode} is out of range: use 0 to 0777 (511)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: Value) -> Result<Item, String> {
        let workspace = AbsPath::parse("/workspace", None).unwrap();
        let spec: ContextItem = serde_json::from_value(json).unwrap();
        let place = Place {
            origin: Origin::Task,
            namespace: "team",
            holder: "Task team/fix",
            index: 2,
            workspace: &workspace,
        };
        Item::read(&spec, &place).map_err(|refusal| refusal.message)
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
            (
                json!({"type": "Git", "git": {"repository": "https://a/b"}}),
                "git context requires mountPath to be specified",
            ),
            (
                json!({"type": "URL", "url": {"source": "https://a/b"}, "mountPath": ""}),
                "url context requires mountPath to be specified",
            ),
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
