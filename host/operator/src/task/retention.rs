//! Which finished Tasks may go: too old by `ttlSecondsAfterFinished`, or more than `maxRetainedTasks` of their group in
//! their namespace. A Batch counts as one, goes as a whole, and its Tasks with it. Pure but for [`run`], which asks the
//! caches and deletes; nothing is read from the API server.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kubeopencode_api::config::Cleanup;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{ObjectKey, TaskKey};
use tokio::sync::Notify;

use super::reconcile::Context;
use crate::cache::task_view::TaskRef;
use crate::frontend::{OverBatch, batches_that_are_over, each_task, is_of_batch};
use crate::runtime::api_error::words;

/// Deletes under way at once: a namespace of 5,000 finished Tasks goes without crowding out the launches.
const CONCURRENCY: usize = 8;
/// Shortest pause between two rounds, so that a burst of ends is one round.
const PAUSE: Duration = Duration::from_secs(1);
/// Until a round that nothing asked for, in case a delete failed.
const RESYNC: SignedDuration = SignedDuration::from_secs(60);

/// What goes as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kept {
    /// A Task.
    Task(TaskKey),
    /// A Batch with its Tasks.
    Batch(ObjectKey),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(key) => write!(f, "Task {key}"),
            Self::Batch(key) => write!(f, "Batch {key}"),
        }
    }
}

/// A finished Task, or a Batch that is over. The order of the fields is the order of removal, total for any two Tasks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finished {
    /// `status.completionTime`
    pub(crate) completed: Timestamp,
    /// `metadata.creationTimestamp`
    pub(crate) created: Timestamp,
    /// The object.
    pub(crate) key: Kept,
    /// Its UID.
    pub(crate) uid: String,
}

impl Finished {
    /// The Task, if it is over and not being deleted.
    pub(crate) fn of(task: TaskRef<'_>) -> Option<Self> {
        if !task.is_terminal() || task.is_deleting() {
            return None;
        }
        Some(Self {
            completed: task.status?.completion_time.as_ref()?.0,
            created: task.metadata.creation_timestamp.as_ref().map(|t| t.0).unwrap_or_default(),
            key: Kept::Task(task.key()),
            uid: task.uid().0,
        })
    }
}

impl From<OverBatch> for Finished {
    fn from(batch: OverBatch) -> Self {
        let OverBatch { completed, created, key, uid } = batch;
        Self { completed, created, key: Kept::Batch(key), uid }
    }
}

/// What a namespace's finished Tasks have to expect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// These go now.
    pub(crate) now: Vec<Finished>,
    /// When the next one is too old.
    pub(crate) next: Option<Timestamp>,
}

/// Age first, then the count: of those that are not too old, the last to end stay.
pub(crate) fn due(policy: &Cleanup, mut finished: Vec<Finished>, now: Timestamp) -> Due {
    finished.sort_unstable();
    let ttl =
        policy.ttl_seconds_after_finished.map(|seconds| SignedDuration::from_secs(seconds.max(0).into()));
    let end = |task: &Finished| ttl.and_then(|ttl| task.completed.checked_add(ttl).ok());
    let too_old = finished.iter().take_while(|task| end(task).is_some_and(|end| end <= now)).count();
    let retained = policy.max_retained_tasks.and_then(|max| usize::try_from(max).ok());
    let too_many = retained.map_or(0, |max| finished.len().saturating_sub(max));
    let stay = finished.split_off(too_old.max(too_many));
    Due { now: finished, next: stay.first().and_then(end) }
}

/// Deletes finished Tasks until it is dropped. `changed` asks for a round.
pub(crate) async fn run(context: Arc<Context>, changed: Arc<Notify>) {
    loop {
        let next = round(&context).await;
        let pause = next.duration_since(Timestamp::now()).max(SignedDuration::ZERO).unsigned_abs();
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One round over all namespaces; says when the next one has something to do.
async fn round(context: &Context) -> Timestamp {
    let now = Timestamp::now();
    let mut namespaces = BTreeMap::<(Group, String), (Cleanup, Vec<Finished>)>::new();
    let mut offer = |group, namespace: &str, finished: &dyn Fn() -> Option<Finished>| {
        let place = (group, namespace.to_owned());
        let (policy, all) = namespaces.entry(place).or_insert_with_key(|(_, namespace)| {
            (context.caches.settings(namespace, namespace).cleanup().clone(), Vec::new())
        });
        // most namespaces have no policy: what ended there stays
        if *policy != Cleanup::default() {
            all.extend(finished());
        }
    };
    each_task(&context.caches, |task| {
        let finished = || Finished::of(task).filter(|_| !is_of_batch(&context.caches, task));
        offer(task.group, task.namespace(), &finished);
    });
    for batch in batches_that_are_over(&context.caches) {
        offer(Group::KubeTask, &batch.key.namespace, &|| Some(batch.clone().into()));
    }
    let (mut deletions, mut next) = (Vec::new(), now.checked_add(RESYNC).unwrap_or(now));
    for (policy, finished) in namespaces.into_values() {
        let due = due(&policy, finished, now);
        next = due.next.map_or(next, |at| at.min(next));
        deletions.extend(due.now.into_iter().map(|task| (task.key, task.uid)));
    }
    futures::stream::iter(deletions)
        .for_each_concurrent(CONCURRENCY, |(key, uid)| async move {
            let deleted = match &key {
                Kept::Task(key) => context.writer.delete(key, &uid).await,
                Kept::Batch(key) => context.writer.delete_batch(key, &uid).await,
            };
            match deleted {
                Ok(()) => tracing::info!(object = %key, "deleted what is finished"),
                Err(error) => {
                    tracing::warn!(object = %key, error = words(&error), "what is finished could not be deleted and is tried again");
                }
            }
        })
        .await;
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::task_view::TaskView;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use kubeopencode_api::group::Group;
    use kubeopencode_api::task::{Phase, TaskStatus};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn finished(tasks: &[(&str, i64)]) -> Vec<Finished> {
        let task = |(name, completed): &(&str, i64)| Finished {
            completed: at(*completed),
            created: at(0),
            key: Kept::Task(TaskKey::new(Group::KubeOpenCode, "team", *name)),
            uid: (*name).to_owned(),
        };
        tasks.iter().map(task).collect()
    }

    fn rules(ttl: Option<i32>, max: Option<i32>) -> Cleanup {
        Cleanup { ttl_seconds_after_finished: ttl, max_retained_tasks: max }
    }

    fn names(due: &Due) -> Vec<&str> {
        due.now.iter().map(|task| task.uid.as_str()).collect()
    }

    #[test]
    fn a_task_that_is_over_may_go_and_no_other() {
        let offered = |phase, deleted: Option<Timestamp>| {
            let metadata = ObjectMeta {
                name: Some("a".to_owned()),
                namespace: Some("team".to_owned()),
                uid: Some("a".to_owned()),
                deletion_timestamp: deleted.map(Time),
                ..ObjectMeta::default()
            };
            let (phase, completion_time) = (Some(phase), Some(Time(at(40))));
            let status = Some(TaskStatus { phase, completion_time, ..TaskStatus::default() });
            Finished::of(TaskView { metadata, status }.task_ref(Group::KubeOpenCode))
        };
        assert_eq!(offered(Phase::Failed, None), finished(&[("a", 40)]).pop());
        assert_eq!(offered(Phase::Running, None), None);
        assert_eq!(offered(Phase::Failed, Some(at(50))), None, "it goes already");
    }

    #[test]
    fn a_batch_that_is_over_is_one_of_those_that_ended() {
        let batch = OverBatch {
            completed: at(45),
            created: at(0),
            key: ObjectKey::new("team", "b"),
            uid: "batch".to_owned(),
        };
        let mut all = finished(&[("a", 40), ("c", 50)]);
        all.push(batch.into());
        assert_eq!(names(&due(&rules(None, Some(2)), all.clone(), at(100))), ["a"]);
        assert_eq!(names(&due(&rules(None, Some(1)), all, at(100))), ["a", "batch"]);
    }

    #[test]
    fn without_rules_everything_stays() {
        assert_eq!(due(&rules(None, None), finished(&[("a", 0)]), at(1_000_000)), Due::default());
    }

    #[test]
    fn age_counts_from_the_end_and_the_next_end_is_known() {
        let due = due(&rules(Some(60), None), finished(&[("b", 50), ("a", 40), ("c", 41)]), at(100));
        assert_eq!((names(&due), due.next), (vec!["a"], Some(at(101))));
    }

    #[test]
    fn a_ttl_of_nothing_deletes_at_once_and_retaining_nothing_too() {
        assert_eq!(names(&due(&rules(Some(0), None), finished(&[("a", 100)]), at(100))), ["a"]);
        assert_eq!(names(&due(&rules(None, Some(0)), finished(&[("a", 100)]), at(100))), ["a"]);
    }

    #[test]
    fn the_last_to_end_are_retained_and_ties_are_broken_by_name() {
        let due = due(&rules(None, Some(2)), finished(&[("d", 7), ("c", 5), ("b", 5), ("a", 9)]), at(100));
        assert_eq!((names(&due), due.next), (vec!["b", "c"], None));
    }

    #[test]
    fn both_rules_hold_together() {
        let tasks = finished(&[("a", 10), ("b", 50), ("c", 60), ("d", 70)]);
        assert_eq!(
            names(&due(&rules(Some(60), Some(3)), tasks.clone(), at(75))),
            ["a"],
            "too old; three stay"
        );
        assert_eq!(names(&due(&rules(Some(60), Some(1)), tasks, at(75))), ["a", "b", "c"]);
    }
}
