//! The Pod Security Standard "restricted", rule by rule, as the API server's admission checks it.

use serde::Deserialize;
use serde_json::Value;

use crate::program::render;

/// Kinds of volumes that the standard allows.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

#[test]
fn a_pod_with_everything_in_it_passes() {
    let said = render(&["-f", "restricted.yaml"], "");
    let documents = serde_norway::Deserializer::from_str(&said.stdout);
    let pod = documents.map(|document| Value::deserialize(document).unwrap()).find(|d| d["kind"] == "Pod");
    let spec = &pod.unwrap()["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_ne!(spec["securityContext"]["runAsUser"], 0);
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(spec.get(field).is_none(), "{field}");
    }
    for volume in spec["volumes"].as_array().unwrap() {
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        assert!(kinds.into_iter().all(|kind| VOLUMES.contains(&kind.as_str())), "{volume}");
    }
    let containers = ["initContainers", "containers"].map(|list| spec[list].as_array().unwrap());
    let names: Vec<_> = containers.iter().copied().flatten().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["opencode-init", "git-init-0", "url-fetch-0", "context-init", "agent"]);
    for container in containers.into_iter().flatten() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(context["capabilities"]["drop"][0], "ALL", "{container}");
        assert!(context["capabilities"].get("add").is_none(), "{container}");
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{container}");
        for field in ["privileged", "runAsUser", "procMount", "seLinuxOptions"] {
            assert!(context.get(field).is_none(), "{field} of {container}");
        }
        for port in container["ports"].as_array().into_iter().flatten() {
            assert!(port.get("hostPort").is_none(), "{container}");
        }
    }
}
