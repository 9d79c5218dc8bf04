//! The way in: for each API group, from its objects to a [`Run`](crate::Run). No later stage sees a spec.
//!
//! May touch: the specs. Must not touch: what plugins made of the contexts.

mod credentials;
mod images;
mod item;
pub mod kubeopencode;
pub mod kubetask;
mod own_keys;
mod parts;
