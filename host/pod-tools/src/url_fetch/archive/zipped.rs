//! zip, with the compression that every program writes: deflate or none.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use zip::ZipArchive;
use zip::result::ZipError;

use super::entry::{Entry, Kind, refuse};
use super::{MAX_ENTRIES, Visit};
use crate::Error;

/// No file system takes a longer target of a link.
const MAX_LINK_BYTES: u64 = 4096;
/// Bytes that are read to find and read the directory at the end, docs/contract.md, section 7. The library holds all of it
/// before it says how many entries there are, and in many times the memory; an entry has a hundred or two of them.
const MAX_DIRECTORY_BYTES: u64 = 4 << 20;

/// A file of which no more is read than is left.
struct Metered<'a> {
    file: &'a mut File,
    left: &'a Cell<u64>,
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        let read = self.file.by_ref().take(left).read(buffer)?;
        self.left.set(left - read as u64);
        Ok(read)
    }
}

impl Seek for Metered<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

pub(super) fn walk(file: &mut File, visit: Visit) -> Result<(), Error> {
    file.rewind().map_err(|e| unreadable(&e.into()))?;
    let left = Cell::new(MAX_DIRECTORY_BYTES);
    let mut archive = ZipArchive::new(Metered { file, left: &left }).map_err(|e| match left.get() {
        0 => Error::Failed(format!(
            "the archive has more than {MAX_ENTRIES} entries, or more than {} MiB about them",
            MAX_DIRECTORY_BYTES >> 20
        )),
        _ => unreadable(&e),
    })?;
    left.set(u64::MAX);
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What is said of a zip64 archive that is nothing but a directory: entries without a name, each with a comment.
    fn said_of(entries: u64, comment: u16) -> String {
        let mut header = [0_u8; 46];
        header[..4].copy_from_slice(b"PK\x01\x02");
        header[32..34].copy_from_slice(&comment.to_le_bytes());
        let entry = [&header[..], &vec![b'c'; comment.into()][..]].concat();
        let mut zip = entry.repeat(usize::try_from(entries).unwrap());
        let size = zip.len() as u64;
        // its own length without these twelve bytes, versions and disks; entries, size and offset of the directory
        zip.extend([&b"PK\x06\x06"[..], &44_u64.to_le_bytes(), &[0; 12]].concat());
        for number in [entries, entries, size, 0] {
            zip.extend(number.to_le_bytes());
        }
        // where that is, and the number of disks
        zip.extend([&b"PK\x06\x07"[..], &[0; 4], &size.to_le_bytes(), &1_u32.to_le_bytes()].concat());
        zip.extend([&b"PK\x05\x06"[..], &[0; 4], &[0xff; 12], &[0; 2]].concat());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&zip).unwrap();
        walk(&mut file, &mut |_| Ok(())).unwrap_err().to_string()
    }

    #[test]
    fn a_directory_is_not_read_on_when_it_is_too_large() {
        let words = "the archive has more than 10000 entries, or more than 4 MiB about them";
        for (entries, comment) in [(100_000, 0), (100, 60_000)] {
            let said = said_of(entries, comment);
            assert!(said.ends_with(words), "{entries}, {comment}: {said}");
        }
        let said = said_of(50, 60_000);
        assert!(said.contains("it cannot be unpacked as zip: "), "its directory is read: {said}");
    }
}
