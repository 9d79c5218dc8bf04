//! Operators that die, come back, or work at the same time.

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use kube::runtime::wait::await_condition;
use kubeopencode_api::task::Phase;
use kubeopencode_operator::release_finalizers;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::record::Kind;
use kubeopencode_tests::stage::{Stage, TEAM};

use crate::{scenario, until_in_phase};

const LIMITED: &str = "{apiVersion: kubeopencode.io/v1alpha1, kind: Agent, metadata: {name: two}, spec: {serviceAccountName: kubeopencode-agent, maxConcurrentTasks: 2}}";

fn task(name: &str, agent: &str) -> String {
    format!(
        "{{apiVersion: kubeopencode.io/v1alpha1, kind: Task, metadata: {{name: {name}}}, spec: {{description: d, agentRef: {agent}}}}}"
    )
}

async fn until_completed(stage: &Stage, count: usize) {
    until_in_phase(stage, "Completed", count, count).await;
}

/// Each Task had exactly one Pod that lost its gate: the invariants say at most one, the end says at least one.
#[tokio::test]
async fn two_operators_at_once_do_no_harm() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(LIMITED).await;
        let (_one, _two) = (stage.operator(), stage.operator());
        stage.create_tasks(&task("free", "default"), 15).await;
        stage.create_tasks(&task("limited", "two"), 15).await;
        until_completed(stage, 30).await;
    })
    .await;
}

#[tokio::test]
async fn two_operators_with_stale_watches_do_no_harm() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(LIMITED).await;
        let stale = || {
            Faults::by(|moment| {
                (moment.verb == "WATCH" && moment.number % 3 == 0).then_some(Fault::WatchStale)
            })
        };
        let (_one, _two) = (stage.operator_with(&stale()), stage.operator_with(&stale()));
        stage.create_tasks(&task("free", "default"), 8).await;
        stage.create_tasks(&task("limited", "two"), 8).await;
        until_completed(stage, 16).await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_survives_its_operator_again_and_again() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(LIMITED).await;
        let mut operator = stage.operator();
        stage.create_tasks(&task("t", "two"), 24).await;
        for done in [3, 8, 13, 18] {
            until_completed(stage, done).await;
            operator.crash().await;
            operator = stage.operator();
        }
        until_completed(stage, 24).await;
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_takes_over_while_the_old_one_still_writes() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(LIMITED).await;
        let old = stage.operator();
        stage.create_tasks(&task("t", "two"), 12).await;
        until_completed(stage, 2).await;
        let _new = stage.operator();
        until_completed(stage, 6).await;
        old.stop().await;
        until_completed(stage, 12).await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_shuts_down_finishes_what_it_began() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let operator = stage.operator();
        stage.create_tasks(&task("t", "default"), 10).await;
        stage.until("a Pod is made", |history| history.all(Kind::Pod).next().map(drop)).await;
        operator.stop().await;
        // what was begun was brought to its end: no Pod is left with its gate
        stage.record.catch_up().await;
        let gated: Vec<String> = stage
            .record
            .history()
            .all(Kind::Pod)
            .filter(|pod| pod.is_gated())
            .map(|pod| pod.name().to_owned())
            .collect();
        assert!(gated.is_empty(), "{gated:?}");
        let _next = stage.operator();
        until_completed(stage, 10).await;
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_is_slow_and_refuses_is_lived_with() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(LIMITED).await;
        // every seventh request is refused or loses its answer, in turns; watches break now and then
        let faults = Faults::by(|moment| match (moment.verb, moment.number) {
            ("WATCH", n) if n % 11 == 0 => Some(Fault::WatchBreaks),
            ("WATCH", n) if n % 7 == 0 => Some(Fault::WatchStale),
            ("WATCH", _) => None,
            (_, n) if n % 21 == 0 => Some(Fault::LostAnswer),
            (_, n) if n % 21 == 7 => Some(Fault::TooMany),
            (_, n) if n % 21 == 14 => Some(Fault::Conflict),
            _ => None,
        });
        let _operator = stage.operator_with(&faults);
        stage.create_tasks(&task("free", "default"), 8).await;
        stage.create_tasks(&task("limited", "two"), 8).await;
        until_completed(stage, 16).await;
        assert!(!faults.struck().is_empty(), "no fault was reached");
    })
    .await;
}

#[tokio::test]
async fn the_lease_goes_over_at_once_when_its_holder_stops() {
    scenario(async |stage| {
        let holds = |identity: &'static str| {
            let leases = stage.api::<Lease>();
            async move {
                let held = move |lease: Option<&Lease>| {
                    lease.and_then(|lease| lease.spec.as_ref()?.holder_identity.as_deref()) == Some(identity)
                };
                await_condition(leases.clone(), "kubeopencode.io", held).await.unwrap();
                leases.get("kubeopencode.io").await.unwrap().spec.unwrap()
            }
        };
        stage.apply(TEAM).await;
        let first = stage.candidate("first");
        holds("first").await;
        let second = stage.candidate("second");
        stage.apply("{apiVersion: kubeopencode.io/v1alpha1, kind: Task, metadata: {name: one}, spec: {description: d}}").await;
        stage.phase("one", Phase::Completed).await;
        let before = holds("first").await;
        assert_eq!(before.lease_transitions.unwrap_or(0), 0, "the second one stands by");
        let stopped = jiff::Timestamp::now();
        first.stop().await;
        let lease = holds("second").await;
        let taken = lease.acquire_time.unwrap().0;
        eprintln!("the lease went over {} after SIGTERM", taken.duration_since(stopped));
        stage.apply("{apiVersion: kubeopencode.io/v1alpha1, kind: Task, metadata: {name: two}, spec: {description: d}}").await;
        stage.phase("two", Phase::Completed).await;
        let runs_out = before.renew_time.unwrap().0
            + jiff::SignedDuration::from_secs(before.lease_duration_seconds.unwrap().into());
        assert!(taken < runs_out, "it was released, not waited for: {taken} {runs_out}");
        second.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_uninstalled_stands_still_and_lets_go_of_all_tasks() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let operator = stage.candidate("leader");
        stage.apply(&task("before", "default")).await;
        stage.phase("before", Phase::Completed).await;
        let client = &stage.client;
        let released = release_finalizers(client, &stage.namespace, &stage.tasks()).await.unwrap();
        assert_eq!(released, 1);
        // it would make a Pod within milliseconds
        stage.apply(&task("after", "default")).await;
        assert_eq!(release_finalizers(client, &stage.namespace, &stage.tasks()).await.unwrap(), 0);
        let tasks = stage.tasks().list(&ListParams::default()).await.unwrap();
        assert!(tasks.iter().all(|task| task.finalizers().is_empty()), "{tasks:#?}");
        assert_eq!(stage.tasks().get("after").await.unwrap().status, None);
        stage.tasks().delete("after", &DeleteParams::default()).await.unwrap();
        operator.stop().await;
    })
    .await;
}
