//! Whether a component is older than what it is built of: who forgot to build tests what was there before.
//!
//! May touch: names and times of the files in a plugin's folder. Must not touch: what stands in them.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::cases;
use super::project::MANIFEST;

/// Folders that hold no sources: what builds leave behind, what package managers fetch, and golden cases.
const NO_SOURCES: [&str; 7] =
    ["target", "build", "dist", "node_modules", "venv", "__pycache__", cases::FOLDER];
/// Files that are for readers.
const FOR_READERS: [&str; 4] = ["README", "LICENSE", "CHANGELOG", "NOTICE"];
/// Entries of a folder that are looked at: a folder with more is none of a plugin.
const MAX_ENTRIES: usize = 20_000;

/// The newest file in the folder of a plugin that is newer than the component, which lies at this place in it; none, where
/// nothing is, or nobody knows.
pub(super) fn newer(folder: &Path, component: &Path) -> Option<PathBuf> {
    let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let built = fs::metadata(place.join(component)).and_then(|file| file.modified()).ok()?;
    let mut walk = Walk { made: made_in(component), left: MAX_ENTRIES, newest: None };
    walk.folder(place, Path::new(""));
    walk.newest.filter(|(time, _)| *time > built).map(|(_, path)| folder.join(path))
}

/// The folder that the build makes, if the component does not lie beside its sources.
fn made_in(component: &Path) -> Option<PathBuf> {
    let mut parts = component.components().filter(|part| *part != Component::CurDir);
    let first = parts.next()?;
    parts.next().map(|_| PathBuf::from(first.as_os_str()))
}

struct Walk {
    made: Option<PathBuf>,
    left: usize,
    newest: Option<(SystemTime, PathBuf)>,
}

impl Walk {
    /// `path` is the folder's, from that of the plugin.
    fn folder(&mut self, place: &Path, path: &Path) {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let Some(left) = self.left.checked_sub(1) else { return };
            self.left = left;
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
            let (name, path) = (name.to_string_lossy(), path.join(&*name));
            if name.starts_with('.') {
                continue;
            }
            if kind.is_dir() {
                // with a plugin.toml it is another plugin
                let is_other = entry.path().join(MANIFEST).exists();
                if !is_other && !NO_SOURCES.contains(&&*name) && self.made.as_ref() != Some(&path) {
                    self.folder(&entry.path(), &path);
                }
            } else if is_source(&path)
                && let Ok(time) = entry.metadata().and_then(|file| file.modified())
                && self.newest.as_ref().is_none_or(|(newest, _)| time > *newest)
            {
                self.newest = Some((time, path));
            }
        }
    }
}

/// Whether a component may be made of this file, by its place in the plugin's folder.
fn is_source(path: &Path) -> bool {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, ending) = (text(path.file_stem()), text(path.extension()));
    match ending.as_str() {
        // components, also packed, and what editors leave behind
        "wasm" | "gz" | "zst" | "log" | "swp" | "bak" | "orig" => false,
        "md" | "txt" if FOR_READERS.contains(&stem.to_uppercase().as_str()) => false,
        "" => !FOR_READERS.contains(&stem.as_str()) && !stem.ends_with('~'),
        // items, Tasks and what `plugin pack` printed
        "yaml" | "yml" => path.components().count() > 1,
        ending => !ending.ends_with('~'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_a_build_may_read() {
        for path in
            ["src/lib.rs", "plugin.js", "schema.json", "plugin.toml", "words.txt", "src/api.yaml", "Makefile"]
        {
            assert!(is_source(Path::new(path)), "{path}");
        }
        for path in [
            "a.wasm",
            "a.wasm.zst",
            "README.md",
            "LICENSE",
            "item.yaml",
            "packed.yml",
            "lib.rs~",
            "build.log",
        ] {
            assert!(!is_source(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_lies_beside_the_component_of_a_build_is_no_source() {
        for (component, made) in [
            ("jira.wasm", None),
            ("./jira.wasm", None),
            ("out/jira.wasm", Some("out")),
            ("./out/release/jira.wasm", Some("out")),
        ] {
            assert_eq!(made_in(Path::new(component)), made.map(PathBuf::from), "{component}");
        }
    }

    #[test]
    fn what_is_newer_is_named_and_what_no_component_is_made_of_is_not() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let now = SystemTime::now();
        let write = |path: &str, seconds: i64| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs::File::create(path).unwrap();
            let by = std::time::Duration::from_secs(seconds.unsigned_abs());
            file.set_modified(if seconds < 0 { now - by } else { now + by }).unwrap();
        };
        write("out/jira.wasm", 0);
        write("src/lib.rs", -10);
        let is_newer = || newer(folder, Path::new("out/jira.wasm"));
        assert_eq!(is_newer(), None);
        for path in [
            "out/other.rs",
            "target/a.rs",
            "node_modules/a/a.js",
            ".venv/a.py",
            ".git/HEAD",
            "tests/a.yaml",
            "item.yaml",
            "README.md",
            "other/plugin.toml",
        ] {
            write(path, 10);
            assert_eq!(is_newer(), None, "{path}");
        }
        write("src/lib.rs", 10);
        assert_eq!(is_newer(), Some(folder.join("src/lib.rs")));
        write("schema.json", 20);
        assert_eq!(is_newer(), Some(folder.join("schema.json")), "the newest");
        // nothing is said of one that is not there
        assert_eq!(newer(folder, Path::new("out/no.wasm")), None);
    }
}
