//! The pod tools as a program of their own.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubeopencode_pod_tools::dispatch(std::env::args_os().skip(1)).unwrap_or_else(|| {
        eprintln!(
            "usage: kubeopencode-pod-tools git-init | url-fetch | context-init | server-wait | agent-run -- PROGRAM [ARGUMENT...]"
        );
        ExitCode::from(2)
    })
}
