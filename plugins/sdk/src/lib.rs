//! What a plugin in Rust is written with: implement [`ContextType`] or [`CommandBuilder`] (and [`Server`]) and
//! export it with [`context_type!`], [`command_builder!`] or [`server_builder!`].
//!
//! ```
//! use kubeopencode_plugin_sdk::{About, Action, Answer, ContextType, Request, context_type, ready};
//!
//! struct Greeting;
//!
//! impl ContextType for Greeting {
//!     type Config = String;
//!     const ABOUT: About = About {
//!         name: "Greeting",
//!         version: "1.0.0",
//!         description: "Greets whoever the item names",
//!         schema: r#"{"type": "string", "maxLength": 100}"#,
//!         capabilities: &[],
//!     };
//!
//!     fn evaluate(whom: String, _request: &Request) -> Answer {
//!         ready([Action::Inline(format!("Say hello to {whom} first."))])
//!     }
//! }
//!
//! context_type!(Greeting);
//! # fn main() {}
//! ```
//!
//! A plugin is a pure function: no clock, no files, no network, no randomness. What it wants to read it asks the
//! host for ([`need`], [`ConfigMapRef`]); what it wants done it answers as data. It writes raw text and escapes nothing: delimiters
//! are the host's. All of it can be tested natively with [`testing`].

mod about;
#[doc(hidden)]
pub mod bindings;
mod builder;
mod config_map;
mod context;
mod errors;
mod logging;
mod secret_ref;
pub mod testing;

pub use about::About;
pub use builder::{BuildRequest, CommandBuilder, Mode, ServeRequest, Server, ServerPlan};
pub use config_map::ConfigMapRef;
pub use context::{
    Action, Answer, ConfigMapMount, ContextType, Entry, GitFetch, InitContainer, Input, Origin, Outcome,
    Plan, Request, Required, Requirement, Resolved, SecretFile, TaskView, TextFile, UrlFetch, need, ready,
    skipped,
};
pub use logging::{Level, log};
pub use secret_ref::SecretRef;

pub use bindings::context::kubeopencode::plugin::types::{
    CommandPlan, Descriptor, Diagnostic, EnvSource, EnvVar, ErrorKind, Extension, File, HostInfo,
    PluginError, SecretKey, Severity, Tools,
};

#[doc(hidden)]
pub use context::evaluate_context;
#[doc(hidden)]
pub use logging::report_panics;
