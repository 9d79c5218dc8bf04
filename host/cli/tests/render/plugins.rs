//! `--plugin`: a component that the files' contexts name, as it is or compressed.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::program::{Said, example, examples, render};

/// What surrounds the module of a context type in its component: that of the plugin host's own tests.
const FRAME: &str = include_str!("../../../plugin-host/tests/common/context-type.wat");

/// A context type `Greeting` that answers every item with the text "hello".
const MODULE: &str = include_str!("../../../plugin-host/tests/common/greeting.wat");

const OBJECTS: &str = "apiVersion: kubeopencode.io/v1alpha1
kind: Agent
metadata: {name: default}
spec: {serviceAccountName: runner}
---
apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {name: fix}
spec: {description: a, contexts: [{type: Greeting}]}
";

#[test]
fn a_component_is_installed_under_the_name_that_it_gives_itself() {
    let component = wat::parse_str(FRAME.replace("(;MODULE;)", MODULE)).unwrap();
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(&component).unwrap();
    let zst = zstd::encode_all(component.as_slice(), 0).unwrap();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, bytes) in
        [("greeting.wasm", component), ("greeting.wasm.gz", gz.finish().unwrap()), ("greeting.wasm.zst", zst)]
    {
        let file = dir.join(name);
        fs::write(&file, bytes).unwrap();
        let said = render(&["--plugin", file.to_str().unwrap(), "-f", "-"], OBJECTS);
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        let text = "<context name=\"context\" namespace=\"default\" type=\"Greeting\">";
        assert!(said.stdout.contains(text) && said.stdout.contains("hello"), "{name}: {}", said.stdout);
    }
}

/// What becomes of files of an example, with its plugin and the quickstart's Agent.
fn rendered(name: &str, files: &[&str]) -> Said {
    let read = |file: &str| fs::read_to_string(examples().join(file)).unwrap();
    let files = files.iter().map(|file| read(&format!("{name}/{file}")));
    let objects: Vec<_> = files.chain([read("../quickstart/agent.yaml")]).collect();
    let component = example(name);
    render(&["--plugin", component.to_str().unwrap(), "-f", "-"], &objects.join("\n---\n"))
}

#[test]
fn a_library_of_prompts_is_filled_in_with_what_the_task_says() {
    let said = rendered("prompt-library", &["prompts.yaml", "task.yaml"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    for words in [
        "<context name=\"prompts\" namespace=\"default\" type=\"PromptLibrary\">",
        "You work on the ledger for team payments.",
        "that names ticket PAY-7.",
        "by Task default/refund.",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
}

#[test]
fn a_pull_request_is_told_which_grant_it_needs() {
    let said = rendered("pull-request", &["task.yaml"]);
    assert_eq!(said.code, 1, "{}", said.stdout);
    let words = "it asks for fetch-url, which needs the capability \"url\": it is for \
                 spec.grants.capabilities of a Plugin to grant it";
    assert!(said.stderr.contains(words), "{}", said.stderr);
}
