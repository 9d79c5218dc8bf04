//! An operator as a process of its own: for measuring what only a process has.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::namespace::TestNamespace;

/// A clock tick of `/proc/<pid>/stat`, in seconds: the same on every Linux that Rust runs on.
const TICK: f64 = 0.01;

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

    fn status(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Processor time so far, in seconds, children excluded.
    pub fn processor(&self) -> f64 {
        processor_of(self.0.id()).unwrap()
    }
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
