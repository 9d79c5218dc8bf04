//! zip, with the compression that every program writes: deflate or none.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use zip::ZipArchive;
use zip::result::ZipError;

use super::entry::{Entry, Kind, refuse};
use super::{MOST_ENTRIES, Visit};
use crate::Error;

/// No file system takes a longer target of a link.
const MOST_LINK_BYTES: u64 = 4096;

pub(super) fn walk(file: &mut File, visit: Visit) -> Result<(), Error> {
    file.rewind().map_err(|e| unreadable(&e.into()))?;
    let mut archive = ZipArchive::new(file).map_err(|e| unreadable(&e))?;
    if archive.len() > MOST_ENTRIES {
        return Err(Error::Failed(format!("the archive has more than {MOST_ENTRIES} entries")));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| unreadable(&e))?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(entry.name_raw()));
        let kind = if entry.is_dir() {
            Kind::Directory
        } else if entry.is_symlink() {
            let mut leads_to = Vec::new();
            let read = entry.by_ref().take(MOST_LINK_BYTES + 1).read_to_end(&mut leads_to);
            if read.map_err(|e| unreadable(&e.into()))? as u64 > MOST_LINK_BYTES {
                return Err(refuse(&path, "it is a link of too many bytes"));
            }
            Kind::Link(PathBuf::from(std::ffi::OsStr::from_bytes(&leads_to)))
        } else {
            let runs = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
            Kind::File { runs, content: &mut entry }
        };
        visit(Entry::new(&path, kind)?)?;
    }
    Ok(())
}

fn unreadable(error: &ZipError) -> Error {
    Error::Failed(format!("it cannot be unpacked as zip: {error}"))
}
