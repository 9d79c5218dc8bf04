//! The one binary `kubeopencode`, and which crate each subcommand calls.
//!
//! What runs in a Pod or as a worker is dispatched first, before any runtime, thread or logger: those programs want
//! a process with one thread and untouched signals, and they start in every Task.

use std::env;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use kubeopencode_api::group::Group;
use kubeopencode_operator::Release;
use tikv_jemallocator::Jemalloc;

use crate::args::{Args, Command, ReleaseFinalizers};
use crate::error::CliError;

mod args;
mod cluster;
mod component;
mod controller;
mod error;
mod migrate;
mod plugin;
mod plugin_host;
mod render;
mod upgrade;
mod wait_task;
mod yaml;

/// Made for threads, and gives back what a burst took, which glibc's does not: docs/decisions/0038. The compile worker,
/// whose limits count address space, is called with settings that take as little of it as glibc.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    if env::args_os().nth(1).is_some_and(|command| command == "compile-worker") {
        return kubeopencode_plugin_host::compile_worker_main();
    }
    if let Some(code) = kubeopencode_pod_tools::dispatch(env::args_os().skip(1)) {
        return code;
    }
    let success = |()| ExitCode::SUCCESS;
    let done = match Args::parse().command {
        Command::Controller(flags) => controller::main(flags).map(success),
        Command::Render(flags) => render::main(&flags).map(success),
        Command::Migrate(flags) => migrate::main(&flags).map(success),
        Command::CheckUpgrade(flags) => upgrade::main(&flags).map(success),
        Command::Plugin(command) => plugin::main(&command),
        Command::Crds => crds().map(success),
        Command::Completion { shell } => completion(shell).map(success),
        Command::ReleaseFinalizers(flags) => release_finalizers(flags).map(success),
        Command::WaitTask(flags) => wait_task::main(&flags).map(success),
    };
    done.unwrap_or_else(|error| {
        eprintln!("kubeopencode: {error}");
        error.code()
    })
}

fn crds() -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    for crd in kubeopencode_api::crd::all()? {
        writeln!(out, "---\n{}", yaml::document(&crd)?)?;
    }
    Ok(())
}

fn completion(shell: Shell) -> Result<(), CliError> {
    Ok(std::io::stdout().write_all(&completion_script(shell))?)
}

/// Into a buffer: `clap_complete` panics where nobody reads what it writes.
fn completion_script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "kubeopencode", &mut script);
    script
}

fn release_finalizers(flags: ReleaseFinalizers) -> Result<(), CliError> {
    let groups = if flags.without_kubetask { &[Group::KubeOpenCode][..] } else { &Group::ALL };
    let released = runtime()?.block_on(async {
        let client = cluster::client(None).await?;
        let namespace = client.default_namespace().to_owned();
        let of = Release { groups, only_in: &flags.namespaces.with(&namespace) };
        Ok::<_, CliError>(kubeopencode_operator::release_finalizers(&client, &namespace, of).await?)
    })?;
    for namespace in &released.refused {
        eprintln!("kubeopencode: Tasks in namespace {namespace} may not be listed, and are left as they are");
    }
    println!("released {} Tasks", released.tasks);
    Ok(())
}

/// One thread for all that waits: a launch is some ten answers of the API server, and handing each from thread to thread costs
/// as much as reading it. What takes long, the calls of plugins, has threads of its own.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_learns_commands_and_flags() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let script = String::from_utf8(completion_script(shell)).unwrap();
            for word in ["kubeopencode", "render", "operator-namespace"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
