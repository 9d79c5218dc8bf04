//! `git-init`: clones a repository into a volume of its own.
//!
//! `settings` reads the environment and `repository` the address (both pure), `access` prepares credentials, `git`
//! runs the image's `git` (whose own configuration is honoured), `clone` does the steps. A clone appears as a whole
//! or not at all, and one that is there is kept, so it may run twice.
//!
//! Credentials go to the repository's own host only, never to a submodule's or a redirect's, never into the clone,
//! a command line or a message. `hand_over` says in the clone where the agent's own git finds them, if it may.

mod access;
mod clone;
mod exclude;
#[cfg(any(test, debug_assertions))]
pub mod fuzzing;
mod git;
mod guard;
mod hand_over;
mod repository;
mod settings;
mod tree;

use std::process::ExitCode;

use rustix::fs::Mode;

use crate::environment::Environment;
use crate::{Error, exit, mount_parents};
use settings::Settings;

/// Runs `git-init` with the environment of docs/contract.md, section 4.
pub fn main() -> ExitCode {
    let environment = Environment::of_process();
    exit::of("git-init", environment.flag("GIT_OPTIONAL"), || run(&environment))
}

fn run(environment: &Environment) -> Result<(), Error> {
    mount_parents::make(environment)?;
    // what git writes is open to every user from the start: a later change of its mode would make each file look changed
    // to git, which then reads them all again
    rustix::process::umask(Mode::empty());
    let settings = Settings::of(environment)?;
    if settings.repository.plain_http {
        eprintln!(
            "git-init: warning: {} is fetched over http, which anybody on the way can read and change",
            settings.repository
        );
    }
    let done = clone::run(&settings);
    if done.is_err() && environment.flag("GIT_OPTIONAL")? {
        // kubelet would make the mount's directory as root's
        clone::leave_empty(&settings)?;
    }
    done
}
