//! Who may try to start in a namespace whose ResourceQuota is full. Pure.
//!
//! One Task of the namespace tries, with growing pauses; the others wait in order of arrival, in a line for each Agent and
//! each WorkspaceConfig. Pods of one want the same resources, those of another may want less: so after a refusal the first
//! Task of another line tries, and after a launch the next one of the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use kubeopencode_api::names::{TaskKey, TaskUid};
use tokio::time::Instant;

use super::ledger::QueuedTask;

/// Pause after the first refusal; each further one doubles it. The quota's controller takes about as long to count a
/// Pod that has just ended.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause: a quota that is raised is noticed within this time.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The Tasks that wait for room in one namespace. There is one as long as anybody waits.
#[derive(Debug)]
pub(super) struct NamespaceGate {
    /// What the API server said.
    words: String,
    /// By what tells Agents and WorkspaceConfigs of the namespace apart: [`Runner::line`](crate::frontend::Runner::line).
    lines: BTreeMap<String, BTreeSet<QueuedTask>>,
    turn: Turn,
    refusals: u32,
    /// Something ended while a try was under way.
    room: bool,
}

/// Whose turn it is to try.
#[derive(Clone, Debug)]
struct Turn {
    agent: String,
    uid: TaskUid,
    not_before: Instant,
    is_trying: bool,
}

/// A Task to reconcile at this time: it may try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) task: TaskKey,
    pub(super) at: Instant,
}

impl NamespaceGate {
    /// The namespace refused this Task, and nobody waited there before.
    pub(super) fn new(agent: &str, task: QueuedTask) -> Self {
        let turn = Turn {
            agent: agent.to_owned(),
            uid: task.uid.clone(),
            not_before: Instant::now(),
            is_trying: true,
        };
        let lines = [(agent.to_owned(), BTreeSet::from([task]))].into();
        Self { words: String::new(), lines, turn, refusals: 0, room: false }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What the API server said last.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Everybody who waits.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &QueuedTask> {
        self.lines.values().flatten()
    }

    /// A Task comes to start: it may try if it is its turn, and waits otherwise.
    pub(super) fn ask(&mut self, agent: &str, task: &QueuedTask, now: Instant) -> bool {
        self.lines.entry(agent.to_owned()).or_default().insert(task.clone());
        let may_try = self.turn.uid == task.uid && self.turn.not_before <= now;
        self.turn.is_trying |= may_try;
        may_try
    }

    /// The API server refused a Task. One that had begun before the first refusal waits like the others.
    pub(super) fn refused(
        &mut self,
        agent: &str,
        task: QueuedTask,
        words: String,
        now: Instant,
    ) -> Option<Next> {
        self.words = words;
        let had_its_turn = self.turn.uid == task.uid && self.turn.is_trying;
        self.lines.entry(agent.to_owned()).or_default().insert(task);
        if !had_its_turn {
            return None;
        }
        if std::mem::take(&mut self.room) {
            self.refusals = 0;
        }
        let pause = FIRST_PAUSE * 2_u32.pow(self.refusals.min(8));
        self.refusals += 1;
        let after = self.lines.range::<str, _>((Excluded(agent), Unbounded));
        let next = after.map(|(agent, _)| agent).next().or_else(|| self.lines.keys().next()).cloned();
        self.give_turn(next, now + pause.min(MAX_PAUSE))
    }

    /// A Task was launched: there was room, and there may be more.
    pub(super) fn launched(&mut self, agent: &str, uid: &TaskUid, now: Instant) -> Option<Next> {
        self.remove(uid);
        self.refusals = 0;
        self.room = false;
        if self.turn.uid == *uid {
            return self.give_turn(Some(agent.to_owned()), now);
        }
        self.made_room(now)
    }

    /// The try of this Task is over without an answer about room: the next one's turn comes.
    pub(super) fn tried(&mut self, uid: &TaskUid) -> Option<Next> {
        if self.turn.uid == *uid && self.turn.is_trying { self.leave(uid) } else { None }
    }

    /// A Task waits here no more.
    pub(super) fn leave(&mut self, uid: &TaskUid) -> Option<Next> {
        self.remove(uid);
        if self.turn.uid != *uid {
            return None;
        }
        self.give_turn(Some(self.turn.agent.clone()), self.turn.not_before)
    }

    /// A Pod of the namespace is over or gone.
    pub(super) fn made_room(&mut self, now: Instant) -> Option<Next> {
        if self.turn.is_trying {
            self.room = true;
            return None;
        }
        self.refusals = 0;
        self.give_turn(Some(self.turn.agent.clone()), now)
    }

    fn remove(&mut self, uid: &TaskUid) {
        self.lines.retain(|_, line| {
            line.retain(|task| task.uid != *uid);
            !line.is_empty()
        });
    }

    /// The first of this Agent's line, or where nobody waits there of another's, may try from then on.
    fn give_turn(&mut self, agent: Option<String>, at: Instant) -> Option<Next> {
        let agent = agent.filter(|agent| self.lines.contains_key(agent));
        let agent = agent.or_else(|| self.lines.keys().next().cloned())?;
        let task = self.lines.get(&agent)?.first()?;
        self.turn = Turn { uid: task.uid.clone(), not_before: at, is_trying: false, agent };
        Some(Next { task: task.key.clone(), at })
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::tests::task;
    use super::*;

    fn name(next: Option<Next>) -> Option<String> {
        next.map(|next| next.task.name)
    }

    /// A gate at which `first` was refused at `now`, and behind it these wait.
    fn gate(now: Instant, others: &[(&str, &str)]) -> NamespaceGate {
        let mut gate = NamespaceGate::new("small", task(0, "first"));
        for (second, (agent, name)) in (1..).zip(others) {
            assert!(!gate.ask(agent, &task(second, name), now));
        }
        gate
    }

    #[test]
    fn one_tries_with_growing_pauses_and_nobody_else_does() {
        let mut now = Instant::now();
        let mut gate = gate(now, &[("small", "second"), ("small", "third")]);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let next = gate.refused("small", task(0, "first"), "full".into(), now).unwrap();
            assert_eq!(next.task.name, "first");
            assert!(!gate.ask("small", &task(0, "first"), now), "not before its time");
            pauses.push((next.at - now).as_millis());
            now = next.at;
            assert!(!gate.ask("small", &task(1, "second"), now), "it is not its turn");
            assert!(gate.ask("small", &task(0, "first"), now));
            assert!(gate.ask("small", &task(0, "first"), now), "whoever asks again tries on");
        }
        assert_eq!(gate.words(), "full");
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_launch_lets_the_next_one_in_in_order_of_arrival() {
        let now = Instant::now();
        let mut gate = gate(now, &[("small", "second"), ("small", "third")]);
        assert!(!gate.is_empty());
        assert_eq!(name(gate.launched("small", &TaskUid("first".into()), now)).as_deref(), Some("second"));
        assert!(gate.ask("small", &task(1, "second"), now));
        assert_eq!(name(gate.launched("small", &TaskUid("second".into()), now)).as_deref(), Some("third"));
        assert!(gate.ask("small", &task(2, "third"), now));
        assert_eq!(gate.launched("small", &TaskUid("third".into()), now), None);
        assert!(gate.is_empty());
    }

    #[test]
    fn an_end_ends_the_pause_and_one_during_a_try_counts_for_the_next() {
        let now = Instant::now();
        let mut gate = gate(now, &[("small", "second")]);
        for _ in 0..5 {
            let next = gate.refused("small", task(0, "first"), "full".into(), now).unwrap();
            assert!(gate.ask("small", &task(0, "first"), next.at));
        }
        assert_eq!(gate.made_room(now), None, "it tries already");
        let next = gate.refused("small", task(0, "first"), "full".into(), now).unwrap();
        assert_eq!(next.at - now, FIRST_PAUSE, "the end may not have been counted yet");
        assert_eq!(gate.made_room(now), Some(Next { task: task(0, "first").key, at: now }));
    }

    #[test]
    fn an_agent_whose_pods_never_fit_does_not_hold_up_those_of_another() {
        let now = Instant::now();
        let mut gate = gate(now, &[("large", "too-large"), ("small", "second")]);
        assert_eq!(
            name(gate.refused("small", task(0, "first"), "full".into(), now)).as_deref(),
            Some("too-large")
        );
        let later = now + MAX_PAUSE;
        assert!(gate.ask("large", &task(1, "too-large"), later));
        let next = gate.refused("large", task(1, "too-large"), "full".into(), later).unwrap();
        assert_eq!(next.task.name, "first");
        assert!(gate.ask("small", &task(0, "first"), next.at));
        let next = gate.launched("small", &TaskUid("first".into()), next.at);
        assert_eq!(name(next).as_deref(), Some("second"), "there is room for this kind");
    }

    #[test]
    fn who_leaves_or_ends_its_try_otherwise_hands_the_turn_on() {
        let now = Instant::now();
        let mut gate = gate(now, &[("small", "second"), ("small", "third")]);
        assert_eq!(name(gate.tried(&TaskUid("first".into()))).as_deref(), Some("second"));
        assert_eq!(gate.tried(&TaskUid("second".into())), None, "it did not try yet");
        assert_eq!(gate.leave(&TaskUid("third".into())), None);
        assert_eq!(gate.leave(&TaskUid("second".into())), None);
        assert!(gate.is_empty());
    }

    #[test]
    fn who_had_begun_before_the_gate_closed_waits_like_the_others() {
        let now = Instant::now();
        let mut gate = gate(now, &[]);
        assert_eq!(gate.refused("small", task(1, "second"), "full".into(), now), None, "the first one tries");
        assert!(gate.refused("small", task(0, "first"), "full".into(), now).is_some());
        assert_eq!(gate.refused("small", task(1, "second"), "full".into(), now), None);
        assert_eq!(gate.waiting().count(), 2);
        assert_eq!(name(gate.leave(&TaskUid("first".into()))).as_deref(), Some("second"));
    }
}
