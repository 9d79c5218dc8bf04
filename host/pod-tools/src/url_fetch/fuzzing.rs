//! What holds for every archive, for the fuzz target `archive`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::archive::Layout;
use crate::rooted_dir::RootedDir;

const CANARY: &str = "not yours";

/// Lays out these bytes twice, as a container that is started again does, and looks at what lies where.
///
/// # Panics
/// When something lies, or a link leads, outside; when a refused archive left something; when the second time does
/// not end as the first.
pub fn archive(bytes: &[u8]) {
    let done = lay_out(bytes);
    assert!(done.is_ok(), "the test's own files: {done:?}");
}

fn lay_out(bytes: &[u8]) -> io::Result<()> {
    let outside = tempfile::tempdir()?;
    let (top, canary) = (outside.path().join("root"), outside.path().join("canary"));
    fs::create_dir(&top)?;
    fs::write(&canary, CANARY)?;
    let mut packed = tempfile::tempfile()?;
    packed.write_all(bytes)?;

    let first = unpack(&mut packed, &top);
    assert_eq!(names(outside.path())?, ["canary", "root"]);
    assert_eq!(fs::read_to_string(&canary)?, CANARY);
    let inside = top.join("in");
    assert!(names(&top)?.iter().all(|name| name == "in"), "{:?}", names(&top)?);
    let refused = |why: &String| why.contains("archive") && !why.contains("cannot write");
    if first.as_ref().is_err_and(refused) {
        assert_eq!(names(&top)?, [""; 0], "refused, and yet there: {first:?}");
    }
    if !inside.exists() {
        return Ok(());
    }
    let tree = tree(&inside)?;
    for (path, _) in &tree {
        assert!(!path.ends_with(".kubeopencode-new"), "left behind: {}", path.display());
        if let Ok(real) = path.canonicalize() {
            assert!(
                real.starts_with(inside.canonicalize()?),
                "{} leads to {}",
                path.display(),
                real.display()
            );
        }
    }
    if first.is_ok() {
        assert_eq!(unpack(&mut packed, &top), Ok(()), "the second time");
        assert_eq!(self::tree(&inside)?, tree);
    }
    Ok(())
}

fn unpack(packed: &mut File, top: &Path) -> Result<(), String> {
    let root = RootedDir::workspace(top).map_err(|e| e.to_string())?;
    let layout = Layout { root: &root, target: Path::new("in"), file_mode: None };
    let done = layout.unpack(packed).map_err(|e| e.to_string());
    if done.is_err() {
        root.undo(0);
    }
    done
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in dir.read_dir()? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Every path below, and the content of what is a file. Follows no link.
fn tree(dir: &Path) -> io::Result<Vec<(PathBuf, Option<Vec<u8>>)>> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in dir.read_dir()? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            let content = kind.is_file().then(|| fs::read(&path)).transpose()?;
            if kind.is_dir() {
                left.push(path.clone());
            }
            found.push((path, content));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
#[test]
fn holds_for_the_seeds() {
    crate::seeds::each("archive", archive);
}
