//! `kubeopencode check-upgrade`, as a user calls it: these files, these words, this exit code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;

use common::{Said, call};

/// In the folder of the fixtures.
fn check(args: &[&str], stdin: &str) -> Said {
    call(
        "check-upgrade",
        args,
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade/fixtures"),
        stdin,
        &[],
    )
}

fn all_of(said: &Said) -> String {
    format!("{}{}exit code {}", said.stdout, said.stderr, said.code)
}

#[test]
fn what_runs_as_before() {
    let said = check(&["-f", "same.yaml"], "");
    assert_eq!(said.code, 0, "{}", said.stderr);
    insta::assert_snapshot!(all_of(&said));
}

/// What the document's fields come to.
#[test]
fn what_differs() {
    let said = check(&["-f", "differs.yaml"], "");
    assert_eq!(said.code, 0, "{}", said.stderr);
    insta::assert_snapshot!(all_of(&said));
}

#[test]
fn what_has_to_be_changed() {
    let said = check(&["-f", "change.yaml"], "");
    assert_eq!(said.code, 1);
    insta::assert_snapshot!(all_of(&said));
}

/// As `kubectl get -o yaml` writes them, with what an operator has done so far.
#[test]
fn what_was_launched_already() {
    let said = check(&["-f", "cluster.yaml"], "");
    assert_eq!(said.code, 1);
    insta::assert_snapshot!(all_of(&said));
}

/// All examples of the document are taken: what they lack is what they do not hold.
#[test]
fn the_documents_own_examples() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/spec/architecture");
    let mut names: Vec<_> =
        std::fs::read_dir(&examples).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mut seen = String::new();
    for path in names {
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("kubeopencode.io/") {
            let said = check(&["-f", "-"], &text);
            seen += &format!("{}\n{}\n\n", path.file_name().unwrap().to_str().unwrap(), all_of(&said));
        }
    }
    insta::assert_snapshot!(seen);
}

#[test]
fn a_file_without_objects_is_no_success() {
    let said = check(&["-f", "-"], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    assert_eq!(
        all_of(&said),
        "kubeopencode: no Task, Agent or KubeOpenCodeConfig: name a file that holds one with -f\nexit code 1"
    );
}
