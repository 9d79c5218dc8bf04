//! Plugins that are built as their plugin.toml says. For the tests of this crate, and those on a whole cluster.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Folders of the repository that examples are built with.
const SHARED: [&str; 4] = ["wit", "plugins/sdk-go", "plugins/sdk-js", "plugins/sdk-python"];
/// What builds leave beside sources, apart from components.
const LEFT: [&str; 4] = ["build", "node_modules", ".venv", "__pycache__"];
/// The sources that a folder was built of.
const RECORD: &str = "built-of";

/// `kubeopencode plugin build` in this folder, with this machine's environment, which toolchains look at.
pub(crate) fn build_in(program: &Path, folder: &Path) {
    let mut build = Command::new(program);
    build.args(["plugin", "build"]).current_dir(folder).stdin(Stdio::null());
    let built = build.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(built.status.success(), "{}{}", text(&built.stdout), text(&built.stderr));
}

/// The folder of an example of the repository, built below `temporary`, which is cargo's CARGO_TARGET_TMPDIR: the repository itself
/// stays as it is. Of all suites the first builds it, and another one only where a file has changed: Python takes a quarter of a minute.
pub(crate) fn built(program: &Path, repository: &Path, name: &str, temporary: &Path) -> PathBuf {
    let place = temporary.join("examples");
    fs::create_dir_all(&place).unwrap();
    let alone = File::create(place.join(name).with_extension("lock")).unwrap();
    alone.lock().unwrap();
    let (checkout, own) = (place.join(name), Path::new("examples/plugins").join(name));
    let mut files = Vec::new();
    for folder in SHARED.iter().map(Path::new).chain([own.as_path()]) {
        sources(repository, folder, &mut files);
    }
    let record: Vec<u8> = files.iter().flat_map(|(path, bytes)| named(path, bytes)).collect();
    if fs::read(checkout.join(RECORD)).ok().as_ref() != Some(&record) {
        let _ = fs::remove_dir_all(&checkout);
        for (path, bytes) in files {
            let path = checkout.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        build_in(program, &checkout.join(&own));
        fs::write(checkout.join(RECORD), record).unwrap();
    }
    checkout.join(own)
}

/// The files of a folder, by their paths in the repository and in their order. What somebody built there stays there.
fn sources(repository: &Path, folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    let entries = fs::read_dir(repository.join(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = folder.join(&name);
        let is_left = LEFT.iter().any(|left| name == *left) || path.extension().is_some_and(|e| e == "wasm");
        if is_left {
            continue;
        }
        if repository.join(&path).is_dir() {
            sources(repository, &path, files);
        } else {
            let bytes = fs::read(repository.join(&path)).unwrap();
            files.push((path, bytes));
        }
    }
}

/// A file with its name and its size, so that no two lists of files are the same bytes.
fn named(path: &Path, bytes: &[u8]) -> Vec<u8> {
    [format!("{} {}\n", path.display(), bytes.len()).as_bytes(), bytes].concat()
}
