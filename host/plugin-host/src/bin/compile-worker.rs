//! The compile worker alone, for this crate's tests and benches; the product's is a subcommand of `kubeopencode`.

fn main() -> std::process::ExitCode {
    kubeopencode_plugin_host::compile_worker_main()
}
