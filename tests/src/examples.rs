//! The plugins of `examples/plugins`, as their own script builds them, and the files beside them.
//!
//! May touch: that script, files. Must not touch: a cluster.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins")
}

/// A file of an example, as in `prompt-library/task.yaml`.
///
/// # Panics
/// When it cannot be read.
pub fn file(path: &str) -> String {
    let path = folder().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The component of an example, built if it is not fresh.
///
/// # Panics
/// When it cannot be built.
pub fn component(name: &str) -> Vec<u8> {
    let script = folder().join("build.sh");
    let built = Command::new(&script).stderr(Stdio::inherit()).output();
    let built = built.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(built.status.success(), "{} failed: see above", script.display());
    let out = String::from_utf8(built.stdout).unwrap();
    let path = Path::new(out.trim()).join(name).with_extension("wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
