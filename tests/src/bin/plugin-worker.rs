//! What the plugin host of the tests calls to compile plugins, as `kubeopencode compile-worker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubeopencode_plugin_host::compile_worker_main()
}
