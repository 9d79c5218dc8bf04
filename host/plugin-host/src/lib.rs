//! Loads and calls WebAssembly plugins within hard limits.
//!
//! A plugin is a component of one of the worlds in `wit/`. [`PluginHost::load`] turns bytes into a [`Plugin`]:
//! compiled by a child process with limits of its own (`compile`, `worker`), linked against a bounded `log`
//! and a WASI with nothing behind it (`sandbox`), asked once for its descriptor, whose JSON Schema is checked before it is used (`schema`).
//! Each call of a [`Plugin`] is a fresh instance with fuel, a clock, memory and output caps, so that no call sees
//! another and a bad plugin fails its own calls and nothing else; how many run at the same time is the caller's to bound.
//! Everything here blocks, and everything public is `Send + Sync`: a call takes some ten microseconds, seconds when the plugin
//! hangs, and a load up to seconds. An async caller calls from a thread that may block.
//!
//! May touch: wasmtime, the cache directory, the compile worker's process.
//! Must not touch: Kubernetes, the network, Tasks. Knows nothing of grants: what a plan may contain is for the
//! PlanValidator to say.

mod bindings;
mod built_in;
mod cache;
mod compile;
mod convert;
mod descriptor;
mod engine;
mod error;
#[cfg(any(test, debug_assertions))]
pub mod fuzzing;
mod host;
mod inspect;
mod limits;
mod plugin;
mod prescan;
mod sandbox;
mod schema;
mod size;
mod worker;

pub use descriptor::PluginType;
pub use error::{CallError, HostError, LoadError, PayloadError, outcome};
pub use host::{HostOptions, PluginHost};
pub use inspect::{Import, Inspection, Offer, network_imports};
pub use kubeopencode_api::plugin::{Kind, LimitClass};
pub use limits::{Limits, Used};
pub use plugin::Plugin;
pub use worker::compile_worker_main;
