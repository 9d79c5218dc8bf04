//! `Agent.spec.podSpec`: what is passed on to the Pod, once it is known not to collide with what the Pod has.
//!
//! May touch: the Agent's podSpec. Must not touch: the meaning of core types, which the API server checks.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};
use kubeopencode_api::agent::AgentPodSpec;
use kubeopencode_api::literals::{APP_LABEL, GROUP};

use crate::Refusal;
use crate::paths::AbsPath;

/// Group of the volumes, so that any user of an image can use them.
const FS_GROUP: i64 = 65532;

/// Names of the volumes that the plan makes, by their beginning where they are numbered.
const OWN_VOLUMES: [&str; 3] = ["tools", "workspace", "context-files"];
const OWN_NUMBERED: [&str; 5] = ["credential-", "dir-mount-", "git-context-", "url-content-", "secret-file-"];

/// What the Agent adds to a Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodOptions {
    /// without the keys that are ignored
    pub(crate) spec: AgentPodSpec,
    /// keys of podSpec.labels that are not the Agent's to set
    pub(crate) ignored_labels: Vec<String>,
    /// where `volumeMounts` mount, with the place that names it
    pub(crate) mount_paths: Vec<(AbsPath, String)>,
}

impl PodOptions {
    pub(crate) fn read(spec: Option<&AgentPodSpec>, holder: &str) -> Result<Self, Refusal> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        let refuse = |field: String, problem: String| {
            Refusal::invalid_config(format!("spec.podSpec.{field} of {holder}: {problem}"))
        };
        let mut volumes = BTreeSet::new();
        for (i, volume) in spec.volumes.iter().enumerate() {
            let name = volume.name.as_str();
            let own = OWN_VOLUMES.contains(&name) || OWN_NUMBERED.iter().any(|start| name.starts_with(start));
            if own || !volumes.insert(name) {
                let problem = format!("the name \"{name}\" is taken already: choose another");
                return Err(refuse(format!("volumes[{i}]"), problem));
            }
        }
        let mut mount_paths = Vec::new();
        for (i, mount) in spec.volume_mounts.iter().enumerate() {
            let field = format!("volumeMounts[{i}]");
            if !volumes.contains(mount.name.as_str()) {
                let problem =
                    format!("there is no volume \"{}\": add it to spec.podSpec.volumes", mount.name);
                return Err(refuse(field, problem));
            }
            let path = AbsPath::parse(&mount.mount_path, None).map_err(|problem| {
                refuse(field.clone(), format!("mountPath \"{}\" {problem}", mount.mount_path))
            })?;
            mount_paths.push((path, format!("spec.podSpec.{field} of {holder}")));
        }
        let mut env = BTreeSet::new();
        for (i, variable) in spec.env.iter().enumerate() {
            if !env.insert(variable.name.as_str()) {
                let problem = format!("{} is set twice: remove one", variable.name);
                return Err(refuse(format!("env[{i}]"), problem));
            }
        }
        let mut spec = spec.clone();
        let mut ignored_labels = Vec::new();
        spec.labels.retain(|key, _| {
            let ours = key == APP_LABEL || key.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP);
            if ours {
                ignored_labels.push(key.clone());
            }
            !ours
        });
        Ok(Self { spec, ignored_labels, mount_paths })
    }

    /// Security context of every container.
    pub(crate) fn security_context(&self) -> SecurityContext {
        self.spec.security_context.clone().unwrap_or_else(|| SecurityContext {
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

    /// Security context of the Pod.
    pub(crate) fn pod_security_context(&self) -> PodSecurityContext {
        self.spec.pod_security_context.clone().unwrap_or_else(|| PodSecurityContext {
            fs_group: Some(FS_GROUP),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            ..PodSecurityContext::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn options(spec: Value) -> Result<PodOptions, String> {
        let spec: AgentPodSpec = serde_json::from_value(spec).unwrap();
        PodOptions::read(Some(&spec), "Agent team/a").map_err(|refusal| refusal.message)
    }

    #[test]
    fn reserved_labels_are_left_out_and_named() {
        let options = options(json!({"labels": {"app": "x", "kubeopencode.io/task": "y", "team": "z",
            "kubeopencode.io.example/a": "b"}}))
        .unwrap();
        assert_eq!(options.ignored_labels, ["app", "kubeopencode.io/task"]);
        assert_eq!(options.spec.labels.keys().collect::<Vec<_>>(), ["kubeopencode.io.example/a", "team"]);
    }

    #[test]
    fn collisions_are_refused_with_their_place() {
        for (spec, words) in [
            (
                json!({"volumes": [{"name": "tools", "emptyDir": {}}]}),
                "spec.podSpec.volumes[0] of Agent team/a: the name \"tools\" is taken",
            ),
            (json!({"volumes": [{"name": "credential-7", "emptyDir": {}}]}), "\"credential-7\" is taken"),
            (json!({"volumes": [{"name": "a"}, {"name": "a"}]}), "spec.podSpec.volumes[1]"),
            (
                json!({"volumeMounts": [{"name": "cache", "mountPath": "/c"}]}),
                "spec.podSpec.volumeMounts[0] of Agent team/a: there is no volume \"cache\"",
            ),
            (
                json!({"volumes": [{"name": "c"}], "volumeMounts": [{"name": "c", "mountPath": "x"}]}),
                "mountPath \"x\" is not absolute",
            ),
            (
                json!({"env": [{"name": "A"}, {"name": "A"}]}),
                "spec.podSpec.env[1] of Agent team/a: A is set twice",
            ),
        ] {
            let message = options(spec).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
