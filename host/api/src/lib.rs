//! The API of KubeOpenCode: CRD types, names, literals, and the data that crosses the plugin boundary.
//!
//! May touch: types, schemas, pure functions over them. Must not touch: a Kubernetes client, files, clocks.

pub mod plugin;
pub mod report;
