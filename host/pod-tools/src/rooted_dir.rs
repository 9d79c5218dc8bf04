//! Writes files below a directory and never through a symbolic link: a hostile clone may hold one where the prompt
//! or a context file goes. What is written lies at exactly the path that the Task names.
//!
//! Each path is walked one component at a time with `O_NOFOLLOW`, which holds on every kernel and sandbox (gVisor
//! has no `openat2`). A file is written under another name and renamed into place, so that a link or an older file
//! at the target is replaced, and a reader never sees half of it.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use crate::Error;
use crate::error::io_reason;

/// Says of a file or directory what made it; it shows in no listing and in no copy.
const MARK: &str = "user.kubeopencode.made-by";
const MAX_MARK_BYTES: usize = 128;
const TEMPORARY: &str = ".kubeopencode-new";
/// What lies there belongs to another context, or to the archive itself.
const OCCUPIED: &str = "something else lies there already; choose another mountPath";
const SETGID: Mode = Mode::SGID;
const OPEN_TO_ALL: Mode = Mode::from_raw_mode(0o777);

/// A directory to write below.
pub(crate) struct RootedDir {
    path: PathBuf,
    fd: OwnedFd,
    /// Permissions of the directories made on the way.
    dir_mode: Mode,
    /// What was not there before, in order, below the directory.
    made: RefCell<Vec<Made>>,
}

struct Made {
    below: PathBuf,
    is_dir: bool,
}

impl RootedDir {
    /// The workspace: a volume, whose own path may lead through links of the image. The executor may run as any
    /// uid, so directories are open to all.
    pub(crate) fn workspace(path: &Path) -> Result<Self, Error> {
        RootedDir::open(path, OPEN_TO_ALL)
    }

    /// Everything; paths must not lead through any link. Directories made on the way are open to all, or to their
    /// owner alone.
    pub(crate) fn filesystem(open_to_all: bool) -> Result<Self, Error> {
        RootedDir::open(Path::new("/"), if open_to_all { OPEN_TO_ALL } else { Mode::from_raw_mode(0o755) })
    }

    fn open(path: &Path, dir_mode: Mode) -> Result<Self, Error> {
        let fd =
            rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|e| Error::Read { path: path.to_owned(), source: e.into() })?;
        Ok(RootedDir { path: path.to_owned(), fd, dir_mode, made: RefCell::default() })
    }

    /// How much has been made so far.
    pub(crate) fn made(&self) -> usize {
        self.made.borrow().len()
    }

    /// Removes what was made after `made` said so: something failed half way. What was replaced stays replaced.
    pub(crate) fn undo(&self, made: usize) {
        let undone = self.made.borrow_mut().split_off(made);
        for Made { below, is_dir } in undone.into_iter().rev() {
            let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else { continue };
            let flags = if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            // what somebody else uses meanwhile stays
            if let Ok(dir) = self.walk(parent) {
                rustix::fs::unlinkat(&dir, name, flags).ok();
            }
        }
    }

    /// Marks the directory `below`. Where the volume's file system knows no marks there is none, and nothing says so.
    pub(crate) fn mark(&self, below: &Path, mark: &str) {
        if let Some(there) = self.open_there(below) {
            set_mark(&there, mark);
        }
    }

    /// Whether a file or directory `below` has this mark.
    pub(crate) fn has_mark(&self, below: &Path, mark: &str) -> bool {
        let mut value = [0; MAX_MARK_BYTES];
        let there = self.open_there(below);
        let read = there.and_then(|there| rustix::fs::fgetxattr(there, MARK, &mut value[..]).ok());
        read.is_some_and(|read| &value[..read] == mark.as_bytes())
    }

    fn open_there(&self, below: &Path) -> Option<OwnedFd> {
        let dir = self.walk(below.parent()?).ok()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(dir, below.file_name()?, flags, Mode::empty()).ok()
    }

    fn note(&self, below: &Path, is_dir: bool) {
        self.made.borrow_mut().push(Made { below: below.to_owned(), is_dir });
    }

    /// Refuses `below` where a directory lies there: no file can take its place.
    pub(crate) fn check_file(&self, below: &Path) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else { return Ok(()) };
        let dir = self.walk(parent)?;
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                Err(Error::write(self.path.join(below), io_reason(&Errno::ISDIR.into())))
            }
            _ => Ok(()),
        }
    }

    /// Reads the file `below`, of so many bytes at most, where all of its path is there and no link leads to it.
    pub(crate) fn read(&self, below: &Path, most: u64) -> Result<Vec<u8>, Error> {
        let failed = |source: io::Error| Error::Read { path: self.path.join(below), source };
        let refused = |reason: String| failed(io::Error::new(io::ErrorKind::InvalidData, reason));
        let mut at = self.fd.try_clone().map_err(failed)?;
        let mut names = below.iter().peekable();
        while let Some(name) = names.next() {
            let flags = match names.peek() {
                Some(_) => OFlags::PATH | OFlags::DIRECTORY,
                None => OFlags::RDONLY | OFlags::NONBLOCK,
            };
            let there =
                rustix::fs::openat(&at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
            at = match there {
                Ok(there) => there,
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(refused("a symbolic link or a file is in its path".to_owned()));
                }
                Err(e) => return Err(failed(e.into())),
            };
        }
        let file = File::from(at);
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() || about.len() > most {
            return Err(refused(format!("it is no file of at most {most} bytes")));
        }
        let mut content = Vec::new();
        file.take(most + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 > most {
            return Err(refused(format!("it is no file of at most {most} bytes")));
        }
        Ok(content)
    }

    /// Makes the directory `below` and its parents; those that exist stay as they are.
    pub(crate) fn make_dir(&self, below: &Path) -> Result<(), Error> {
        self.walk(below).map(drop)
    }

    /// Writes or replaces the file `below`, making its parents. The mode is exact, whatever the umask.
    pub(crate) fn write(&self, below: &Path, mode: u32, content: &mut dyn Read) -> Result<(), Error> {
        let mut draft = self.draft(below)?;
        io::copy(content, &mut draft.file).map_err(|e| Error::write(&draft.target, io_reason(&e)))?;
        draft.replace(mode)
    }

    /// Begins a file that will lie at `below`, making its parents.
    pub(crate) fn draft(&self, below: &Path) -> Result<Draft<'_>, Error> {
        let target = self.path.join(below);
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(Error::write(target, "it is a directory"));
        };
        let dir = self.walk(parent)?;
        match begin(&dir) {
            Ok(file) => {
                Ok(Draft { root: self, below: below.to_owned(), name: name.to_owned(), file, target, dir })
            }
            Err(e) => Err(Error::write(target, io_reason(&e.into()))),
        }
    }

    /// A file without a name in the directory `below`, which is made.
    pub(crate) fn scratch(&self, below: &Path) -> Result<File, Error> {
        let dir = self.walk(below)?;
        let made = begin(&dir).and_then(|file| {
            rustix::fs::unlinkat(&dir, TEMPORARY, AtFlags::empty())?;
            Ok(file)
        });
        made.map_err(|e| Error::write(self.path.join(below), io_reason(&e.into())))
    }

    /// Makes a symbolic link at `below`; one that leads to the same place may be there.
    pub(crate) fn symlink(&self, below: &Path, target: &Path) -> Result<(), Error> {
        let refuse = |e: Errno| Error::write(self.path.join(below), io_reason(&e.into()));
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(refuse(Errno::ISDIR));
        };
        let dir = self.walk(parent)?;
        match rustix::fs::symlinkat(target, &dir, name) {
            Err(Errno::EXIST) => match rustix::fs::readlinkat(&dir, name, Vec::new()) {
                Ok(there) if there.as_bytes() == target.as_os_str().as_bytes() => Ok(()),
                _ => Err(Error::write(self.path.join(below), OCCUPIED)),
            },
            made => {
                made.map_err(refuse)?;
                self.note(below, false);
                Ok(())
            }
        }
    }

    /// Makes `below` another name of the file `there`; an equal one, of an earlier run, may be there.
    pub(crate) fn hard_link(&self, below: &Path, there: &Path) -> Result<(), Error> {
        let refuse = |e: Errno| {
            let reason = if e == Errno::EXIST { OCCUPIED.to_owned() } else { io_reason(&e.into()) };
            Error::write(self.path.join(below), reason)
        };
        let (Some(old_parent), Some(old)) = (there.parent(), there.file_name()) else {
            return Err(refuse(Errno::ISDIR));
        };
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(refuse(Errno::ISDIR));
        };
        let (from, to) = (self.walk(old_parent)?, self.walk(parent)?);
        match rustix::fs::linkat(&from, old, &to, name, AtFlags::empty()) {
            Err(Errno::EXIST) if is_equal((&from, old), (&to, name)) => {
                let remove = || rustix::fs::unlinkat(&to, TEMPORARY, AtFlags::empty()).ok();
                remove();
                let replaced = rustix::fs::linkat(&from, old, &to, TEMPORARY, AtFlags::empty())
                    .and_then(|()| rustix::fs::renameat(&to, TEMPORARY, &to, name));
                // a rename between two names of one file does nothing
                remove();
                replaced.map_err(refuse)
            }
            linked => {
                linked.map_err(refuse)?;
                self.note(below, false);
                Ok(())
            }
        }
    }

    fn walk(&self, below: &Path) -> Result<OwnedFd, Error> {
        let mut path = PathBuf::new();
        let mut dir = self.fd.try_clone().map_err(|e| Error::write(&self.path, io_reason(&e)))?;
        for name in below {
            path.push(name);
            dir = self.enter(&dir, name, &path).map_err(|e| {
                let reason = match in_the_way(&dir, name) {
                    Some(what) => format!("{what} is in the way; a directory is needed there"),
                    None => io_reason(&e.into()),
                };
                Error::write(self.path.join(&path), reason)
            })?;
        }
        Ok(dir)
    }

    /// Enters the directory `name` of `dir`, which is `path` below the root; makes it if need be.
    fn enter(&self, dir: &OwnedFd, name: &OsStr, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(dir, name, flags | OFlags::PATH, Mode::empty());
        match open() {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        rustix::fs::mkdirat(dir, name, Mode::RWXU)?;
        self.note(path, true);
        let made = rustix::fs::openat(dir, name, flags | OFlags::RDONLY, Mode::empty())?;
        // a volume with an fsGroup hands its group down through this bit
        let inherited = Mode::from_raw_mode(rustix::fs::fstat(&made)?.st_mode) & SETGID;
        rustix::fs::fchmod(&made, self.dir_mode | inherited)?;
        Ok(made)
    }
}

fn set_mark(there: impl AsFd, mark: &str) {
    rustix::fs::fsetxattr(there, MARK, mark.as_bytes(), XattrFlags::empty()).ok();
}

fn begin(dir: &OwnedFd) -> rustix::io::Result<File> {
    // an earlier run may have been killed half way
    match rustix::fs::unlinkat(dir, TEMPORARY, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(dir, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?))
}

/// A file under a temporary name, gone unless it is put in its place.
pub(crate) struct Draft<'a> {
    root: &'a RootedDir,
    below: PathBuf,
    dir: OwnedFd,
    name: OsString,
    /// For messages.
    target: PathBuf,
    /// To be filled.
    pub(crate) file: File,
}

impl Draft<'_> {
    /// As [`RootedDir::mark`]; to be done before the file has its own mode.
    pub(crate) fn mark(&self, mark: &str) {
        set_mark(&self.file, mark);
    }

    /// Puts the file in its place, whatever lies there.
    pub(crate) fn replace(self, mode: u32) -> Result<(), Error> {
        let there = rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let placed = rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))
            .and_then(|()| rustix::fs::renameat(&self.dir, TEMPORARY, &self.dir, &self.name));
        placed.map_err(|e| Error::write(&self.target, io_reason(&e.into())))?;
        if matches!(there, Err(Errno::NOENT)) {
            self.root.note(&self.below, false);
        }
        Ok(())
    }

    /// Puts the file in its place, where nothing may lie but a file with the same content: of an earlier run.
    pub(crate) fn place(mut self, mode: u32) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, &self.name, flags, Mode::empty()) {
            Err(Errno::NOENT) => self.replace(mode),
            Ok(there) => match same(&mut File::from(there), &mut self.file) {
                Ok(true) => self.replace(mode),
                Ok(false) => Err(Error::write(&self.target, OCCUPIED)),
                Err(e) => Err(Error::write(&self.target, io_reason(&e))),
            },
            Err(Errno::LOOP) => Err(Error::write(&self.target, OCCUPIED)),
            Err(e) => Err(Error::write(&self.target, io_reason(&e.into()))),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // once it is in its place there is nothing under this name
        rustix::fs::unlinkat(&self.dir, TEMPORARY, AtFlags::empty()).ok();
    }
}

/// Whether two files, or two symbolic links, are equal.
fn is_equal(one: (&OwnedFd, &OsStr), other: (&OwnedFd, &OsStr)) -> bool {
    let leads_to = |(dir, name): (&OwnedFd, &OsStr)| rustix::fs::readlinkat(dir, name, Vec::new()).ok();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open =
        |(dir, name): (&OwnedFd, &OsStr)| rustix::fs::openat(dir, name, flags, Mode::empty()).map(File::from);
    match (leads_to(one), leads_to(other)) {
        (None, None) => match (open(one), open(other)) {
            (Ok(mut one), Ok(mut other)) => same(&mut one, &mut other).unwrap_or(false),
            _ => false,
        },
        (one, other) => one == other,
    }
}

fn same(there: &mut File, new: &mut File) -> io::Result<bool> {
    let meta = there.metadata()?;
    if !meta.is_file() || meta.len() != new.metadata()?.len() {
        return Ok(false);
    }
    new.rewind()?;
    let (mut there, mut new) = (BufReader::new(there), BufReader::new(new));
    loop {
        let (one, other) = (there.fill_buf()?, new.fill_buf()?);
        let common = one.len().min(other.len());
        if common == 0 {
            return Ok(one.len() == other.len());
        }
        if one[..common] != other[..common] {
            return Ok(false);
        }
        there.consume(common);
        new.consume(common);
    }
}

fn in_the_way(dir: &OwnedFd, name: &OsStr) -> Option<&'static str> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => Some("a symbolic link"),
        FileType::Directory => None,
        _ => Some("a file"),
    }
}
