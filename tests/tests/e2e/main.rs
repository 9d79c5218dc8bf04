//! The whole way on a whole cluster: real nodes, the chart's operator, the real OpenCode, and a stand-in for the model.
//!
//! `make test` brings the cluster up, loads the images, installs the chart and starts the stand-ins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

#[path = "../../../host/cli/tests/common/built.rs"]
mod built;
mod contexts;
mod credentials;
mod cross_namespace;
mod example_plugins;
mod examples;
mod git_push;
mod kubectl;
mod kubetask;
mod lifecycle;
mod operator;
mod plugins;
mod providers;
mod registry;
mod server;
mod support;
mod trouble;
mod word;
