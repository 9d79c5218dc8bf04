//! Runs the program and says what it said.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

/// A subcommand with these arguments, this stdin and these variables, in a folder, so that messages show no path of this
/// machine. Compiled plugins stay between the tests.
pub(crate) fn call(command: &str, args: &[&str], folder: &Path, stdin: &str, env: &[(&str, &str)]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubeopencode"))
        .arg(command)
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // one that refuses its arguments reads nothing
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code().unwrap() }
}

/// A text with another piece in place of one that must be in it.
pub(crate) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "there is no {from:?} in\n{text}");
    text.replace(from, to)
}

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
