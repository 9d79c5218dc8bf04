//! `stop`: the annotation of the contract.
//!
//! May touch: that annotation. Must not touch: the Pod, which the operator ends.

use kube::api::{Patch, PatchParams};
use kubeopencode_api::literals::STOP_ANNOTATION;
use kubeopencode_api::task::Task;
use serde_json::json;

use crate::args::{Place, Stop};
use crate::cluster::Cluster;
use crate::error::{Asked, Failure};
use crate::output::print;
use crate::task::{is_stopped, reference};
use crate::verbs::keep;

/// Asks for the end of Tasks. One that cannot be stopped keeps no other one.
///
/// # Errors
/// The first Task that is not there, or may not be changed.
pub(crate) async fn main(flags: Stop, place: &Place) -> Result<(), Failure> {
    let cluster = Cluster::connect(place).await?;
    let mut first = Ok(());
    for name in &flags.tasks {
        let stopped = stop(&cluster, name).await;
        match stopped {
            Ok(words) => print(words)?,
            Err(failure) => keep(&mut first, failure),
        }
    }
    first
}

async fn stop(cluster: &Cluster, name: &str) -> Result<String, Failure> {
    let task = cluster.task(name).await?;
    if let Some(words) = is_over(&task) {
        return Ok(words);
    }
    // of this very Task, and not of a later one of its name
    let patch = json!({"metadata": {"uid": task.metadata.uid, "annotations": {STOP_ANNOTATION: "true"}}});
    let patched = cluster.tasks().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    let asked = Asked::task(&cluster.namespace, name);
    patched
        .map(|task| format!("{} is being stopped\n", reference(&task)))
        .map_err(|error| asked.failed(&error))
}

/// What is said of a Task that needs no stop.
fn is_over(task: &Task) -> Option<String> {
    let how = match is_stopped(task) {
        true => "was stopped before",
        false => task.is_terminal().then_some("is over already: it stays as it is")?,
    };
    Some(format!("{} {how}\n", reference(task)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::task;

    #[test]
    fn a_task_that_is_over_is_left_alone() {
        assert_eq!(is_over(&task(json!({"phase": "Queued", "reason": "AgentAtCapacity"}))), None);
        let over = |reason: &str| is_over(&task(json!({"phase": "Completed", "reason": reason}))).unwrap();
        assert_eq!(over("Completed"), "task.kubeopencode.io/fix is over already: it stays as it is\n");
        assert_eq!(over("UserStopped"), "task.kubeopencode.io/fix was stopped before\n");
    }
}
