//! How a tool that fetches something ends.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGTERM;

use crate::{Error, termination};

/// Runs the tool. A failure ends as one line on stderr and exit code 1; for an optional item as exit code 0. Either way
/// the line alone is the container's message: of a container that leaves none and fails, kubelet shows the log's last
/// lines, in which what was said earlier (a warning, the tries before) stands in front.
pub(crate) fn of(
    tool: &str,
    optional: Result<bool, Error>,
    run: impl FnOnce() -> Result<(), Error>,
) -> ExitCode {
    // a container's first process ignores the signal otherwise, and a deleted Pod would hang for its grace period
    if let Err(e) = signal_hook::flag::register_conditional_shutdown(
        SIGTERM,
        128 + SIGTERM,
        Arc::new(AtomicBool::new(true)),
    ) {
        eprintln!("{tool}: {e}; a deleted Pod may take long to end");
    }
    match (optional, run()) {
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
        (Ok(true), Err(e)) => {
            tell_skipped(tool, &e.to_string());
            ExitCode::SUCCESS
        }
        (Ok(false), Err(e)) | (Err(e), _) => {
            let message = line(format!("{tool}: {e}"));
            leave(tool, &message);
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Says that something optional was left out, and why, where the operator reads it.
pub(crate) fn tell_skipped(tool: &str, why: &str) {
    let message = line(format!("skipped: {why}"));
    eprintln!("{tool}: {message}");
    leave(tool, &message);
}

fn leave(tool: &str, message: &str) {
    if let Err(e) = termination::leave(message) {
        eprintln!("{tool}: {e}");
    }
}

fn line(message: String) -> String {
    message.replace(['\n', '\r'], " ")
}
