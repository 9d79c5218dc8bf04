//! Random interleavings of two operators with old caches and crashes, of Tasks that end and of people who delete them: every
//! index has one Task, ever, and the status says how it ended.
//!
//! What is tried is `decide` and `status`. Around them stands what the API server and the stages of a Task keep: one object
//! of a name, a write with the resourceVersion that it was decided on, and that no Task goes before it is counted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kubeopencode_api::kubetask::batch::BatchStatus;
use kubeopencode_api::task::Phase;
use proptest::prelude::*;

use super::decide::{Facts, Known, Learnt, decide};
use super::status::status;

const TOTAL: usize = 5;
const PARALLELISM: usize = 2;
/// The indexes whose names somebody else holds at the start, and may give back and take again.
const TAKEN: [usize; 2] = [0, 3];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Task {
    phase: Phase,
    is_deleting: bool,
    is_own: bool,
}

const FOREIGN: Task = Task { phase: Phase::Running, is_deleting: false, is_own: false };

/// What one operator knows.
#[derive(Debug, Default)]
struct Operator {
    /// Which revision of the Batch its cache shows, and which of the Tasks.
    batch: usize,
    tasks: usize,
    learnt: Learnt,
}

/// What the API server has, every revision of it.
struct World {
    batches: Vec<BatchStatus>,
    tasks: Vec<BTreeMap<usize, Task>>,
    made: [u32; TOTAL],
    /// How each index ended that is gone.
    ended: BTreeMap<usize, Phase>,
    operators: [Operator; 2],
    is_paused: bool,
    seconds: i64,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// The watches bring a cache up to this far behind.
    Watch(usize, usize, usize),
    /// One look of an operator, which dies before so many writes, or has written the status a moment ago.
    Look(usize, Option<usize>, bool),
    Start(usize),
    End(usize, bool),
    /// Somebody deletes the Task of an index.
    Delete(usize),
    /// Somebody makes, or deletes, a Task of their own that has an index's name.
    Foreign(usize, bool),
    /// An operator lets a Task go that is being deleted.
    Release(usize, usize),
    Pause(bool),
    Sleep,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let (operator, index) = (0..2_usize, 0..TOTAL);
    let action = prop_oneof![
        4 => (operator.clone(), 0..3_usize, 0..4_usize).prop_map(|(o, batch, tasks)| Action::Watch(o, batch, tasks)),
        8 => (operator.clone(), proptest::option::weighted(0.3, 0..4_usize), any::<bool>())
            .prop_map(|(o, dies, is_early)| Action::Look(o, dies, is_early)),
        3 => index.clone().prop_map(Action::Start),
        3 => (index.clone(), any::<bool>()).prop_map(|(i, well)| Action::End(i, well)),
        1 => index.clone().prop_map(Action::Delete),
        2 => (proptest::sample::select(&TAKEN), any::<bool>()).prop_map(|(i, is_there)| Action::Foreign(i, is_there)),
        3 => (operator, index).prop_map(|(o, i)| Action::Release(o, i)),
        1 => any::<bool>().prop_map(Action::Pause),
        1 => Just(Action::Sleep),
    ];
    proptest::collection::vec(action, 0..120)
}

impl World {
    fn new() -> Self {
        Self {
            batches: vec![BatchStatus::default()],
            tasks: vec![TAKEN.map(|index| (index, FOREIGN)).into()],
            made: [0; TOTAL],
            ended: BTreeMap::new(),
            operators: Default::default(),
            is_paused: false,
            seconds: 0,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds).unwrap()
    }

    fn task(&self, index: usize) -> Option<Task> {
        self.tasks.last().unwrap().get(&index).copied()
    }

    fn set(&mut self, index: usize, task: Option<Task>) {
        let mut tasks = self.tasks.last().unwrap().clone();
        match task {
            Some(task) => drop(tasks.insert(index, task)),
            None => drop(tasks.remove(&index)),
        }
        self.tasks.push(tasks);
    }

    /// Changes a Task that is the Batch's and not over.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut Task)) {
        let Some(mut task) = self.task(index).filter(|task| task.is_own && !task.phase.is_terminal()) else {
            return;
        };
        change(&mut task);
        self.set(index, Some(task));
    }

    fn open(&self) -> usize {
        self.tasks.last().unwrap().values().filter(|task| task.is_own && !task.phase.is_terminal()).count()
    }

    fn act(&mut self, action: Action) {
        self.seconds += 1;
        match action {
            Action::Watch(operator, batch, tasks) => self.watch(operator, batch, tasks),
            Action::Look(operator, dies, is_early) => self.look(operator, dies, is_early),
            Action::Start(index) => self.change(index, |task| task.phase = Phase::Running),
            Action::End(index, well) => {
                self.change(index, |task| task.phase = if well { Phase::Completed } else { Phase::Failed });
            }
            Action::Delete(index) => {
                if let Some(task) = self.task(index).filter(|task| task.is_own) {
                    self.set(index, Some(Task { is_deleting: true, ..task }));
                }
            }
            Action::Foreign(index, true) if self.task(index).is_none() => self.set(index, Some(FOREIGN)),
            Action::Foreign(index, false) if self.task(index).is_some_and(|task| !task.is_own) => {
                self.set(index, None);
            }
            Action::Foreign(..) => {}
            Action::Release(operator, index) => self.release(operator, index),
            Action::Pause(is_paused) => self.is_paused = is_paused,
            Action::Sleep => self.seconds += 20,
        }
    }

    fn watch(&mut self, operator: usize, batch: usize, tasks: usize) {
        let newest = (self.batches.len() - 1, self.tasks.len() - 1);
        let cache = &mut self.operators[operator];
        cache.batch = cache.batch.max(newest.0.saturating_sub(batch));
        cache.tasks = cache.tasks.max(newest.1.saturating_sub(tasks));
    }

    /// As `frontend` has it: not before the Batch that this operator sees has counted the Task, and its end.
    fn release(&mut self, operator: usize, index: usize) {
        let Some(task) = self.task(index).filter(|task| task.is_own && task.is_deleting) else { return };
        let seen = &self.batches[self.operators[operator].batch];
        let is_counted = if task.phase.is_terminal() { seen.is_over(index) } else { seen.made() > index };
        if is_counted {
            self.set(index, None);
            self.ended.insert(index, if task.phase.is_terminal() { task.phase } else { Phase::Failed });
        }
    }

    /// As `Batches::bring_up_to_date`: an operator that dies is followed by one that lists everything and has learnt nothing.
    fn look(&mut self, operator: usize, dies: Option<usize>, is_early: bool) {
        let mut writes = 0;
        let mut dies = || {
            writes += 1;
            dies.is_some_and(|dies| writes > dies)
        };
        let (batch, tasks) = (self.operators[operator].batch, self.operators[operator].tasks);
        let (seen, now) = (self.batches[batch].clone(), self.now());
        let facts = Facts {
            total: TOTAL,
            parallelism: PARALLELISM,
            is_paused: self.is_paused,
            is_deleting: false,
            status: &seen,
            generation: Some(1),
            name: "b",
        };
        if facts.is_done() {
            return;
        }
        let cache = self.tasks[tasks].clone();
        let shown =
            |index: usize| cache.get(&index).filter(|task| task.is_own).map(|task| Known::Shown(task.phase));
        let mut learnt = std::mem::take(&mut self.operators[operator].learnt);
        for index in decide(&facts, &learnt.with(&facts, shown), now).ask {
            let known = match self.task(index) {
                Some(task) if task.is_own => Known::Made(now),
                Some(_) => Known::Taken,
                None => Known::Gone,
            };
            learnt.learn(index, known);
        }
        let next = decide(&facts, &learnt.with(&facts, shown), now);
        if batch == self.batches.len() - 1 {
            for index in next.make {
                if dies() {
                    return self.restart(operator);
                }
                let known = match self.task(index) {
                    Some(task) if task.is_own => Known::Made(now),
                    Some(_) => Known::Contested,
                    None => {
                        self.made[index] += 1;
                        self.set(
                            index,
                            Some(Task { phase: Phase::Pending, is_deleting: false, is_own: true }),
                        );
                        assert!(self.open() <= PARALLELISM, "too many at once: {:?}", self.tasks.last());
                        Known::Made(now)
                    }
                };
                learnt.learn(index, known);
            }
        }
        let new = status(&facts, &learnt.with(&facts, shown), None, now);
        self.operators[operator].learnt = learnt;
        if new != seen && !is_early && batch == self.batches.len() - 1 {
            if dies() {
                return self.restart(operator);
            }
            assert!(new.made() >= seen.made(), "{new:?}");
            self.batches.push(new);
        }
    }

    fn restart(&mut self, operator: usize) {
        self.operators[operator] = Operator::default();
        self.watch(operator, 0, 0);
    }

    /// Everything gets its time, until the Batch is over.
    fn settle(&mut self) {
        self.is_paused = false;
        for round in 0..200 {
            let operator = round % 2;
            self.act(Action::Watch(operator, 0, 0));
            self.act(Action::Look(operator, None, false));
            for index in 0..TOTAL {
                self.act(Action::Release(operator, index));
                self.act(Action::End(index, index % 2 == 0));
            }
            if self.batches.last().unwrap().phase.unwrap().is_terminal() {
                return;
            }
        }
        panic!("it is not over: {:?}, {:?}", self.batches.last(), self.tasks.last());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_index_has_one_task_and_the_end_that_it_had(actions in actions()) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        world.settle();
        let over = world.batches.last().unwrap();
        for index in 0..TOTAL {
            prop_assert!(world.made[index] <= 1, "index {} was made {} times", index, world.made[index]);
            prop_assert!(world.made[index] == 1 || TAKEN.contains(&index), "index {} was never made", index);
            let end = world.task(index).filter(|task| task.is_own).map(|task| task.phase);
            let end = end.or(world.ended.get(&index).copied()).unwrap_or(Phase::Failed);
            let said = (over.completed_indexes.contains(index), over.failed_indexes.contains(index));
            prop_assert_eq!(said, (end == Phase::Completed, end == Phase::Failed), "index {}", index);
        }
        prop_assert_eq!((over.made(), over.progress.unwrap().pending), (TOTAL, 0));
    }
}
