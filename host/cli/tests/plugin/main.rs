//! `kubeopencode plugin`, as an author calls it: these components, these words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod check;
#[path = "../common/mod.rs"]
mod common;
mod list;
mod pack;

use std::fs;
use std::path::{Path, PathBuf};

use common::Said;

/// What surrounds the module of a context type in its component, and a context type `Greeting`: those of the plugin host's own
/// tests.
const FRAME: &str = include_str!("../../../plugin-host/tests/common/context-type.wat");
const MODULE: &str = include_str!("../../../plugin-host/tests/common/greeting.wat");

/// `kubeopencode plugin` with these arguments, in the folder of the committed components.
fn plugin(args: &[&str], env: &[(&str, &str)]) -> Said {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-host/tests/fixtures");
    common::call("plugin", args, &folder, "", env)
}

/// A component as text: the type `Greeting`, with further items of its module.
fn greeting(items: &str) -> String {
    let module = MODULE.replace("(global $free", &format!("{items} (global $free"));
    let mut text = FRAME.replace("(;MODULE;)", &module);
    // an import that nobody has, and its way into the module
    for import in [
        "(import \"danger\" (func $danger (;0;) (type 5)))",
        "(core func $danger (;2;) (canon lower (func $danger)))",
        "(export \"danger\" (func $danger))",
        "(import \"$root\" \"danger\" (func))",
    ] {
        assert!(text.contains(import), "{import}");
        text = text.replace(import, "");
    }
    text
}

/// Items of the module that make `Greeting` ask for `url` and `secret`, and take this schema and these settings.
fn asking(schema: &str, settings: &str) -> String {
    let word = |n: usize| n.to_le_bytes()[..4].iter().map(|b| format!("\\{b:02x}")).collect::<String>();
    let text = |text: &str| text.bytes().map(|b| format!("\\{b:02x}")).collect::<String>();
    let data = |at: usize, words: &[usize]| {
        let words: String = words.iter().map(|n| word(*n)).collect();
        format!("(data (i32.const {at}) \"{words}\")")
    };
    [
        data(152, &[3000, schema.len()]),
        data(160, &[usize::from(!settings.is_empty()), 3600, settings.len()]),
        data(172, &[640, 2]),
        data(640, &[704, 3, 720, 6]),
        "(data (i32.const 704) \"url\") (data (i32.const 720) \"secret\")".to_owned(),
        format!(
            "(data (i32.const 3000) \"{}\") (data (i32.const 3600) \"{}\")",
            text(schema),
            text(settings)
        ),
    ]
    .join("\n")
}

/// Writes a file for a call.
fn file(name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The file of a component that is written as text.
fn component(name: &str, text: &str) -> PathBuf {
    file(name, wat::parse_str(text).unwrap())
}
