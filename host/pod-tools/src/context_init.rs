//! `context-init`: writes the Task's files into the workspace, last of all init containers, so that a file may lie
//! inside a clone.
//!
//! `mapping` says what is to be written (pure), the crate's `root` writes it (never through a symbolic link). It may
//! run twice: every file is replaced as a whole. Any error ends it with exit code 1 and one line on stderr.

mod mapping;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::Error;
use crate::environment::Environment;
use crate::exit;
use crate::root::Root;
use mapping::{Content, Operation, Place, Settings};

/// Runs `context-init` with the environment of contract.md section 4.
pub fn main() -> ExitCode {
    exit::of("context-init", Ok(false), || run(&Settings::of(&Environment::of_process())?))
}

fn run(settings: &Settings) -> Result<(), Error> {
    let operations = settings.operations()?;
    let workspace = Root::workspace(&settings.workspace_dir)?;
    let (tools, elsewhere) = (Root::filesystem(false)?, Root::filesystem(true)?);
    for operation in &operations {
        let root = match operation.place {
            Place::Workspace => &workspace,
            Place::Tools => &tools,
            Place::Elsewhere => &elsewhere,
        };
        perform(operation, root).map_err(|e| e.at(&operation.entry))?;
    }
    Ok(())
}

fn perform(operation: &Operation, root: &Root) -> Result<(), Error> {
    match &operation.content {
        Content::File(sources) => {
            let mut content: Box<dyn Read> = Box::new(io::empty());
            for source in sources {
                content = Box::new(content.chain(open(source)?));
            }
            root.write(&operation.path, operation.mode, &mut content)
        }
        Content::Directory(source) => {
            root.make_dir(&operation.path)?;
            for name in keys(source)? {
                let mut content = open(&source.join(&name))?;
                root.write(&operation.path.join(&name), operation.mode, &mut content)?;
            }
            Ok(())
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
