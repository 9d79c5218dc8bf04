//! The compile worker: a process that turns a component on its stdin into native code on its stdout and ends.
//!
//! A component that fits a ConfigMap can take gigabytes and minutes to compile. This process limits itself before
//! it reads a byte, so the worst that happens is its own end, which the operator reports.
//!
//! May touch: its stdin, stdout, stderr, its own limits and what the kernel says of itself. Must not touch: files, the network, the
//! environment.

use std::fs;
use std::io::{Read, Write};
use std::process::ExitCode;

use kubeopencode_api::plugin::LimitClass;
use rustix::process::{Resource, Rlimit, nice, setrlimit};

use crate::engine::engine;
use crate::limits::Limits;
use crate::prescan::{other_wasi, prescan};

/// The argument that makes the executable a compile worker.
pub(crate) const COMMAND: &str = "compile-worker";
/// Exit code: the component is at fault, stderr says why.
pub(crate) const REFUSED: u8 = 2;
/// Exit code: the worker is at fault, stderr says why.
pub(crate) const BROKEN: u8 = 3;

/// Added to its niceness: of the container's processors the operator has what it needs, and this process the rest.
const NICER: i32 = 10;

/// Begins the word on stderr of a worker that is done: how many bytes of address space it took, which its limit counts.
pub(crate) const TOOK: &str = "address space: ";

/// The whole program of `<executable> compile-worker <class>`. Call it before anything else has started a thread
/// or opened a file.
pub fn compile_worker_main() -> ExitCode {
    let class = std::env::args().nth(2).as_deref().and_then(LimitClass::parse);
    let result =
        class.ok_or_else(|| (BROKEN, "usage: compile-worker default|large".to_owned())).and_then(run);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            // nobody left to tell when stderr is gone
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::from(code)
        }
    }
}

fn run(class: LimitClass) -> Result<(), (u8, String)> {
    let broken = |error: &dyn std::fmt::Display| (BROKEN, error.to_string());
    let limits = Limits::of(class);
    // it is only slower in company without
    let _ = nice(NICER);
    limit_self(&limits).map_err(|error| broken(&error))?;
    let mut component = Vec::new();
    std::io::stdin().lock().read_to_end(&mut component).map_err(|error| broken(&error))?;
    prescan(&component, &limits).map_err(|reason| (REFUSED, reason))?;
    let engine = engine().map_err(|error| broken(&error))?;
    let code = engine.precompile_component(&component).map_err(|error| {
        let why = other_wasi(&component).map(|other| format!("{other} ({error:#})"));
        (REFUSED, why.unwrap_or_else(|| format!("{error:#}")))
    })?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&code).and_then(|()| stdout.flush()).map_err(|error| broken(&error))?;
    if let Some(peak) = fs::read_to_string("/proc/self/status").ok().and_then(|status| peak(&status)) {
        // nobody has to listen
        let _ = writeln!(std::io::stderr(), "{TOOK}{peak}");
    }
    Ok(())
}

/// Of proc_pid_status(5): the most address space that the process had, in bytes.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

fn limit_self(limits: &Limits) -> rustix::io::Result<()> {
    let both = |n| Rlimit { current: Some(n), maximum: Some(n) };
    setrlimit(Resource::As, both(limits.worker_memory))?;
    setrlimit(Resource::Fsize, both(limits.compiled))?;
    setrlimit(Resource::Core, both(0))?;
    let cpu = limits.worker_seconds;
    // the soft limit's signal tells time from memory, the hard one cannot be caught
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu), maximum: Some(cpu + 1) })
}

#[cfg(test)]
mod tests {
    use super::peak;

    #[test]
    fn the_most_that_a_process_had_is_read_in_bytes() {
        let status = "Name:\ta\nVmPeak:\t  204800 kB\nVmSize:\t  102400 kB\n";
        assert_eq!(peak(status), Some(200 << 20));
        assert_eq!(peak("Name:\ta\nVmPeak:\tmuch kB\n"), None);
        assert_eq!(peak("Name:\tkthreadd\n"), None, "it has none");
    }
}
