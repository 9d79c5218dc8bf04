//! Files as keys of ConfigMaps: what a key is called, and what goes into which ConfigMap.
//!
//! May touch: paths and bytes. Must not touch: Kubernetes types.

use std::collections::{BTreeMap, BTreeSet};

use kubeopencode_api::names::short_hash;

use crate::paths::AbsPath;

/// Most bytes of a ConfigMap's keys and values: Kubernetes takes 1 MiB, and what surrounds them counts, too.
const MAX_BYTES: usize = 900_000;

/// Most characters of a key.
const MAX_KEY: usize = 253;

/// Characters of a hash and its separator.
const HASH: usize = 9;

/// The content of one ConfigMap.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// Where files went.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// one for each ConfigMap
    pub(super) maps: Vec<Data>,
    /// for each file and each chunk of it, the key of all of it, or the keys of its parts in their order
    pub(super) keys: Vec<Vec<Vec<String>>>,
    /// bytes in the last map
    used: usize,
}

/// Packs files in their order; each ConfigMap is filled before the next is begun.
pub(super) fn pack(files: &[(&AbsPath, Vec<&[u8]>)]) -> Packed {
    let mut packed = Packed::default();
    let mut keys = Keys::of(files.iter().map(|(path, _)| *path));
    for (path, chunks) in files {
        let whole = keys.whole(path);
        if let [chunk] = chunks.as_slice()
            && chunk.len() <= MAX_BYTES
        {
            packed.put(whole.clone(), chunk.to_vec());
            packed.keys.push(vec![vec![whole]]);
            continue;
        }
        let mut parts = 0..;
        let mut own = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            // an empty text is one part, too
            let cut: Vec<&[u8]> =
                if chunk.is_empty() { vec![chunk] } else { chunk.chunks(MAX_BYTES).collect() };
            let named = cut.into_iter().zip(&mut parts);
            own.push(
                named
                    .map(|(part, i)| {
                        let key = keys.part(&whole, path, i);
                        packed.put(key.clone(), part.to_vec());
                        key
                    })
                    .collect(),
            );
        }
        packed.keys.push(own);
    }
    packed
}

impl Packed {
    fn put(&mut self, key: String, content: Vec<u8>) {
        let bytes = key.len() + content.len();
        if self.maps.is_empty() || self.used + bytes > MAX_BYTES {
            self.maps.push(Data::new());
            self.used = 0;
        }
        if let Some(map) = self.maps.last_mut() {
            map.insert(key, content);
            self.used += bytes;
        }
    }
}

/// A key for each path: the path without its leading `/`, `/` as `-`. Whenever two paths would share a key, or it was
/// altered or cut, it ends with a hash of the path.
struct Keys {
    /// how many paths have a key before any hash
    plain: BTreeMap<String, usize>,
    given: BTreeSet<String>,
}

impl Keys {
    fn of<'a>(paths: impl Iterator<Item = &'a AbsPath>) -> Self {
        let mut plain = BTreeMap::new();
        for path in paths {
            *plain.entry(self::plain(path).0).or_default() += 1;
        }
        Self { plain, given: BTreeSet::new() }
    }

    fn whole(&mut self, path: &AbsPath) -> String {
        let (key, altered) = plain(path);
        let own = !altered && self.plain.get(&key) == Some(&1) && key.len() <= MAX_KEY;
        if own && self.given.insert(key.clone()) {
            return key;
        }
        self.hashed(&key, path.as_str())
    }

    fn part(&mut self, key: &str, path: &AbsPath, i: usize) -> String {
        self.hashed(key, &format!("{path}\0{i}"))
    }

    /// A path may be spelt like another one's key with its hash, and is then hashed again.
    fn hashed(&mut self, key: &str, what: &str) -> String {
        let head = &key[..key.len().min(MAX_KEY - HASH)];
        let mut hash = short_hash(what);
        loop {
            let key = format!("{head}-{hash}");
            if !self.plain.contains_key(&key) && self.given.insert(key.clone()) {
                return key;
            }
            hash = short_hash(&hash);
        }
    }
}

/// The key and whether it was altered beyond what the rule itself does.
fn plain(path: &AbsPath) -> (String, bool) {
    let mut altered = false;
    let mut key: String = path
        .as_str()
        .trim_start_matches('/')
        .chars()
        .map(|c| match c {
            '/' => '-',
            c if c.is_ascii_alphanumeric() || "-._".contains(c) => c,
            _ => {
                altered = true;
                '-'
            }
        })
        .collect();
    if key.starts_with("..") {
        altered = true;
        key.replace_range(..1, "-");
    }
    (key, altered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(paths: &[&str]) -> Vec<String> {
        let paths: Vec<AbsPath> = paths.iter().map(|path| AbsPath::parse(path, None).unwrap()).collect();
        let files: Vec<_> = paths.iter().map(|path| (path, vec![b"x".as_slice()])).collect();
        pack(&files).keys.into_iter().flatten().flatten().collect()
    }

    #[test]
    fn keys_follow_the_contract() {
        assert_eq!(
            keys_of(&["/workspace/task.md", "/workspace/.kubeopencode/context.md", "/tools/opencode.json"]),
            ["workspace-task.md", "workspace-.kubeopencode-context.md", "tools-opencode.json"]
        );
    }

    #[test]
    fn shared_altered_and_cut_keys_end_with_a_hash() {
        let keys = keys_of(&["/w/a-b", "/w/a/b", "/w/c d", "/..x", &format!("/w/{}", "x".repeat(300))]);
        for (key, start) in keys.iter().zip(["w-a-b-", "w-a-b-", "w-c-d-", "-.x-", "w-xxx"]) {
            assert!(key.starts_with(start) && key.len() <= MAX_KEY, "{key}");
        }
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{keys:?}");
    }

    #[test]
    fn a_path_spelt_like_a_hashed_key_keeps_its_own() {
        let hashed = keys_of(&["/w/a-b", "/w/a/b"]);
        let keys = keys_of(&["/w/a-b", "/w/a/b", &format!("/{}", hashed[0])]);
        assert_eq!(keys[2], hashed[0]);
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 3, "{keys:?}");
    }

    #[test]
    fn big_files_are_cut_and_no_map_is_over_its_size() {
        let paths: Vec<AbsPath> = ["/w/a", "/w/big", "/w/c", "/w/empty", "/w/two"]
            .iter()
            .map(|p| AbsPath::parse(p, None).unwrap())
            .collect();
        let contents = [vec![1; 500_000], vec![2; 2_000_000], vec![3; 500_000], Vec::new()];
        let mut chunks: Vec<Vec<&[u8]>> = contents.iter().map(|content| vec![content.as_slice()]).collect();
        chunks.push(vec![b"one", &contents[1]]);
        let files: Vec<_> = paths.iter().zip(chunks).collect();
        let packed = pack(&files);
        let parts: Vec<Vec<usize>> =
            packed.keys.iter().map(|file| file.iter().map(Vec::len).collect()).collect();
        assert_eq!(parts, [vec![1], vec![3], vec![1], vec![1], vec![1, 3]]);
        let all: BTreeMap<_, _> = packed.maps.iter().flatten().collect();
        let big: Vec<u8> = packed.keys[1][0].iter().flat_map(|key| all[key].clone()).collect();
        assert_eq!(big, contents[1]);
        assert_eq!(all.len(), 10, "no key is given twice");
        for map in &packed.maps {
            assert!(map.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() < 1 << 20);
        }
    }
}
