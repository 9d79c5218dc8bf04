//! The files that are named on the command line, as kubectl finds them: a file, a directory's files, stdin.
//!
//! May touch: the file system. Must not touch: what the documents mean.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::CliError;
use crate::yaml;

/// The endings of the files that are read of a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A document and where it is from.
#[derive(Debug)]
pub(super) struct Document {
    /// The file.
    pub(super) file: String,
    /// Its place in the file, from 1.
    pub(super) number: usize,
    pub(super) value: Value,
}

/// All documents, in the order of the files.
///
/// # Errors
/// A file that cannot be read, or is no YAML.
pub(super) fn documents(names: &[PathBuf]) -> Result<Vec<Document>, CliError> {
    let mut documents = Vec::new();
    for name in names {
        if name.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| CliError::Read { path: "stdin".into(), error })?;
            add(&mut documents, "stdin", &text)?;
            continue;
        }
        for file in files(name)? {
            let text =
                fs::read_to_string(&file).map_err(|error| CliError::Read { path: file.clone(), error })?;
            add(&mut documents, &file.display().to_string(), &text)?;
        }
    }
    Ok(documents)
}

fn add(documents: &mut Vec<Document>, file: &str, text: &str) -> Result<(), CliError> {
    let values =
        yaml::documents(text).map_err(|problem| CliError::Object { place: file.to_owned(), problem })?;
    let numbered = values.into_iter().zip(1..);
    documents.extend(numbered.map(|(value, number)| Document { file: file.to_owned(), number, value }));
    Ok(())
}

/// The file itself, or the files of the directory in the order of their names.
fn files(name: &Path) -> Result<Vec<PathBuf>, CliError> {
    let refuse = |error| CliError::Read { path: name.to_owned(), error };
    if !fs::metadata(name).map_err(refuse)?.is_dir() {
        return Ok(vec![name.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(name).map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
