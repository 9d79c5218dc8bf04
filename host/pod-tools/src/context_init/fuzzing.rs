//! What holds for every `FILE_MAPPINGS` and `DIR_MAPPINGS`, for the fuzz target `file_mappings`.

use std::path::{Component, Path};

use super::join::Files;
use super::mapping::{Content, Place, Settings};
use crate::Error;
use crate::environment::Environment;

/// The two variables, with a zero byte between them.
///
/// # Panics
/// When something would be written outside of where it belongs, with more than permission bits, or from elsewhere
/// than its volume.
pub fn mappings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (files, directories) = text.split_once('\0').unwrap_or((text, ""));
    let environment = Environment::of(&[
        ("WORKSPACE_DIR", "/workspace"),
        ("CONFIGMAP_PATH", "/configmap-files"),
        ("FILE_MAPPINGS", files),
        ("DIR_MAPPINGS", directories),
    ]);
    let Ok(operations) = Settings::of(&environment).and_then(|settings| settings.operations()) else {
        return;
    };
    for operation in operations {
        let path = &operation.path;
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        assert!(plain, "{} does not stay below", path.display());
        assert!(operation.mode <= 0o777, "{:#o}", operation.mode);
        match operation.place {
            Place::Workspace => {}
            Place::Tools => assert!(path.starts_with("tools"), "{}", path.display()),
            Place::Elsewhere => assert!(!path.starts_with("tools") && !path.starts_with("workspace")),
        }
        match operation.content {
            Content::Copy(_) | Content::Directory(_) => {}
            Content::Joined { parts, keys } => {
                assert!(path.file_name().is_some(), "no name for a file");
                // every part is there, so there is content where there are parts, and what is asked for is escaped
                let content = parts.content(&keys, &Anything { keys: &keys });
                assert!(content.is_ok(), "{content:?}");
            }
        }
    }
}

/// Every file is there.
struct Anything<'a> {
    keys: &'a Path,
}

impl Files for Anything<'_> {
    fn mounted(&self, source: &Path) -> Result<Vec<u8>, Error> {
        let in_volume = source.parent() == Some(self.keys);
        let plain = source.is_absolute() && source.components().all(|part| part != Component::ParentDir);
        assert!(in_volume || plain, "reads {}", source.display());
        Ok(b"</context>".to_vec())
    }

    fn brought(&self, source: &Path) -> Result<Vec<u8>, Error> {
        self.mounted(source)
    }
}

#[cfg(test)]
#[test]
fn holds_for_the_seeds() {
    crate::seeds::each("file_mappings", mappings);
}
