//! From gathered input and evaluated contexts to a Pod and its ConfigMaps: same input, same bytes.
//!
//! The way through this crate is one direction: a [`frontend`] says with [`Settings`] what is to be read, and makes a
//! [`Run`] of it; [`validate`] checks what a plugin made of each item, [`validate_command`] what it made of the command,
//! [`build`] makes the objects. No stage looks at the input of the one before, and what differs between API groups
//! stands in `conventions`.
//!
//! The server of a server-mode Agent goes the same way: [`frontend::kubeopencode::server`], [`validate`],
//! [`validate_server`], [`build_server`].
//!
//! May touch: API types, Kubernetes types, text. Must not touch: a client, files, clocks, wasmtime.

mod build;
mod conventions;
mod evaluated;
pub mod frontend;
mod granted;
mod item;
mod object_name;
mod paths;
mod refusal;
mod run;
mod settings;
mod validate;

pub use build::{ExecutionPlan, ServerObjects, build, build_server};
pub use evaluated::{Embed, Evaluated};
pub use granted::Granted;
pub use item::{Item, VALUE_WEIGHT};
pub use object_name::{is_namespace_name, is_object_name};
pub use refusal::Refusal;
pub use run::{MAX_TOTAL, Run};
pub use settings::{Layer, Settings};
#[cfg(any(test, debug_assertions))]
pub use validate::fuzzing;
pub use validate::{Command, ServerCommand, validate, validate_command, validate_server};
