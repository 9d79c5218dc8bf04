//! How far the Go operator has come with a Task: what this one would do about it.
//!
//! May touch: an object's JSON. Must not touch: its spec.

use kubeopencode_api::literals::FINALIZER;
use serde_json::Value;

use super::finding::Finding;

/// Whether it ran to its end.
pub(super) fn is_over(task: &Value) -> bool {
    matches!(task["status"]["phase"].as_str(), Some("Completed" | "Failed"))
}

/// What its status and its finalizers come to.
pub(super) fn of(task: &Value) -> Vec<Finding> {
    let phase = task["status"]["phase"].as_str().unwrap_or_default();
    let launched_here = task["status"]["podUID"].as_str().is_some_and(|uid| !uid.is_empty());
    let mut findings = Vec::new();
    match phase {
        "Completed" | "Failed" => findings.push(Finding::differs(format!(
            "status.phase: {phase}: it stays as it is, and nobody removes the Pod that another operator made: delete the Task \
             while the Go operator still runs"
        ))),
        "" => {}
        _ if launched_here => {}
        "Running" => findings.push(Finding::change(
            "status.phase: Running, without status.podUID: this operator would launch it, and its agent would run twice: wait \
             for its end, or stop it with the annotation kubeopencode.io/stop=true, before this operator is installed",
        )),
        _ => findings.push(Finding::change(format!(
            "status.phase: {phase}, without status.podUID: both operators would launch it: keep its YAML, delete it while the \
             Go operator still runs, and make it anew when this one does"
        ))),
    }
    let others = task["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    findings.extend(others.filter(|finalizer| *finalizer != FINALIZER).map(|finalizer| {
        Finding::change(format!(
            "metadata.finalizers: {finalizer} would hold it for ever once nobody removes it: delete the Task while the Go \
             operator still runs"
        ))
    }));
    findings
}
