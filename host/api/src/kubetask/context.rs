//! Context items of `kubetask.io`: a file, or an item of a plugin's type.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::FileSource;

/// One piece of context for the agent: `{type: File, file: …}`, or an item of a plugin's type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "(self.type == 'File') == has(self.file)", "message": "file is required for type File and belongs to no other type"},
    {"rule": "self.type != 'File' || !has(self.name)", "message": "name belongs to plugins' types: a File has file.name"},
    {"rule": "self.type != 'File' || !has(self.mountPath)", "message": "mountPath belongs to plugins' types: a File has file.mountPath"},
    {"rule": "self.type != 'File' || !has(self.fileMode)", "message": "fileMode belongs to plugins' types: remove it"},
    {"rule": "self.type != 'File' || !has(self.optional)", "message": "optional belongs to plugins' types: a File's source has its own"},
]))]
pub struct Context {
    /// Type of the context: `File`, or the name of a plugin.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = crate::plugin::PLUGIN_NAME), length(max = 63))]
    pub type_: String,
    /// Payload of a File context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<File>,
    /// Name of a plugin's item, in messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Where to put the content of a plugin's item. Empty: it is joined into `/workspace/task.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub mount_path: Option<String>,
    /// Permission bits of the files of a plugin's item, 0 to 0777 (YAML: `0755` is octal). Default 0644.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub file_mode: Option<i32>,
    /// The Task runs without a plugin's item if it cannot be resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Payload of a plugin's type, as the plugin's schema says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::any")]
    pub config: Option<Value>,
}

/// A single file from text, a ConfigMap's key or a Secret's key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Name of the file, in messages.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Where the content comes from.
    pub source: FileSource,
    /// Absolute path of the file. Empty: the content is joined into `/workspace/task.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^(/.*)?$"))]
    pub mount_path: Option<String>,
}
