//! I23: every index of a Batch has at most one Task, ever, and at most `parallelism` of them are not over; what a Batch that
//! is over says of each index is how its Task ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kubeopencode_api::kubetask::batch::{BatchPhase, BatchStatus};
use kubeopencode_api::kubetask::batch_task::batch_task_name;
use serde::Deserialize;

use super::is_terminal;
use crate::record::{History, Kind, Revision};

/// The Tasks that one Batch ever had.
#[derive(Debug, Default)]
pub struct TasksOfBatch {
    /// The UIDs that each name ever had.
    pub uids: BTreeMap<String, BTreeSet<String>>,
    /// How many were not over at a time, at most.
    pub most: usize,
    /// The phase that each name was last in.
    phases: BTreeMap<String, String>,
    open: BTreeSet<String>,
}

/// The Tasks that each Batch ever had, by the Batch's UID.
pub fn tasks_of_batches(history: &History) -> HashMap<String, TasksOfBatch> {
    let mut batches = HashMap::<_, TasksOfBatch>::new();
    for task in history.revisions(Kind::KubeTask) {
        let Some(batch) = batch_of(task) else { continue };
        let (name, uid) = (task.name().to_owned(), task.uid().to_owned());
        let of_batch = batches.entry(batch.to_owned()).or_default();
        of_batch.uids.entry(name.clone()).or_default().insert(uid.clone());
        of_batch.phases.insert(name, task.text("/status/phase").to_owned());
        if task.gone || is_terminal(task) {
            of_batch.open.remove(&uid);
        } else {
            of_batch.open.insert(uid);
        }
        of_batch.most = of_batch.most.max(of_batch.open.len());
    }
    batches
}

/// UID of the Batch that controls a Task.
fn batch_of(task: &Revision) -> Option<&str> {
    let owners = task.list("/metadata/ownerReferences");
    let controls = owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == "Batch");
    controls?["uid"].as_str()
}

/// The fields of a Batch that say what its Tasks may be, and how they ended.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    variable_contexts: Vec<serde::de::IgnoredAny>,
    parallelism: Option<usize>,
}

pub(super) fn batches_run_once(history: &History, found: &mut Vec<String>) {
    let mut batches = tasks_of_batches(history);
    // its spec is what it is once it has started
    let newest: HashMap<_, &Arc<Revision>> =
        history.revisions(Kind::Batch).map(|batch| (batch.uid(), batch)).collect();
    for (uid, batch) in newest {
        let of_batch = batches.remove(uid).unwrap_or_default();
        // what the API server refuses to take, a test writes
        let Ok(spec) = Spec::deserialize(&batch.object["spec"]) else { continue };
        let (total, name) = (spec.variable_contexts.len(), batch.name());
        for (task, uids) in of_batch.uids.iter().filter(|(_, uids)| uids.len() > 1) {
            found.push(format!("I23: Task {task} of Batch {name} was made more than once: {uids:?}"));
        }
        let parallelism = spec.parallelism.unwrap_or(total);
        if of_batch.most > parallelism {
            found.push(format!(
                "I23: {} Tasks of Batch {name} were not over at a time, and {parallelism} may be",
                of_batch.most
            ));
        }
        let Ok(status) = BatchStatus::deserialize(&batch.object["status"]) else { continue };
        if !status.phase.is_some_and(BatchPhase::is_terminal) || batch.object["status"]["made"].is_null() {
            continue;
        }
        for index in 0..total {
            let phase = of_batch.phases.get(&batch_task_name(name, index));
            let is_completed = phase.is_some_and(|phase| phase == "Completed");
            let said = (status.completed_indexes.contains(index), status.failed_indexes.contains(index));
            if said != (is_completed, !is_completed) {
                found.push(format!(
                    "I23: Batch {name} is over, and index {index} was last {phase:?}: {:#}",
                    batch.object["status"]
                ));
            }
        }
    }
}
