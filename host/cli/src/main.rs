//! The one binary `kubeopencode`, and which part of the house each subcommand starts.
//!
//! What runs in a Pod or as a worker is dispatched first, before any runtime, thread or logger: those programs want
//! a process with one thread and untouched signals, and they start in every Task.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = kubeopencode_pod_tools::dispatch(env::args_os().skip(1)) {
        return code;
    }
    eprintln!("usage: kubeopencode context-init | agent-run -- PROGRAM [ARGUMENT...]");
    ExitCode::from(2)
}
