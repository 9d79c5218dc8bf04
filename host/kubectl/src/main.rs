//! The program `kubectl-kubeopencode`, which kubectl calls for `kubectl kubeopencode`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubeopencode_kubectl::main()
}
