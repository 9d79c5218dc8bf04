//! How a tool that fetches something ends.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGTERM;

use crate::{Error, termination};

/// Runs the tool. A failure ends as one line on stderr, which kubelet shows as the container's message, and exit
/// code 1; for an optional item as exit code 0, and the line is left as the container's message explicitly, since
/// kubelet takes log lines only from containers that failed.
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
            eprintln!("{}", line(format!("{tool}: {e}")));
            ExitCode::FAILURE
        }
    }
}

/// Says that something optional was left out, and why, where the operator reads it.
pub(crate) fn tell_skipped(tool: &str, why: &str) {
    let message = line(format!("skipped: {why}"));
    eprintln!("{tool}: {message}");
    if let Err(e) = termination::leave(&message) {
        eprintln!("{tool}: {e}");
    }
}

fn line(message: String) -> String {
    message.replace(['\n', '\r'], " ")
}
