//! Builds guests of `plugins/` for wasm32-wasip2: for `build.rs`, and for the tests, which have one more.
//!
//! May touch: cargo, in a directory of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds these guests of the workspace at `plugins`; gives the directory with `<guest>.wasm`.
pub(crate) fn build(plugins: &Path, target_dir: &Path, guests: &[&str]) -> Result<PathBuf, String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // A target directory of its own: in a shared one this cargo would wait for the one that waits for it.
    cargo.args(["build", "--release", "--locked", "--target", "wasm32-wasip2", "--target-dir"]);
    cargo.arg(target_dir).arg("--manifest-path").arg(plugins.join("Cargo.toml")).current_dir(plugins);
    cargo.args(guests.iter().map(|guest| format!("--package=kubeopencode-plugin-{guest}")));
    // What was said to the outer cargo is not meant for the guests.
    for (name, _) in env::vars_os() {
        let outer = name.to_str().is_some_and(|name| {
            ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"].contains(&name)
                || name == "CARGO_ENCODED_RUSTFLAGS"
                || name == "CARGO_TARGET_DIR"
                || name.starts_with("CARGO_BUILD_")
        });
        if outer {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "cargo build in plugins/ failed (is the target wasm32-wasip2 installed?):\n{log}"
        ));
    }
    Ok(target_dir.join("wasm32-wasip2/release"))
}
