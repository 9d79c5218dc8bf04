//! Compiles plugins for the tests of this crate.

fn main() -> std::process::ExitCode {
    kubeopencode_plugin_host::compile_worker_main()
}
