//! What the agent reads, off the objects that the operator would make: the context file and the contexts' files. What only
//! the Pod knows stands there in brackets. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec};
use kubeopencode_api::literals::CONTEXT_FILES_VOLUME;
use serde_json::Value;

use super::readable;

/// The context file, in every workspace.
const CONTEXT_FILE: &str = "/.kubeopencode/context.md";
/// The prompt's file, in every workspace.
const PROMPT_FILE: &str = "/task.md";

/// Files by their paths in the Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// What the agent reads of contexts without mountPath; empty: there is no such file.
    pub(super) context_file: String,
    /// All others but the prompt. What is no text is a number of bytes.
    pub(super) files: BTreeMap<String, Value>,
}

impl Seen {
    /// What stands in a Pod that mounts these ConfigMaps.
    pub(super) fn of(pod: Option<&PodSpec>, config_maps: &[ConfigMap]) -> Self {
        let contents = Contents::of(pod, config_maps);
        let mut seen = Self::default();
        for (path, bytes) in contents.files() {
            if path.ends_with(CONTEXT_FILE) {
                seen.context_file = String::from_utf8_lossy(&bytes).into_owned();
            } else if !path.ends_with(PROMPT_FILE) || path.matches('/').count() != 2 {
                seen.files.insert(path, readable::text(bytes));
            }
        }
        seen
    }
}

struct Contents<'a> {
    pod: Option<&'a PodSpec>,
    keys: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> Contents<'a> {
    fn of(pod: Option<&'a PodSpec>, config_maps: &'a [ConfigMap]) -> Self {
        let mut keys = BTreeMap::new();
        for map in config_maps {
            keys.extend(map.data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_bytes())));
            let binary = map.binary_data.iter().flatten();
            keys.extend(binary.map(|(key, bytes)| (key.as_str(), bytes.0.as_slice())));
        }
        Self { pod, keys }
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for container in self.pod.and_then(|pod| pod.init_containers.as_ref()).into_iter().flatten() {
            for mapping in variable(container, "FILE_MAPPINGS") {
                let path = mapping["targetPath"].as_str().unwrap_or_default().to_owned();
                files.push((path, self.joined(&mapping)));
            }
        }
        for container in self.pod.map(|pod| pod.containers.as_slice()).unwrap_or_default() {
            let mounts =
                container.volume_mounts.iter().flatten().filter(|mount| mount.name == CONTEXT_FILES_VOLUME);
            for (mount, key) in mounts.filter_map(|mount| Some((mount, mount.sub_path.as_deref()?))) {
                let content = self.keys.get(key).map(|bytes| bytes.to_vec()).unwrap_or_default();
                files.push((mount.mount_path.clone(), content));
            }
        }
        files
    }

    /// A file, or a part of one, as `context-init` is told to join it.
    fn joined(&self, source: &Value) -> Vec<u8> {
        if let Some(key) = source.as_str().or_else(|| source["key"].as_str()) {
            return self.keys.get(key).map(|bytes| bytes.to_vec()).unwrap_or_default();
        }
        if let Some(path) = source["path"].as_str() {
            return self.of_the_pod(path).into_bytes();
        }
        let text = |field: &str| source[field].as_str().unwrap_or_default().as_bytes().to_vec();
        let parts: Vec<_> =
            source["parts"].as_array().into_iter().flatten().map(|part| self.joined(part)).collect();
        [text("before"), parts.join(text("separator").as_slice()), text("after")].concat()
    }

    /// What is known only in the Pod, in words.
    fn of_the_pod(&self, path: &str) -> String {
        let secret =
            path.strip_prefix('/').and_then(|path| path.split_once('/')).and_then(|(volume, key)| {
                let volumes = self.pod?.volumes.as_ref()?;
                let secret = volumes.iter().find(|known| known.name == volume)?.secret.as_ref()?;
                Some(format!("[key {key} of Secret {}]", secret.secret_name.as_deref()?))
            });
        secret.unwrap_or_else(|| format!("[{path}]"))
    }
}

fn variable(container: &Container, name: &str) -> Vec<Value> {
    let found = container.env.iter().flatten().find(|variable| variable.name == name);
    let text = found.and_then(|variable| variable.value.as_deref()).unwrap_or("[]");
    serde_json::from_str(text).unwrap_or_default()
}
