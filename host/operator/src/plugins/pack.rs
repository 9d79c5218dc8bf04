//! From the bytes of a component to ConfigMaps that the door takes: the other way of `decode` and `desired`. Pure.

use std::io;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubeopencode_api::literals::{
    PLUGIN_LABEL, PLUGIN_NAME_ANNOTATION, PLUGIN_PART_ANNOTATION, SHA256_ANNOTATION,
};
use kubeopencode_api::plugin::Kind;

use super::desired::MAX_PARTS;

/// Most bytes of a part: as JSON, in base64, it stays below what the API server takes.
pub(super) const PART: usize = 900_000;
/// The most that zstd does with a window that the operator takes: seconds for the largest component.
const LEVEL: i32 = 19;

/// A component, as small as it is made: see [`pack_plugin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedPlugin(Vec<u8>);

/// Packs a component. Takes seconds for a large one.
///
/// # Errors
/// When there is no memory for it.
pub fn pack_plugin(component: &[u8]) -> io::Result<PackedPlugin> {
    zstd::encode_all(component, LEVEL).map(PackedPlugin)
}

impl PackedPlugin {
    /// Most bytes that the ConfigMaps of one component hold.
    pub const MAX: usize = MAX_PARTS * PART;

    /// How many bytes it has. Never none.
    #[allow(clippy::len_without_is_empty, reason = "a frame has a header")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many ConfigMaps it takes.
    ///
    /// # Errors
    /// It has more bytes than [`Self::MAX`], which these are.
    pub fn parts(&self) -> Result<usize, usize> {
        match self.0.len().div_ceil(PART) {
            parts @ 0..=MAX_PARTS => Ok(parts),
            _ => Err(Self::MAX),
        }
    }

    /// The ConfigMaps, the first one under `name` and further ones under `<name>-part-2` and so on: whoever applies the next version
    /// replaces them. `sha256` is that of the component, in hex. None, where [`Self::parts`] says that they do not hold it.
    pub fn config_maps(&self, name: &str, namespace: &str, kind: Kind, sha256: &str) -> Vec<ConfigMap> {
        let Ok(parts) = self.parts() else { return Vec::new() };
        let config_map = |(i, bytes): (usize, &[u8])| {
            let mut annotations = vec![(SHA256_ANNOTATION, sha256.to_owned())];
            if parts > 1 {
                annotations.push((PLUGIN_NAME_ANNOTATION, name.to_owned()));
                annotations.push((PLUGIN_PART_ANNOTATION, format!("{}/{parts}", i + 1)));
            }
            let owned = |(key, value): (&str, String)| (key.to_owned(), value);
            ConfigMap {
                metadata: ObjectMeta {
                    name: Some(if i == 0 { name.to_owned() } else { format!("{name}-part-{}", i + 1) }),
                    namespace: Some(namespace.to_owned()),
                    labels: Some([(PLUGIN_LABEL.to_owned(), kind.to_string())].into()),
                    annotations: Some(annotations.into_iter().map(owned).collect()),
                    ..ObjectMeta::default()
                },
                binary_data: Some([(format!("{name}.wasm.zst"), ByteString(bytes.to_vec()))].into()),
                ..ConfigMap::default()
            }
        };
        self.0.chunks(PART).enumerate().map(config_map).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::core::PartialObjectMeta;
    use kubeopencode_api::plugin::LimitClass;

    use super::super::{decode, desired};
    use super::*;

    /// Bytes that cannot be made smaller.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn maps(component: &[u8]) -> Vec<ConfigMap> {
        pack_plugin(component).unwrap().config_maps("jira", "system", Kind::ContextType, &"a".repeat(64))
    }

    /// As the door reads them: out of order, the metadata first.
    fn read(maps: &[ConfigMap]) -> Vec<u8> {
        let meta = |map: &ConfigMap| {
            Arc::new(PartialObjectMeta::<ConfigMap> { metadata: map.metadata.clone(), ..Default::default() })
        };
        let metas: Vec<_> = maps.iter().rev().map(meta).collect();
        let made = desired::new_plugin("jira", &metas).unwrap().unwrap();
        assert_eq!(made.spec.kind, Kind::ContextType);
        let pieces = desired::pieces("jira", "system", &metas).unwrap();
        assert_eq!(pieces.sha256, Some("a".repeat(64)));
        let named = |name: &String| maps.iter().find(|map| map.metadata.name.as_ref() == Some(name)).unwrap();
        let in_order: Vec<_> = pieces.maps.iter().map(|[name, ..]| named(name).clone()).collect();
        decode::component(&in_order, None, LimitClass::Large).unwrap()
    }

    #[test]
    fn what_is_packed_is_what_the_door_reads() {
        for (length, names) in [
            (10, &["jira"][..]),
            (PART, &["jira", "jira-part-2"]),
            (3 * PART, &["jira", "jira-part-2", "jira-part-3", "jira-part-4"]),
        ] {
            let component = noise(length);
            let maps = maps(&component);
            let found: Vec<_> = maps.iter().filter_map(|map| map.metadata.name.as_deref()).collect();
            assert_eq!(found, names, "{length}");
            assert!(maps.iter().all(|map| map.metadata.namespace.as_deref() == Some("system")), "{length}");
            assert!(read(&maps) == component, "{length}");
        }
        // the window of the largest one is one that the door takes
        let largest = vec![7; 32 << 20];
        assert!(read(&maps(&largest)) == largest);
    }

    #[test]
    fn what_is_too_large_has_no_config_maps() {
        let packed = pack_plugin(&noise(4 * PART)).unwrap();
        assert_eq!(packed.parts(), Err(3_600_000));
        assert!(packed.len() > 3_600_000, "{}", packed.len());
        assert!(packed.config_maps("jira", "system", Kind::ContextType, "").is_empty());
    }
}
