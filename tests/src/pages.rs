//! Which documents there are, for `docs_check` and `docs_run`.
//!
//! May touch: the names of the repository's files. Must not touch: what they hold.

use std::path::{Path, PathBuf};

/// Names of what builds leave beside the examples.
pub const BUILT: [&str; 5] = ["target", "build", "node_modules", ".venv", "__pycache__"];

/// The checkout.
///
/// # Panics
/// When this crate lies elsewhere than in it.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What lies in a folder of the checkout, by its path from there.
///
/// # Panics
/// When there is no such folder.
pub fn entries(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join(folder)).unwrap();
    entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name())).collect()
}

/// The documents that play on a cluster: the README, those of docs/ and docs/how-to/, and the skills, by their paths
/// from the checkout.
///
/// # Panics
/// When a folder of them is missing.
pub fn pages() -> Vec<PathBuf> {
    let is_text = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    let documents = ["docs", "docs/how-to"].into_iter().flat_map(entries).filter(is_text);
    let mut pages: Vec<_> = documents.chain(skills()).chain([PathBuf::from("README.md")]).collect();
    pages.sort();
    pages
}

/// What people's own agents read.
///
/// # Panics
/// When there is no folder of them.
pub fn skills() -> Vec<PathBuf> {
    entries("skills").into_iter().map(|folder| folder.join("SKILL.md")).collect()
}
