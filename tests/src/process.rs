//! An operator as a process of its own: for measuring what only a process has.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::namespace::TestNamespace;

/// A clock tick of `/proc/<pid>/stat`, in seconds: the same on every Linux that Rust runs on.
const TICK: f64 = 0.01;

/// How often a [`Sampler`] looks: no compilation of a plugin is done sooner.
const SAMPLE: Duration = Duration::from_millis(20);

/// A process that is measured. Killed when it is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts the program of `src/bin/operator.rs`: an operator that sees these namespaces.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn operator(executable: &str, namespaces: &[&TestNamespace]) -> Self {
        let names = namespaces.iter().map(|ns| &ns.name);
        Self(Command::new(executable).args(names).stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Whether it has not ended.
    pub fn runs(&self) -> bool {
        // what has ended has no memory, also while nobody has asked for its end
        status_of(self.0.id(), "VmRSS:").is_some()
    }

    /// Resident memory now, in MiB.
    pub fn memory(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// Of it, what no file backs, in MiB: the rest is pages of the program and of compiled plugins, which the kernel can drop and read
    /// again.
    pub fn own_memory(&self) -> f64 {
        self.status("RssAnon:")
    }

    /// The most resident memory that it ever had, in MiB.
    pub fn peak_memory(&self) -> f64 {
        self.status("VmHWM:")
    }

    /// Looks at its memory and that of its children from now on.
    pub fn sample(&self) -> Sampler {
        let (pid, (stop, stopped)) = (self.0.id(), channel::<()>());
        let most = thread::spawn(move || {
            let mut most = 0.0_f64;
            while stopped.recv_timeout(SAMPLE) == Err(RecvTimeoutError::Timeout) {
                let all = children_of(pid).into_iter().chain([pid]);
                most = most.max(all.filter_map(|pid| status_of(pid, "VmRSS:")).sum());
            }
            most
        });
        Sampler { stop, most }
    }

    fn status(&self, field: &str) -> f64 {
        status_of(self.0.id(), field).unwrap()
    }

    /// Processor time so far, in seconds, children excluded.
    pub fn processor(&self) -> f64 {
        processor_of(self.0.id()).unwrap()
    }
}

/// What a process and its children have together, as the limit of a container counts it.
#[derive(Debug)]
pub struct Sampler {
    stop: Sender<()>,
    most: JoinHandle<f64>,
}

impl Sampler {
    /// The most resident memory that they had at one time, in MiB. Pages that they share count for each.
    ///
    /// # Panics
    /// When looking at it did.
    pub fn most(self) -> f64 {
        drop(self.stop);
        self.most.join().unwrap()
    }
}

/// A figure of a process in MiB, while it runs.
fn status_of(pid: u32, field: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

/// The processes that one has started, by any of its threads.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let read = threads.flatten().filter_map(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
        Some(children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
    });
    read.flatten().collect()
}

/// A count among figures.
///
/// # Panics
/// When it has more than 32 bits.
pub fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processor time so far, in seconds, of this program; children excluded.
///
/// # Panics
/// When the kernel does not say.
pub fn own_processor() -> f64 {
    processor_of(std::process::id()).unwrap()
}

/// Processor time so far, in seconds, of a process of the local cluster, by the file that `deploy/local` wrote its number
/// to; children excluded.
///
/// # Panics
/// When it does not run.
pub fn processor_by_pid_file(file: &Path) -> f64 {
    let text = std::fs::read_to_string(file).unwrap();
    let pid = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
    pid.and_then(processor_of).unwrap_or_else(|| panic!("{} names no process that runs", file.display()))
}

fn processor_of(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // after the name in parentheses: state is field 3, utime 14, stime 15
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: Vec<f64> = fields.get(11..=12)?.iter().filter_map(|ticks| ticks.parse().ok()).collect();
    Some(ticks.iter().sum::<f64>() * TICK)
}
