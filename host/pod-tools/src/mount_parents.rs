//! Makes the directories above mounts, before anything is mounted there: the container runtime would make them as root's
//! own, and neither `context-init` nor the agent could write beside the mount.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::Error;
use crate::environment::Environment;
use crate::rooted_dir::RootedDir;

/// A volume, and the directories that it needs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Volume {
    root: PathBuf,
    directories: Vec<PathBuf>,
}

/// Makes what `MOUNT_PARENTS` lists, a JSON list of `{root, directories}`; without it, nothing.
pub(crate) fn make(environment: &Environment) -> Result<(), Error> {
    for volume in environment.json::<Vec<Volume>>("MOUNT_PARENTS")? {
        below("MOUNT_PARENTS", &volume.root, &volume.directories)?;
    }
    Ok(())
}

/// Makes directories below `root`, open to every user and never through a link; `name` is the variable that lists them.
pub(crate) fn below(name: &'static str, root: &Path, directories: &[PathBuf]) -> Result<(), Error> {
    if directories.is_empty() {
        return Ok(());
    }
    let root = RootedDir::workspace(root)?;
    for directory in directories {
        if !directory.components().all(|part| matches!(part, Component::Normal(_))) {
            let reason =
                format!("{:?} must be a relative path without \"..\"", directory.display().to_string());
            return Err(Error::Env { name, reason });
        }
        root.make_dir(directory)?;
    }
    Ok(())
}
