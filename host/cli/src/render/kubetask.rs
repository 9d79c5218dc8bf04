//! The Tasks of `kubetask.io` in the files: those that stand there, and those that the Batches make.
//!
//! May touch: objects of the files. Must not touch: what a Task comes to.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::batch_task::batch_task;
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_plan::frontend::kubetask::BatchPart;

use super::objects::{Objects, uid};

/// A Task, with its Batch if it has one.
pub(super) struct Found<'a> {
    pub(super) place: String,
    pub(super) task: Cow<'a, Task>,
    pub(super) batch: Option<BatchPart<'a>>,
}

/// All of them: the Tasks in the order of the files, then those of each Batch; or why one has no contexts or no name.
pub(super) fn tasks(objects: &Objects) -> Vec<Result<Found<'_>, String>> {
    let mut all = Vec::new();
    for (place, task) in &objects.kubetask {
        match batch_of(task) {
            None => all.push(Ok(Found { place: place.clone(), task: Cow::Borrowed(task), batch: None })),
            // it is among that Batch's
            Some(owner) if objects.batches.iter().any(|(_, batch)| batch.uid().as_deref() == Some(owner)) => {}
            Some(_) => all.push(Err(format!(
                "{place}: its contexts stand in its Batch, which is not there: name the file that holds it with -f"
            ))),
        }
    }
    for (place, batch) in &objects.batches {
        for index in 0..batch.spec.variable_contexts.len() {
            all.push(of_batch(objects, place, BatchPart { batch, index }));
        }
    }
    all
}

fn of_batch<'a>(objects: &'a Objects, place: &str, part: BatchPart<'a>) -> Result<Found<'a>, String> {
    let mut task = batch_task(part.batch, part.index);
    let (namespace, name) = (task.namespace().unwrap_or_default(), task.name_any());
    let place = format!("{place}: Task {name}");
    let is_it = |(_, other): &&(String, Task)| {
        other.name_any() == name && other.namespace().as_deref() == Some(namespace.as_str())
    };
    match objects.kubetask.iter().find(is_it) {
        Some((_, own)) if batch_of(own) == part.batch.uid().as_deref() => {
            Ok(Found { place, task: Cow::Borrowed(own), batch: Some(part) })
        }
        Some((other, _)) => Err(format!("{place}: its name is that of the Task in {other}: rename one")),
        None => {
            task.metadata.uid = Some(uid(&namespace, &name));
            Ok(Found { place, task: Cow::Owned(task), batch: Some(part) })
        }
    }
}

/// UID of the Batch that made it.
fn batch_of(task: &Task) -> Option<&str> {
    let is_batch = |owner: &&OwnerReference| {
        owner.controller == Some(true)
            && owner.api_version == Batch::api_version(&())
            && owner.kind == Batch::kind(&())
    };
    task.metadata.owner_references.iter().flatten().find(is_batch).map(|owner| owner.uid.as_str())
}
