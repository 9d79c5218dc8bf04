//! Writes files below a directory and never through a symbolic link: a hostile clone may hold one where the prompt
//! or a context file goes. What is written lies at exactly the path that the Task names.
//!
//! Each path is walked one component at a time with `O_NOFOLLOW`, which holds on every kernel and sandbox (gVisor
//! has no `openat2`). A file is written under another name and renamed into place, so that a link or an older file
//! at the target is replaced, and a reader never sees half of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;
use crate::error::io_reason;

const TEMPORARY: &str = ".kubeopencode-context-init";
const SETGID: Mode = Mode::SGID;

/// A directory to write below.
pub(super) struct Root {
    path: PathBuf,
    fd: OwnedFd,
    /// Permissions of the directories made on the way.
    dir_mode: Mode,
}

impl Root {
    /// The workspace: a volume, whose own path may lead through links of the image. The executor may run as any
    /// uid, so directories are open to all.
    pub(super) fn workspace(path: &Path) -> Result<Self, Error> {
        Root::open(path, Mode::from_raw_mode(0o777))
    }

    /// Everything else; paths must not lead through any link.
    pub(super) fn filesystem() -> Result<Self, Error> {
        Root::open(Path::new("/"), Mode::from_raw_mode(0o755))
    }

    fn open(path: &Path, dir_mode: Mode) -> Result<Self, Error> {
        let fd =
            rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|e| Error::Read { path: path.to_owned(), source: e.into() })?;
        Ok(Root { path: path.to_owned(), fd, dir_mode })
    }

    /// Makes the directory `below` and its parents; those that exist stay as they are.
    pub(super) fn make_dir(&self, below: &Path) -> Result<(), Error> {
        self.walk(below).map(drop)
    }

    /// Writes or replaces the file `below`, making its parents. The mode is exact, whatever the umask.
    pub(super) fn write(&self, below: &Path, mode: u32, content: &mut dyn Read) -> Result<(), Error> {
        let target = self.path.join(below);
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(Error::write(target, "it is a directory"));
        };
        let dir = self.walk(parent)?;
        let written = fill(&dir, Mode::from_raw_mode(mode), content)
            .and_then(|()| Ok(rustix::fs::renameat(&dir, TEMPORARY, &dir, name)?));
        written.map_err(|e| {
            // leaves nothing behind; the first failure is what counts
            rustix::fs::unlinkat(&dir, TEMPORARY, AtFlags::empty()).ok();
            Error::write(target, io_reason(&e))
        })
    }

    fn walk(&self, below: &Path) -> Result<OwnedFd, Error> {
        let mut path = self.path.clone();
        let mut dir = self.fd.try_clone().map_err(|e| Error::write(&path, io_reason(&e)))?;
        for name in below {
            path.push(name);
            dir = self.enter(&dir, name).map_err(|e| {
                let reason = match in_the_way(&dir, name) {
                    Some(what) => format!("{what} is in the way; a directory is needed there"),
                    None => io_reason(&e.into()),
                };
                Error::write(&path, reason)
            })?;
        }
        Ok(dir)
    }

    fn enter(&self, dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(dir, name, flags | OFlags::PATH, Mode::empty());
        match open() {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        rustix::fs::mkdirat(dir, name, Mode::RWXU)?;
        let made = rustix::fs::openat(dir, name, flags | OFlags::RDONLY, Mode::empty())?;
        // a volume with an fsGroup hands its group down through this bit
        let inherited = Mode::from_raw_mode(rustix::fs::fstat(&made)?.st_mode) & SETGID;
        rustix::fs::fchmod(&made, self.dir_mode | inherited)?;
        Ok(made)
    }
}

fn fill(dir: &OwnedFd, mode: Mode, content: &mut dyn Read) -> io::Result<()> {
    // an earlier run may have been killed half way
    match rustix::fs::unlinkat(dir, TEMPORARY, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(dir, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?);
    io::copy(content, &mut file)?;
    rustix::fs::fchmod(&file, mode)?;
    Ok(())
}

fn in_the_way(dir: &OwnedFd, name: &OsStr) -> Option<&'static str> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => Some("a symbolic link"),
        FileType::Directory => None,
        _ => Some("a file"),
    }
}
