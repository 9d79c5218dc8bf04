//! Volume mounts, short to write.
//!
//! May touch: that one Kubernetes type.

use k8s_openapi::api::core::v1::VolumeMount;

/// Volume with the agent's program, its configuration and the result reader.
pub(super) const TOOLS: &str = "tools";
/// Volume of the files that the plan holds.
pub(super) const CONTEXT_FILES: &str = "context-files";

/// A writable mount.
pub(super) fn mount(volume: impl Into<String>, path: impl Into<String>) -> VolumeMount {
    VolumeMount { name: volume.into(), mount_path: path.into(), ..VolumeMount::default() }
}

/// A mount that nobody writes to.
pub(super) fn read_only(volume: impl Into<String>, path: impl Into<String>) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(volume, path) }
}

/// The mount of a part of its volume.
pub(super) fn part(sub_path: impl Into<String>, mount: VolumeMount) -> VolumeMount {
    VolumeMount { sub_path: Some(sub_path.into()), ..mount }
}
