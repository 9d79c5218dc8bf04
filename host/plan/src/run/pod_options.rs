//! What is passed on to the Pod as the agent's configuration says it.
//!
//! May touch: these types. Must not touch: the meaning of core types, which the API server checks.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, EnvVar, HostAlias, LocalObjectReference, PodDNSConfig, PodSecurityContext,
    ResourceRequirements, SeccompProfile, SecurityContext, Toleration, TopologySpreadConstraint, Volume,
    VolumeMount,
};

use crate::paths::AbsPath;

/// Group of the volumes, so that any user of an image can use them.
const FS_GROUP: i64 = 65532;

/// Mode of a credential's files that kubelet gives to the Pod's group as well (it adds 0440), or that root reads.
const PRIVATE: u32 = 0o600;
/// Without a group of the Pod only this is readable by any user that an image may have. Nobody else is in the
/// container, and nothing writes to a Secret's volume.
const READABLE: u32 = 0o444;

/// What the agent's configuration adds to a Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodOptions {
    /// without the keys that are ignored
    pub(crate) labels: BTreeMap<String, String>,
    /// without the keys that are ignored
    pub(crate) annotations: BTreeMap<String, String>,
    /// keys of labels and annotations that users must not set
    pub(crate) ignored: Vec<IgnoredKeys>,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) topology_spread_constraints: Vec<TopologySpreadConstraint>,
    pub(crate) scheduler_name: Option<String>,
    pub(crate) priority_class_name: Option<String>,
    /// seconds that the containers have to end
    pub(crate) termination_grace_period_seconds: Option<i64>,
    pub(crate) runtime_class_name: Option<String>,
    /// of every container
    pub(crate) resources: Option<ResourceRequirements>,
    /// of every container, in place of the default
    pub(crate) security_context: Option<SecurityContext>,
    /// in place of the default
    pub(crate) pod_security_context: Option<PodSecurityContext>,
    pub(crate) image_pull_secrets: Vec<LocalObjectReference>,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) volume_mounts: Vec<VolumeMount>,
    /// where `volume_mounts` mount, with the field that says so
    pub(crate) mount_paths: Vec<(AbsPath, String)>,
    pub(crate) host_aliases: Vec<HostAlias>,
    pub(crate) dns_config: Option<PodDNSConfig>,
}

/// Keys of a field that are left out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IgnoredKeys {
    /// As in `spec.podSpec.labels`.
    pub(crate) field: &'static str,
    /// At least one.
    pub(crate) keys: Vec<String>,
}

impl PodOptions {
    /// Security context of every container.
    pub(crate) fn security_context(&self) -> SecurityContext {
        self.security_context.clone().unwrap_or_else(|| SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..SecurityContext::default()
        })
    }

    /// Security context of the Pod. Where all containers run as root, no group has to open the volumes to them, and the one
    /// that kubelet would give to a Secret's files makes ssh refuse its keys (it takes none of its own that others may read).
    pub(crate) fn pod_security_context(&self) -> PodSecurityContext {
        if let Some(given) = &self.pod_security_context {
            return given.clone();
        }
        if self.container_user() == Some(0) {
            return PodSecurityContext::default();
        }
        PodSecurityContext {
            fs_group: Some(FS_GROUP),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            ..PodSecurityContext::default()
        }
    }

    fn container_user(&self) -> Option<i64> {
        self.security_context.as_ref()?.run_as_user
    }

    /// The stated mode of a context's file, so that the agent's user can do with it what its owner can but write, whoever
    /// owns it: kubelet and the init containers' user do. As kubelet does, the Pod's group is given that; where there is none,
    /// everybody, since nobody else is in the container.
    pub(crate) fn for_the_agent(&self, stated: u32) -> u32 {
        let group = (stated & 0o500) >> 3;
        let everybody = if self.pod_security_context().fs_group.is_none() { group >> 3 } else { 0 };
        stated | group | everybody
    }

    /// Mode of a credential's files that do not set one: readable by the agent's user, whoever that is.
    pub(crate) fn credential_mode(&self) -> u32 {
        let pod = self.pod_security_context();
        let is_root = self.container_user().or(pod.run_as_user) == Some(0);
        if pod.fs_group.is_some() || is_root { PRIVATE } else { READABLE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stated_mode_lets_the_agents_user_read() {
        let with_group = PodOptions::default();
        let without =
            PodOptions { pod_security_context: Some(PodSecurityContext::default()), ..PodOptions::default() };
        for (stated, group, everybody) in [
            (0o600, 0o640, 0o644),
            (0o400, 0o440, 0o444),
            (0o700, 0o750, 0o755),
            (0o644, 0o644, 0o644),
            (0o755, 0o755, 0o755),
            (0o200, 0o200, 0o200),
            (0, 0, 0),
        ] {
            assert_eq!(with_group.for_the_agent(stated), group, "{stated:o}");
            assert_eq!(without.for_the_agent(stated), everybody, "{stated:o}");
        }
    }
}
