//! Who may start next on a limited Agent. Pure: from the Agent's status and the waiting Tasks to the new status.
//!
//! The API server arbitrates (the new status is written with the Agent's resourceVersion), so two operators can never
//! admit more Tasks than fit: each decides on the very revision that its write replaces.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kubeopencode_api::agent::{AgentSpec, AgentStatus, MAX_ENTRIES, TaskStart};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::{TaskKey, TaskUid};

/// A Task in the queue of its Agent. The order of the fields is the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueuedTask {
    /// `metadata.creationTimestamp`
    pub(crate) created: Timestamp,
    /// The Task.
    pub(crate) key: TaskKey,
    /// UID of the Task.
    pub(crate) uid: TaskUid,
}

/// What stands in the way of the first Task that was not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// `AgentSuspended`, `AgentAtCapacity` or `QuotaExceeded`; of those that block, the first.
    pub(crate) reason: Reason,
    /// The words for the user.
    pub(crate) message: String,
}

/// The next state of an Agent's ledger.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LedgerUpdate {
    /// New `status.admitted`.
    pub(crate) admitted: Vec<TaskStart>,
    /// New `status.taskStartHistory`.
    pub(crate) history: Vec<TaskStart>,
    /// Tasks that were not admitted before and are now.
    pub(crate) admitted_now: Vec<TaskUid>,
    /// Why the rest waits.
    pub(crate) blocked: Option<Blocked>,
    /// When the quota lets the next one start, if only the quota blocks.
    pub(crate) requeue_at: Option<Timestamp>,
    /// Whether anything has to be written.
    pub(crate) changed: bool,
}

impl LedgerUpdate {
    /// Nobody is admitted, nothing is written: the Agent is gone.
    pub(crate) fn nothing() -> Self {
        Self {
            admitted: vec![],
            history: vec![],
            admitted_now: vec![],
            blocked: None,
            requeue_at: None,
            changed: false,
        }
    }
}

/// A start is written in whole seconds, rounded down.
const ROUNDING: SignedDuration = SignedDuration::from_secs(1);

/// What happened to Tasks outside of the ledger.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// UIDs of those that are over: the slot is free, the start still counts.
    pub(crate) released: HashSet<String>,
    /// UIDs of those that did not start after all: neither counts.
    pub(crate) withdrawn: HashSet<String>,
    /// Those that started while nobody counted: before the Agent had a limit, or before it was made anew.
    pub(crate) started: Vec<Started>,
}

/// A Task that started, and whether it still runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Started {
    /// Its entry.
    pub(crate) entry: TaskStart,
    /// It holds a slot.
    pub(crate) runs: bool,
}

/// Admits Tasks, in order of arrival, as far as capacity and quota allow; `waiting` must be in that order.
pub(crate) fn admit<'a>(
    agent: &str,
    spec: &AgentSpec,
    status: &AgentStatus,
    changes: &Changes,
    waiting: impl IntoIterator<Item = &'a QueuedTask>,
    now: Timestamp,
) -> LedgerUpdate {
    let Changes { released, withdrawn, started } = changes;
    let stays = |e: &&TaskStart| !released.contains(&e.task_uid) && !withdrawn.contains(&e.task_uid);
    let running = started.iter().filter(|task| task.runs).map(|task| &task.entry);
    let admitted = with_more(&status.admitted, running, stays);
    let counts = |e: &&TaskStart| !withdrawn.contains(&e.task_uid) && counts_for_quota(spec, e, now);
    let history = with_more(&status.task_start_history, started.iter().map(|task| &task.entry), counts);
    let (mut admitted, mut history) = (admitted, history);
    let reconciled = admitted != status.admitted || history != status.task_start_history;
    let mut holders: HashSet<String> = admitted.iter().map(|entry| entry.task_uid.clone()).collect();
    let (mut admitted_now, mut blocked, mut requeue_at) = (Vec::new(), None, None);

    for task in waiting {
        if holders.contains(&task.uid.0) {
            continue;
        }
        if spec.is_suspended() {
            let message = format!("Waiting until spec.suspend of agent \"{agent}\" is false");
            blocked = Some(Blocked { reason: Reason::AgentSuspended, message });
            break;
        }
        // whoever starts by a quota alone has a slot too
        let max = spec.capacity().unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
        if admitted.len() >= max {
            let message = format!("Waiting for agent \"{agent}\" capacity (max: {max})");
            blocked = Some(Blocked { reason: Reason::AgentAtCapacity, message });
            break;
        }
        if let Some(quota) =
            spec.quota.as_ref().filter(|quota| history.len() >= usize_of(quota.max_task_starts))
        {
            // the quota may have been lowered: so many starts must leave the window before one fits again
            let excess = history.len() - usize_of(quota.max_task_starts);
            let mut starts: Vec<_> = history.iter().map(|entry| entry.start_time.0).collect();
            starts.sort_unstable();
            requeue_at = starts.get(excess).and_then(|start| leaves_window(spec, *start));
            let next = requeue_at.map(|at| format!("; the next start is at {at}")).unwrap_or_default();
            let message = format!(
                "Waiting for agent \"{agent}\" quota (max: {} per {}s){next}",
                quota.max_task_starts, quota.window_seconds
            );
            blocked = Some(Blocked { reason: Reason::QuotaExceeded, message });
            break;
        }
        let entry = TaskStart {
            task_uid: task.uid.0.clone(),
            task_namespace: task.key.namespace.clone(),
            task_name: task.key.name.clone(),
            start_time: Time(now),
        };
        holders.insert(entry.task_uid.clone());
        admitted_now.push(task.uid.clone());
        if spec.quota.is_some() {
            history.push(entry.clone());
        }
        admitted.push(entry);
    }
    let changed = !admitted_now.is_empty() || reconciled;
    LedgerUpdate { admitted, history, admitted_now, blocked, requeue_at, changed }
}

/// Whether a start lies in the quota's window.
pub(crate) fn counts_for_quota(spec: &AgentSpec, entry: &TaskStart, now: Timestamp) -> bool {
    leaves_window(spec, entry.start_time.0).is_some_and(|end| end > now)
}

/// When a start leaves the quota's window; `None`: there is no quota.
fn leaves_window(spec: &AgentSpec, start: Timestamp) -> Option<Timestamp> {
    let window = SignedDuration::from_secs(spec.quota.as_ref()?.window_seconds.into());
    start.checked_add(window + ROUNDING).ok()
}

/// The entries that `keep` keeps, of those that are there and of those that are not yet.
fn with_more<'a>(
    there: &'a [TaskStart],
    more: impl Iterator<Item = &'a TaskStart>,
    keep: impl FnMut(&&TaskStart) -> bool,
) -> Vec<TaskStart> {
    let known: HashSet<_> = there.iter().map(|entry| &entry.task_uid).collect();
    let more = more.filter(|entry| !known.contains(&entry.task_uid));
    there.iter().chain(more).filter(keep).cloned().collect()
}

/// So many at the front of the queue know exactly where they stand, and why.
pub(crate) const NEAR: u8 = 3;

/// Whether a new place in the queue is worth a write: on entry, near the front, and when it has halved.
pub(crate) fn worth_reporting(written: Option<i64>, position: i64) -> bool {
    match written {
        None => true,
        Some(written) => written != position && (position <= NEAR.into() || position * 2 <= written),
    }
}

fn usize_of(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubeopencode_api::agent::Quota;
    use kubeopencode_api::group::Group;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn waiting(names: &[&str]) -> Vec<QueuedTask> {
        let task = |name: &&str| QueuedTask {
            created: at(0),
            key: TaskKey::new(Group::KubeOpenCode, "team", *name),
            uid: TaskUid(format!("uid-{name}")),
        };
        names.iter().map(task).collect()
    }

    fn spec(capacity: i32, quota: Option<(i32, i32)>) -> AgentSpec {
        AgentSpec {
            max_concurrent_tasks: Some(capacity),
            quota: quota.map(|(max_task_starts, window_seconds)| Quota { max_task_starts, window_seconds }),
            ..AgentSpec::default()
        }
    }

    fn status(verdict: &LedgerUpdate) -> AgentStatus {
        AgentStatus {
            admitted: verdict.admitted.clone(),
            task_start_history: verdict.history.clone(),
            ..AgentStatus::default()
        }
    }

    fn released(uids: &[&str]) -> Changes {
        Changes { released: uids.iter().map(|uid| (*uid).to_owned()).collect(), ..Changes::default() }
    }

    fn names(uids: &[TaskUid]) -> Vec<&str> {
        uids.iter().map(|uid| uid.0.trim_start_matches("uid-")).collect()
    }

    #[test]
    fn one_write_admits_as_many_as_fit_in_order() {
        let verdict = admit(
            "a",
            &spec(2, None),
            &AgentStatus::default(),
            &Changes::default(),
            &waiting(&["x", "y", "z"]),
            at(0),
        );
        assert_eq!(names(&verdict.admitted_now), ["x", "y"]);
        assert_eq!(verdict.blocked.unwrap().message, "Waiting for agent \"a\" capacity (max: 2)");
        assert!(verdict.history.is_empty(), "no quota, no history");
    }

    #[test]
    fn an_entry_counts_once_and_a_release_makes_room() {
        let full =
            admit("a", &spec(1, None), &AgentStatus::default(), &Changes::default(), &waiting(&["x"]), at(0));
        let again = admit("a", &spec(1, None), &status(&full), &Changes::default(), &waiting(&["x"]), at(1));
        assert!(!again.changed && again.blocked.is_none(), "a restart finds its own entry");
        let released = released(&["uid-x"]);
        let next = admit("a", &spec(1, None), &status(&full), &released, &waiting(&["y"]), at(1));
        assert_eq!((names(&next.admitted_now), next.admitted.len()), (vec!["y"], 1));
    }

    #[test]
    fn the_quota_counts_starts_in_its_window_and_says_when_it_opens() {
        let quota = spec(0, Some((2, 60)));
        let first = admit(
            "a",
            &quota,
            &AgentStatus::default(),
            &Changes::default(),
            &waiting(&["x", "y", "z"]),
            at(100),
        );
        assert_eq!(names(&first.admitted_now), ["x", "y"]);
        let message =
            "Waiting for agent \"a\" quota (max: 2 per 60s); the next start is at 1970-01-01T00:02:41Z";
        assert_eq!(first.blocked.as_ref().unwrap().message, message);
        assert_eq!(first.requeue_at, Some(at(161)), "a start is written rounded down");
        let released = released(&["uid-x", "uid-y"]);
        let early = admit("a", &quota, &status(&first), &released, &waiting(&["z"]), at(160));
        assert!(early.admitted_now.is_empty() && early.history.len() == 2, "a release gives no start back");
        let later = admit("a", &quota, &status(&early), &Changes::default(), &waiting(&["z"]), at(161));
        assert_eq!(
            (names(&later.admitted_now), later.history.len()),
            (vec!["z"], 1),
            "old starts are pruned"
        );
    }

    #[test]
    fn a_lowered_quota_opens_when_so_many_starts_have_left_its_window() {
        let quota = spec(0, Some((3, 60)));
        let mut state = AgentStatus::default();
        for (name, second) in [("x", 120), ("y", 100), ("z", 110)] {
            let next = admit("a", &quota, &state, &Changes::default(), &waiting(&[name]), at(second));
            assert!(next.changed && next.blocked.is_none());
            state = status(&next);
        }
        for (starts, opens) in [(3, 161), (2, 171), (1, 181)] {
            let lowered = spec(0, Some((starts, 60)));
            let next = admit("a", &lowered, &state, &Changes::default(), &waiting(&["late"]), at(130));
            assert_eq!((next.requeue_at, next.changed), (Some(at(opens)), false), "{starts} starts");
        }
        let released = released(&["uid-x"]);
        let freed = admit("a", &quota, &state, &released, &waiting(&[]), at(130));
        assert_eq!((freed.admitted.len(), freed.changed), (2, true), "also where nobody waits");
    }

    #[test]
    fn nobody_starts_while_the_agent_is_suspended() {
        let suspended = AgentSpec { suspend: Some(true), ..spec(0, None) };
        assert!(suspended.is_limited(), "whoever wants to start has to ask");
        let none = AgentStatus::default();
        let held = admit("a", &suspended, &none, &Changes::default(), &waiting(&["x"]), at(0));
        assert!(held.admitted_now.is_empty() && !held.changed);
        let blocked = held.blocked.unwrap();
        assert_eq!(blocked.reason, Reason::AgentSuspended);
        assert_eq!(blocked.message, "Waiting until spec.suspend of agent \"a\" is false");
        let running = admit("a", &spec(2, None), &none, &Changes::default(), &waiting(&["x"]), at(0));
        let both = AgentSpec { suspend: Some(true), ..spec(2, None) };
        let goes_on = admit("a", &both, &status(&running), &Changes::default(), &waiting(&["x", "y"]), at(1));
        assert_eq!((goes_on.admitted.len(), goes_on.admitted_now.len()), (1, 0), "what runs keeps its slot");
        let resumed =
            admit("a", &spec(2, None), &status(&goes_on), &Changes::default(), &waiting(&["y"]), at(2));
        assert_eq!(names(&resumed.admitted_now), ["y"]);
    }

    #[test]
    fn a_full_ledger_fits_into_an_object_of_etcd() {
        let long = |i: usize| QueuedTask {
            created: at(0),
            key: TaskKey::new(Group::KubeOpenCode, "n".repeat(63), format!("{i:0253}")),
            uid: TaskUid(format!("{i:036}")),
        };
        let waiting: Vec<_> = (0..=MAX_ENTRIES).map(long).collect();
        let limits = [spec(5000, Some((5000, 60))), spec(0, Some((5000, 60)))];
        for limits in limits {
            let full = admit("a", &limits, &AgentStatus::default(), &Changes::default(), &waiting, at(0));
            assert_eq!(full.admitted_now.len(), MAX_ENTRIES);
            assert_eq!(
                full.blocked.as_ref().unwrap().message,
                "Waiting for agent \"a\" capacity (max: 1000)"
            );
            let size = serde_json::to_vec(&status(&full)).unwrap().len();
            assert!(size < 900_000, "{size} bytes; with the spec, etcd takes 1.5 MiB");
        }
    }

    #[test]
    fn capacity_is_named_before_quota() {
        let both = spec(1, Some((1, 60)));
        let first =
            admit("a", &both, &AgentStatus::default(), &Changes::default(), &waiting(&["x", "y"]), at(0));
        assert_eq!(first.blocked.unwrap().reason, Reason::AgentAtCapacity);
    }

    #[test]
    fn a_lowered_limit_takes_nothing_away_and_lets_nobody_in() {
        let four = admit(
            "a",
            &spec(4, None),
            &AgentStatus::default(),
            &Changes::default(),
            &waiting(&["1", "2", "3", "4"]),
            at(0),
        );
        let lowered =
            admit("a", &spec(2, None), &status(&four), &released(&["uid-1"]), &waiting(&["5"]), at(1));
        assert_eq!((lowered.admitted.len(), lowered.admitted_now.len()), (3, 0));
    }

    #[test]
    fn a_start_that_did_not_happen_counts_nowhere() {
        let quota = spec(1, Some((1, 60)));
        let first = admit("a", &quota, &AgentStatus::default(), &Changes::default(), &waiting(&["x"]), at(0));
        let withdrawn = Changes { withdrawn: HashSet::from(["uid-x".to_owned()]), ..Changes::default() };
        let next = admit("a", &quota, &status(&first), &withdrawn, &waiting(&["y"]), at(1));
        assert_eq!(names(&next.admitted_now), ["y"]);
    }

    #[test]
    fn who_started_while_nobody_counted_counts() {
        let started = |uid: &str, second, runs| Started {
            entry: TaskStart {
                task_uid: uid.into(),
                task_namespace: "team".into(),
                task_name: uid.trim_start_matches("uid-").into(),
                start_time: Time(at(second)),
            },
            runs,
        };
        let changes = Changes {
            started: vec![
                started("uid-old", 0, true),
                started("uid-over", 90, false),
                started("uid-new", 95, true),
            ],
            ..Changes::default()
        };
        let none = AgentStatus::default();
        let limited = admit("a", &spec(2, None), &none, &changes, &waiting(&["x"]), at(100));
        assert_eq!((limited.admitted.len(), limited.admitted_now.len(), limited.changed), (2, 0, true));
        assert_eq!(limited.blocked.unwrap().reason, Reason::AgentAtCapacity);
        let quota = admit("a", &spec(0, Some((2, 60))), &none, &changes, &waiting(&["x"]), at(100));
        assert_eq!((quota.history.len(), quota.admitted_now.len()), (2, 0), "the first is out of the window");
        assert_eq!(quota.blocked.as_ref().unwrap().reason, Reason::QuotaExceeded);
        let again = admit("a", &spec(0, Some((2, 60))), &status(&quota), &changes, &waiting(&["x"]), at(101));
        assert!(!again.changed, "nobody counts twice");
    }

    #[test]
    fn arrival_is_by_time_then_namespace_then_name() {
        let mut tasks = waiting(&["b", "a"]);
        tasks[0].created = at(-1);
        tasks.sort();
        assert_eq!(tasks[0].key.name, "b");
        assert!(waiting(&["a"]) < waiting(&["b"]));
    }

    #[test]
    fn few_places_are_worth_a_write() {
        assert!(worth_reporting(None, 40));
        assert!(!worth_reporting(Some(40), 39));
        assert!(!worth_reporting(Some(40), 30));
        assert!(worth_reporting(Some(40), 20));
        assert!(worth_reporting(Some(4), 3) && worth_reporting(Some(3), 2));
        assert!(!worth_reporting(Some(2), 2));
    }

    use proptest::prelude::*;

    proptest! {
        /// Whatever arrives, ends, is forgotten by a restart or changes its limit: never more than the limit in force
        /// is admitted, nobody overtakes, and the quota holds in every window.
        #[test]
        fn the_limits_hold_over_any_history(steps in prop::collection::vec((0..4_u8, 1..5_i32, 1..40_i64), 1..60)) {
            let (mut state, mut queue, mut clock, mut made) = (AgentStatus::default(), Vec::<QueuedTask>::new(), 0, 0);
            let mut starts: Vec<i64> = Vec::new();
            let mut capacity = 2;
            for (kind, number, passes) in steps {
                clock += passes;
                let mut changes = Changes::default();
                match kind {
                    0 => for _ in 0..number {
                        made += 1;
                        queue.push(QueuedTask { created: at(clock), key: TaskKey::new(Group::KubeOpenCode, "n", format!("{made:04}")), uid: TaskUid(format!("u{made:04}")) });
                    },
                    1 => changes.released.extend(state.admitted.iter().take(1).map(|e| e.task_uid.clone())),
                    2 => capacity = number,
                    _ => {}
                }
                let before = state.admitted.len() - changes.released.len();
                let verdict = admit("a", &spec(capacity, Some((3, 60))), &state, &changes, &queue, at(clock));
                prop_assert!(verdict.admitted.len() <= before.max(usize_of(capacity)));
                let expected: Vec<_> = queue.iter().take(verdict.admitted_now.len()).map(|w| w.uid.clone()).collect();
                prop_assert_eq!(&verdict.admitted_now, &expected, "in order");
                starts.extend(verdict.admitted_now.iter().map(|_| clock));
                let in_window = starts.iter().filter(|s| **s + 60 > clock).count();
                prop_assert!(in_window <= 3);
                queue.retain(|w| !verdict.admitted_now.contains(&w.uid));
                state = status(&verdict);
            }
        }
    }
}
