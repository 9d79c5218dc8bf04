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

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processor time so far, in seconds, of the processes that run this program with this text in their arguments, children
/// excluded.
///
/// # Panics
/// When there is no `/proc`.
pub fn processor_of_program(program: &str, argument: &str) -> f64 {
    let is_it = |pid: u32| {
        let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline);
        let name = cmdline.split('\0').next().unwrap_or_default();
        Path::new(name).file_name().is_some_and(|name| name == program) && cmdline.contains(argument)
    };
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_it(*pid)).filter_map(processor_of).sum()
}

fn processor_of(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // after the name in parentheses: state is field 3, utime 14, stime 15
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: Vec<f64> = fields.get(11..=12)?.iter().filter_map(|ticks| ticks.parse().ok()).collect();
    Some(ticks.iter().sum::<f64>() * TICK)
}
