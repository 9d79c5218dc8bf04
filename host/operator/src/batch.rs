//! Batches of `kubetask.io`: the only maker of their Tasks, and the only writer of their status.
//!
//! One reconciliation of a Batch reads the caches, decides, makes the Tasks that there is room for, and writes how the Batch stands.
//! `decide` and `status` are pure. What runs a Task is in `task`, and knows of no order among the Tasks of a Batch.

mod decide;
mod make;
#[cfg(test)]
mod model;
pub(crate) mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::kubetask::batch::{Batch, BatchPhase, BatchStatus};
use kubeopencode_api::kubetask::batch_task::batch_task_name;
use kubeopencode_api::names::ObjectKey;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use self::decide::{Facts, Known, Learnt, UNSEEN, decide};
use crate::cache::Caches;
use crate::cache::item::{Item, Unreadable};
use crate::cache::pending_writes::PendingWrites;
use crate::frontend::{Frontend, KubeTask, batches_that_go_on, is_of};
use crate::runtime::api_error::{is_conflict, is_outdated, is_too_large, label, words};
use crate::runtime::backoff::Failures;
use crate::runtime::event_recorder::{EventRecorder, EventType, Note};
use crate::runtime::keyed_queue::run_keyed;
use crate::runtime::metrics::Metrics;

/// Shortest time between two writes of one Batch's status.
const PACE: Duration = Duration::from_secs(1);
/// Shortest time between two reconciliations of one Batch: each of its Tasks enqueues it whenever it changes.
const CALM: Duration = Duration::from_millis(50);
/// How often every Batch that goes on is enqueued without a cause, in case one was missed.
const RESYNC: Duration = Duration::from_secs(60);
/// Batches that are reconciled at the same time.
const CONCURRENCY: usize = 8;
/// Pauses before a reconciliation that failed is repeated: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The Batches.
pub(crate) struct Batches {
    client: Client,
    caches: Arc<Caches>,
    events: EventRecorder,
    metrics: Arc<Metrics>,
    /// Own writes of Batches that the cache does not show yet.
    written: PendingWrites,
    memories: Mutex<HashMap<ObjectKey, Memory>>,
    failures: Failures<ObjectKey>,
}

/// What is remembered of a Batch between two reconciliations.
#[derive(Debug, Default)]
struct Memory {
    uid: String,
    learnt: Learnt,
    /// Why the API server took no Task at the last try.
    refusal: Option<String>,
    /// When it is tried again.
    retry: Option<Instant>,
    reconciled: Option<Instant>,
    written: Option<Instant>,
    /// Whether it was told that its status does not fit into etcd.
    is_too_large: bool,
}

impl Memory {
    /// What people should know of a write that failed, and hear once.
    fn news_of(&mut self, error: &kube::Error) -> Option<Note> {
        let is_news = is_too_large(error) && !std::mem::replace(&mut self.is_too_large, true);
        is_news.then(|| Note {
            type_: EventType::Warning,
            reason: "TooLarge",
            note: "its status does not fit into etcd: make the Batch smaller, or delete it".to_owned(),
        })
    }
}

impl Batches {
    /// None was reconciled yet.
    pub(crate) fn new(
        client: Client,
        caches: Arc<Caches>,
        events: EventRecorder,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            client,
            caches,
            events,
            metrics,
            written: PendingWrites::default(),
            memories: Mutex::default(),
            failures: Failures::starting_with(FIRST_PAUSE),
        }
    }

    /// Reconciles the Batches in the queue, and all that go on now and then, until nobody can enqueue one any more.
    pub(crate) async fn run(&self, queue: UnboundedReceiver<ObjectKey>) {
        let all = || batches_that_go_on(&self.caches.kubetask.batches);
        run_keyed(
            queue,
            RESYNC,
            CONCURRENCY,
            |_| false,
            |key| Some(key.namespace.as_str()),
            all,
            |key| self.reconcile(key),
        )
        .await;
    }

    /// The watch listed all Batches anew.
    pub(crate) fn were_listed(&self) {
        self.written.forget_all();
    }

    /// One reconciliation; how long until the next that nobody asks for.
    async fn reconcile(&self, key: ObjectKey) -> Option<Duration> {
        let Some(item) = self.caches.kubetask.batch(&key) else {
            self.memories.lock().remove(&key);
            self.failures.forget(&key);
            return None;
        };
        let uid = item.meta().uid.clone().unwrap_or_default();
        let remembered = self.memories.lock().remove(&key).filter(|memory| memory.uid == uid);
        let mut memory = remembered.unwrap_or_else(|| Memory { uid, ..Memory::default() });
        let started = Instant::now();
        let result = self.bring_up_to_date(&key, &item, &mut memory).await;
        let is_refused = memory.refusal.is_some();
        self.memories.lock().insert(key.clone(), memory);
        match result {
            Ok(again) => {
                if !is_refused {
                    self.failures.forget(&key);
                }
                again
            }
            Err(error) => {
                self.metrics.failed(label(&error));
                let pause = self.failures.next(&key).min(MAX_PAUSE);
                tracing::warn!(batch = %key, error = words(&error), ?pause, took = ?started.elapsed(), "the Batch could not be reconciled, requeued");
                Some(pause)
            }
        }
    }

    async fn bring_up_to_date(
        &self,
        key: &ObjectKey,
        item: &Item<Batch>,
        memory: &mut Memory,
    ) -> Result<Option<Duration>, kube::Error> {
        let version = item.meta().resource_version.as_deref();
        if let Some(rest) = self.written.stale_for(&memory.uid, version) {
            return Ok(Some(rest));
        }
        let batch = match item.get() {
            Ok(batch) => batch,
            Err(unreadable) => return self.refuse(item, unreadable, memory).await,
        };
        let facts = Facts::of(batch);
        if facts.is_done() {
            return Ok(None);
        }
        if let Some(rest) = rest(memory.reconciled, CALM) {
            return Ok(Some(rest));
        }
        memory.reconciled = Some(Instant::now());
        let shown = |index| self.shown(key, item, index);
        let mut known = memory.learnt.with(&facts, shown);
        let mut next = decide(&facts, &known, Timestamp::now());
        if !next.ask.is_empty() {
            self.ask(batch, &next.ask, &mut memory.learnt).await?;
            known = memory.learnt.with(&facts, shown);
            next = decide(&facts, &known, Timestamp::now());
        }
        let mut again = memory.retry.map(|at| at.saturating_duration_since(Instant::now()));
        if next.make.is_empty() {
            (again, memory.refusal, memory.retry) = (None, None, None);
        } else if again.is_none_or(|rest| rest.is_zero()) {
            again = Some(self.make(batch, &next.make, memory).await?);
            known = memory.learnt.with(&facts, shown);
        }
        let new = status::status(&facts, &known, memory.refusal.as_deref(), Timestamp::now());
        let unwritten = self.write(item, batch.status.as_ref(), &new, memory).await?;
        // one that goes before the cache shows it enqueues nobody
        let is_unseen = known.values().any(|known| matches!(known, Known::Made(_)));
        let unseen = is_unseen.then(|| UNSEEN.unsigned_abs());
        Ok(again.into_iter().chain(unwritten).chain(unseen).min())
    }

    /// What the cache shows of an index.
    fn shown(&self, key: &ObjectKey, batch: &Item<Batch>, index: usize) -> Option<Known> {
        let name = batch_task_name(&key.name, index);
        let item = self.caches.kubetask.tasks.get(&ObjectRef::new(&name).within(&key.namespace))?;
        let task = KubeTask::task_ref(&item).filter(|task| is_of(batch, *task))?;
        Some(Known::Shown(task.phase()))
    }

    /// A Batch that cannot be read has not started, or a newer operator started it.
    async fn refuse(
        &self,
        item: &Item<Batch>,
        unreadable: &Unreadable,
        memory: &mut Memory,
    ) -> Result<Option<Duration>, kube::Error> {
        let before = match item.status() {
            Ok(before) if before.is_none_or(|status| status.start_time.is_none()) => before,
            _ => {
                tracing::error!(batch = ?item, place = unreadable.place(),
                    "a Batch that has started cannot be read, and it is left alone; run the version that started it");
                return Ok(None);
            }
        };
        if before.is_some_and(|status| status.phase.is_some_and(BatchPhase::is_terminal)) {
            return Ok(None);
        }
        let new = status::refused(before, item.meta().generation, &unreadable.to_string(), Timestamp::now());
        self.write(item, before, &new, memory).await
    }

    /// Writes a status, unless it says what stands there already; how long until it may be written, if not now.
    #[expect(clippy::disallowed_methods, reason = "the only writer of the status of Batches")]
    async fn write(
        &self,
        batch: &Item<Batch>,
        before: Option<&BatchStatus>,
        new: &BatchStatus,
        memory: &mut Memory,
    ) -> Result<Option<Duration>, kube::Error> {
        if before == Some(new) {
            return Ok(None);
        }
        if let Some(rest) = rest(memory.written, PACE) {
            return Ok(Some(rest));
        }
        memory.written = Some(Instant::now());
        let api = Api::<Item<Batch>>::namespaced(self.client.clone(), &batch.namespace().unwrap_or_default());
        let patch = json!({"metadata": {"resourceVersion": batch.meta().resource_version}, "status": new});
        let patched =
            api.patch_status(&batch.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await;
        match patched {
            Ok(written) => {
                memory.is_too_large = false;
                self.written.record(&memory.uid, written.meta().resource_version.as_deref());
                self.report(batch, before, new);
                Ok(None)
            }
            // the watch shows what it is now
            Err(error) if is_outdated(&error) && !is_too_large(&error) => {
                if is_conflict(&error) {
                    self.written.conflicted(&memory.uid, batch.meta().resource_version.as_deref());
                }
                Ok(Some(PACE))
            }
            Err(error) => {
                if let Some(note) = memory.news_of(&error) {
                    self.events.record(&batch.object_ref(&()), note);
                }
                Err(error)
            }
        }
    }

    fn report(&self, batch: &Item<Batch>, before: Option<&BatchStatus>, new: &BatchStatus) {
        let none = BatchStatus::default();
        let before = before.unwrap_or(&none);
        let Some(phase) = new.phase.filter(|phase| before.phase != Some(*phase)) else { return };
        let namespace = batch.namespace().unwrap_or_default();
        self.metrics.batch(&namespace, phase.as_str());
        let (completed, failed) = (new.completed_indexes.len(), new.failed_indexes.len());
        tracing::info!(
            ?batch,
            phase = phase.as_str(),
            made = new.made(),
            completed,
            failed,
            "a Batch is in another phase"
        );
        if let Some(note) = status::event(before, new) {
            self.events.record(&batch.object_ref(&()), note);
        }
    }
}

/// What is left of a pause that began then.
fn rest(since: Option<Instant>, pause: Duration) -> Option<Duration> {
    pause.checked_sub(since?.elapsed()).filter(|rest| !rest.is_zero())
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_batch_that_leaves_no_room_for_its_status_is_told_of_once() {
        let answer = |code, message: &str| {
            kube::Error::Api(Box::new(Status { code, message: message.into(), ..Status::default() }))
        };
        let (mut memory, full) = (Memory::default(), answer(500, "etcdserver: request is too large"));
        assert_eq!(memory.news_of(&answer(503, "the server is shutting down")), None);
        let told = memory.news_of(&full);
        assert_eq!(told.as_ref().map(|note| note.reason), Some("TooLarge"), "{told:?}");
        assert_eq!(memory.news_of(&full), None, "each try would tell it again");
    }
}
