//! Which Task is launched next: round robin over namespaces, and within one over its Agents and WorkspaceConfigs. Pure.
//!
//! However many Tasks one namespace has in line, those of another wait for a slot and not for them; and a namespace never
//! has all slots, so that launches that hang there hold up nobody else's.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use kubeopencode_api::names::TaskKey;
use tokio::time::Instant;

use crate::frontend::Runner;

/// Launches under way at the same time. More of them push other clients of the API server aside and launch no faster.
pub(crate) const SLOTS: usize = 16;
/// Launches of one namespace that are under way at the same time.
pub(crate) const SLOTS_OF_NAMESPACE: usize = 12;
/// The same beside launches of others. An API server that has as much as it can do serves all requests alike, and whoever is
/// launched waits behind those of a burst in each of the three steps of his launch.
const SLOTS_BESIDE_OTHERS: usize = 4;
/// How long after a launch its namespace is one of those others: somebody who makes a Task now and then.
const BESIDE: Duration = Duration::from_secs(1);

/// Tasks to launch, each once however often it is enqueued.
#[derive(Debug, Default)]
pub(crate) struct LaunchOrder {
    states: HashMap<TaskKey, State>,
    /// Whose turn it is stands first. A key that was cancelled stays in its line until its turn comes.
    lines: Turns<String, Turns<Runner, VecDeque<TaskKey>>>,
    later: BTreeSet<(Instant, TaskKey)>,
    in_flight: HashMap<String, usize>,
    /// Namespaces whose last launch has just ended, and when.
    recent: HashMap<String, Instant>,
}

#[derive(Debug)]
enum State {
    InLine(Runner),
    /// It comes into line at this time.
    Later(Instant, Runner),
    InFlight {
        runner: Runner,
        /// It was enqueued meanwhile.
        again: bool,
    },
}

impl LaunchOrder {
    /// A Task wants to be launched with this runner.
    pub(crate) fn enqueue(&mut self, task: TaskKey, runner: Runner) {
        match self.states.get_mut(&task) {
            Some(State::InFlight { again, .. }) => *again = true,
            Some(State::InLine(_)) => {}
            Some(State::Later(at, _)) => {
                self.later.remove(&(*at, task.clone()));
                self.enter(task, runner);
            }
            None => self.enter(task, runner),
        }
    }

    fn enter(&mut self, task: TaskKey, runner: Runner) {
        let namespace = task.namespace.clone();
        self.lines
            .with(namespace, |runners| runners.with(runner.clone(), |tasks| tasks.push_back(task.clone())));
        self.states.insert(task, State::InLine(runner));
    }

    /// The Task wants to be launched no more; a launch that is under way goes on.
    pub(crate) fn cancel(&mut self, task: &TaskKey) {
        if let Some(State::InFlight { .. }) = self.states.get(task) {
            return;
        }
        if let Some(State::Later(at, _)) = self.states.remove(task) {
            self.later.remove(&(at, task.clone()));
        }
    }

    /// Whether the Task is in line or being launched.
    pub(crate) fn has(&self, task: &TaskKey) -> bool {
        self.states.contains_key(task)
    }

    /// Whether the Task is being launched. Who asks that wants something of the Task, which is said when it ended.
    pub(crate) fn defer(&mut self, task: &TaskKey) -> bool {
        match self.states.get_mut(task) {
            Some(State::InFlight { again, .. }) => {
                *again = true;
                true
            }
            _ => false,
        }
    }

    /// The next Task, which then is under way; `None`: nobody is in line who may go, or no slot is free.
    pub(crate) fn next(&mut self, now: Instant) -> Option<TaskKey> {
        while let Some((_, task)) = self.later.first().filter(|(at, _)| *at <= now).cloned() {
            self.later.pop_first();
            if let Some(State::Later(_, runner)) = self.states.remove(&task) {
                self.enter(task, runner);
            }
        }
        self.recent.retain(|_, ended| now < *ended + BESIDE);
        if self.in_flight.values().sum::<usize>() >= SLOTS {
            return None;
        }
        let Self { states, lines, in_flight, recent, .. } = self;
        let is_in_line = |task: &TaskKey| matches!(states.get(task), Some(State::InLine(_)));
        let of_runner =
            |tasks: &mut VecDeque<TaskKey>| std::iter::from_fn(|| tasks.pop_front()).find(is_in_line);
        let task = loop {
            let before = lines.0.len();
            let has_slot = |namespace: &String| {
                let is_alone = before == 1 && in_flight.keys().chain(recent.keys()).all(|of| of == namespace);
                let most = if is_alone { SLOTS_OF_NAMESPACE } else { SLOTS_BESIDE_OTHERS };
                in_flight.get(namespace).is_none_or(|slots| *slots < most)
            };
            let of_namespace =
                |runners: &mut Turns<_, _>| runners.take(|_| true, of_runner, VecDeque::is_empty);
            let task = lines.take(has_slot, of_namespace, |runners| runners.0.is_empty());
            // a line that has gone had nobody in it any more: who stood beside it may have more slots
            if task.is_some() || lines.0.len() == before {
                break task?;
            }
        };
        let Some(State::InLine(runner)) = self.states.remove(&task) else { return None };
        *self.in_flight.entry(task.namespace.clone()).or_default() += 1;
        self.states.insert(task.clone(), State::InFlight { runner, again: false });
        Some(task)
    }

    /// When the next one comes into line by itself, or whoever is in line may have more slots.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let later = self.later.first().map(|(at, _)| *at);
        let ended = self.recent.values().min().filter(|_| !self.lines.0.is_empty());
        later.into_iter().chain(ended.map(|ended| *ended + BESIDE)).min()
    }

    /// A launch ended, and is to be repeated after this pause. Says whether something was wanted of the Task meanwhile:
    /// then that decides, in place of the pause.
    pub(crate) fn end(&mut self, task: &TaskKey, pause: Option<Duration>, now: Instant) -> bool {
        let Some(State::InFlight { runner, again }) = self.states.remove(task) else { return false };
        if let Some(slots) = self.in_flight.get_mut(&task.namespace) {
            *slots -= 1;
            if *slots == 0 {
                self.in_flight.remove(&task.namespace);
            }
        }
        self.recent.insert(task.namespace.clone(), now);
        if let Some(pause) = pause.filter(|_| !again) {
            self.later.insert((now + pause, task.clone()));
            self.states.insert(task.clone(), State::Later(now + pause, runner));
        }
        again
    }
}

/// Lines that take turns: whoever was served stands last.
#[derive(Debug)]
struct Turns<K, L>(VecDeque<(K, L)>);

impl<K, L> Default for Turns<K, L> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K: PartialEq, L: Default> Turns<K, L> {
    /// Adds to the line of this key; a new one stands last.
    fn with(&mut self, key: K, add: impl FnOnce(&mut L)) {
        if let Some((_, line)) = self.0.iter_mut().find(|(known, _)| *known == key) {
            return add(line);
        }
        let mut line = L::default();
        add(&mut line);
        self.0.push_back((key, line));
    }

    /// What `take` finds in the first line whose turn it may be. Lines that are empty, or in which it finds nothing, go.
    fn take<T>(
        &mut self,
        may: impl Fn(&K) -> bool,
        mut take: impl FnMut(&mut L) -> Option<T>,
        is_empty: impl Fn(&L) -> bool,
    ) -> Option<T> {
        let mut place = 0;
        while let Some((key, line)) = self.0.get_mut(place) {
            if !may(key) {
                place += 1;
                continue;
            }
            let taken = take(line);
            let served = self.0.remove(place);
            if taken.is_some() {
                self.0.extend(served.filter(|(_, line)| !is_empty(line)));
                return taken;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubeopencode_api::group::Group;
    use kubeopencode_api::names::AgentKey;
    use proptest::prelude::*;

    fn task(namespace: &str, name: &str) -> TaskKey {
        TaskKey::new(Group::KubeOpenCode, namespace, name)
    }

    fn enqueue(
        order: &mut LaunchOrder,
        namespace: &str,
        agent: &str,
        names: impl IntoIterator<Item = String>,
    ) {
        for name in names {
            order.enqueue(task(namespace, &name), Runner::Agent(AgentKey::new(namespace, agent)));
        }
    }

    fn numbered(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|i| i.to_string())
    }

    /// Launches one after the other, in the order in which they are begun.
    fn launched(order: &mut LaunchOrder, count: usize) -> Vec<String> {
        let now = Instant::now();
        let launch = |_| {
            let task = order.next(now)?;
            order.end(&task, None, now);
            Some(format!("{}/{}", task.namespace, task.name))
        };
        (0..count).filter_map(launch).collect()
    }

    #[test]
    fn a_burst_makes_nobody_else_wait_for_more_than_its_turn() {
        let mut order = LaunchOrder::default();
        enqueue(&mut order, "burst", "default", numbered(5000));
        enqueue(&mut order, "other", "default", numbered(2));
        assert_eq!(launched(&mut order, 5), ["burst/0", "other/0", "burst/1", "other/1", "burst/2"]);
    }

    #[test]
    fn agents_of_a_namespace_take_turns_too() {
        let mut order = LaunchOrder::default();
        enqueue(&mut order, "team", "busy", numbered(100));
        enqueue(&mut order, "team", "idle", ["x".to_owned()]);
        assert_eq!(launched(&mut order, 3), ["team/0", "team/x", "team/1"]);
    }

    #[test]
    fn launches_that_hang_leave_slots_to_others() {
        let (mut order, now) = (LaunchOrder::default(), Instant::now());
        enqueue(&mut order, "hangs", "default", numbered(100));
        let hanging = std::iter::from_fn(|| order.next(now)).count();
        assert_eq!(hanging, SLOTS_OF_NAMESPACE);
        enqueue(&mut order, "works", "default", numbered(100));
        assert_eq!(std::iter::from_fn(|| order.next(now)).count(), SLOTS - SLOTS_OF_NAMESPACE);
    }

    #[test]
    fn beside_others_a_namespace_has_few_slots_until_they_are_quiet() {
        let (mut order, now) = (LaunchOrder::default(), Instant::now());
        enqueue(&mut order, "burst", "default", numbered(100));
        enqueue(&mut order, "other", "default", ["x".to_owned()]);
        assert_eq!(std::iter::from_fn(|| order.next(now)).count(), SLOTS_BESIDE_OTHERS + 1);
        order.end(&task("other", "x"), None, now);
        assert_eq!((order.next(now), order.next_due()), (None, Some(now + BESIDE)));
        let begun = std::iter::from_fn(|| order.next(now + BESIDE)).count();
        assert_eq!(begun, SLOTS_OF_NAMESPACE - SLOTS_BESIDE_OTHERS);
    }

    #[test]
    fn who_was_cancelled_is_nobody_beside_whom_others_have_few_slots() {
        let (mut order, now) = (LaunchOrder::default(), Instant::now());
        enqueue(&mut order, "burst", "default", numbered(100));
        let first = std::iter::from_fn(|| order.next(now)).take(SLOTS_BESIDE_OTHERS).count();
        enqueue(&mut order, "gone", "default", ["x".to_owned()]);
        order.cancel(&task("gone", "x"));
        let others = std::iter::from_fn(|| order.next(now)).count();
        assert_eq!(first + others, SLOTS_OF_NAMESPACE, "nothing else would wake it");
    }

    #[test]
    fn a_task_is_in_flight_once_and_what_comes_meanwhile_is_said_at_its_end() {
        let (mut order, now) = (LaunchOrder::default(), Instant::now());
        let fix = task("team", "fix");
        assert!(!order.defer(&fix) && !order.has(&fix));
        enqueue(&mut order, "team", "default", ["fix".to_owned(), "fix".to_owned()]);
        assert_eq!(order.next(now), Some(fix.clone()));
        assert_eq!(order.next(now), None);
        assert!(order.defer(&fix) && order.has(&fix));
        order.cancel(&fix);
        assert!(order.end(&fix, Some(Duration::from_secs(1)), now), "it goes on");
        assert_eq!((order.next(now), order.next_due()), (None, None), "whoever deferred it decides");
    }

    #[test]
    fn a_pause_ends_in_time_or_when_the_task_is_enqueued() {
        let (mut order, now) = (LaunchOrder::default(), Instant::now());
        let (fix, pause) = (task("team", "fix"), Duration::from_secs(10));
        let paused = |order: &mut LaunchOrder| {
            enqueue(order, "team", "default", ["fix".to_owned()]);
            assert_eq!(order.next(now), Some(fix.clone()));
            assert!(!order.end(&fix, Some(pause), now));
            assert_eq!((order.next(now), order.next_due()), (None, Some(now + pause)));
        };
        paused(&mut order);
        assert_eq!(order.next(now + pause), Some(fix.clone()));
        order.end(&fix, None, now);
        paused(&mut order);
        enqueue(&mut order, "team", "default", ["fix".to_owned()]);
        assert_eq!(order.next(now), Some(fix.clone()));
        order.end(&fix, None, now);
        paused(&mut order);
        order.cancel(&fix);
        assert_eq!((order.next(now + pause), order.next_due()), (None, None));
    }

    #[test]
    fn who_is_cancelled_in_line_is_passed_over() {
        let mut order = LaunchOrder::default();
        enqueue(&mut order, "team", "default", numbered(3));
        order.cancel(&task("team", "0"));
        order.cancel(&task("team", "2"));
        assert_eq!(launched(&mut order, 3), ["team/1"]);
        enqueue(&mut order, "team", "default", numbered(1));
        assert_eq!(launched(&mut order, 3), ["team/0"]);
    }

    proptest! {
        /// Whatever is enqueued, cancelled, begun and ended: nobody is lost, nobody is in flight twice, and no slot is.
        #[test]
        fn everybody_is_launched(steps in prop::collection::vec((0..4_u8, 0..3_usize, 0..8_usize), 1..200)) {
            let (mut order, mut now) = (LaunchOrder::default(), Instant::now());
            let (mut wanted, mut in_flight) = (BTreeSet::new(), BTreeSet::new());
            for (step, namespace, name) in steps {
                let key = task(&namespace.to_string(), &name.to_string());
                match step {
                    0 => {
                        let agent = AgentKey::new("a", (name % 2).to_string());
                        order.enqueue(key.clone(), Runner::Agent(agent));
                        if !in_flight.contains(&key) {
                            wanted.insert(key);
                        }
                    }
                    1 => {
                        order.cancel(&key);
                        wanted.remove(&key);
                    }
                    2 => if let Some(key) = order.next(now) {
                        prop_assert!(wanted.remove(&key), "{key} is not wanted");
                        prop_assert!(in_flight.insert(key));
                        prop_assert!(in_flight.len() <= SLOTS);
                    },
                    _ => if let Some(key) = in_flight.pop_first() {
                        let pause = (name > 4).then_some(Duration::from_secs(1));
                        let again = order.end(&key, pause, now);
                        if pause.is_some() && !again {
                            wanted.insert(key);
                        }
                        now += Duration::from_millis(300);
                    },
                }
            }
            for key in in_flight {
                order.end(&key, None, now);
            }
            now += Duration::from_secs(1);
            while let Some(key) = order.next(now) {
                prop_assert!(wanted.remove(&key));
                order.end(&key, None, now);
            }
            prop_assert_eq!(wanted.len(), 0);
            prop_assert!(order.states.is_empty() && order.in_flight.is_empty() && order.lines.0.is_empty());
        }
    }
}
