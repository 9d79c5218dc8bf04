//! The tools as processes: on directories laid out as kubelet lays them out, around a fake agent that prints what the
//! real one prints, and against servers on this machine (a TLS web server, `git http-backend` behind it, sshd).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]
#![cfg(test)]

mod agent_run;
mod archive;
mod container;
mod context_init;
mod git;
mod git_commits;
mod git_history;
mod git_lfs;
mod git_push;
mod git_server;
mod name_server;
mod network;
mod program;
mod server;
mod session;
mod ssh;
mod tool;
mod url;
mod web;
