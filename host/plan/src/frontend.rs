//! The way in: for each API group, from its objects to a [`Run`](crate::Run). No later stage sees a spec.
//!
//! May touch: the specs. Must not touch: what plugins made of the contexts.

pub mod kubeopencode;
