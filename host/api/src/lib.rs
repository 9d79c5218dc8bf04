//! The API of KubeOpenCode: CRD types, names, literals, and the data that crosses the plugin boundary.
//!
//! May touch: types, schemas, pure functions over them. Must not touch: a Kubernetes client, files, clocks.

pub mod agent;
pub mod condition;
pub mod config;
pub mod context;
pub mod crd;
pub mod git;
pub mod globs;
pub mod group;
pub mod kubetask;
pub mod literals;
pub mod names;
pub mod network;
pub mod pieces;
pub mod plugin;
pub mod plugin_object;
pub mod reference;
pub mod release;
pub mod report;
pub mod task;
