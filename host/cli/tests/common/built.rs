//! Plugins that are built as their plugin.toml says. For the tests of this crate, and those on a whole cluster.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `kubeopencode plugin build` in this folder, with this machine's environment, which toolchains look at.
pub(crate) fn build_in(program: &Path, folder: &Path) {
    let mut build = Command::new(program);
    build.args(["plugin", "build"]).current_dir(folder).stdin(Stdio::null());
    let built = build.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(built.status.success(), "{}{}", text(&built.stdout), text(&built.stderr));
}

/// The folder of an example of the repository, built below `checkout`: the repository itself stays as it is.
pub(crate) fn built(program: &Path, repository: &Path, name: &str, checkout: &Path) -> PathBuf {
    let [from, to] = [repository, checkout].map(|root| root.join("examples/plugins").join(name));
    fs::create_dir_all(&to).unwrap();
    for shared in ["wit", "plugins"] {
        let _ = fs::remove_file(checkout.join(shared));
        symlink(repository.join(shared), checkout.join(shared)).unwrap();
    }
    for part in ["", "tests"] {
        fs::create_dir_all(to.join(part)).unwrap();
        for entry in fs::read_dir(from.join(part)).unwrap() {
            let entry = entry.unwrap();
            // what somebody built there stays there
            let is_source =
                entry.file_type().unwrap().is_file() && entry.path().extension().is_none_or(|e| e != "wasm");
            if is_source {
                fs::copy(entry.path(), to.join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    build_in(program, &to);
    to
}
