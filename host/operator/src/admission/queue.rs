//! Who waits for a start of one Agent, in order of arrival, and which place each has reported.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kubeopencode_api::agent::{Agent, AgentStatus};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::{TaskKey, TaskUid};
use parking_lot::Mutex;

use super::ledger::{NEAR, QueuedTask, worth_reporting};

/// How long starts wait, after the operator has come up, until every Task that was there has been reconciled once: a
/// restart lets nobody overtake, and a Task that cannot be reconciled holds nobody up for longer.
pub(super) const FIRST_RECONCILES: Duration = Duration::from_secs(5);

/// What is remembered of one Agent.
#[derive(Debug, Default)]
pub(super) struct AgentQueue {
    /// The newest Agent that an answer showed; held while its ledger is reconciled.
    pub(super) latest: tokio::sync::Mutex<Option<Agent>>,
    /// UID and generation of the Agent whose ledger has all Tasks that started under the ones before.
    pub(super) counted: Mutex<Option<(String, i64)>>,
    pub(super) waiting: Mutex<WaitQueue>,
}

/// Who waits, and which place each has reported.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    /// In order of arrival.
    order: BTreeMap<QueuedTask, Place>,
    /// The same ones: who leaves is named by its UID.
    by_uid: HashMap<TaskUid, QueuedTask>,
    /// Why they wait.
    blocked: Option<Reason>,
    pub(super) requeue_at: Option<Timestamp>,
    /// UIDs of Tasks that are gone and were never launched: their entries are withdrawn, not released.
    pub(super) never_launched: HashSet<String>,
    /// Tasks of the first list that were not reconciled yet; until then, who came first is not known.
    unreconciled: HashSet<TaskUid>,
    /// Nobody waits longer than this for them.
    deadline: Option<Instant>,
}

/// What is known of a Task that waits.
#[derive(Debug, Default)]
struct Place {
    reported: Option<i64>,
    /// It was named for another one, and has not asked since: to name it again would tell it nothing.
    is_named: bool,
}

/// Whom a new state of the ledger concerns.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Affected {
    /// They hold a slot now.
    pub(super) admitted: Vec<QueuedTask>,
    /// Their place, or what they wait for, is worth reporting anew.
    pub(super) moved: Vec<TaskKey>,
}

impl WaitQueue {
    /// A Task that nobody has reconciled yet when the operator starts: it may have come before those that ask.
    pub(super) fn expect(&mut self, uid: TaskUid) {
        self.deadline.get_or_insert_with(|| Instant::now() + FIRST_RECONCILES);
        self.unreconciled.insert(uid);
    }

    /// A Task asks for a start.
    pub(super) fn enqueue(&mut self, task: QueuedTask) {
        self.unreconciled.remove(&task.uid);
        self.by_uid.insert(task.uid.clone(), task.clone());
        self.order.entry(task).or_default();
    }

    /// Those who wait, in order of arrival.
    pub(super) fn in_order(&self) -> impl ExactSizeIterator<Item = &QueuedTask> {
        self.order.keys()
    }

    /// These Tasks wait no more; says whose place that changes.
    pub(super) fn leave(&mut self, uids: &HashSet<TaskUid>) -> Vec<TaskKey> {
        let before = self.order.len();
        for uid in uids {
            self.unreconciled.remove(uid);
            self.remove(uid);
        }
        if self.order.len() == before { Vec::new() } else { self.moved() }
    }

    /// Takes the Task out of the queue; `None`: it did not wait.
    fn remove(&mut self, uid: &TaskUid) -> Option<QueuedTask> {
        let task = self.by_uid.remove(uid)?;
        self.order.remove(&task);
        Some(task)
    }

    /// Whether all Tasks that were there at the start have asked, as far as they are waited for.
    pub(super) fn is_complete(&self) -> bool {
        self.unreconciled.is_empty() || self.deadline.is_none_or(|deadline| Instant::now() >= deadline)
    }

    /// Whether nobody waits and nobody is waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty() && self.unreconciled.is_empty()
    }

    /// The Task's place, 1 = next, which counts as reported where that is worth a write.
    pub(super) fn report_position(&mut self, task: &QueuedTask) -> i64 {
        let position = i64::try_from(self.order.range(..=task).count()).unwrap_or(i64::MAX);
        if let Some(place) = self.order.get_mut(task) {
            place.is_named = false;
            if worth_reporting(place.reported, position) {
                place.reported = Some(position);
            }
        }
        position
    }

    /// Takes in what the ledger says now; `asking` gets its answer from its caller.
    pub(super) fn apply(
        &mut self,
        status: Option<&AgentStatus>,
        blocked: Option<Reason>,
        asking: Option<&TaskUid>,
    ) -> Affected {
        let mut affected = Affected::default();
        // by what stands there, not by what this write changed: an earlier one may have been done unanswered
        for entry in status.iter().flat_map(|status| &status.admitted) {
            affected.admitted.extend(self.remove(&TaskUid(entry.task_uid.clone())));
        }
        if !affected.admitted.is_empty() {
            affected.moved = self.moved();
        }
        if blocked.is_some() && self.blocked.is_some_and(|before| Some(before) != blocked) {
            // they wait for something else now: those who come next say so
            let next = self.order.keys().take(NEAR.into()).filter(|waiting| Some(&waiting.uid) != asking);
            affected.moved.extend(next.map(|waiting| waiting.key.clone()));
        }
        self.blocked = blocked;
        affected.admitted.retain(|task| Some(&task.uid) != asking);
        affected
    }

    /// Those whose place is worth reporting anew, each once until it asks.
    fn moved(&mut self) -> Vec<TaskKey> {
        let mut moved = Vec::new();
        for ((waiting, place), position) in self.order.iter_mut().zip(1..) {
            let was_told = place.reported.is_some() && !place.is_named;
            if was_told && worth_reporting(place.reported, position) {
                place.is_named = true;
                moved.push(waiting.key.clone());
            }
        }
        moved
    }
}

/// Whether the Task has a slot of the Agent.
pub(super) fn holds_slot(status: &AgentStatus, uid: &TaskUid) -> bool {
    status.admitted.iter().any(|entry| entry.task_uid == uid.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kubeopencode_api::agent::TaskStart;
    use kubeopencode_api::group::Group;

    /// A Task that came in this second.
    pub(in crate::admission) fn task(second: i64, name: &str) -> QueuedTask {
        QueuedTask {
            created: Timestamp::from_second(second).unwrap(),
            key: TaskKey::new(Group::KubeOpenCode, "team", name),
            uid: TaskUid(name.into()),
        }
    }

    fn queue(names: &[&str]) -> WaitQueue {
        let mut queue = WaitQueue::default();
        for (second, name) in (0..).zip(names) {
            queue.enqueue(task(second, name));
        }
        queue
    }

    fn names(keys: &[TaskKey]) -> Vec<&str> {
        keys.iter().map(|key| key.name.as_str()).collect()
    }

    /// So many who wait, each of whom has reported its place.
    fn long_queue(length: i64) -> (WaitQueue, Vec<QueuedTask>) {
        let mut queue = WaitQueue::default();
        let tasks: Vec<_> = (0..length).map(|second| task(second, &second.to_string())).collect();
        for (task, position) in tasks.iter().zip(1..) {
            queue.enqueue(task.clone());
            assert_eq!(queue.report_position(task), position);
        }
        (queue, tasks)
    }

    fn leave(queue: &mut WaitQueue, task: &QueuedTask) -> Vec<TaskKey> {
        queue.leave(&HashSet::from([task.uid.clone()]))
    }

    #[test]
    fn when_many_leave_those_near_are_told_each_time_and_those_behind_when_their_place_has_halved() {
        let (mut queue, tasks) = long_queue(64);
        let (mut told_first, mut told_last) = (0, Vec::new());
        for next in &tasks[..63] {
            for key in leave(&mut queue, next) {
                let told = tasks.iter().find(|task| task.key == key).unwrap();
                let position = queue.report_position(told);
                told_first += usize::from(position == 1);
                told_last.extend((told == &tasks[63]).then_some(position));
            }
            assert!(leave(&mut queue, next).is_empty(), "it has left before");
        }
        assert_eq!(told_first, 63);
        assert_eq!(told_last, [32, 16, 8, 4, 3, 2, 1]);
    }

    #[test]
    fn when_many_leave_before_anybody_asks_everybody_is_named_once() {
        let (mut queue, tasks) = long_queue(64);
        let named: Vec<_> = tasks[..63].iter().flat_map(|next| leave(&mut queue, next)).collect();
        let others: Vec<_> = tasks[1..].iter().map(|task| task.key.clone()).collect();
        assert_eq!(names(&named), names(&others));
        assert_eq!(queue.report_position(&tasks[63]), 1, "who asks hears where it stands by then");
    }

    #[test]
    fn who_leaves_the_middle_moves_up_those_behind_who_were_told_a_place() {
        let mut queue = queue(&["a", "b", "c"]);
        assert_eq!(queue.report_position(&task(2, "c")), 3);
        assert_eq!(names(&queue.leave(&HashSet::from([TaskUid("b".into())]))), ["c"]);
        assert_eq!(queue.report_position(&task(2, "c")), 2);
    }

    /// The status of an Agent that has admitted this Task alone.
    fn with_slot(name: &str) -> AgentStatus {
        let entry = TaskStart {
            task_uid: name.into(),
            task_namespace: "team".into(),
            task_name: name.into(),
            start_time: Time(Timestamp::UNIX_EPOCH),
        };
        AgentStatus { admitted: vec![entry], ..AgentStatus::default() }
    }

    #[test]
    fn admitted_tasks_leave_and_the_next_ones_hear_what_they_wait_for_now() {
        let mut queue = queue(&["a", "b", "c", "d", "e"]);
        let status = with_slot("a");
        let nobody = queue.apply(None, Some(Reason::AgentAtCapacity), None);
        assert_eq!(nobody, Affected::default(), "they have just been told");
        let affected = queue.apply(Some(&status), Some(Reason::QuotaExceeded), Some(&TaskUid("b".into())));
        assert_eq!(affected.admitted, [task(0, "a")]);
        assert_eq!(names(&affected.moved), ["c", "d"], "three are near; the one that asks is answered");
        assert_eq!(queue.order.len(), 4);
    }

    #[test]
    fn who_has_a_slot_moves_up_those_behind() {
        let mut queue = queue(&["a", "b", "c"]);
        assert_eq!(queue.report_position(&task(2, "c")), 3);
        let status = with_slot("a");
        assert!(holds_slot(&status, &TaskUid("a".into())) && !holds_slot(&status, &TaskUid("b".into())));
        let affected = queue.apply(Some(&status), None, Some(&TaskUid("a".into())));
        assert_eq!((affected.admitted, names(&affected.moved)), (vec![], vec!["c"]), "who asks is answered");
    }

    #[test]
    fn a_queue_is_empty_when_nobody_waits_and_nobody_is_waited_for() {
        let mut queue = WaitQueue::default();
        assert!(queue.is_empty());
        queue.expect(TaskUid("a".into()));
        assert!(!queue.is_empty());
        queue.enqueue(task(0, "a"));
        assert!(!queue.is_empty());
        queue.leave(&HashSet::from([TaskUid("a".into())]));
        assert!(queue.is_empty());
    }

    #[test]
    fn until_all_that_were_there_have_asked_the_order_is_not_known() {
        let mut queue = queue(&["late"]);
        queue.expect(TaskUid("early".into()));
        assert!(!queue.is_complete());
        queue.enqueue(task(0, "early"));
        assert!(queue.is_complete());
    }
}
