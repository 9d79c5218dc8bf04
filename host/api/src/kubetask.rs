//! `kubetask.io`: the older API group. Its Tasks are lowered into the same plan as those of the first group.
//!
//! May touch: types and their schemas. Must not touch: what becomes of them. What both groups share (file sources,
//! credentials, scheduling, a Task's status) stands with the first group and is used from there.

pub mod batch;
pub mod batch_task;
pub mod context;
pub mod indexes;
pub mod task;
pub mod workspace_config;
