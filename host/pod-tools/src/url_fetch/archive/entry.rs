//! What an archive may hold. Pure.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::Error;

/// One thing in an archive, at a path that stays inside.
pub(super) struct Entry<'a> {
    pub(super) path: PathBuf,
    pub(super) kind: Kind<'a>,
}

pub(super) enum Kind<'a> {
    Directory,
    File {
        executable: bool,
        content: &'a mut dyn Read,
    },
    /// A symbolic link that stays inside.
    Symlink(PathBuf),
    /// Another name of this entry.
    HardLink(PathBuf),
}

impl<'a> Entry<'a> {
    /// Refuses what would lie, or lead, outside.
    pub(super) fn new(path: &Path, kind: Kind<'a>) -> Result<Self, Error> {
        let path = inside(path)?;
        let kind = match kind {
            Kind::Symlink(target) => {
                stays(&path, &target)?;
                Kind::Symlink(target)
            }
            Kind::HardLink(other) => Kind::HardLink(inside(&other)?),
            Kind::File { .. } if path.as_os_str().is_empty() => return Err(refuse(&path, "it has no name")),
            other => other,
        };
        Ok(Entry { path, kind })
    }
}

pub(super) fn refuse(path: &Path, reason: &str) -> Error {
    Error::Failed(format!("entry {:?} of the archive is refused: {reason}", path.display().to_string()))
}

fn inside(path: &Path) -> Result<PathBuf, Error> {
    let mut below = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::CurDir => {}
            _ => return Err(refuse(path, "it lies outside")),
        }
    }
    Ok(below)
}

/// A link may climb from its own directory, which is a real one, and then go down; down it may pass other links,
/// which stay inside too. Climbing after that would climb from wherever those lead.
fn stays(path: &Path, target: &Path) -> Result<(), Error> {
    let mut depth = path.components().count().saturating_sub(1);
    let mut descends = false;
    for part in target.components() {
        match part {
            Component::Normal(_) => descends = true,
            Component::CurDir => {}
            Component::ParentDir if !descends && depth > 0 => depth -= 1,
            _ => return Err(refuse(path, "it is a link that leads outside")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(path: &str, target: &str) -> bool {
        Entry::new(Path::new(path), Kind::Symlink(target.into())).is_ok()
    }

    #[test]
    fn paths_stay_inside() {
        let path = |text: &str| Entry::new(Path::new(text), Kind::Directory).map(|entry| entry.path).ok();
        assert_eq!(path("./a//b/."), Some("a/b".into()));
        assert_eq!(path("."), Some("".into()));
        for outside in ["/etc/passwd", "../a", "a/../../b", "a/.."] {
            assert_eq!(path(outside), None, "{outside}");
        }
    }

    #[test]
    fn links_stay_inside() {
        assert!(link("a", "b/c") && link("d/e/f", "../../a") && link("d/a", "./x"));
        for outside in ["/etc", "..", "../x", "b/../../etc"] {
            assert!(!link("a", outside), "{outside}");
        }
        assert!(!link("d/a", "../../etc"));
        // "x" could be a link to the top, and x/x/.. lies above it
        assert!(!link("d/a", "../x/x/../.."));
    }
}
