//! From bytes to compiled code: the cache, the compile worker, and the memory of what was refused.
//!
//! May touch: the cache directory and the worker's process. Must not touch: what the code does.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use kubeopencode_api::plugin::LimitClass;
use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use wasmparser::Parser;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::{Cache, Used};
use crate::engine::compatibility;
use crate::error::{HostError, LoadError, quote};
use crate::limits::Limits;
use crate::worker::{COMMAND, REFUSED, TOOK};

/// Refusals that are remembered; then the memory begins anew.
const REFUSALS: usize = 256;
/// How long a refusal is remembered that may have been the machine's fault.
const MAX_DOUBT: Duration = Duration::from_secs(600);
/// Bytes of the worker's last words that are read.
const LAST_WORDS: u64 = 8 << 10;
/// How long a worker may take. Its limit of processor time ends what computes, however slow the machine is: a twentieth of a
/// processor has used that up by then. This one ends what waits, which would keep all other components from their turn.
const MAX_WORK: Duration = Duration::from_secs(400);

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;

/// Compiles components, each at most once while its file is in the cache.
pub(crate) struct Compiler {
    engine: Engine,
    cache: Cache,
    worker: PathBuf,
    refused: Mutex<Refusals>,
    /// One worker at a time: memory has to be set aside for one.
    turn: Mutex<()>,
    /// What the last worker that was done took of its memory, in bytes; 0: nobody knows.
    took: AtomicU64,
}

impl Compiler {
    pub(crate) fn new(engine: &Engine, cache_dir: PathBuf, worker: PathBuf) -> Result<Self, HostError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&cache_dir)
            .map_err(|error| HostError::Cache { path: cache_dir.clone(), error })?;
        Ok(Self {
            engine: engine.clone(),
            cache: Cache::new(cache_dir),
            worker,
            refused: Mutex::default(),
            turn: Mutex::default(),
            took: AtomicU64::default(),
        })
    }

    /// Bytes of address space that the last worker took, where one was done.
    pub(crate) fn took(&self) -> Option<u64> {
        Some(self.took.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Gives the code of a component whose SHA-256 is `sha256` (hex), and its file, which stays while it is used.
    pub(crate) fn compile(
        &self,
        bytes: &[u8],
        sha256: &str,
        class: LimitClass,
    ) -> Result<(Component, Used), LoadError> {
        check_header(bytes, class)?;
        let key = (sha256.to_owned(), class);
        let path = self.cache.dir.join(format!("{sha256}-{}.cwasm", compatibility(&self.engine, class)));
        if let Some(known) = self.known(&key, &path) {
            return known;
        }
        let turn = self.turn.lock();
        // whoever had the turn before may have had the same one
        if let Some(known) = self.known(&key, &path) {
            return known;
        }
        if let Err(error) = self.run_worker(bytes, &path, class) {
            if !matches!(error, LoadError::Host(_)) {
                self.refused.lock().remember(key, error.clone(), Instant::now());
            }
            return Err(error);
        }
        drop(turn);
        let opened = self.open(&path).map_err(|error| LoadError::Host(format!("{error:#}")))?;
        self.cache.trim();
        Ok(opened)
    }

    /// What came of it before.
    fn known(&self, key: &(String, LimitClass), path: &Path) -> Option<Result<(Component, Used), LoadError>> {
        if let Some(refusal) = self.refused.lock().get(key, Instant::now()) {
            return Some(Err(refusal));
        }
        self.cached(path).map(Ok)
    }

    /// The file of an earlier compilation; one that does not open is removed and made again.
    fn cached(&self, path: &Path) -> Option<(Component, Used)> {
        if !path.exists() {
            return None;
        }
        match self.open(path) {
            Ok(opened) => Some(opened),
            Err(error) => {
                tracing::warn!(path = %path.display(), "compiled plugin in the cache does not open: {error:#}");
                let _ = fs::remove_file(path);
                None
            }
        }
    }

    #[allow(unsafe_code)]
    fn open(&self, path: &Path) -> wasmtime::Result<(Component, Used)> {
        let used = self.cache.use_file(path);
        // SAFETY: native code is run from this file. It is in a directory that only we can write (0700), and it
        // was put there whole, by a rename, after our own worker had made it from a component that it had
        // validated. wasmtime checks that version, configuration and processor match.
        let component = unsafe { Component::deserialize_file(&self.engine, path) }?;
        Ok((component, used))
    }

    fn run_worker(&self, bytes: &[u8], path: &Path, class: LimitClass) -> Result<(), LoadError> {
        let cache = |error| HostError::Cache { path: self.cache.dir.clone(), error };
        // a temporary file has mode 0600; it becomes the worker's stdout
        let file = tempfile::NamedTempFile::new_in(&self.cache.dir).map_err(cache)?;
        let stdout = file.as_file().try_clone().map_err(cache)?;
        let broken = |error| HostError::Worker { path: self.worker.clone(), error };
        let child = self.spawn(class, stdout).map_err(broken)?;
        let Some((status, words)) = feed(child, bytes, MAX_WORK).map_err(broken)? else {
            let words = format!("the compile worker did not end within {} s", MAX_WORK.as_secs());
            return Err(LoadError::Host(words));
        };
        if !status.success() {
            return Err(verdict(status, &words, class));
        }
        let took = words.lines().find_map(|line| line.strip_prefix(TOOK)?.parse().ok());
        self.took.store(took.unwrap_or_default(), Ordering::Relaxed);
        file.as_file().sync_all().map_err(cache)?;
        file.persist(path).map_err(|error| cache(error.error))?;
        Ok(())
    }

    fn spawn(&self, class: LimitClass, stdout: File) -> io::Result<Child> {
        Command::new(&self.worker)
            .args([COMMAND, class.as_str()])
            .env_clear()
            // each further arena and thread reserves address space, which the worker's limit counts: on a node of
            // 64 cores nothing would compile
            .env("MALLOC_ARENA_MAX", "1")
            .env("_RJEM_MALLOC_CONF", "narenas:1,tcache:false,retain:false,dirty_decay_ms:0")
            .env("RAYON_NUM_THREADS", "2")
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// What was refused for a reason of its own, by digest and class, and when: a broken ConfigMap that is looked at again and again
/// costs one compilation.
#[derive(Default)]
struct Refusals(HashMap<(String, LimitClass), (LoadError, Instant)>);

impl Refusals {
    fn get(&self, key: &(String, LimitClass), now: Instant) -> Option<LoadError> {
        let (refusal, since) = self.0.get(key)?;
        let holds = !refusal.may_pass() || now.duration_since(*since) < MAX_DOUBT;
        holds.then(|| refusal.clone())
    }

    fn remember(&mut self, key: (String, LimitClass), refusal: LoadError, now: Instant) {
        if self.0.len() >= REFUSALS {
            self.0.clear();
        }
        self.0.insert(key, (refusal, now));
    }
}

/// What a worker's end says of the component. A machine that has no memory answers the worker as its own limit does.
fn verdict(status: ExitStatus, words: &str, class: LimitClass) -> LoadError {
    let limits = Limits::of(class);
    let expensive = |what| LoadError::TooExpensive { what, class: class.as_str(), may_pass: false };
    let memory = || LoadError::TooExpensive {
        what: format!("{} MiB of memory", limits.worker_memory >> 20),
        class: class.as_str(),
        may_pass: true,
    };
    let out_of_memory =
        ["memory allocation of", "Cannot allocate memory", "out of memory"].iter().any(|w| words.contains(w));
    match (status.code(), status.signal()) {
        _ if out_of_memory => memory(),
        (Some(code), _) if code == i32::from(REFUSED) => LoadError::Invalid(quote(words)),
        (_, Some(SIGXCPU)) => expensive(format!("{} s of processor time", limits.worker_seconds)),
        (_, Some(SIGXFSZ)) => expensive(format!("{} MiB of compiled code", limits.compiled >> 20)),
        (_, Some(SIGABRT)) if words.trim().is_empty() => memory(),
        // the kernel's own limit, for example the container's: may be different next time
        (_, Some(SIGKILL)) => LoadError::Host("the compile worker was killed".to_owned()),
        _ => LoadError::Host(format!("the compile worker failed ({status}): {}", quote(words))),
    }
}

/// Writes the component to the worker, waits for its end and gives its last words; `None`: it did not end in time, and was
/// killed.
fn feed(mut child: Child, bytes: &[u8], limit: Duration) -> io::Result<Option<(ExitStatus, String)>> {
    // names this process and no later one of its number; a kernel before 5.3 has none, and sets no limit
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).ok();
    let (ended, end) = channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let Some(process) = process else { return false };
            let is_late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if is_late {
                // one that has just ended is late all the same
                let _ = pidfd_send_signal(&process, Signal::KILL);
            }
            is_late
        });
        let mut words = Vec::new();
        if let Some(mut stdin) = child.stdin.take() {
            // a worker that ends early says why itself
            let _ = stdin.write_all(bytes);
        }
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(LAST_WORDS).read_to_end(&mut words);
        }
        let status = child.wait();
        drop(ended);
        let is_late = watch.join().unwrap_or_default();
        status.map(|status| (!is_late).then(|| (status, String::from_utf8_lossy(&words).into_owned())))
    })
}

/// Tells from the first bytes what is certainly no component, so that the message can say what it is instead.
fn check_header(bytes: &[u8], class: LimitClass) -> Result<(), LoadError> {
    let limit = Limits::of(class).component;
    if bytes.is_empty() {
        return Err(LoadError::Empty);
    }
    if bytes.len() > limit {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit, class: class.as_str() });
    }
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(LoadError::Precompiled);
    }
    if Parser::is_core_wasm(bytes) {
        return Err(LoadError::CoreModule);
    }
    if !Parser::is_component(bytes) {
        return Err(LoadError::NotWasm);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;

    use super::*;
    use crate::engine::engine;

    fn run(program: &str, argument: &str, limit: Duration) -> Option<(ExitStatus, String)> {
        let mut command = Command::new(program);
        command.arg(argument).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        feed(command.spawn().unwrap(), &vec![0; 1 << 20], limit).unwrap()
    }

    #[test]
    fn a_worker_that_waits_for_ever_is_ended() {
        // it reads nothing of what is more than a pipe holds
        assert!(run("sleep", "infinity", Duration::from_millis(10)).is_none());
        let (status, words) = run("cat", "-", MAX_WORK).unwrap();
        assert!(status.success() && words.is_empty(), "{status}: {words}");
    }

    #[test]
    fn of_two_who_bring_the_same_bad_bytes_at_once_one_has_them_compiled() {
        let dir = tempfile::tempdir().unwrap();
        let (worker, runs) = (dir.path().join("worker"), dir.path().join("runs"));
        let script = "#!/bin/sh\necho run >> RUNS\ncat > /dev/null\necho no >&2\nexit 2\n";
        fs::write(&worker, script.replace("RUNS", &runs.display().to_string())).unwrap();
        fs::set_permissions(&worker, fs::Permissions::from_mode(0o700)).unwrap();
        let compiler = Compiler::new(&engine().unwrap(), dir.path().join("cache"), worker).unwrap();
        let together = Barrier::new(2);
        let bring = || {
            together.wait();
            let compiled = compiler.compile(b"\0asm\x0d\0\x01\0", "abc", LimitClass::Default);
            compiled.map(drop).unwrap_err()
        };
        let refusals = thread::scope(|scope| {
            [(); 2].map(|()| scope.spawn(bring)).map(|brought| brought.join().unwrap())
        });
        assert_eq!(refusals, [(); 2].map(|()| LoadError::Invalid("no".to_owned())));
        assert_eq!(fs::read_to_string(runs).unwrap(), "run\n");
    }

    #[test]
    fn what_may_be_the_machines_fault_is_forgotten_and_what_is_the_components_is_not() {
        let now = Instant::now();
        for (status, words, may_pass) in [
            (SIGABRT, "memory allocation of 64 bytes failed", true),
            (SIGABRT, "", true),
            (i32::from(REFUSED) << 8, "Cannot allocate memory (os error 12)", true),
            (i32::from(REFUSED) << 8, "unexpected end", false),
            (SIGXCPU, "", false),
            (SIGXFSZ, "", false),
        ] {
            let refusal = verdict(ExitStatus::from_raw(status), words, LimitClass::Default);
            assert!(!matches!(refusal, LoadError::Host(_)), "{status} {words}: {refusal}");
            let (mut refusals, key) = (Refusals::default(), ("abc".to_owned(), LimitClass::Default));
            refusals.remember(key.clone(), refusal.clone(), now);
            assert_eq!(refusals.get(&key, now), Some(refusal.clone()), "{status} {words}");
            let later = refusals.get(&key, now + MAX_DOUBT);
            assert_eq!(later, (!may_pass).then_some(refusal), "{status} {words}");
        }
        for (status, words) in [(SIGKILL, ""), (3 << 8, "Too many open files")] {
            let passing = verdict(ExitStatus::from_raw(status), words, LimitClass::Default);
            assert!(matches!(passing, LoadError::Host(_)), "it is not remembered at all: {passing}");
        }
    }
}
