//! From gathered input and evaluated contexts to a Pod and its ConfigMaps: same input, same bytes.
//!
//! The way through this crate is one direction: [`agent_key`] and [`Settings`] say what is to be read,
//! [`Resolved::new`] checks what was read, [`validate`] checks what a plugin made of each item, [`validate_command`] what
//! it made of the command, [`build`] makes the objects. No stage looks at the input of the one before.
//!
//! The server of a server-mode Agent goes the same way: [`Resolved::server`], [`validate`], [`validate_server`],
//! [`build_server`].
//!
//! May touch: API types, Kubernetes types, text. Must not touch: a client, files, clocks, wasmtime.

mod agent_ref;
mod build;
mod evaluated;
mod granted;
mod item;
mod object_name;
mod paths;
mod refusal;
mod resolved;
mod settings;
mod validate;

pub use agent_ref::agent_key;
pub use build::{ExecutionPlan, ServerObjects, build, build_server};
pub use evaluated::{Embed, Evaluated};
pub use granted::{Granted, SecretGrant};
pub use item::{Item, is_built_in};
pub use object_name::{is_namespace_name, is_object_name};
pub use refusal::Refusal;
pub use resolved::Resolved;
pub use settings::Settings;
pub use validate::{Command, ServerCommand, validate, validate_command, validate_server};
