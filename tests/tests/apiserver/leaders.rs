//! Who leads: the lease between several operators, with clocks, labels and lines that go wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kubeopencode_api::task::Phase;
use kubeopencode_operator::RunError;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::task;
use kubeopencode_tests::operator::Setup;
use serde_json::json;

use crate::scenario;

const LEASE: &str = "kubeopencode.io";

/// Waits until the lease's record is so.
async fn record(ns: &TestNamespace, is_so: impl Fn(&LeaseSpec) -> bool + Send + Sync) -> LeaseSpec {
    let is_so = |lease: Option<&Lease>| lease.and_then(|lease| lease.spec.as_ref()).is_some_and(&is_so);
    await_condition(ns.api::<Lease>(), LEASE, is_so).await.unwrap().unwrap().spec.unwrap()
}

/// Waits until the lease is this operator's.
pub(crate) async fn holds(ns: &TestNamespace, identity: &str) -> LeaseSpec {
    record(ns, |record| record.holder_identity.as_deref() == Some(identity)).await
}

#[tokio::test]
async fn the_lease_goes_over_at_once_when_its_holder_stops() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let first = ns.candidate("first");
        holds(ns, "first").await;
        let second = ns.candidate("second");
        ns.apply(task("one")).await;
        ns.phase("one", Phase::Completed).await;
        let before = holds(ns, "first").await;
        assert_eq!(before.lease_transitions.unwrap_or(0), 0, "the second one stands by");
        let stopped = jiff::Timestamp::now();
        first.stop().await;
        let lease = holds(ns, "second").await;
        let taken = lease.acquire_time.unwrap().0;
        eprintln!("the lease went over {} after SIGTERM", taken.duration_since(stopped));
        ns.apply(task("two")).await;
        ns.phase("two", Phase::Completed).await;
        let runs_out = before.renew_time.unwrap().0
            + jiff::SignedDuration::from_secs(before.lease_duration_seconds.unwrap().into());
        assert!(taken < runs_out, "it was released, not waited for: {taken} {runs_out}");
        second.stop().await;
    })
    .await;
}

/// Its clock was an hour ahead: nobody compares it with their own.
#[tokio::test]
async fn a_dead_leader_is_waited_for_as_long_as_its_lease_says_whatever_its_clock_was() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let gone = json!({
            "metadata": {"name": LEASE},
            "spec": {
                "holderIdentity": "gone", "leaseDurationSeconds": 3, "leaseTransitions": 7,
                "renewTime": MicroTime(Timestamp::now() + SignedDuration::from_hours(1)),
            },
        });
        ns.api()
            .create(&PostParams::default(), &serde_json::from_value::<Lease>(gone).unwrap())
            .await
            .unwrap();
        let next = ns.candidate("next");
        ns.apply(task("one")).await;
        let waits = next.log.until("standing by").await;
        assert!(waits.contains("holder=\"gone\""), "{waits}");
        ns.phase("one", Phase::Completed).await;
        assert_eq!(holds(ns, "next").await.lease_transitions, Some(8));
        assert_eq!(next.log.lines("standing by").len(), 1, "{}", next.log.text());
        next.stop().await;
    })
    .await;
}

/// `kubectl label`, an inventory, a backup: each makes the leader's next renewal answer 409.
#[tokio::test]
async fn a_label_on_the_lease_ends_no_leadership() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let leader = ns.candidate("leader");
        let mut held = holds(ns, "leader").await;
        for n in 0..3 {
            let label = Patch::Merge(json!({"metadata": {"labels": {"inventory": n.to_string()}}}));
            let labelled = ns.api::<Lease>().patch(LEASE, &PatchParams::default(), &label).await.unwrap();
            assert_eq!(labelled.spec.unwrap().renew_time, held.renew_time, "it comes between two renewals");
            held = record(ns, |record| record.renew_time != held.renew_time).await;
        }
        assert_eq!((held.holder_identity.as_deref(), held.lease_transitions), (Some("leader"), Some(0)));
        ns.apply(task("one")).await;
        ns.phase("one", Phase::Completed).await;
        leader.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_leader_whose_renewals_hang_stops_before_another_begins() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let hang = Arc::new(AtomicBool::new(false));
        let hangs = Arc::clone(&hang);
        let faults = Faults::by(move |moment| {
            (moment.path.ends_with(LEASE) && hangs.load(Ordering::Relaxed)).then_some(Fault::Hangs)
        });
        let mut first =
            ns.start_operator(Setup { faults, candidate: Some("first".into()), ..Setup::default() });
        holds(ns, "first").await;
        let second = ns.candidate("second");
        ns.apply(task("one")).await;
        ns.phase("one", Phase::Completed).await;
        hang.store(true, Ordering::Relaxed);
        let end = first.ended().await;
        assert!(matches!(end, Err(RunError::LeaseNotRenewed)), "{end:?}");
        let holder = ns.api::<Lease>().get(LEASE).await.unwrap().spec.unwrap().holder_identity;
        assert_eq!(holder.as_deref(), Some("first"), "another began before it ended");
        ns.apply(task("two")).await;
        holds(ns, "second").await;
        ns.phase("two", Phase::Completed).await;
        second.stop().await;
    })
    .await;
}
