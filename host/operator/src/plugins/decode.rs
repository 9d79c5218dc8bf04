//! From the ConfigMaps of a component, or what was fetched of one, to its bytes: raw, gzip or zstd, in parts that are joined
//! before they are decompressed, and never more of them than the component may have. Pure.

use std::io::{self, Cursor, Read};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::plugin::LimitClass;
use kubeopencode_plugin_host::Limits;

use super::status::Problem;

/// Endings of a component's key, and how it is packed.
const ENDINGS: [(&str, Packing); 3] =
    [(".wasm", Packing::Raw), (".wasm.gz", Packing::Gzip), (".wasm.zst", Packing::Zstd)];
/// Largest window of a zstd frame, as a power of two: that of the largest component. It is memory of the decoder.
const MAX_WINDOW: u32 = 25;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Raw,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(key: &str) -> Option<Self> {
        ENDINGS.iter().find(|(ending, _)| key.ends_with(ending)).map(|(_, packing)| *packing)
    }

    /// By the first bytes of what has no name: RFC 1952, RFC 8878.
    fn begins(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Raw,
        }
    }
}

/// The component that lies in these ConfigMaps, the parts in their order; under `key`, or under the only key that can be one.
///
/// # Errors
/// What is wrong with them.
pub(super) fn component(
    maps: &[ConfigMap],
    key: Option<&str>,
    class: LimitClass,
) -> Result<Vec<u8>, Problem> {
    let mut packed: Box<dyn Read + '_> = Box::new(io::empty());
    let mut packings = Vec::new();
    for map in maps {
        let (key, bytes) = entry(map, key)?;
        packings.extend(Packing::of(key));
        packed = Box::new(packed.chain(Cursor::new(&bytes.0)));
    }
    packings.dedup();
    let [packing] = packings[..] else {
        let message = "the keys of the component's parts have different endings: pack all of them alike";
        return Err(Problem::fetched(Reason::FetchFailed, message));
    };
    within(packed, packing, class, || format!("in {}", named(maps)))
}

/// The component that was fetched.
///
/// # Errors
/// When it has too much, or cannot be decompressed.
pub(super) fn fetched(bytes: Vec<u8>, class: LimitClass) -> Result<Vec<u8>, Problem> {
    match Packing::begins(&bytes) {
        Packing::Raw if bytes.len() <= Limits::of(class).component => Ok(bytes),
        packing => within(bytes.as_slice(), packing, class, || "that was fetched".to_owned()),
    }
}

fn within(
    packed: impl Read,
    packing: Packing,
    class: LimitClass,
    which: impl Fn() -> String,
) -> Result<Vec<u8>, Problem> {
    unpack(packed, packing, Limits::of(class).component).map_err(|error| match error {
        Unpack::TooLarge => {
            let (class, limit) = (class.as_str(), Limits::of(class).component);
            let message = format!(
                "the component has more than the {limit} bytes of limits class {class}; make it smaller (release build, size \
                 optimisation), or give the Plugin limits.class large"
            );
            Problem::fetched(Reason::TooLarge, message)
        }
        Unpack::Broken(error) => Problem::fetched(
            Reason::FetchFailed,
            format!("the component {} cannot be decompressed: {error}", which()),
        ),
    })
}

/// A component that [`pack`] packed.
pub(super) fn kept(packed: impl Read, class: LimitClass) -> Option<Vec<u8>> {
    unpack(packed, Packing::Zstd, Limits::of(class).component).ok()
}

/// A component as small as it is made without taking long.
///
/// # Errors
/// When there is no memory for it.
pub(super) fn pack(component: &[u8]) -> io::Result<Vec<u8>> {
    const LEVEL: i32 = 9;
    zstd::encode_all(component, LEVEL)
}

enum Unpack {
    TooLarge,
    Broken(io::Error),
}

fn unpack(packed: impl Read, packing: Packing, limit: usize) -> Result<Vec<u8>, Unpack> {
    let mut bytes = Vec::new();
    let enough = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = match packing {
        Packing::Raw => packed.take(enough).read_to_end(&mut bytes),
        Packing::Gzip => flate2::read::MultiGzDecoder::new(packed).take(enough).read_to_end(&mut bytes),
        Packing::Zstd => zstd::Decoder::new(packed).and_then(|mut decoder| {
            decoder.window_log_max(MAX_WINDOW)?;
            decoder.take(enough).read_to_end(&mut bytes)
        }),
    };
    match read {
        Err(error) => Err(Unpack::Broken(error)),
        Ok(_) if bytes.len() > limit => Err(Unpack::TooLarge),
        Ok(_) => Ok(bytes),
    }
}

fn entry<'a>(map: &'a ConfigMap, key: Option<&str>) -> Result<(&'a str, &'a ByteString), Problem> {
    let name = map.name_any();
    let not_found = |message: String| Problem::fetched(Reason::NotFound, message);
    let binary = || map.binary_data.iter().flatten();
    let is_it = |found: &str| match key {
        Some(key) => found == key,
        None => Packing::of(found).is_some(),
    };
    let mut found = binary().filter(|(found, _)| is_it(found));
    match (found.next(), found.next()) {
        (Some((key, bytes)), None) => Ok((key, bytes)),
        (Some(_), Some(_)) => Err(not_found(format!(
            "ConfigMap {name} has several components: name one of its keys in spec.source.configMap.key"
        ))),
        (None, _) if map.data.iter().flatten().any(|(found, _)| is_it(found)) => Err(not_found(format!(
            "the component in ConfigMap {name} lies in data, which is for text: put it into binaryData, as `kubectl create \
             configmap --from-file` does"
        ))),
        (None, _) => Err(not_found(match key {
            Some(key) => format!("ConfigMap {name} has no key {key} in binaryData"),
            None => {
                format!("ConfigMap {name} has no key in binaryData that ends in .wasm, .wasm.gz or .wasm.zst")
            }
        })),
    }
}

fn named(maps: &[ConfigMap]) -> String {
    let names: Vec<_> = maps.iter().map(ResourceExt::name_any).collect();
    format!("ConfigMap {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;

    fn map(entries: &[(&str, &[u8])]) -> ConfigMap {
        let mut map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "jira"}})).unwrap();
        let entry = |(key, bytes): &(&str, &[u8])| ((*key).to_owned(), ByteString(bytes.to_vec()));
        map.binary_data = Some(entries.iter().map(entry).collect());
        map
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(maps: &[ConfigMap]) -> Result<Vec<u8>, (Reason, String)> {
        component(maps, None, LimitClass::Default).map_err(|problem| (problem.reason, problem.message))
    }

    #[test]
    fn a_component_comes_as_it_is_or_packed_in_one_piece_or_in_parts() {
        let bytes = b"\0asm component".as_slice();
        let zstd = pack(bytes).unwrap();
        assert_eq!(decoded(&[map(&[("jira.wasm", bytes), ("README", b"x")])]).unwrap(), bytes);
        assert_eq!(decoded(&[map(&[("jira.wasm.gz", &gzip(bytes))])]).unwrap(), bytes);
        let (head, tail) = zstd.split_at(5);
        let parts = [map(&[("jira.wasm.zst", head)]), map(&[("b.wasm.zst", tail)])];
        assert_eq!(decoded(&parts).unwrap(), bytes);
        assert_eq!(kept(zstd.as_slice(), LimitClass::Default).unwrap(), bytes);
    }

    #[test]
    fn what_was_fetched_says_by_its_first_bytes_how_it_is_packed() {
        let bytes = b"\0asm component".as_slice();
        for packed in [bytes.to_vec(), gzip(bytes), pack(bytes).unwrap()] {
            assert_eq!(fetched(packed, LimitClass::Default).unwrap(), bytes);
        }
        let broken = fetched(vec![0x1f, 0x8b, 0], LimitClass::Default).unwrap_err();
        assert!(
            broken.message.starts_with("the component that was fetched cannot be decompressed"),
            "{}",
            broken.message
        );
        let large =
            fetched(vec![0; Limits::of(LimitClass::Default).component + 1], LimitClass::Default).unwrap_err();
        assert_eq!(large.reason, Reason::TooLarge);
    }

    #[test]
    fn what_is_more_than_the_limit_is_refused_before_it_is_all_there() {
        struct Zeros(u64);
        impl Read for Zeros {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let n = into.len().min(usize::try_from(self.0).unwrap_or(usize::MAX));
                into[..n].fill(0);
                self.0 -= n as u64;
                Ok(n)
            }
        }
        // 4 GiB of zeros
        let bomb = zstd::encode_all(Zeros(4 << 30), 1).unwrap();
        assert!(bomb.len() < 1 << 20, "{} bytes fit into a ConfigMap", bomb.len());
        let (reason, message) = decoded(&[map(&[("bomb.wasm.zst", &bomb)])]).unwrap_err();
        assert_eq!(reason, Reason::TooLarge);
        assert!(
            message.starts_with("the component has more than the 4194304 bytes of limits class default"),
            "{message}"
        );
        let just_fits = vec![1; Limits::of(LimitClass::Default).component];
        assert_eq!(decoded(&[map(&[("a.wasm.gz", &gzip(&just_fits))])]).unwrap().len(), just_fits.len());
    }

    #[test]
    fn what_cannot_be_a_component_says_what_is_wrong() {
        let mut text = map(&[]);
        text.data = Some([("jira.wasm".to_owned(), "x".to_owned())].into());
        for (maps, reason, words) in [
            (
                vec![map(&[])],
                Reason::NotFound,
                "no key in binaryData that ends in .wasm, .wasm.gz or .wasm.zst",
            ),
            (vec![text], Reason::NotFound, "lies in data, which is for text"),
            (vec![map(&[("a.wasm", b""), ("b.wasm", b"")])], Reason::NotFound, "spec.source.configMap.key"),
            (
                vec![map(&[("a.wasm.zst", b"no")])],
                Reason::FetchFailed,
                "in ConfigMap jira cannot be decompressed",
            ),
            (
                vec![map(&[("a.wasm", b"a")]), map(&[("a.wasm.gz", b"b")])],
                Reason::FetchFailed,
                "different endings",
            ),
        ] {
            let (found, message) = decoded(&maps).unwrap_err();
            assert_eq!(found, reason, "{message}");
            assert!(message.contains(words), "{message}");
        }
        let named = component(&[map(&[("a.wasm", b"")])], Some("b.wasm"), LimitClass::Default).unwrap_err();
        assert_eq!(named.message, "ConfigMap jira has no key b.wasm in binaryData");
    }
}
