//! Harness for the tests on a real API server: namespaces to run scenarios in, faults to break
//! them with, and a record to check them by.
//!
//! May touch: the cluster that `make test` brought up. Must not touch: any other.
// all of it is test code: a failure is a panic
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod audit;
pub mod bench;
pub mod cluster;
pub mod components;
#[cfg(test)]
mod dashboards;
pub mod docs;
pub mod examples;
pub mod exclusive;
pub mod faults;
#[path = "../../host/plugin-host/tests/common/harmless.rs"]
mod harmless;
pub mod injection;
pub mod invariants;
pub mod kubectl;
pub mod kubelet;
pub mod log;
pub mod namespace;
pub mod objects;
pub mod operator;
pub mod pages;
pub mod process;
pub mod program;
pub mod rbac;
pub mod record;
pub mod scope;
pub mod verbatim;
