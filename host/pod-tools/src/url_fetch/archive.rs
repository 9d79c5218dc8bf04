//! Lays out an archive: tar, tar.gz, tar.zst or zip, told apart by their first bytes.
//!
//! A hostile archive must not write outside its directory, through a link, over something else, or without end. It is
//! read twice: first everything is checked and counted, then written, so that a refused one leaves nothing.

mod entry;
mod tarball;
mod zipped;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::rooted_dir::RootedDir;
use entry::{Entry, Kind};

/// Whatever uid the executor runs as, it works in the tree as in a clone.
const FILE_MODE: u32 = 0o666;
const PROGRAM_MODE: u32 = 0o777;

/// docs/contract.md, section 7.
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: u64 = 1 << 30;

/// Where and how.
pub(super) struct Layout<'a> {
    pub(super) root: &'a RootedDir,
    /// Below the root.
    pub(super) target: &'a Path,
    /// For every file; none: writable, and runnable where the archive says so.
    pub(super) file_mode: Option<u32>,
}

/// What is done with each entry.
type Visit<'a> = &'a mut dyn FnMut(Entry) -> Result<(), Error>;

impl Layout<'_> {
    pub(super) fn unpack(&self, file: &mut File) -> Result<(), Error> {
        let mut check = Check::default();
        walk(file, &mut |entry| check.entry(entry))?;
        walk(file, &mut |entry| self.write(entry))
    }

    fn write(&self, entry: Entry) -> Result<(), Error> {
        let below = self.target.join(&entry.path);
        match entry.kind {
            Kind::Directory => self.root.make_dir(&below),
            Kind::Symlink(target) => self.root.symlink(&below, &target),
            Kind::HardLink(other) => self.root.hard_link(&below, &self.target.join(other)),
            Kind::File { executable, content } => {
                let mut draft = self.root.draft(&below)?;
                io::copy(content, &mut draft.file).map_err(|e| unreadable(&e))?;
                draft.place(self.file_mode.unwrap_or(if executable { PROGRAM_MODE } else { FILE_MODE }))
            }
        }
    }
}

fn walk(file: &mut File, visit: Visit) -> Result<(), Error> {
    let mut magic = [0; 4];
    let start = file.rewind().and_then(|()| file.by_ref().take(4).read_exact(&mut magic));
    start.and_then(|()| file.rewind()).map_err(|e| unreadable(&e))?;
    match magic {
        [b'P', b'K', ..] => zipped::walk(file, visit),
        [0x1f, 0x8b, ..] => {
            let open = |file: File| Ok(flate2::read::MultiGzDecoder::new(file));
            tarball::walk(file, open, visit)
        }
        [0x28, 0xb5, 0x2f, 0xfd] => tarball::walk(file, zstd::Decoder::new, visit),
        _ => tarball::walk(file, Ok, visit),
    }
}

fn unreadable(error: &io::Error) -> Error {
    Error::Failed(format!("it cannot be unpacked as tar, tar.gz, tar.zst or zip: {error}"))
}

/// Counts and compares before anything is written.
#[derive(Default)]
struct Check {
    entries: usize,
    bytes: u64,
    seen: HashSet<PathBuf>,
}

impl Check {
    fn entry(&mut self, entry: Entry) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(Error::Failed(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
        let is_directory = matches!(entry.kind, Kind::Directory);
        if let Kind::File { content, .. } = entry.kind {
            let left = MAX_BYTES - self.bytes;
            let copied =
                io::copy(&mut content.take(left + 1), &mut io::sink()).map_err(|e| unreadable(&e))?;
            if copied > left {
                return Err(Error::Failed(format!(
                    "the archive unpacks to more than {} MiB",
                    MAX_BYTES >> 20
                )));
            }
            self.bytes += copied;
        }
        // directories come again and again, files would overwrite each other
        if !is_directory && !self.seen.insert(entry.path.clone()) {
            return Err(Error::Failed(format!(
                "the archive holds {:?} twice",
                entry.path.display().to_string()
            )));
        }
        Ok(())
    }
}
