//! What is taken, and does something else than docs/spec/architecture.md says, or needs a hand at the move.
//!
//! May touch: an object's JSON. Must not touch: what is refused, which the code of `render` knows.

use kubeopencode_api::literals::DEFAULT_NAME;
use serde_json::Value;

use super::finding::Finding;

/// Field by field, in the order of docs/from-go-kubeopencode.md.
pub(super) fn of(kind: &str, name: &str, in_operator_namespace: bool, object: &Value) -> Vec<Finding> {
    match kind {
        "Task" => contexts(&object["spec"]),
        "Agent" => agent(name, &object["spec"]),
        "KubeOpenCodeConfig" => config(name, in_operator_namespace, &object["spec"]),
        _ => Vec::new(),
    }
}

/// Of any object of that group.
pub(super) fn kubetask() -> Finding {
    Finding::differs(
        "this operator runs kubetask.io too; `kubeopencode render` says what is refused, and `kubeopencode migrate` writes it as \
         objects of kubeopencode.io",
    )
}

fn agent(name: &str, spec: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    if spec["serverConfig"].is_object() {
        findings.push(Finding::change(format!(
            "spec.serverConfig: the Deployment {name}-server and the Service {name} of another operator are not taken over \
             (NameConflict): take the field out while the Go operator still runs, and put it back when this one does"
        )));
    }
    if spec["command"].as_array().is_some_and(|command| !command.is_empty()) {
        findings.push(Finding::differs(
            "spec.command: it is taken, and its exit code alone decides how a Task ends: without it the default command also \
             fills status.result and status.usage",
        ));
    }
    for limit in ["maxConcurrentTasks", "quota"] {
        if !spec[limit].is_null() && spec[limit] != 0 {
            findings.push(Finding::differs(format!(
                "spec.{limit}: Tasks start as soon as there is room, in the order of their creation over all namespaces"
            )));
        }
    }
    if !spec["podSpec"]["resources"].is_null() {
        findings
            .push(Finding::differs("spec.podSpec.resources: they are those of every container of the Pod"));
    }
    if spec["podSpec"]["securityContext"].is_null() {
        findings.push(Finding::differs(
            "spec.podSpec.securityContext: containers have no capabilities, no privilege escalation and the seccomp profile \
             RuntimeDefault, the Pod has fsGroup 65532: set it, and podSecurityContext, where an image needs more",
        ));
    }
    findings.extend(contexts(spec));
    findings
}

fn contexts(spec: &Value) -> Vec<Finding> {
    let all = spec["contexts"].as_array().into_iter().flatten().enumerate();
    let clones = all.filter(|(_, context)| context["type"] == "Git");
    let findings = clones.map(|(i, _)| {
        Finding::differs(format!(
            "spec.contexts[{i}].git: a repository's own opencode.json is not read, unless the Agent says that it trusts it"
        ))
    });
    findings.collect()
}

fn config(name: &str, in_operator_namespace: bool, spec: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    if name != DEFAULT_NAME {
        findings.push(Finding::change(format!(
            "metadata.name: a KubeOpenCodeConfig has the name \"{DEFAULT_NAME}\", no other one is read: rename it"
        )));
    }
    if !spec["systemImage"]["image"].is_null() {
        findings.push(Finding::differs(
            "spec.systemImage.image: the init containers run this operator's programs in it: name the image of this operator, or \
             remove the field",
        ));
    }
    if !in_operator_namespace {
        findings.push(Finding::differs(
            "metadata.namespace: it holds for the Tasks of its namespace, field by field, and the one in the operator's \
             namespace (--operator-namespace) for all others",
        ));
    }
    findings
}
