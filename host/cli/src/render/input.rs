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

/// A document, or an item of a List, and where it is from.
#[derive(Debug)]
pub(crate) struct Document {
    /// As in `a.yaml: document 2: items[0]`.
    pub(crate) place: String,
    pub(crate) value: Value,
}

/// All documents, in the order of the files, and the items of Lists in place of these.
///
/// # Errors
/// A file that cannot be read, or is no YAML.
pub(crate) fn documents(names: &[PathBuf]) -> Result<Vec<Document>, CliError> {
    let mut documents = Vec::new();
    for name in names {
        if name.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| CliError::File { path: "stdin".into(), error })?;
            add(&mut documents, "stdin", &text)?;
            continue;
        }
        for file in files(name)? {
            let text =
                fs::read_to_string(&file).map_err(|error| CliError::File { path: file.clone(), error })?;
            add(&mut documents, &file.display().to_string(), &text)?;
        }
    }
    Ok(documents)
}

fn add(documents: &mut Vec<Document>, file: &str, text: &str) -> Result<(), CliError> {
    let values =
        yaml::documents(text).map_err(|problem| CliError::Object { place: file.to_owned(), problem })?;
    for (value, number) in values.into_iter().zip(1..) {
        add_document(documents, format!("{file}: document {number}"), value);
    }
    Ok(())
}

fn add_document(documents: &mut Vec<Document>, place: String, mut value: Value) {
    if value["apiVersion"] == "v1" && value["kind"] == "List" {
        let items = value["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        for (i, item) in items.into_iter().enumerate() {
            add_document(documents, format!("{place}: items[{i}]"), item);
        }
        return;
    }
    documents.push(Document { place, value });
}

/// The file itself, or the files of the directory in the order of their names.
pub(crate) fn files(name: &Path) -> Result<Vec<PathBuf>, CliError> {
    let refuse = |error| CliError::File { path: name.to_owned(), error };
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
