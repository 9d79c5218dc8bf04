//! Gives the crate its built-in plugins: builds `plugins/` for wasm32-wasip2, or takes prebuilt components from
//! the directory that `KUBEOPENCODE_GUESTS` names (images, editors), and copies them to `$OUT_DIR/built-in`.

#[path = "build/guests.rs"]
mod guests;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// `<name>.wasm`, as in `src/built_in.rs`.
const GUESTS: [&str; 7] = ["configmap", "file", "git", "opencode", "runtime", "text", "url"];

fn main() {
    if let Err(error) = run() {
        let error = error.replace('\n', "\ncargo::error=");
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
        None => {
            let root = variable("CARGO_MANIFEST_DIR")?.join("../..");
            let plugins = root.join("plugins");
            for source in GUESTS.iter().chain(&["Cargo.toml", "Cargo.lock", "sdk"]) {
                println!("cargo::rerun-if-changed={}", plugins.join(source).display());
            }
            println!("cargo::rerun-if-changed={}", root.join("wit").display());
            // Tests know it as `CARGO_TARGET_TMPDIR/guests`. `OUT_DIR` is one for clippy and another one for programs.
            let shared = out.ancestors().nth(4).unwrap_or(&out).join("tmp/guests");
            guests::build(&plugins, &shared, &GUESTS)?
        }
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
