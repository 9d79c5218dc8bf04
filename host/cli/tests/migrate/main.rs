//! `kubeopencode migrate`, as a user calls it: these files, these objects, these words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod chart;
#[path = "../common/mod.rs"]
mod common;
mod examples;
mod input;
mod same_text;
mod warnings;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use common::Said;

/// The repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A subcommand with these arguments and this stdin, in the folder of the document's examples.
fn call(command: &str, args: &[&str], stdin: &str) -> Said {
    common::call(command, args, &repository().join("tests/fixtures/spec/agent-context"), stdin, &[])
}

/// `kubeopencode migrate -f -`.
fn migrate(yaml: &str) -> Said {
    call("migrate", &["-f", "-"], yaml)
}

/// The objects that were printed.
fn objects(yaml: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(yaml);
    documents.map(|document| Value::deserialize(document).unwrap()).collect()
}

/// The one object of this kind that was printed.
fn only(said: &Said, kind: &str) -> Value {
    assert_eq!(said.code, 0, "{}", said.stderr);
    let found: Vec<_> = objects(&said.stdout).into_iter().filter(|object| object["kind"] == kind).collect();
    let [only] = <[Value; 1]>::try_from(found).unwrap_or_else(|found| panic!("{} of {kind}", found.len()));
    only
}

/// An object of `kubetask.io`.
fn old(kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: kubetask.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// A context of `kubetask.io` with this text.
fn text(text: &str) -> String {
    let text = serde_json::to_string(text).unwrap();
    format!("{{type: File, file: {{name: f, source: {{inline: {text}}}}}}}")
}
