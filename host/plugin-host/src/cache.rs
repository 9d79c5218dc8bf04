//! The files of compiled code: which are used now, and which go when there are too many.
//!
//! May touch: the cache directory. Must not touch: what a file holds.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;

/// Bytes that the cache keeps: with one compilation under way, which may have 256 MiB, it stays within the 1 GiB that
/// the chart gives it. Beyond that the kubelet would evict the operator.
const MAX_BYTES: u64 = 512 << 20;

/// The folder of compiled code.
pub(crate) struct Cache {
    pub(crate) dir: PathBuf,
    /// Code that plugins have in memory.
    used: Mutex<Vec<Weak<PathBuf>>>,
}

/// A file that stays for as long as this is held.
pub(crate) type Used = Arc<PathBuf>;

impl Cache {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, used: Mutex::default() }
    }

    /// The file is used from now on. Its time says so to later processes, too.
    pub(crate) fn use_file(&self, path: &Path) -> Used {
        // a file that cannot be marked is only forgotten sooner
        let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
        let used = Arc::new(path.to_owned());
        let mut all = self.used.lock();
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&used));
        used
    }

    /// Removes the files whose last use is longest ago until what is left is at most [`MAX_BYTES`], those in use last: their code
    /// stays in memory, and another process has to compile it again. What ended in the middle of a compilation goes the same way.
    pub(crate) fn trim(&self) {
        let used: Vec<_> = self.used.lock().iter().filter_map(Weak::upgrade).collect();
        let files = match files(&self.dir) {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(path = %self.dir.display(), %error, "the cache of compiled plugins cannot be listed");
                return;
            }
        };
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let (in_use, unused): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| used.iter().any(|used| **used == file.path));
        for file in unused.into_iter().chain(in_use) {
            if bytes <= MAX_BYTES {
                return;
            }
            match fs::remove_file(&file.path) {
                Ok(()) => bytes -= file.bytes,
                Err(error) => tracing::warn!(path = %file.path.display(), %error, "a compiled plugin stays"),
            }
        }
    }
}

struct CachedFile {
    used: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// The one whose last use is longest ago comes first.
fn files(dir: &Path) -> io::Result<Vec<CachedFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // one that another process has just removed is none
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.push(CachedFile { used: metadata.modified()?, path: entry.path(), bytes: metadata.len() });
        }
    }
    files.sort_by_key(|file| file.used);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A sparse file of this many MiB.
    fn make(dir: &Path, name: &str, mebibytes: u64, age: u64) -> PathBuf {
        let path = dir.join(name);
        File::create_new(&path).unwrap().set_len(mebibytes << 20).unwrap();
        was_used(&path, age);
        path
    }

    fn was_used(path: &Path, age: u64) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }

    #[test]
    fn the_oldest_go_first_and_those_in_use_stay() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, mebibytes: u64, age: u64| make(dir.path(), name, mebibytes, age);
        let cache = Cache::new(dir.path().to_owned());
        let in_use = make("in-use.cwasm", 200, 400);
        let used = cache.use_file(&in_use);
        was_used(&in_use, 400);
        let left_over = make(".tmp-of-a-killed-process", 200, 300);
        let (old, new) = (make("old.cwasm", 100, 200), make("new.cwasm", 200, 100));
        let there = || [&in_use, &left_over, &old, &new].map(|path| path.exists());
        cache.trim();
        assert_eq!(there(), [true, false, true, true]);
        cache.trim();
        assert_eq!(there(), [true, false, true, true], "what fits stays");
        make("next.cwasm", 200, 0);
        cache.trim();
        assert_eq!(there(), [true, false, false, false]);
        drop(used);
        make("last.cwasm", 200, 0);
        cache.trim();
        assert_eq!(there(), [false; 4], "nobody uses it any more");
    }

    #[test]
    fn where_those_in_use_are_too_many_their_files_go_after_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().to_owned());
        let paths = [300, 200, 100].map(|age| make(dir.path(), &format!("in-use-{age}.cwasm"), 200, age));
        let used = paths.each_ref().map(|path| cache.use_file(path));
        paths.iter().zip([300, 200, 100]).for_each(|(path, age)| was_used(path, age));
        let unused = make(dir.path(), "unused.cwasm", 100, 0);
        cache.trim();
        assert_eq!(paths.each_ref().map(|path| path.exists()), [false, true, true]);
        assert!(!unused.exists());
        drop(used);
    }
}
