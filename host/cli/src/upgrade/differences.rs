//! What is taken, and does something else than docs/spec/architecture.md says, or needs a hand at the move.
//!
//! May touch: an object's JSON. Must not touch: what is refused, which the code of `render` knows.

use kubeopencode_api::literals::{DEFAULT_NAME, FINALIZER, STOP_ANNOTATION};
use serde_json::Value;

use super::report::Finding;

/// Field by field, in the order of docs/from-go-kubeopencode.md.
pub(super) fn of(kind: &str, name: &str, object: &Value, is_the_operators: bool) -> Vec<Finding> {
    let spec = &object["spec"];
    match kind {
        "Task" if is_over(object) => progress(object),
        "Task" => [contexts(spec), progress(object)].concat(),
        "Agent" => [agent(name, spec), contexts(spec)].concat(),
        "KubeOpenCodeConfig" => config(name, spec, is_the_operators),
        _ => Vec::new(),
    }
}

/// Whether it is a Task that ran to its end.
pub(super) fn is_over(object: &Value) -> bool {
    matches!(object["status"]["phase"].as_str(), Some("Completed" | "Failed"))
}

/// How far the Go operator has come with a Task, and what this one would do about it.
fn progress(task: &Value) -> Vec<Finding> {
    let status = &task["status"];
    let of_phase = match status["phase"].as_str() {
        // by this operator
        _ if status["podUID"].is_string() => None,
        None => None,
        Some(phase @ ("Completed" | "Failed")) => Some(Finding::differs(format!(
            "status.phase: {phase}: it stays as it is, and so does its Pod where that is in another namespace: delete the Task \
             while the Go operator still runs"
        ))),
        Some("Running") => Some(Finding::change(format!(
            "status.phase: Running, without status.podUID: this operator ends it as Failed (PodLost) and leaves its Pod alone: wait \
             for its end, or stop it with the annotation {STOP_ANNOTATION}=true, before this operator is installed"
        ))),
        Some(phase) => Some(Finding::change(format!(
            "status.phase: {phase}, without status.podUID: the operator that comes first launches it, or both do: keep its YAML, \
             delete it while the Go operator still runs, and make it anew when this one does"
        ))),
    };
    let finalizers =
        task["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let others = finalizers.filter(|finalizer| *finalizer != FINALIZER).map(|finalizer| {
        Finding::change(format!(
            "metadata.finalizers: {finalizer} holds the Task for ever once nobody removes it: delete the Task while the Go \
             operator still runs"
        ))
    });
    of_phase.into_iter().chain(others).collect()
}

fn agent(name: &str, spec: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
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
    if spec["serverConfig"].is_object() {
        findings.push(Finding::change(format!(
            "spec.serverConfig: the Deployment {name}-server and the Service {name} of another operator are not taken over \
             (NameConflict): take the field out while the Go operator still runs, and put it back when this one does"
        )));
    }
    if spec["podSpec"]["securityContext"].is_null() {
        findings.push(Finding::differs(
            "spec.podSpec.securityContext: by default containers have no capabilities, no privilege escalation and the seccomp \
             profile RuntimeDefault, and the Pod has fsGroup 65532: set it, and podSecurityContext, where an image needs more",
        ));
    }
    findings
}

fn contexts(spec: &Value) -> Vec<Finding> {
    let all = spec["contexts"].as_array().into_iter().flatten().enumerate();
    let clones = all.filter(|(_, context)| context["type"] == "Git");
    let findings = clones.map(|(i, _)| {
        Finding::differs(format!(
            "spec.contexts[{i}].git: a project's own opencode.json is not read, unless the Agent says that it trusts it"
        ))
    });
    findings.collect()
}

fn config(name: &str, spec: &Value, is_the_operators: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if name != DEFAULT_NAME {
        findings.push(Finding::change(format!(
            "metadata.name: a KubeOpenCodeConfig has the name \"{DEFAULT_NAME}\", no other one is read: rename it"
        )));
    }
    if !is_the_operators {
        findings.push(Finding::differs(
            "metadata.namespace: it holds for its own namespace, field by field before the one in the operator's namespace \
             (--operator-namespace)",
        ));
    }
    if !spec["systemImage"]["image"].is_null() {
        findings.push(Finding::differs(
            "spec.systemImage.image: init containers run programs of this operator in it: name the image of this operator, or \
             remove the field",
        ));
    }
    findings
}
