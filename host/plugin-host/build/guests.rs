//! Builds guests of `plugins/` for wasm32-wasip2: for `build.rs`, and for the tests, which have one more.
//!
//! May touch: cargo, in a directory of its own.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// Builds these guests of the workspace at `plugins`; gives the directory with `<guest>.wasm`.
pub(crate) fn build(plugins: &Path, target_dir: &Path, guests: &[&str]) -> Result<PathBuf, String> {
    look_for_target(&env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()), plugins)?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // A target directory of its own: in a shared one this cargo would wait for the one that waits for it.
    cargo.args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"]);
    cargo.arg(target_dir).arg("--manifest-path").arg(plugins.join("Cargo.toml")).current_dir(plugins);
    cargo.args(guests.iter().map(|guest| format!("--package=kubeopencode-plugin-{guest}")));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_for_the_outer_cargo) {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo build in plugins/ failed:\n{log}"));
    }
    Ok(target_dir.join(TARGET).join("release"))
}

/// Whether a variable of the environment is meant for the outer cargo alone: guests have the profile of their own workspace.
pub(crate) fn is_for_the_outer_cargo(variable: &str) -> bool {
    let names = [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "CARGO_TARGET_DIR",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
    ];
    names.contains(&variable)
        || variable.starts_with("CARGO_BUILD_")
        || variable.starts_with("CARGO_PROFILE_")
}

/// Says how to install the guests' target when this Rust does not have it, which rustc itself says in many lines.
pub(crate) fn look_for_target(rustc: &OsStr, plugins: &Path) -> Result<(), String> {
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(plugins)
        .output()
        .map_err(|error| format!("rustc does not start: {error}"))?;
    let folder = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    Err(format!("Rust's target {TARGET} is not installed. Run: rustup target add {TARGET}"))
}
