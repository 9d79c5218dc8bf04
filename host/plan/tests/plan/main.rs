//! What the plan makes of answers that no built-in plugin gives, and of very much. What users write and get, with the
//! real plugins, is in the tests of `kubeopencode render`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod build;
mod clones;
mod custom;
mod git_write;
mod guests;
mod optional;
mod places;
mod stable;
mod stages;
mod word;
