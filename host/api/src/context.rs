//! Context items: what a Task or an Agent gives the agent to know.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::git::GitIdentity;
use crate::plugin::BUILT_IN_TYPES;

/// Which field belongs to which type.
fn type_rules() -> Value {
    let types = format!("the types are {BUILT_IN_TYPES}, and that of a plugin has config");
    let payloads =
        [("Text", "text"), ("ConfigMap", "configMap"), ("Git", "git"), ("URL", "url"), ("File", "file")];
    let required = payloads.map(|(type_, field)| {
        json!({
            "rule": format!("(self.type == '{type_}') == has(self.{field})"),
            "message": format!("{field} is required for type {type_} and belongs to no other type; {types}"),
        })
    });
    let runtime = json!({
        "rule": "self.type == 'Runtime' || !has(self.runtime)",
        "message": format!("runtime belongs to type Runtime alone; {types}"),
    });
    required.into_iter().chain([runtime]).collect()
}

/// One piece of context, or of files, for the agent.
///
/// `type` names a built-in type (`Text`, `ConfigMap`, `Git`, `URL`, `Runtime`, `File`), whose payload is the field of
/// that name, or a plugin, whose payload is `config`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = type_rules()))]
pub struct ContextItem {
    /// Type of the context: `Text`, `ConfigMap`, `Git`, `URL`, `Runtime`, `File`, or the name of a plugin.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = crate::plugin::PLUGIN_NAME), length(max = 63))]
    pub type_: String,
    /// Name in messages and in the `name` attribute of the context's tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Description for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// The Task runs without this context if it cannot be resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Where to put the content; a relative path lies under `workspaceDir`. Empty: the content goes to
    /// `.kubeopencode/context.md`. Required for Git and URL, ignored for Runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub mount_path: Option<String>,
    /// Permission bits of the files, 0 to 0777 (YAML: `0755` is octal). What the owner may read and run, the agent's user may
    /// too, whoever that is: 0600 is 0640 in a Pod with an `fsGroup`. Default 0644; clones and unpacked archives are writable
    /// for every user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub file_mode: Option<i32>,
    /// Content of a Text context. More than this: a ConfigMap, `Git` or `URL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262144))]
    pub text: Option<String>,
    /// Payload of a ConfigMap context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapContext>,
    /// Payload of a Git context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitContext>,
    /// Payload of a Runtime context; may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeContext>,
    /// Payload of a URL context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlContext>,
    /// Payload of a File context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileContext>,
    /// Payload of a plugin's type, as the plugin's schema says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::any")]
    pub config: Option<Value>,
}

/// Which field of an item holds the payload of a built-in type. All else about a type its plugin says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltInType {
    /// `type`
    pub name: &'static str,
    /// The field of an item that holds its payload.
    pub field: &'static str,
    /// That field may be left out.
    pub may_be_empty: bool,
}

impl BuiltInType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::new("Text", "text"),
        Self::new("ConfigMap", "configMap"),
        Self::new("Git", "git"),
        Self::new("URL", "url"),
        Self { may_be_empty: true, ..Self::new("Runtime", "runtime") },
        Self::new("File", "file"),
    ];

    const fn new(name: &'static str, field: &'static str) -> Self {
        Self { name, field, may_be_empty: false }
    }

    /// The built-in type of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        const ALL: &[BuiltInType] = &BuiltInType::ALL;
        ALL.iter().find(|type_| type_.name == name)
    }
}

impl ContextItem {
    /// The payloads that it holds, each with its field: one, if the item is as the schema wants it.
    ///
    /// # Errors
    /// A payload that is no JSON, which none of these is.
    pub fn payloads(&self) -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
        fn json(field: Option<&impl Serialize>) -> Result<Option<Value>, serde_json::Error> {
            field.map(serde_json::to_value).transpose()
        }
        let payloads = [
            ("text", json(self.text.as_ref())?),
            ("configMap", json(self.config_map.as_ref())?),
            ("git", json(self.git.as_ref())?),
            ("url", json(self.url.as_ref())?),
            ("runtime", json(self.runtime.as_ref())?),
            ("file", json(self.file.as_ref())?),
            ("config", self.config.clone()),
        ];
        Ok(payloads.into_iter().filter_map(|(field, value)| Some((field, value?))).collect())
    }
}

/// Content of a ConfigMap: one key, or all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapContext {
    /// Name of the ConfigMap, in the namespace of the object that holds this item.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One key; without it, all keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
    /// A missing ConfigMap or key is left out instead of failing the Task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Files of a Git repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitContext {
    /// URL of the repository: `https://`, `http://`, `ssh://` or `user@host:path`.
    #[schemars(length(min = 1, max = 2048))]
    pub repository: String,
    /// Path inside the repository; without it, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub path: Option<String>,
    /// Branch, tag or commit SHA. Default `HEAD`.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub ref_: Option<String>,
    /// Number of commits to fetch; 0 = the full history. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub depth: Option<i32>,
    /// Fetch submodules too. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submodules: Option<bool>,
    /// Secret in the Pod's namespace with `username` and `password`, or `ssh-privatekey` and `ssh-known-hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretName>,
    /// Whose commits those of the agent in this clone are. Default: `git.identity` of the Agent, else what the image and
    /// `~/.gitconfig` say, else `KubeOpenCode <noreply@kubeopencode.io>`. With `path` there is no history to commit to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<GitIdentity>,
    /// `git push` in this clone uses the Secret of `secretRef`, to this repository alone. The agent can then read the keys
    /// `username`, `password`, `ssh-privatekey` and `ssh-known-hosts` of the Secret. Not with `path`. Default false: only the
    /// init container that clones has the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<bool>,
}

/// KubeOpenCode's own explanation of where the agent runs. It has no fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RuntimeContext {}

/// Content of a remote URL, fetched in the Pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlContext {
    /// Address, `https://` or `http://`.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://.+"))]
    pub source: String,
    /// Request headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "string", "maxLength": 8192}, "maxProperties" = 64))]
    pub headers: BTreeMap<String, String>,
    /// Secret in the Pod's namespace with `token` (sent as Bearer), or `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretName>,
    /// Accept any TLS certificate. Default false.
    #[serde(default, rename = "insecureSkipTLSVerify", skip_serializing_if = "Option::is_none")]
    pub insecure_skip_tls_verify: Option<bool>,
    /// Timeout of one attempt in seconds. Default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout: Option<i32>,
    /// SHA-256 that the content must have, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"), length(max = 64))]
    pub sha256: Option<String>,
    /// Lay out the archive (tar, tar.gz, tar.zst, zip) under `mountPath`. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpack: Option<bool>,
}

/// A single file from text, a ConfigMap's key or a Secret's key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileContext {
    /// Name of the file, in messages.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Where the content comes from.
    pub source: FileSource,
}

/// Exactly one source of a file's content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct FileSource {
    /// The content itself. More than this: a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262144))]
    pub inline: Option<String>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// A key of a Secret; its value is joined inside the Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
}

/// A key of a ConfigMap or Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// A missing object or key is left out instead of failing the Task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A Secret by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecretName {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
