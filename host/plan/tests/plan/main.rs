//! The whole way from the YAML that users write to the Pod and ConfigMaps that a cluster gets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod build;
mod guests;
mod pods;
mod refusals;
mod stable;
