//! The model test: the operator itself, one or two of it, on an API server in memory, over histories that nobody would
//! think of. Crashes, answers and requests that are lost, watches that are behind or break, Tasks that are deleted,
//! stopped and made again under their name, in any order, at any request. Whatever happens, the invariants of
//! ARCHITECTURE.md hold at every revision; and once the faults stop, everything comes to its end.
//!
//! The clock is tokio's, paused: it goes on when nobody has anything to do, so a history takes some milliseconds.
//! `PROPTEST_CASES` says how many histories are tried; those that once failed are in `main.proptest-regressions` and
//! are tried first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this is tests: a failure is a panic"
)]

mod api;
mod cluster;
mod world;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kubeopencode_evaluate::Catalog;
use kubeopencode_tests::record::History as Record;
use kubeopencode_tests::{cluster::plugin_host, invariants};
use proptest::prelude::*;

use crate::cluster::{NAMES, pods};
use crate::world::{Fate, World};

/// Compiles plugins for the operators of the tests.
const WORKER: &str = env!("CARGO_BIN_EXE_plugin-worker");
/// Histories of each test where `PROPTEST_CASES` says nothing.
const HISTORIES: u32 = 500;
/// Rounds until all must have come to its end.
const ROUNDS: usize = 100;
/// What passes in a round in which nothing happens.
const ROUND: Duration = Duration::from_secs(20);

/// What happens next. Numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(usize),
    Delete(usize),
    Stop(usize),
    /// A Pod goes on: it is bound and runs, ends well or not, is gone when it was deleted.
    Kubelet(usize, bool),
    CollectGarbage,
    Request(usize, Fate),
    Show(usize, usize),
    BreakWatch(usize),
    /// An operator ends where it stands, and another begins in its place.
    Restart(usize),
    Pass(u64),
    /// So many rounds without a fault.
    Rounds(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let some = || 0..12_usize;
    prop_oneof![
        6 => (0..NAMES.len()).prop_map(Step::Create),
        3 => (0..NAMES.len()).prop_map(Step::Delete),
        1 => (0..NAMES.len()).prop_map(Step::Stop),
        6 => (some(), any::<bool>()).prop_map(|(pod, well)| Step::Kubelet(pod, well)),
        2 => Just(Step::CollectGarbage),
        24 => some().prop_map(|which| Step::Request(which, Fate::Answered)),
        2 => some().prop_map(|which| Step::Request(which, Fate::AnswerLost)),
        1 => some().prop_map(|which| Step::Request(which, Fate::RequestLost)),
        12 => (some(), 1..6_usize).prop_map(|(watch, most)| Step::Show(watch, most)),
        1 => some().prop_map(Step::BreakWatch),
        2 => (0..2_usize).prop_map(Step::Restart),
        3 => (1..20_u64).prop_map(Step::Pass),
        5 => (1..4_usize).prop_map(Step::Rounds),
    ]
}

#[derive(Clone, Debug)]
struct History {
    operators: usize,
    limit: usize,
    steps: Vec<Step>,
}

fn history(operators: usize) -> impl Strategy<Value = History> {
    (1..=2_usize, prop::collection::vec(step(), 1..60)).prop_map(move |(limit, steps)| History {
        operators,
        limit,
        steps,
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(HISTORIES),
        failure_persistence: Some(Box::new(proptest::test_runner::FileFailurePersistence::WithSource("proptest-regressions"))),
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_operator_keeps_the_invariants_and_brings_everything_to_its_end(history in history(1)) {
        prop_assert_eq!(violations(&history), "");
    }

    #[test]
    fn two_operators_at_once_keep_the_invariants_and_bring_everything_to_its_end(history in history(2)) {
        prop_assert_eq!(violations(&history), "");
    }
}

fn violations(history: &History) -> String {
    let clock =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    clock.block_on(run(history)).join("\n")
}

fn host() -> Arc<Catalog> {
    static HOST: OnceLock<Arc<Catalog>> = OnceLock::new();
    let compile = || tokio::runtime::Runtime::new().unwrap().block_on(plugin_host(WORKER)).catalog();
    Arc::clone(HOST.get_or_init(|| std::thread::spawn(compile).join().unwrap()))
}

/// What a history breaks; nothing, if all is well.
async fn run(history: &History) -> Vec<String> {
    let mut world = World::new(host(), history.operators);
    cluster::prepare(&mut world.state().api, history.limit);
    for operator in 0..history.operators {
        world.start(operator);
    }
    world.settle().await;
    for step in &history.steps {
        take(&mut world, history, *step).await;
    }
    // the lease goes to one of them in the end
    (1..history.operators).for_each(|operator| world.crash(operator));
    let mut is_over = false;
    for _ in 0..ROUNDS {
        world.state().api.collect_garbage();
        let happened = round(&world).await | cluster::kubelet_round(&mut world.state().api);
        is_over = !happened && cluster::is_over(&world.state().api);
        if is_over {
            break;
        }
        if !happened {
            tokio::time::sleep(ROUND).await;
        }
    }
    let state = world.state();
    let record = Record::of(state.api.record());
    let mut found = invariants::violations(&record);
    found.extend(state.api.refused.iter().cloned());
    found.extend(cluster::untrue_ends(&record));
    if !is_over {
        found.push("it does not come to its end".to_owned());
    }
    found.sort();
    found.dedup();
    if !found.is_empty() {
        found.push(cluster::told(&state.api));
    }
    found
}

async fn take(world: &mut World, history: &History, step: Step) {
    match step {
        Step::Create(task) => cluster::create_task(&mut world.state().api, task),
        Step::Delete(task) => cluster::delete_task(&mut world.state().api, task),
        Step::Stop(task) => cluster::stop_task(&mut world.state().api, task),
        Step::Kubelet(which, well) => {
            let mut state = world.state();
            let pods = pods(&state.api);
            if !pods.is_empty() {
                cluster::kubelet(&mut state.api, &pods[which % pods.len()], well);
            }
        }
        Step::CollectGarbage => world.state().api.collect_garbage(),
        Step::Request(which, fate) => drop(world.end_request(which, fate)),
        Step::Show(which, most) => drop(world.show(which, most)),
        Step::BreakWatch(which) => world.break_watch(which),
        Step::Restart(operator) if operator < history.operators => {
            world.crash(operator);
            world.start(operator);
        }
        Step::Restart(_) => {}
        Step::Pass(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        Step::Rounds(rounds) => {
            for _ in 0..rounds {
                round(world).await;
            }
        }
    }
    world.settle().await;
}

/// Everybody gets their answers and sees what happened, once; whether there was anything.
async fn round(world: &World) -> bool {
    let mut happened = false;
    world.settle().await;
    while world.end_request(0, Fate::Answered) {
        happened = true;
        world.settle().await;
    }
    while world.show(0, usize::MAX) {
        happened = true;
    }
    world.settle().await;
    happened
}
