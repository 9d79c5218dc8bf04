//! What runs inside a Task's Pod: `git-init` clones, `url-fetch` downloads, `context-init` writes the files,
//! `server-wait` waits for a server, `agent-run` runs the agent's program and reads its result.
//!
//! May touch: the Pod's files, the addresses that a Task names, the processes they start. Must not touch:
//! Kubernetes. No tool prints a credential, and every failure ends as one line on stderr that a user can act on,
//! since kubelet shows just that.

pub mod agent_run;
pub mod context_init;
mod environment;
mod error;
mod exit;
pub mod git_init;
mod mount_parents;
mod names;
mod network;
mod redact;
mod rooted_dir;
#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;
mod server;
pub mod server_wait;
mod ssh_dial;
mod termination;
pub mod url_fetch;
mod web;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::Error;

/// Runs the tool that the first argument names, to its end; none when it names no tool of the Pod.
/// To be called first thing in `main`: the tools want a process with one thread and untouched signals.
pub fn dispatch(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter();
    match args.next()?.to_str()? {
        "agent-run" => Some(agent_run::main(args)),
        "context-init" => Some(context_init::main()),
        "git-init" => Some(git_init::main()),
        "server-wait" => Some(server_wait::main()),
        ssh_dial::NAME => Some(ssh_dial::main(args)),
        "url-fetch" => Some(url_fetch::main()),
        _ => None,
    }
}
