//! `kubectl-kubeopencode`, where the tests find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubeopencode_kubectl::main()
}
