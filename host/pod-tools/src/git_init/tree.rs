//! Opens a tree to every user: the executor runs as whatever uid its image says.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const READ_WRITE: u32 = 0o666;
const ENTER_OR_RUN: u32 = 0o111;

/// `chmod -R a+rwX`, without following links: directories and what somebody may run become runnable by all.
pub(super) fn open_to_all(path: &Path) -> io::Result<()> {
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_symlink() {
            continue;
        }
        let mode = meta.permissions().mode();
        let executable = meta.is_dir() || mode & ENTER_OR_RUN != 0;
        let opened = mode | READ_WRITE | if executable { ENTER_OR_RUN } else { 0 };
        if opened != mode {
            fs::set_permissions(&path, Permissions::from_mode(opened))?;
        }
        if meta.is_dir() {
            for entry in path.read_dir()? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

/// Gives this mode to every file of the work tree. What is git's own stays open: the agent works with it.
pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        for entry in path.read_dir()? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && entry.file_name() != ".git" {
                left.push(entry.path());
            } else if kind.is_file() && entry.file_name() != ".git" {
                fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
            }
        }
    }
    Ok(())
}

/// The first symbolic link on the way from a directory to a path below it, the path itself included.
pub(super) fn link_on_the_way(dir: &Path, below: &Path) -> Option<PathBuf> {
    let mut prefixes: Vec<_> = below.ancestors().filter(|prefix| !prefix.as_os_str().is_empty()).collect();
    prefixes.reverse();
    let link = prefixes.into_iter().find(|prefix| dir.join(prefix).is_symlink())?;
    Some(link.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn opens_files_and_directories_but_nothing_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        for (name, mode) in [("sub/plain", 0o400), ("sub/run", 0o744)] {
            fs::write(path(name), "").unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        }
        symlink(outside.path(), path("link")).unwrap();
        symlink("/nowhere", path("dangling")).unwrap();
        open_to_all(dir.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o777);
        assert_eq!(mode(&path("sub")), 0o777);
        assert_eq!(mode(&path("sub/plain")), 0o666);
        assert_eq!(mode(&path("sub/run")), 0o777);
        assert_eq!(mode(outside.path()), 0o600);
    }
}
