//! What the tests start on this machine, by the one list of it.

use std::path::{Path, PathBuf};
use std::process::Command;

const LIST: &str = include_str!("../../../../deploy/local/requirements.txt");

/// A program of the list: by its name, or by its path where the list has that.
///
/// # Panics
/// When the list or the machine does not have it.
pub(crate) fn program(name: &str) -> Command {
    let package = LIST.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut columns = line.split_whitespace();
        let package = columns.next()?;
        columns.any(|provided| provided == name).then_some(package)
    });
    let list = "deploy/local/requirements.txt";
    let package = package.unwrap_or_else(|| panic!("{name} is not in {list}: add it, with its package"));
    let folders = std::env::var_os("PATH").unwrap();
    let mut paths = std::env::split_paths(&folders).map(|folder: PathBuf| folder.join(name));
    assert!(
        if name.starts_with('/') { Path::new(name).exists() } else { paths.any(|path| path.exists()) },
        "{name} is missing: it is in the package {package} of {list}; run: make unit"
    );
    Command::new(name)
}
