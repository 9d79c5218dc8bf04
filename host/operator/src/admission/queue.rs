//! Who waits for a start of one Agent, in order of arrival, and which place each has reported.

use std::collections::{BTreeSet, HashMap, HashSet};
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
    pub(super) order: BTreeSet<QueuedTask>,
    reported_positions: HashMap<TaskUid, i64>,
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
        self.order.insert(task);
    }

    /// These Tasks wait no more; says whose place that changes.
    pub(super) fn leave(&mut self, uids: &HashSet<TaskUid>) -> Vec<TaskKey> {
        for uid in uids {
            self.reported_positions.remove(uid);
            self.unreconciled.remove(uid);
        }
        let before = self.order.len();
        self.order.retain(|waiting| !uids.contains(&waiting.uid));
        if self.order.len() == before { Vec::new() } else { self.moved() }
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
        if worth_reporting(self.reported_positions.get(&task.uid).copied(), position) {
            self.reported_positions.insert(task.uid.clone(), position);
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
        let entries = status.iter().flat_map(|status| &status.admitted);
        let holders: HashSet<_> = entries.map(|entry| entry.task_uid.as_str()).collect();
        self.order.retain(|waiting| {
            // by what stands there, not by what this write changed: an earlier one may have been done unanswered
            let admitted = holders.contains(waiting.uid.0.as_str());
            if admitted {
                affected.admitted.push(waiting.clone());
            }
            !admitted
        });
        for task in &affected.admitted {
            self.reported_positions.remove(&task.uid);
        }
        if !affected.admitted.is_empty() {
            affected.moved = self.moved();
        }
        if blocked.is_some() && self.blocked.is_some_and(|before| Some(before) != blocked) {
            // they wait for something else now: those who come next say so
            let next = self.order.iter().take(NEAR.into()).filter(|waiting| Some(&waiting.uid) != asking);
            affected.moved.extend(next.map(|waiting| waiting.key.clone()));
        }
        self.blocked = blocked;
        affected.admitted.retain(|task| Some(&task.uid) != asking);
        affected
    }

    /// Those whose place is worth reporting anew.
    fn moved(&self) -> Vec<TaskKey> {
        let places = self.order.iter().zip(1_i64..);
        let moved = places.filter(|(waiting, position)| {
            self.reported_positions
                .get(&waiting.uid)
                .is_some_and(|reported| worth_reporting(Some(*reported), *position))
        });
        moved.map(|(waiting, _)| waiting.key.clone()).collect()
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
