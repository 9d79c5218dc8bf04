//! A component as an artifact, in the form of the CNCF's guide for WebAssembly: the same component, the same bytes. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::image::sha256;
use super::manifest::TITLE;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";
const VERSION: &str = "org.opencontainers.image.version";
const DESCRIPTION: &str = "org.opencontainers.image.description";
/// Readers of the guide's form want a time. The true one would make another digest of the same component.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// A component, and what its registry is told of it: nothing but what it says itself.
#[derive(Clone, Copy, Debug)]
pub struct PushedComponent<'a> {
    /// Its bytes, not packed.
    pub bytes: &'a [u8],
    /// What its file is called.
    pub file: &'a str,
    /// Of its first type.
    pub version: &'a str,
    /// Of its first type.
    pub description: &'a str,
    /// Names of what it imports, as in `wasi:io/streams@0.2.6`.
    pub imports: &'a [String],
    /// Names of what it exports.
    pub exports: &'a [String],
}

/// What is pushed.
#[derive(Debug)]
pub(super) struct Artifact<'a> {
    pub(super) component: &'a [u8],
    pub(super) config: Vec<u8>,
    /// It names the others.
    pub(super) manifest: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    layer_digests: [&'a str; 1],
    component: World<'a>,
}

#[derive(Serialize)]
struct World<'a> {
    exports: &'a [String],
    imports: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: [Descriptor<'a>; 1],
    annotations: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: String,
    size: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
}

impl<'a> Descriptor<'a> {
    fn of(media_type: &'a str, bytes: &[u8]) -> Self {
        Self { media_type, digest: sha256(bytes), size: bytes.len(), annotations: BTreeMap::new() }
    }
}

impl<'a> Artifact<'a> {
    /// # Errors
    /// A defect of the types here.
    pub(super) fn of(component: &PushedComponent<'a>) -> serde_json::Result<Self> {
        let PushedComponent { bytes, file, version, description, imports, exports } = *component;
        let layer = Descriptor::of(LAYER, bytes);
        let config = serde_json::to_vec(&Config {
            created: CREATED,
            architecture: "wasm",
            os: "wasip2",
            layer_digests: [&layer.digest],
            component: World { exports, imports },
        })?;
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: Descriptor::of(CONFIG, &config),
            layers: [Descriptor { annotations: [(TITLE, file)].into(), ..layer }],
            annotations: [(DESCRIPTION, description), (VERSION, version)].into(),
        })?;
        Ok(Self { component: bytes, config, manifest })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::manifest;
    use super::*;

    #[test]
    fn an_artifact_is_the_components_own_words_and_what_the_operator_takes() {
        let (imports, exports) = (["wasi:io/streams@0.2.6".to_owned()], ["a:b/c@1.0.0".to_owned()]);
        let component = PushedComponent {
            bytes: b"component",
            file: "jira.wasm",
            version: "1.2.0",
            description: "Issues of Jira",
            imports: &imports,
            exports: &exports,
        };
        let artifact = Artifact::of(&component).unwrap();
        let digest = sha256(b"component");
        let config: serde_json::Value = serde_json::from_slice(&artifact.config).unwrap();
        assert_eq!(
            config,
            json!({
                "created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [digest],
                "component": {"exports": ["a:b/c@1.0.0"], "imports": ["wasi:io/streams@0.2.6"]},
            })
        );
        let manifest: serde_json::Value = serde_json::from_slice(&artifact.manifest).unwrap();
        assert_eq!(
            manifest,
            json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.wasm.config.v0+json", "digest": sha256(&artifact.config),
                    "size": artifact.config.len(),
                },
                "layers": [{
                    "mediaType": "application/wasm", "digest": digest, "size": 9,
                    "annotations": {"org.opencontainers.image.title": "jira.wasm"},
                }],
                "annotations": {
                    "org.opencontainers.image.description": "Issues of Jira", "org.opencontainers.image.version": "1.2.0",
                },
            })
        );
        let read: manifest::Manifest = serde_json::from_slice(&artifact.manifest).unwrap();
        assert_eq!(read.component().unwrap().digest, digest);
        assert_eq!(Artifact::of(&component).unwrap().manifest, artifact.manifest);
    }
}
