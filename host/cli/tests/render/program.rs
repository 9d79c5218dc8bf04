//! Runs the program and says what it said.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

pub(crate) use crate::common::Said;
use crate::common::call;

/// The component of an example plugin, which its own script builds if it is not fresh.
pub(crate) fn example(name: &str) -> PathBuf {
    let script = examples().join("build.sh");
    let built = Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
    assert!(built.status.success(), "{} failed: see above", script.display());
    Path::new(str::from_utf8(&built.stdout).unwrap().trim()).join(name).with_extension("wasm")
}

/// The example plugins.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugins")
}

/// The folder of the fixtures, which calls run in, so that messages show no path of this machine.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render/fixtures")
}

/// The objects that were printed.
pub(crate) fn objects_of(stdout: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(stdout);
    documents.map(|document| Value::deserialize(document).unwrap()).collect()
}

/// `kubeopencode render` with these arguments and this stdin.
pub(crate) fn render(args: &[&str], stdin: &str) -> Said {
    call("render", args, &fixtures(), stdin, &[])
}
