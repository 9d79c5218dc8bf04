//! Who may see what: an arrow that runs back is found here.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules with the specs that users write.
const SPECS: [&str; 4] = [
    "kubeopencode_api::agent",
    "kubeopencode_api::context",
    "kubeopencode_api::kubetask",
    "kubeopencode_api::task",
];

#[test]
fn nothing_behind_a_frontend_sees_a_spec() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (frontends, behind): (Vec<_>, Vec<_>) =
        files(&src).into_iter().partition(|path| path.starts_with(src.join("frontend")));
    let sees = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        SPECS.into_iter().find(|module| text.contains(module))
    };
    assert!(frontends.iter().any(|path| sees(path).is_some()), "the modules are called otherwise");
    for path in &behind {
        assert_eq!(sees(path), None, "{}", path.display());
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
