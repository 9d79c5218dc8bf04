//! `--plugin`: a component that the files' contexts name, as it is or compressed.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::program::render;

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
