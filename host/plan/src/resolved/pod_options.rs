//! `Agent.spec.podSpec`: what is passed on to the Pod, once it is known not to collide with what the Pod has.
//!
//! May touch: the Agent's podSpec. Must not touch: the meaning of core types, which the API server checks.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};
use kubeopencode_api::agent::AgentPodSpec;
use kubeopencode_api::literals::{APP_LABEL, GROUP};

use super::credentials::is_env_name;
use crate::Refusal;
use crate::object_name::{is_label_key, is_label_value};
use crate::paths::AbsPath;

/// Group of the volumes, so that any user of an image can use them.
const FS_GROUP: i64 = 65532;

/// Names of the volumes that the plan makes, by their beginning where they are numbered.
const OWN_VOLUMES: [&str; 3] = ["tools", "workspace", "context-files"];
const OWN_NUMBERED: [&str; 6] =
    ["credential-", "dir-mount-", "git-context-", "url-content-", "secret-file-", "secret-"];

/// Mode of a credential's files that kubelet gives to the Pod's group as well (it adds 0440), or that root reads.
const PRIVATE: u32 = 0o600;
/// Without a group of the Pod only this is readable by any user that an image may have. Nobody else is in the
/// container, and nothing writes to a Secret's volume.
const READABLE: u32 = 0o444;

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
            if is_own(name) || !volumes.insert(name) {
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
            if !is_env_name(&variable.name) {
                let problem = format!("\"{}\" cannot be the name of an environment variable", variable.name);
                return Err(refuse(format!("env[{i}].name"), problem));
            }
            if !env.insert(variable.name.as_str()) {
                let problem = format!("{} is set twice: remove one", variable.name);
                return Err(refuse(format!("env[{i}]"), problem));
            }
        }
        for (key, value) in &spec.labels {
            if !is_label_key(key) || !is_label_value(value) {
                let problem =
                    format!("\"{key}: {value}\" is no label: use at most 63 letters, digits, -, _ and .");
                return Err(refuse("labels".to_owned(), problem));
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

impl PodOptions {
    /// Mode of a credential's files that do not set one: readable by the agent's user, whoever that is.
    pub(crate) fn credential_mode(&self) -> u32 {
        let pod = self.pod_security_context();
        let container = self.spec.security_context.as_ref().and_then(|context| context.run_as_user);
        let is_root = container.or(pod.run_as_user) == Some(0);
        if pod.fs_group.is_some() || is_root { PRIVATE } else { READABLE }
    }
}

fn is_own(name: &str) -> bool {
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    OWN_VOLUMES.contains(&name)
        || OWN_NUMBERED.iter().any(|start| name.strip_prefix(start).is_some_and(is_number))
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
    fn a_credential_is_readable_by_whoever_runs() {
        for (spec, mode) in [
            (json!({}), 0o600),
            (json!({"podSecurityContext": {"fsGroup": 1000, "runAsUser": 1000}}), 0o600),
            (json!({"podSecurityContext": {"runAsUser": 0}}), 0o600),
            (json!({"podSecurityContext": {}}), 0o444),
            (json!({"podSecurityContext": {"runAsNonRoot": true}}), 0o444),
            (json!({"podSecurityContext": {"runAsUser": 0}, "securityContext": {"runAsUser": 1000}}), 0o444),
        ] {
            assert_eq!(options(spec.clone()).unwrap().credential_mode(), mode, "{spec}");
        }
    }

    #[test]
    fn volumes_of_the_agents_own_may_be_called_nearly_anything() {
        let spec = json!({"volumes": [{"name": "secret-store", "emptyDir": {}}, {"name": "credential-x", "emptyDir": {}}]});
        assert_eq!(options(spec).unwrap().spec.volumes.len(), 2);
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
            (
                json!({"env": [{"name": "A B"}]}),
                "spec.podSpec.env[0].name of Agent team/a: \"A B\" cannot be the name",
            ),
            (
                json!({"labels": {"team": "a b"}}),
                "spec.podSpec.labels of Agent team/a: \"team: a b\" is no label",
            ),
        ] {
            let message = options(spec).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
