//! Plugin: a context type or a command builder to load, where its bytes come from and what it may do.
//!
//! May touch: the type and its schema. Must not touch: the plugin itself, whose data is in [`crate::plugin`].

#![allow(clippy::duplicated_attributes, reason = "kube's derive wants one printcolumn a column")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plugin::{Capability, Kind, LimitClass, MAX_PLUGIN_NAME, PLUGIN_NAME};

/// A context type or a command builder to load: where its bytes come from, and what it may do beyond text, files and
/// ConfigMaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "kubeopencode.io",
    version = "v1alpha1",
    kind = "Plugin",
    plural = "plugins",
    shortname = "plug",
    category = "kubeopencode",
    status = "PluginStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(name = "Types", type_ = "string", json_path = ".status.typeNames"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(
        name = "Source",
        type_ = "string",
        // the one of them that is there
        json_path = ".spec.source['configMap','oci','https','directory']['name','image','url','path']"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    // of the first one that is false: also while the last good component serves
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.status=='False')].reason"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.digest", priority = 1),
    printcolumn(name = "Wanted", type_ = "string", json_path = ".status.wanted", priority = 1),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.grants) || has(self.sha256) || has(self.source.oci)",
        "message": "grants are for certain bytes: add sha256, the digest of the component (or take it from oci, by digest)"
    },
    {
        "rule": "!has(self.source.https) || has(self.sha256)",
        "message": "what a web server gives may change: add sha256, the digest of the component"
    },
    {
        "rule": "!has(self.signature) || has(self.signature.value) != has(self.signature.bundle) || has(self.source.oci) && !has(self.signature.value)",
        "message": "the component needs one of signature.bundle and signature.value, but from oci, where its signature may lie in the registry"
    },
]))]
pub struct PluginSpec {
    /// What the component is: `context-type` or `command-builder`.
    pub kind: Kind,
    /// Where the component comes from.
    pub source: PluginSource,
    /// SHA-256 of the decoded component, in hex; other bytes are not loaded. Required with `grants`, unless `source` is
    /// `oci`, and where `source` is `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"), length(max = 64))]
    pub sha256: Option<String>,
    /// Signature that the component must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Settings of this installation, which the component's own schema describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::any_object")]
    pub config: Option<Value>,
    /// Other names for its types: the name that the component gives to the name that users write, as in
    /// `{Jira: JiraCloud}`. So one component can be installed twice.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "string", "maxLength": MAX_PLUGIN_NAME, "pattern": PLUGIN_NAME}, "maxProperties" = 16))]
    pub names: BTreeMap<String, String>,
    /// What it may do beyond text, files and ConfigMaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
    /// How much it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<PluginLimits>,
    /// Globs (`*`, `?`, `[..]`) of the namespaces whose Tasks and Agents may use it. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 253)))]
    pub allowed_namespaces: Vec<String>,
}

impl Default for PluginSpec {
    /// A context type from nowhere.
    fn default() -> Self {
        Self {
            kind: Kind::ContextType,
            source: PluginSource::default(),
            sha256: None,
            signature: None,
            config: None,
            names: BTreeMap::new(),
            grants: None,
            limits: None,
            allowed_namespaces: Vec::new(),
        }
    }
}

/// Exactly one place that a component comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct PluginSource {
    /// A ConfigMap in the operator's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// An OCI artifact, by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A file on a web server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsSource>,
    /// A file in a volume that the chart's `plugins.directories` mounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectorySource>,
}

/// A component in a ConfigMap of the operator's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key of the component: it ends in `.wasm`, `.wasm.gz` or `.wasm.zst`. Default: the only such key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+\.wasm(\.gz|\.zst)?$"))]
    pub key: Option<String>,
}

/// A component in an OCI registry: an artifact with one layer of `application/wasm`, or one file whose name ends in `.wasm`,
/// `.wasm.gz` or `.wasm.zst`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// Registry, repository and digest: `registry.example.com/plugins/jira@sha256:…`.
    #[schemars(length(max = 1024), regex(pattern = r"^[^@\s]+@sha256:[0-9a-f]{64}$"))]
    pub image: String,
}

/// A component on a web server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpsSource {
    /// Address, `https://`. The component may be packed with gzip or zstd.
    #[schemars(length(max = 2048), regex(pattern = r"^https://.+"))]
    pub url: String,
}

/// A component in a volume of the operator's Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectorySource {
    /// Path of the component's file: `/plugins/`, the volume's name, and where it is in there. The component may be packed with
    /// gzip or zstd. Read again every 30 seconds.
    #[schemars(length(max = 1024), regex(pattern = r"^/.+"))]
    pub path: String,
}

/// Signature of a component by a key of the operator's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// Name of the public key, among those that the chart's `plugins.cosignKeys` mounts.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
    /// The Sigstore bundle of the decoded component, as `cosign sign-blob --bundle` writes it into a file: the JSON, as text. In
    /// place of `value`. From `oci` without both: the signature of the artifact lies in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub bundle: Option<String>,
    /// The signature of the decoded component in base64, as `cosign sign-blob` prints it without a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = r"^[A-Za-z0-9+/]+={0,2}$"))]
    pub value: Option<String>,
}

/// What a plugin may do beyond text, files and ConfigMaps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grants {
    /// Kinds of actions that its plans may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub capabilities: Vec<Capability>,
    /// Patterns (`*`, `?`, `[..]`) of the environment variables that it may set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub env: Vec<String>,
    /// Patterns of the images that its init containers may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    pub images: Vec<String>,
    /// Patterns of the hosts that it may have fetched from for it before it answers. Nothing fetches yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub hosts: Vec<String>,
    /// Secrets that it may name although the item does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub secrets: Vec<SecretGrant>,
}

/// A Secret that a plugin may name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretGrant {
    /// Name of the Secret, in the namespace of the object that holds the item.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Hosts that it may be sent to, also after redirects. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub hosts: Vec<String>,
}

/// How much a plugin may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginLimits {
    /// Default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<LimitClass>,
}

/// Status of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginStatus {
    /// `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The types that it serves: what users write as `type` of a context, or as `commandBuilder`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub types: Vec<ServedType>,
    /// Their names, with a comma between: for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub type_names: Option<String>,
    /// `sha256:` and the digest of the component that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,
    /// `sha256:` and the digest of the OCI artifact that it came from, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub image: Option<String>,
    /// `sha256:` and the digest of the public key, in DER, with which its signature was verified, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub signed_by: Option<String>,
    /// The same as `digest` of the component that was last seen. It serves unless a condition says why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub wanted: Option<String>,
    /// What the component that serves says its version is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
    /// The plugin interface that it was built for, as in `kubeopencode:plugin@1.0.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub interface: Option<String>,
    /// Size of the decoded component that serves, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// Milliseconds that loading it took, compiling included where it was not compiled before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compile_millis: Option<i64>,
    /// When it is tried again, where something failed that may pass: fetching it, most often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Time>,
    /// The components that served, the newest first; at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub history: Vec<ServedDigest>,
    /// Fetched, Verified, Compiled, Ready: the way of the component that was last seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"], "maxItems" = 16))]
    pub conditions: Vec<Condition>,
}

/// A type that a plugin serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServedType {
    /// What users write.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What it says it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// JSON Schema of its payload: what users write under `config`. Left out where it has more than 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::any")]
    pub schema: Option<Value>,
    /// What its plans may hold beyond text, files and ConfigMaps, if it is granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub capabilities: Vec<Capability>,
}

/// A component that served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServedDigest {
    /// `sha256:` and its digest.
    #[schemars(length(max = 128))]
    pub digest: String,
    /// What it says its version is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
    /// Since when it served.
    pub time: Time,
}

/// What users write for a type that its plugin calls `own`, by [`PluginSpec::names`].
pub fn served_name<'a>(names: &'a BTreeMap<String, String>, own: &'a str) -> &'a str {
    names.get(own).map_or(own, String::as_str)
}
