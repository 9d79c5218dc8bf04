//! `context-init`: writes the Task's files into the workspace, last of all init containers, so that a file may lie
//! inside a clone.
//!
//! `mapping` says what is to be written and `join` what of (both pure), the crate's `root` writes it (never through a
//! symbolic link). It may run twice: every file is replaced as a whole. Any error ends it with exit code 1 and one
//! line on stderr, but that of an optional item, which leaves nothing and is told in the termination message.

#[cfg(any(test, debug_assertions))]
pub mod fuzzing;
mod join;
mod mapping;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::environment::Environment;
use crate::rooted_dir::RootedDir;
use crate::{Error, exit, mount_parents};
use join::Files;
use mapping::{Content, Operation, Place, Settings};

const TOOL: &str = "context-init";
/// Most bytes of a file that a clone, a download or another init container left behind: docs/contract.md, section 7.
const MAX_BROUGHT: u64 = 256 << 10;

/// Runs `context-init` with the environment of docs/contract.md, section 4.
pub fn main() -> ExitCode {
    let environment = Environment::of_process();
    exit::of(TOOL, Ok(false), || {
        mount_parents::make(&environment)?;
        run(&Settings::of(&environment)?)
    })
}

fn run(settings: &Settings) -> Result<(), Error> {
    let operations = settings.operations()?;
    let (tools, elsewhere) = (RootedDir::filesystem(false)?, RootedDir::filesystem(true)?);
    let workspace = settings.workspace_dir.as_deref().map(RootedDir::workspace).transpose()?;
    let workspace = workspace.as_ref().zip(settings.workspace_dir.as_deref());
    let mut skipped = Vec::new();
    let files = PodFiles { workspace, elsewhere: &elsewhere };
    for operation in &operations {
        let root = match operation.place {
            Place::Workspace => workspace.map_or(&elsewhere, |(root, _)| root),
            Place::Tools => &tools,
            Place::Elsewhere => &elsewhere,
        };
        let before = root.made();
        match perform(operation, root, &files).map_err(|e| e.at(&operation.entry)) {
            Err(e) if operation.optional => {
                root.undo(before);
                skipped.push(e.to_string());
            }
            done => done?,
        }
    }
    if !skipped.is_empty() {
        exit::tell_skipped(TOOL, &skipped.join("; "));
    }
    Ok(())
}

fn perform(operation: &Operation, root: &RootedDir, files: &PodFiles<'_>) -> Result<(), Error> {
    match &operation.content {
        Content::Copy(source) => root.write(&operation.path, operation.mode, &mut open(source)?),
        Content::Joined { parts, keys } => {
            // a file whose parts are all optional, and missing, is an empty one
            let content = parts.content(keys, files)?.unwrap_or_default();
            root.write(&operation.path, operation.mode, &mut content.as_slice())
        }
        Content::Directory(source) => {
            root.make_dir(&operation.path)?;
            let keys = keys(source)?;
            // before anything is replaced
            keys.iter().try_for_each(|name| root.check_file(&operation.path.join(name)))?;
            for name in keys {
                let mut content = open(&source.join(&name))?;
                root.write(&operation.path.join(&name), operation.mode, &mut content)?;
            }
            Ok(())
        }
    }
}

/// The files of this Pod.
struct PodFiles<'a> {
    /// The volume, and where it is; without one there are only clones and archives.
    workspace: Option<(&'a RootedDir, &'a Path)>,
    elsewhere: &'a RootedDir,
}

impl Files for PodFiles<'_> {
    fn mounted(&self, path: &Path) -> Result<Vec<u8>, Error> {
        fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
    }

    /// A hostile clone may hold a link to what only this container sees, such as a Secret.
    fn brought(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let in_workspace = self.workspace.and_then(|(root, dir)| Some((root, path.strip_prefix(dir).ok()?)));
        match in_workspace {
            Some((root, below)) => root.read(below, MAX_BROUGHT),
            None => self.elsewhere.read(path.strip_prefix("/").unwrap_or(path), MAX_BROUGHT),
        }
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// The keys of a ConfigMap volume, sorted. Kubelet's own entries start with `..`, which no key does; a key is a
/// link into them.
fn keys(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |source| Error::Read { path: dir.to_owned(), source };
    let mut keys = Vec::new();
    for entry in dir.read_dir().map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        let kubelets = name.as_encoded_bytes().starts_with(b"..");
        if !kubelets && dir.join(&name).is_file() {
            keys.push(PathBuf::from(name));
        }
    }
    keys.sort();
    Ok(keys)
}
