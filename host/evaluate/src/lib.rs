//! From a Task's input, a snapshot of the plugins and what these read, to a plan: the stages evaluate and plan of a
//! Task's way, for the operator and for `kubeopencode render`.
//!
//! [`Catalog`] holds the plugins, each with what it may do; a [`Snapshot`] of it is used for a whole reconciliation, so
//! that one Task never mixes two versions of a plugin. [`evaluate`] asks the plugins for each context item and for the
//! command and makes the plan, so that whatever is wrong with a Task is known before it asks for a slot. How much memory
//! all evaluations and the launches that come of them hold is bounded (`memory`).
//!
//! May touch: plugins, ConfigMaps through [`ConfigMapReader`], the clock that times a call. Must not touch: a Kubernetes
//! client, metrics (a [`CallObserver`] hears of each call), what waiting or refusing means for a Task.

mod calls;
mod catalog;
mod error;
mod health;
mod items;
mod lookup;
mod memory;
mod planned;
mod reads;

pub use calls::CallObserver;
pub use catalog::{Catalog, Change, NameTaken, Offer, Publication, Snapshot};
pub use error::EvaluateError;
pub use health::Pause;
pub use lookup::Lookup;
pub use memory::Held;
pub use planned::{Planned, PlannedServer, evaluate, evaluate_server};
pub use reads::ConfigMapReader;
