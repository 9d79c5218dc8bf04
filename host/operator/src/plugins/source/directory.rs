//! A component in a volume of the operator's Pod.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kubeopencode_api::condition::Reason;

use super::super::status::Problem;

/// One state of a file: another one has another stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Stamp {
    path: PathBuf,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// Finds the file, which lies within the folder of volumes, also behind links: nothing else of the container is read.
///
/// # Errors
/// When it does not, or is not there.
pub(in super::super) fn stamp(volumes: &Path, path: &str) -> Result<Stamp, Problem> {
    let not_found = |why: &str| {
        let message = format!(
            "{path} {why}: name a volume in plugins.directories of the operator's chart, and write {}/<its name>/<file>.wasm",
            volumes.display()
        );
        Problem::fetched(Reason::NotFound, message)
    };
    let found =
        std::fs::canonicalize(path).map_err(|_| not_found("is no file of the operator's container"))?;
    let within = std::fs::canonicalize(volumes).is_ok_and(|volumes| found.starts_with(volumes));
    if !within {
        return Err(not_found(&format!("does not lie in {}", volumes.display())));
    }
    match std::fs::metadata(&found) {
        Ok(file) if file.is_file() => Ok(Stamp {
            path: found,
            inode: file.ino(),
            size: file.len(),
            changed: (file.mtime(), file.mtime_nsec()),
        }),
        _ => Err(not_found("is no file")),
    }
}

/// The bytes of a file, at most `limit` of them and one.
///
/// # Errors
/// When it cannot be read.
pub(in super::super) fn read(stamp: &Stamp, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let enough = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::fs::File::open(&stamp.path).and_then(|file| file.take(enough).read_to_end(&mut bytes));
    read.map_err(|error| {
        let message = format!("{} cannot be read: {error}", stamp.path.display());
        Problem::fetched(Reason::FetchFailed, message).passing()
    })?;
    Ok(bytes)
}
