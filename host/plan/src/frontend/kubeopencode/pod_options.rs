//! `Agent.spec.podSpec`: what is passed on to the Pod, once it is known not to collide with what the Pod has.
//!
//! May touch: the Agent's podSpec and the settings' defaults of it. Must not touch: the meaning of core types, which the API server checks.

use std::collections::BTreeSet;

use kubeopencode_api::agent::AgentPodSpec;
use kubeopencode_api::config::Defaults;
use kubeopencode_api::literals::DEFAULT_CONTAINER_ANNOTATION;
use serde::Serialize;

use crate::Refusal;
use crate::build::network::is_for_all;
use crate::frontend::own_keys;
use crate::object_name::{is_env_name, is_label_key};
use crate::paths::AbsPath;
use crate::run::pod_options::PodOptions;

/// Names of the volumes that the plan makes, by their beginning where they are numbered.
const OWN_VOLUMES: [&str; 4] = ["tools", "workspace", "context-files", "ca-bundle"];
const OWN_NUMBERED: [&str; 6] =
    ["credential-", "dir-mount-", "git-context-", "url-content-", "secret-file-", "secret-"];

/// Most bytes of a podSpec as JSON: a Pod needs far less, and some of it may be there once for each of its containers.
const MAX_BYTES: usize = 512 << 10;
/// The same of what every container gets: there may be more than sixty of them. Proxies count once, and are given in both spellings.
const MAX_OF_EACH: usize = 8 << 10;
/// The same of a mount, of which every container gets those with authorities.
const MAX_OF_MOUNT: usize = 4 << 10;

/// Checks what the Agent adds to a Pod, and takes what it does not say from the settings.
pub(super) fn read(
    spec: Option<&AgentPodSpec>,
    defaults: &Defaults,
    holder: &str,
) -> Result<PodOptions, Refusal> {
    let none = AgentPodSpec::default();
    let spec = spec.unwrap_or(&none);
    let refuse = |field: String, problem: String| {
        Refusal::invalid_config(format!("spec.podSpec.{field} of {holder}: {problem}"))
    };
    check_size(spec, holder)?;
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
            let problem = format!("there is no volume \"{}\": add it to spec.podSpec.volumes", mount.name);
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
    let (labels, ignored_labels) = own_keys::labels("spec.podSpec.labels", &spec.labels)
        .map_err(|problem| refuse("labels".to_owned(), problem))?;
    for key in spec.annotations.keys() {
        if !is_label_key(key) {
            let problem = format!(
                "\"{key}\" is no key: use at most 63 letters, digits, -, _ and ., after a domain and /"
            );
            return Err(refuse("annotations".to_owned(), problem));
        }
    }
    let (annotations, ignored_annotations) =
        own_keys::leave_out("spec.podSpec.annotations", &spec.annotations, DEFAULT_CONTAINER_ANNOTATION);
    let pull_secrets = match spec.image_pull_secrets.as_slice() {
        [] => &defaults.image_pull_secrets,
        _ => &spec.image_pull_secrets,
    };
    let scheduling = spec.scheduling.clone().unwrap_or_default();
    Ok(PodOptions {
        labels,
        annotations,
        ignored: ignored_labels.into_iter().chain(ignored_annotations).collect(),
        node_selector: scheduling.node_selector,
        tolerations: scheduling.tolerations,
        affinity: scheduling.affinity,
        topology_spread_constraints: spec.topology_spread_constraints.clone(),
        scheduler_name: spec.scheduler_name.clone(),
        priority_class_name: spec.priority_class_name.clone(),
        termination_grace_period_seconds: spec.termination_grace_period_seconds,
        runtime_class_name: spec.runtime_class_name.clone(),
        resources: spec.resources.clone().or_else(|| defaults.resources.clone()),
        security_context: spec.security_context.clone(),
        pod_security_context: spec
            .pod_security_context
            .clone()
            .or_else(|| defaults.pod_security_context.clone()),
        image_pull_secrets: pull_secrets.clone(),
        env: spec.env.clone(),
        volumes: spec.volumes.clone(),
        volume_mounts: spec.volume_mounts.clone(),
        mount_paths,
        host_aliases: spec.host_aliases.clone(),
        dns_config: spec.dns_config.clone(),
    })
}

/// What an Agent says of its Pod must not decide how much memory the plan takes.
fn check_size(spec: &AgentPodSpec, holder: &str) -> Result<(), Refusal> {
    let bytes = json_bytes(spec);
    if bytes > MAX_BYTES {
        return Err(Refusal::invalid_config(format!(
            "spec.podSpec of {holder}: it has {bytes} bytes, at most {MAX_BYTES} are allowed: leave some out"
        )));
    }
    for (i, mount) in spec.volume_mounts.iter().enumerate() {
        let bytes = json_bytes(mount);
        if bytes > MAX_OF_MOUNT {
            return Err(Refusal::invalid_config(format!(
                "spec.podSpec.volumeMounts[{i}] of {holder}: it has {bytes} bytes, at most {MAX_OF_MOUNT} are allowed: shorten it"
            )));
        }
    }
    let for_all: Vec<_> = spec.env.iter().filter(|variable| is_for_all(&variable.name)).collect();
    let of_each = [
        ("resources", json_bytes(&spec.resources)),
        ("securityContext", json_bytes(&spec.security_context)),
        ("env", json_bytes(&for_all)),
    ];
    match of_each.into_iter().find(|(_, bytes)| *bytes > MAX_OF_EACH) {
        None => Ok(()),
        Some((field, bytes)) => Err(Refusal::invalid_config(format!(
            "spec.podSpec.{field} of {holder}: {bytes} bytes of it go to each container of the Pod, at most {MAX_OF_EACH} are \
             allowed: leave some out"
        ))),
    }
}

fn json_bytes(of: &impl Serialize) -> usize {
    serde_json::to_vec(of).map_or(0, |json| json.len())
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
    use crate::run::pod_options::IgnoredKeys;

    fn options(spec: Value) -> Result<PodOptions, String> {
        let spec: AgentPodSpec = serde_json::from_value(spec).unwrap();
        read(Some(&spec), &Defaults::default(), "Agent team/a").map_err(|refusal| refusal.message)
    }

    #[test]
    fn reserved_labels_are_left_out_and_named() {
        let options = options(json!({"labels": {"app": "x", "kubeopencode.io/task": "y", "team": "z",
            "kubeopencode.io.example/a": "b"}}))
        .unwrap();
        let [IgnoredKeys { field, keys }] = options.ignored.try_into().unwrap();
        assert_eq!((field, keys), ("spec.podSpec.labels", vec!["app".into(), "kubeopencode.io/task".into()]));
        assert_eq!(options.labels.keys().collect::<Vec<_>>(), ["kubeopencode.io.example/a", "team"]);
    }

    #[test]
    fn reserved_annotations_are_left_out_and_named() {
        let options = options(json!({"annotations": {"kubectl.kubernetes.io/default-container": "x",
            "kubeopencode.io/plan": "y", "kubetask.io/plan": "y", "linkerd.io/inject": "disabled"}}))
        .unwrap();
        let [IgnoredKeys { field, keys }] = options.ignored.try_into().unwrap();
        assert_eq!(field, "spec.podSpec.annotations");
        assert_eq!(
            keys,
            ["kubectl.kubernetes.io/default-container", "kubeopencode.io/plan", "kubetask.io/plan"]
        );
        assert_eq!(options.annotations.keys().collect::<Vec<_>>(), ["linkerd.io/inject"]);
    }

    #[test]
    fn what_an_agent_does_not_say_is_the_settings() {
        let defaults: Defaults = serde_json::from_value(json!({"imagePullSecrets": [{"name": "d"}],
            "resources": {"requests": {"cpu": 1}}, "podSecurityContext": {}}))
        .unwrap();
        let taken = read(None, &defaults, "Agent team/a").unwrap();
        assert_eq!(taken.image_pull_secrets, defaults.image_pull_secrets);
        assert_eq!(taken.resources, defaults.resources);
        assert_eq!(taken.pod_security_context().fs_group, None);
        assert_eq!(taken.credential_mode(), 0o444, "any user reads it");
        let spec: AgentPodSpec = serde_json::from_value(json!({"imagePullSecrets": [{"name": "a"}],
            "resources": {}, "podSecurityContext": {"fsGroup": 5}}))
        .unwrap();
        let own = read(Some(&spec), &defaults, "Agent team/a").unwrap();
        assert_eq!(own.image_pull_secrets, spec.image_pull_secrets);
        assert_eq!(own.resources, spec.resources);
        assert_eq!(own.pod_security_context().fs_group, Some(5));
    }

    #[test]
    fn root_gets_no_group_so_that_ssh_takes_its_keys() {
        for (spec, group) in [
            (json!({"securityContext": {"runAsUser": 0}}), None),
            (json!({"securityContext": {"runAsUser": 1000}}), Some(65532)),
            (json!({}), Some(65532)),
            (json!({"securityContext": {"runAsUser": 0}, "podSecurityContext": {"fsGroup": 7}}), Some(7)),
        ] {
            let options = options(spec.clone()).unwrap();
            assert_eq!(options.pod_security_context().fs_group, group, "{spec}");
        }
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
        assert_eq!(options(spec).unwrap().volumes.len(), 2);
    }

    #[test]
    fn what_every_container_gets_is_not_much() {
        let long = "x".repeat(MAX_OF_EACH);
        let refused = |spec: Value| options(spec).unwrap_err();
        for (field, bytes, spec) in [
            ("resources", 8213, json!({"resources": {"limits": {"cpu": long}}})),
            ("securityContext", 8223, json!({"securityContext": {"seLinuxOptions": {"level": long}}})),
            ("env", 8224, json!({"env": [{"name": "no_proxy", "value": long}]})),
        ] {
            let words = format!(
                "spec.podSpec.{field} of Agent team/a: {bytes} bytes of it go to each container of the Pod, at most 8192 are \
                 allowed: leave some out"
            );
            assert_eq!(refused(spec), words);
        }
        assert!(
            options(json!({"env": [{"name": "RULES", "value": long}]})).is_ok(),
            "the agent alone gets it"
        );
        let mounts = |sub_path: &str| {
            let mounts = json!([{"name": "ca", "mountPath": "/a"}, {"name": "ca", "mountPath": "/ca", "subPath": sub_path}]);
            json!({"volumes": [{"name": "ca", "emptyDir": {}}], "volumeMounts": mounts})
        };
        assert_eq!(
            refused(mounts(&long)),
            "spec.podSpec.volumeMounts[1] of Agent team/a: it has 8236 bytes, at most 4096 are allowed: shorten it"
        );
        assert!(options(mounts(&long[..4000])).is_ok());
        let env: Vec<_> = (0..70).map(|i| json!({"name": format!("RULES_{i}"), "value": long})).collect();
        let message = refused(json!({"env": env}));
        assert!(message.starts_with("spec.podSpec of Agent team/a: it has 57"), "{message}");
        assert!(message.ends_with(" bytes, at most 524288 are allowed: leave some out"), "{message}");
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
            (
                json!({"annotations": {"a b": "c"}}),
                "spec.podSpec.annotations of Agent team/a: \"a b\" is no key",
            ),
            (json!({"volumes": [{"name": "ca-bundle", "emptyDir": {}}]}), "\"ca-bundle\" is taken"),
        ] {
            let message = options(spec).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
