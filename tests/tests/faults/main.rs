//! The fault matrix: every kind of fault at every request and every watch event of a Task's way, until a run passes
//! without reaching it. Whatever happens, each Task runs once and ends as it should, and a neighbour is not disturbed.
//!
//! One test for each fault. `make test` brings up an API server for them alone: the operators here list and watch the
//! whole cluster, as they do in production.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod lane;
mod scenes;

use std::time::{Duration, Instant};

use futures::StreamExt;
use kubeopencode_tests::faults::Fault;

use crate::lane::Lane;
use crate::scenes::Scene;

/// Compiles plugins for the operators of the tests.
const WORKER: &str = env!("CARGO_BIN_EXE_plugin-worker");
/// No way of a Task has so many requests or events: whoever gets here runs in circles.
const TOO_FAR: usize = 120;

macro_rules! one_test_for_each_fault {
    ($($test:ident: $fault:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                everywhere(Fault::$fault).await;
            }
        )+

        #[test]
        fn every_fault_has_its_test() {
            let tested = [$(Fault::$fault),+];
            let all: Vec<_> = Fault::OF_REQUESTS.into_iter().chain(Fault::OF_WATCHES).collect();
            assert_eq!(tested.as_slice(), all);
        }
    };
}

one_test_for_each_fault! {
    a_crash_before_any_request: CrashBefore,
    a_crash_after_any_request: CrashAfter,
    any_request_not_sent: NotSent,
    any_answer_lost: LostAnswer,
    any_request_forbidden: Forbidden,
    any_request_in_conflict: Conflict,
    any_request_one_too_many: TooMany,
    any_request_to_an_unavailable_server: Unavailable,
    a_watch_that_ends_before_any_event: WatchEnds,
    a_watch_that_breaks_before_any_event: WatchBreaks,
    a_watch_that_is_gone_before_any_event: WatchGone,
    a_watch_that_is_behind_from_any_event_on: WatchStale,
    a_crash_at_any_event: WatchCrash,
}

/// What came of one fault in one scene.
#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    slowest: Duration,
    most_writes: usize,
    broken: Vec<String>,
}

/// One fault at every place of every scene; the scenes run beside each other.
async fn everywhere(fault: Fault) {
    let started = Instant::now();
    let scenes = futures::stream::iter(Scene::ALL).map(async |scene| (scene, try_all(fault, scene).await));
    let tallies: Vec<(Scene, Tally)> = scenes.buffer_unordered(Scene::ALL.len()).collect().await;
    let mut runs = 0;
    for (scene, Tally { tried, slowest, most_writes, broken }) in &tallies {
        let verdict = if broken.is_empty() { "ok" } else { "BROKEN" };
        println!(
            "{fault:?} in {scene:?}: {verdict}, at {tried} places, slowest run {:.1} s, at most {most_writes} writes",
            slowest.as_secs_f64()
        );
        runs += tried + 1;
    }
    println!("{fault:?}: {runs} runs in {:.0} s", started.elapsed().as_secs_f64());
    let broken: Vec<_> = tallies.into_iter().flat_map(|(_, tally)| tally.broken).collect();
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
}

/// One fault in one scene, at the first request or event, the second, and so on.
async fn try_all(fault: Fault, scene: Scene) -> Tally {
    let mut tally = Tally::default();
    let mut lane = Lane::make().await;
    for k in 1..=TOO_FAR {
        let name = format!("{fault:?}-{scene:?}-{k}").to_lowercase();
        let began = Instant::now();
        let run = lane.run(fault, k, scene, &name).await;
        let is_well = run.broken.is_empty();
        if !is_well {
            tally.broken.push(format!("{name} (struck: {:?}): {}", run.struck, run.broken.join("; ")));
        }
        if run.struck.is_empty() {
            lane.remove().await;
            return tally;
        }
        tally.tried = k;
        tally.slowest = tally.slowest.max(began.elapsed());
        tally.most_writes = tally.most_writes.max(run.writes);
        if !is_well {
            // what it left behind is none of the next run's business
            lane.remove().await;
            lane = Lane::make().await;
        }
    }
    tally.broken.push(format!("{fault:?} in {scene:?}: still requests after {TOO_FAR}"));
    lane.remove().await;
    tally
}
