//! The tools that fetch, as processes, against real servers on this machine: a TLS web server, `git http-backend`
//! behind it, sshd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]
#![cfg(test)]

mod archive;
mod git;
mod git_server;
mod server;
mod ssh;
mod tool;
mod url;
mod web;
