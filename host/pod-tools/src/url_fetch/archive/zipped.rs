//! zip, with the compression that every program writes: deflate or none.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use zip::ZipArchive;
use zip::result::ZipError;

use super::entry::{Entry, Kind, refuse};
use super::{MAX_ENTRIES, Visit};
use crate::Error;

/// No file system takes a longer target of a link.
const MAX_LINK_BYTES: u64 = 4096;

pub(super) fn walk(file: &mut File, visit: Visit) -> Result<(), Error> {
    file.rewind().map_err(|e| unreadable(&e.into()))?;
    let mut archive = ZipArchive::new(file).map_err(|e| unreadable(&e))?;
    if archive.len() > MAX_ENTRIES {
        return Err(Error::Failed(format!("the archive has more than {MAX_ENTRIES} entries")));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| unreadable(&e))?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(entry.name_raw()));
        let kind = if entry.is_dir() {
            Kind::Directory
        } else if entry.is_symlink() {
            let mut target = Vec::new();
            let read = entry.by_ref().take(MAX_LINK_BYTES + 1).read_to_end(&mut target);
            if read.map_err(|e| unreadable(&e.into()))? as u64 > MAX_LINK_BYTES {
                return Err(refuse(&path, "it is a link of too many bytes"));
            }
            Kind::Symlink(PathBuf::from(std::ffi::OsStr::from_bytes(&target)))
        } else {
            let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
            Kind::File { executable, content: &mut entry }
        };
        visit(Entry::new(&path, kind)?)?;
    }
    Ok(())
}

fn unreadable(error: &ZipError) -> Error {
    Error::Failed(format!("it cannot be unpacked as zip: {error}"))
}
