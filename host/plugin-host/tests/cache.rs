//! The cache of compiled plugins and the worker that fills it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::{Guest, assert_others_work, worker};
use kubeopencode_api::plugin::Kind;
use kubeopencode_plugin_host::{HostError, HostOptions, LimitClass, LoadError, PluginHost};
use tempfile::TempDir;

/// A host that has loaded the built-in plugins.
fn open(cache_dir: &Path, worker: &Path) -> Result<PluginHost, HostError> {
    let host = PluginHost::new(HostOptions { cache_dir: cache_dir.into(), worker: worker.into() })?;
    host.load_built_in().map(|_| host)
}

#[test]
fn tests_and_the_build_script_share_the_folder_of_the_guests() {
    let target = Path::new(env!("OUT_DIR")).ancestors().nth(4).unwrap();
    assert_eq!(target.join("tmp"), Path::new(env!("CARGO_TARGET_TMPDIR")));
}

/// How the name of a filled cache's folder begins.
const FOLDER: &str = "filled-";

/// Removes the filled caches that nobody has locked: of processes that are gone. Their numbers would not tell, as some run where they
/// have numbers of their own, on this target folder.
fn remove_left_over(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(FOLDER));
        if is_one && File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok()) {
            // another process may be about it, too
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A cache that a host has filled: the compiling is done once for all tests of a process.
fn filled() -> &'static Path {
    static FILLED: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (cache, _) = FILLED.get_or_init(|| {
        // tests may be processes of their own, which must not take each other's folder away, nor one that is about to be locked
        let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(all).unwrap();
        let turn = File::open(all).unwrap();
        turn.lock().unwrap();
        remove_left_over(all);
        let dir = tempfile::Builder::new().prefix(FOLDER).tempdir_in(all).unwrap().keep();
        let folder = File::open(&dir).unwrap();
        folder.lock().unwrap();
        drop(turn);
        let cache = dir.join("cache");
        assert_others_work(&open(&cache, &worker()).unwrap());
        (cache, folder)
    });
    cache
}

/// A copy of it.
fn copy() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(filled()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

fn modes(dir: &Path) -> Vec<u32> {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    std::iter::once(mode(dir)).chain(fs::read_dir(dir).unwrap().map(|e| mode(&e.unwrap().path()))).collect()
}

/// A worker that leaves a mark, prints its arguments and environment, and refuses.
fn refusing_worker(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("worker.sh");
    let script = "#!/bin/sh\necho called >> \"$0.calls\"\necho \"args=$*\" >&2\n/usr/bin/env >&2\nexit 2\n";
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn what_was_compiled_once_needs_no_worker_and_is_nobody_elses() {
    let (dir, files) = (modes(filled())[0], modes(filled())[1..].to_vec());
    assert_eq!((dir, files), (0o700, vec![0o600; 7]));
    assert_others_work(&open(filled(), Path::new("/nowhere")).unwrap());
}

#[test]
fn filled_caches_of_processes_that_are_gone_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let of = ["filled-gone", "filled-used", "other"].map(|name| dir.path().join(name));
    of.iter().for_each(|folder| fs::create_dir_all(folder.join("cache")).unwrap());
    let used = File::open(&of[1]).unwrap();
    used.lock().unwrap();
    remove_left_over(dir.path());
    assert_eq!(of.map(|folder| folder.exists()), [false, true, true]);
}

#[test]
fn a_file_that_does_not_open_is_made_again() {
    let dir = copy();
    let broken = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&broken).unwrap();
    fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    assert_others_work(&open(dir.path(), &worker()).unwrap());
    assert_eq!(fs::metadata(&broken).unwrap().len(), bytes.len() as u64);
}

#[test]
fn a_worker_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(dir.path(), Path::new("/nowhere")).unwrap_err().to_string();
    assert_eq!(
        error,
        "the built-in plugin configmap does not load: cannot start the compile worker /nowhere: \
         No such file or directory (os error 2)"
    );
}

#[test]
fn the_worker_gets_no_environment_and_is_not_asked_twice_about_what_it_refused() {
    let (cache, dir) = (copy(), tempfile::tempdir().unwrap());
    let host = open(cache.path(), &refusing_worker(dir.path())).unwrap();
    let component = Guest::default().component();
    let load = || host.load(&component, Kind::ContextType, LimitClass::Default).unwrap_err();
    let error = load();
    let LoadError::Invalid(words) = &error else { panic!("{error:?}") };
    assert!(words.contains("args=compile-worker default\n"), "{words}");
    let mut environment: Vec<_> =
        words.lines().filter(|line| line.contains('=') && !line.starts_with("args=")).collect();
    environment
        .retain(|line| !line.starts_with("PWD=") && !line.starts_with("_=") && !line.starts_with("SHLVL="));
    environment.sort_unstable();
    let allocator = "_RJEM_MALLOC_CONF=narenas:1,tcache:false,retain:false,dirty_decay_ms:0";
    assert_eq!(environment, ["MALLOC_ARENA_MAX=1", "RAYON_NUM_THREADS=2", allocator]);
    assert_eq!(load(), error);
    assert_eq!(fs::read_to_string(dir.path().join("worker.sh.calls")).unwrap(), "called\n");
}
