//! Runs the program and says what it said.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::common::call;
pub(crate) use crate::common::{Said, example, examples};

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
