//! Making a Batch's Tasks, and finding out whether they are there.
//!
//! A Task is made under the one name that its index has, so the API server takes one of any number of tries. Before that the
//! Batch is read: who decided on an old state of it makes nothing.

use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use kubeopencode_api::kubetask::batch::Batch;
use kubeopencode_api::kubetask::batch_task::{batch_task, batch_task_name};
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_api::names::ObjectKey;

use super::decide::{Known, Learnt};
use super::{Batches, CALM, MAX_PAUSE, Memory, PACE};
use crate::runtime::api_error::{CreateError, classify_create_error};

/// Tasks that are made or asked for at the same time.
const AT_ONCE: usize = 8;

/// What became of one Task that was to be made.
enum Made {
    /// This is known of it now.
    Known(Known),
    /// It was not made, and may be later.
    NotNow(String),
}

impl Batches {
    /// Asks the API server for Tasks that were counted, or made, and that the cache does not show.
    pub(super) async fn ask(
        &self,
        batch: &Batch,
        indexes: &[usize],
        learnt: &mut Learnt,
    ) -> Result<(), kube::Error> {
        let api = self.tasks_of(batch);
        let answers = futures::stream::iter(indexes.to_vec()).map(|index| {
            let (api, name) = (api.clone(), batch_task_name(&batch.name_any(), index));
            async move { (index, api.get_metadata_opt(&name).await) }
        });
        let mut answers = answers.buffer_unordered(AT_ONCE);
        while let Some((index, answer)) = answers.next().await {
            let known = match answer?.map(|task| owner_of(batch, &task.metadata)) {
                Some(Owner::Batch) => Known::Made(Timestamp::now()),
                Some(Owner::Nobody) => Known::Taken,
                Some(Owner::OlderBatch) | None => Known::Gone,
            };
            learnt.learn(index, known);
        }
        Ok(())
    }

    /// Makes these Tasks in their order, and stops at the first that the API server does not take. When to look again.
    pub(super) async fn make(
        &self,
        batch: &Batch,
        indexes: &[usize],
        memory: &mut Memory,
    ) -> Result<Duration, kube::Error> {
        if !self.is_current(batch).await? {
            return Ok(PACE);
        }
        let key = ObjectKey::of(batch);
        let tries = futures::stream::iter(indexes.to_vec())
            .map(|index| async move { (index, self.make_one(batch, index).await) });
        let mut tries = tries.buffered(AT_ONCE);
        while let Some((index, made)) = tries.next().await {
            match made? {
                Made::Known(known) => {
                    memory.learnt.learn(index, known);
                    (memory.refusal, memory.retry) = (None, None);
                }
                Made::NotNow(why) => {
                    let task = batch_task_name(&key.name, index);
                    memory.refusal = Some(format!("Task \"{task}\": {why}"));
                    let pause = self.failures.next(&key).min(MAX_PAUSE);
                    memory.retry = Some(Instant::now() + pause);
                    return Ok(pause);
                }
            }
        }
        // there may be room for more
        Ok(CALM)
    }

    /// Whether the Batch is what the decision was made on: another operator may have made Tasks since, which are gone by now.
    async fn is_current(&self, batch: &Batch) -> Result<bool, kube::Error> {
        let api = Api::<Batch>::namespaced(self.client.clone(), &batch.namespace().unwrap_or_default());
        let live = api.get_metadata_opt(&batch.name_any()).await?;
        let known = (&batch.metadata.uid, &batch.metadata.resource_version);
        Ok(live.is_some_and(|live| (&live.metadata.uid, &live.metadata.resource_version) == known))
    }

    #[expect(clippy::disallowed_methods, reason = "the only maker of a Batch's Tasks")]
    async fn make_one(&self, batch: &Batch, index: usize) -> Result<Made, kube::Error> {
        let (api, task) = (self.tasks_of(batch), batch_task(batch, index));
        let error = match api.create(&PostParams::default(), &task).await {
            Ok(_) => return Ok(Made::Known(Known::Made(Timestamp::now()))),
            Err(error) => error,
        };
        match classify_create_error(&error) {
            CreateError::Exists => {}
            CreateError::Invalid(why)
            | CreateError::NoRoom(why)
            | CreateError::Terminating(why)
            | CreateError::NoServiceAccount(why)
            | CreateError::Refused(why) => return Ok(Made::NotNow(why)),
            // the next try finds it, if it was made
            CreateError::Unknown => return Err(error),
        }
        let there = api.get_metadata_opt(&task.name_any()).await?;
        Ok(match there.as_ref().map(|there| owner_of(batch, &there.metadata)) {
            Some(Owner::Batch) => Made::Known(Known::Made(Timestamp::now())),
            Some(Owner::Nobody) => Made::Known(Known::Contested),
            Some(Owner::OlderBatch) => {
                Made::NotNow("one of an older Batch of this name has not gone yet".to_owned())
            }
            None => Made::NotNow("one of this name was there a moment ago".to_owned()),
        })
    }

    fn tasks_of(&self, batch: &Batch) -> Api<Task> {
        Api::namespaced(self.client.clone(), &batch.namespace().unwrap_or_default())
    }
}

/// Whose a Task is that has the name of one of the Batch's Tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Batch,
    /// A Batch of the same name that is gone, and garbage collection takes the Task with it; or the Task is going already.
    OlderBatch,
    Nobody,
}

fn owner_of(batch: &Batch, task: &ObjectMeta) -> Owner {
    let owner = task.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    if owner.is_some_and(|owner| Some(&owner.uid) == batch.metadata.uid.as_ref()) {
        return Owner::Batch;
    }
    let is_of_older =
        owner.is_some_and(|owner| owner.kind == "Batch" && Some(&owner.name) == batch.metadata.name.as_ref());
    if is_of_older || task.deletion_timestamp.is_some() { Owner::OlderBatch } else { Owner::Nobody }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_task_is_a_batchs_by_the_uid_of_its_controller() {
        let batch: Batch = serde_json::from_value(json!({
            "metadata": {"name": "b", "namespace": "n", "uid": "new"}, "spec": {"variableContexts": [[]]}
        }))
        .unwrap();
        let own = batch_task(&batch, 0).metadata;
        assert_eq!(owner_of(&batch, &own), Owner::Batch);
        let task = |owners: Value, deleted: Option<&str>| -> ObjectMeta {
            serde_json::from_value(json!({"ownerReferences": owners, "deletionTimestamp": deleted})).unwrap()
        };
        let owner = |kind: &str, uid: &str, controls: bool| json!([{"apiVersion": "kubetask.io/v1alpha1", "kind": kind, "name": "b", "uid": uid, "controller": controls}]);
        let going = Some("2026-01-01T00:00:00Z");
        for (there, expected) in [
            (task(json!(null), None), Owner::Nobody),
            (task(json!(null), going), Owner::OlderBatch),
            (task(owner("Batch", "old", true), None), Owner::OlderBatch),
            (task(owner("Batch", "new", false), None), Owner::Nobody),
            (task(owner("CronTask", "x", true), None), Owner::Nobody),
            (task(owner("Batch", "new", true), going), Owner::Batch),
        ] {
            assert_eq!(owner_of(&batch, &there), expected, "{there:?}");
        }
    }
}
