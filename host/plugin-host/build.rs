//! Gives the crate its built-in plugins: builds `plugins/` for wasm32-wasip2, or takes prebuilt components from
//! the directory that `KUBEOPENCODE_GUESTS` names (images, editors), and copies them to `$OUT_DIR/built-in`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// `<name>.wasm`, as in `src/built_in.rs`.
const GUESTS: [&str; 7] = ["configmap", "file", "git", "opencode", "runtime", "text", "url"];

fn main() {
    if let Err(error) = run() {
        println!("cargo::error=the built-in plugins: {error}");
    }
}

fn run() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=KUBEOPENCODE_GUESTS");
    let variable = |name: &str| env::var(name).map(PathBuf::from).map_err(|_| format!("{name} is not set"));
    let out = variable("OUT_DIR")?;
    let components = match env::var_os("KUBEOPENCODE_GUESTS") {
        Some(prebuilt) => {
            println!("cargo::rerun-if-changed={}", Path::new(&prebuilt).display());
            PathBuf::from(prebuilt)
        }
        None => build(&variable("CARGO_MANIFEST_DIR")?.join("../.."), &out.join("guests"))?,
    };
    let built_in = out.join("built-in");
    fs::create_dir_all(&built_in).map_err(at(&built_in))?;
    for guest in GUESTS {
        let from = components.join(guest).with_extension("wasm");
        fs::copy(&from, built_in.join(guest).with_extension("wasm")).map_err(at(&from))?;
    }
    Ok(())
}

fn at(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// Builds the guests' workspace; gives the directory of the components.
fn build(root: &Path, target_dir: &Path) -> Result<PathBuf, String> {
    let plugins = root.join("plugins");
    for source in GUESTS.iter().chain(&["Cargo.toml", "Cargo.lock", "sdk"]) {
        println!("cargo::rerun-if-changed={}", plugins.join(source).display());
    }
    println!("cargo::rerun-if-changed={}", root.join("wit").display());

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // A target directory of its own: in a shared one this cargo would wait for the one that waits for it.
    cargo.args(["build", "--release", "--locked", "--target", "wasm32-wasip2", "--target-dir"]);
    cargo.arg(target_dir).arg("--manifest-path").arg(plugins.join("Cargo.toml")).current_dir(&plugins);
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
        let log = String::from_utf8_lossy(&output.stderr).replace('\n', "\ncargo::error=");
        return Err(format!(
            "cargo build in plugins/ failed (is the target wasm32-wasip2 installed?):\ncargo::error={log}"
        ));
    }
    Ok(target_dir.join("wasm32-wasip2/release"))
}
