//! One context item, read and checked: what its plugin is asked with, and what it may write to.
//!
//! May touch: the item and the object that holds it. Must not touch: what a plugin makes of it.

use std::fmt;

use kubeopencode_api::plugin::{BUILT_IN_TYPES, Descriptor, MountPathRule, Origin};
use serde_json::Value;

use crate::conventions::Conventions;
use crate::paths::AbsPath;
use crate::{Refusal, Run};

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
    /// Its type comes with KubeOpenCode.
    pub(crate) built_in: bool,
    /// What it is called in the delimiters of the context file where it has no name.
    pub(crate) unnamed: String,
    pub(crate) mount_path: Option<MountPath>,
    pub(crate) file_mode: Option<u32>,
}

/// `name` in the delimiters of the context file where neither the item nor its type says another.
pub(crate) const UNNAMED: &str = "context";

/// Where an item goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MountPath {
    /// as the user wrote it
    pub(crate) written: String,
    pub(crate) path: AbsPath,
}

impl MountPath {
    /// Reads it; a relative one lies in the workspace.
    ///
    /// # Errors
    /// Where it must not lead.
    pub(crate) fn read(
        written: &str,
        workspace: &AbsPath,
        conventions: &Conventions,
    ) -> Result<Self, String> {
        let path =
            AbsPath::parse(written, Some(workspace)).map_err(|e| format!("mountPath \"{written}\" {e}"))?;
        if let Some(reserved) = path.touches(conventions.reserved_paths) {
            return Err(format!(
                "mountPath \"{written}\" reaches into {reserved}, which is reserved: choose another"
            ));
        }
        let is_workspace = workspace == &path;
        if workspace.is_within(&path) && !(is_workspace && conventions.whole_workspace) {
            return Err(format!(
                "mountPath \"{written}\" would cover the workspace {workspace}: choose another"
            ));
        }
        Ok(Self { written: written.to_owned(), path })
    }
}

impl fmt::Display for Item {
    /// `spec.contexts[2] "guide" of Task team/fix`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&described(&self.field, self.name.as_deref(), &self.holder))
    }
}

pub(crate) fn described(field: &str, name: Option<&str>, holder: &str) -> String {
    match name {
        Some(name) => format!("{field} \"{name}\" of {holder}"),
        None => format!("{field} of {holder}"),
    }
}

impl Run {
    /// The item as its type has it: what `mountPath` means to it, and what it is called without a name.
    ///
    /// # Errors
    /// The type needs a `mountPath`, or the Agent is one whose Tasks have no files.
    pub fn typed(&self, item: &Item, type_: &Descriptor) -> Result<Item, Refusal> {
        let mut item = item.clone();
        if let Some(name) = &type_.default_name {
            item.unnamed.clone_from(name);
        }
        match type_.mount_path {
            MountPathRule::Optional => {}
            MountPathRule::Ignored => item.mount_path = None,
            MountPathRule::Required if item.mount_path.is_some() => {}
            MountPathRule::Required => {
                let type_ = item.type_.to_lowercase();
                return Err(item.refused(format!("{type_} context requires mountPath to be specified")));
            }
        }
        match (&item.mount_path, self.attaches_to()) {
            // the agent works in the server's Pod, where no Task's files are
            (Some(_), Some(_)) => Err(item.refused(format!(
                "context \"{}\": mountPath is not supported by server-mode Agent \"{}\": let the Agent hold this \
                 context, or leave mountPath out and the text goes in front of the prompt",
                item.tag_name(),
                self.agent.key.name
            ))),
            _ => Ok(item),
        }
    }
}

impl Item {
    /// No plugin gives this item's type.
    pub fn no_plugin(&self) -> Refusal {
        let type_ = &self.type_;
        Refusal::plugin(format!(
            "no plugin for context type \"{type_}\": {self} needs it; install the plugin, or take one of the types \
             {BUILT_IN_TYPES}"
        ))
    }

    /// The item cannot be resolved.
    pub fn refused(&self, problem: impl fmt::Display) -> Refusal {
        Refusal::context(format!("{self}: {problem}"))
    }

    /// Memory of what its plugin is given, in bytes, as people write it: it takes five times that where it is made for it.
    pub fn weight(&self) -> usize {
        weight_of(&self.payload)
    }

    /// Whether it was written beside the Agent's own configuration, by whoever decides on that.
    pub(crate) fn is_agents(&self) -> bool {
        matches!(self.origin, Origin::Agent | Origin::Defaults)
    }

    /// Whether its type comes with KubeOpenCode.
    pub fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// The plan of the item's plugin is refused. The built-in plugins only repeat what the user wrote.
    pub(crate) fn plan_refused(&self, problem: impl fmt::Display) -> Refusal {
        if self.built_in {
            return self.refused(problem);
        }
        Refusal::plugin(format!("{self}: plan of plugin \"{}\" refused: {problem}", self.type_))
    }

    /// `name` in the delimiters of the context file.
    pub(crate) fn tag_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.unnamed)
    }

    pub(crate) fn mount_path(&self) -> Option<&AbsPath> {
        self.mount_path.as_ref().map(|mount| &mount.path)
    }
}

/// Memory that a value of JSON takes beside its text, in bytes, as people write it.
pub const VALUE_WEIGHT: usize = 128;

fn weight_of(value: &Value) -> usize {
    let text = match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().map(weight_of).sum(),
        Value::Object(all) => all.iter().map(|(key, value)| key.len() + weight_of(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    VALUE_WEIGHT + text
}

/// `fileMode` as permission bits.
pub(crate) fn file_mode(mode: i32) -> Result<u32, String> {
    u32::try_from(mode)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("fileMode {mode} is out of range: use 0 to 0777 (511)"))
}
