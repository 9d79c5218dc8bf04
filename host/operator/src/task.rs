//! A Task from its first sight to its end: the only writer of Tasks, the only creator of their Pods, the only one that
//! opens their gates.
//!
//! `decide`, `pod_outcome`, `start_problem`, `status` and `retention::due` are pure, from data to data: they import no
//! client. The others do what was decided.

mod actions;
pub(crate) mod decide;
pub(crate) mod delete;
pub(crate) mod launch;
mod launch_order;
pub(crate) mod launch_queue;
pub(crate) mod orphans;
pub(crate) mod pod_events;
pub(crate) mod pod_outcome;
pub(crate) mod reconcile;
mod request;
pub(crate) mod retention;
mod start;
pub(crate) mod start_problem;
pub(crate) mod status;
pub(crate) mod uninstall;
mod waits;
pub(crate) mod writer;
