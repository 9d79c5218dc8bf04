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
//!         ..About::NOTHING
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
//! A plugin is a pure function: no clock but the Task's creation time, no files, no network, no randomness. What it wants to
//! read it asks the request for ([`Request::config_map`], [`Request::prompt`]); what it wants done it answers as data. It writes
//! raw text and escapes nothing: delimiters are the host's. All of it can be tested natively with [`testing`].

mod about;
#[doc(hidden)]
pub mod bindings;
mod builder;
mod config_map;
mod content;
mod context;
mod errors;
mod logging;
mod reads;
#[cfg(feature = "schemars")]
mod schema;
mod secret_ref;
mod settings;
mod shell;
pub mod testing;

pub use about::{About, MountPath};
pub use builder::{BuildRequest, CommandBuilder, ServeRequest, Server, ServerPlan};
pub use config_map::ConfigMapRef;
pub use context::{
    Action, Answer, BroughtFile, ConfigMapMount, ConfigMapRead, ContextType, Entry, GitFetch, Header,
    HeaderValue, HttpRequest, InitContainer, Input, Outcome, Plan, Request, Required, Requirement, Resolved,
    Response, SecretFile, SecretText, TextFile, UrlFetch, need, ready, skipped, text,
};
pub use logging::{Level, log};
#[cfg(feature = "schemars")]
pub use schema::schema_of;
pub use secret_ref::SecretRef;
pub use shell::quoted;

pub use bindings::context::kubeopencode::plugin::types::{
    AgentView, CommandPlan, Content, Descriptor, Diagnostic, EnvSource, EnvVar, ErrorKind, Extension, File,
    HostInfo, PluginError, SecretKey, Severity, TaskView, Tools,
};

#[doc(hidden)]
pub use context::{descriptor_of, evaluate_context, no_such_type};
#[doc(hidden)]
pub use logging::report_panics;
