//! tar, plain or compressed.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;

use tar::{Archive, EntryType};

use super::entry::{Entry, Kind, refuse};
use super::{MAX_BYTES, MAX_ENTRIES, Visit, unreadable};
use crate::Error;

/// A long name or its like is read into memory.
const MAX_HEADER_BYTES: u64 = 1 << 20;
/// Beside its files' bytes an archive has up to a few blocks for each entry.
const MAX_STREAM_BYTES: u64 = MAX_BYTES + (MAX_ENTRIES as u64) * (8 << 10);

pub(super) fn walk<R: Read>(
    file: &mut File,
    open: impl Fn(File) -> io::Result<R>,
    visit: Visit,
) -> Result<(), Error> {
    let stream = || {
        file.try_clone().and_then(|mut file| {
            file.rewind()?;
            Ok(Archive::new(Limited { inner: open(file)?, left: MAX_STREAM_BYTES }))
        })
    };
    check_headers(&mut stream().map_err(|e| unreadable(&e))?)?;
    let mut archive = stream().map_err(|e| unreadable(&e))?;
    for entry in archive.entries().map_err(|e| unreadable(&e))? {
        let mut entry = entry.map_err(|e| unreadable(&e))?;
        let path = entry.path().map_err(|e| unreadable(&e))?.into_owned();
        let target = entry.link_name().map_err(|e| unreadable(&e))?.map(PathBuf::from).unwrap_or_default();
        let kind = match entry.header().entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(target),
            EntryType::Link => Kind::HardLink(target),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
                Kind::File { executable, content: &mut entry }
            }
            // what `git archive` puts in front
            EntryType::XGlobalHeader => continue,
            _ => return Err(refuse(&path, "it is neither a file, a directory nor a link")),
        };
        visit(Entry::new(&path, kind)?)?;
    }
    Ok(())
}

/// Looks at the headers alone.
fn check_headers(archive: &mut Archive<impl Read>) -> Result<(), Error> {
    for entry in archive.entries().map_err(|e| unreadable(&e))?.raw(true) {
        let entry = entry.map_err(|e| unreadable(&e))?;
        let header = entry.header();
        let kind = header.entry_type();
        let is_extra = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if is_extra && header.size().is_ok_and(|size| size > MAX_HEADER_BYTES) {
            return Err(Error::Failed("the archive has a header without end".into()));
        }
    }
    Ok(())
}

/// Ends with an error what does not end by itself.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(format!("it unpacks to more than {} MiB", MAX_BYTES >> 20)))?;
        Ok(read)
    }
}
