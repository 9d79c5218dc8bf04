//! `kubeopencode render`, as a user calls it: these files, these objects, these words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod command_line;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod definitions;
mod in_the_pod;
mod kubetask;
mod plugins;
mod program;
mod refusals;
mod restricted;
