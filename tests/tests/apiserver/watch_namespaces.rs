//! An operator that works in some namespaces alone, with the Roles that the chart gives it there.

use std::sync::atomic::{AtomicUsize, Ordering};

use kubeopencode_api::group::Group;
use kubeopencode_api::task::Phase;
use kubeopencode_operator::{Release, Released, release_finalizers};
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace, operator_in, scenario_in};
use kubeopencode_tests::objects::{config, documents, kubetask, task, words};
use kubeopencode_tests::operator::Setup;

use crate::kubetask::prepare;
use crate::{WORKER, between_namespaces, until_in_phase};

/// What the chart renders for a release in `team-a` that watches `team-a` and `team-b`.
const ROLES: &str = include_str!("../../fixtures/roles-in-two-namespaces.yaml");

/// Gives the chart's ServiceAccount in the first namespace its rights in one of them.
async fn grant(all: [&TestNamespace; 2], place: usize) {
    let here = ["team-a", "team-b"][place];
    for mut object in documents(ROLES).into_iter().filter(|object| object["metadata"]["namespace"] == here) {
        object["metadata"]["namespace"] = all[place].name.clone().into();
        if let Some(subject) = object.pointer_mut("/subjects/0/namespace") {
            *subject = all[0].name.clone().into();
        }
        all[place].apply(object).await;
    }
}

/// An operator in the first of two namespaces, which watches both, as the chart starts it.
fn setup(all: [&TestNamespace; 2]) -> Setup {
    Setup {
        user: Some(format!("system:serviceaccount:{}:kubeopencode", all[0].name)),
        watch_namespaces: all.map(|ns| ns.name.clone()).to_vec(),
        is_probed: true,
        ..Setup::default()
    }
}

#[tokio::test]
async fn roles_in_two_namespaces_are_enough_for_their_tasks_and_a_third_is_left_alone() {
    scenario_in(Some(WORKER), async |[a, b, third]: &[TestNamespace; 3]| {
        for ns in [third, a, b] {
            ns.apply(TEAM).await;
            prepare(ns).await;
            ns.apply(task("fix")).await;
            ns.apply(kubetask("old")).await;
        }
        a.apply(config("dependencyGraceSeconds: 1")).await;
        grant([a, b], 0).await;
        grant([a, b], 1).await;
        // what it does not see is not hidden from it by the harness
        let operator = operator_in(&[a, b, third], setup([a, b]));
        for ns in [a, b] {
            ns.phase("fix", Phase::Completed).await;
            ns.kubetask_phase("old", Phase::Completed).await;
        }
        operator.is_ready().await;
        b.apply(task("near").agent_in(&a.name, "default")).await;
        b.phase("near", Phase::Completed).await;
        b.apply(task("far").agent_in(&third.name, "default")).await;
        let far = b.phase("far", Phase::Failed).await;
        let message = words(&far, "Accepted").2;
        let expected = format!(
            "agent \"default\" is in namespace \"{}\", which this operator does not watch",
            third.name
        );
        assert!(message.starts_with(&expected), "{message}");
        let left = third.tasks().get("fix").await.unwrap();
        assert_eq!((left.status, left.metadata.finalizers), (None, None));
        assert_eq!(third.writes().len(), 0, "{:#?}", third.writes());
        let mut refused = operator.log.lines("is forbidden");
        // the test's operator has plugins, for which these Roles have no rule
        refused.retain(|line| !line.contains("plugins.kubeopencode.io") && !line.contains("configmaps"));
        assert_eq!(refused, [""; 0]);
        operator.stop().await;
        let client = a.cluster.operator_client(&[], &setup([a, b]));
        let only_in = [&a.name, &third.name, &b.name].map(String::clone);
        let of = Release { groups: &Group::ALL, only_in: &only_in };
        let released = release_finalizers(&client, &a.name, of).await;
        assert_eq!(released.unwrap(), Released { tasks: 5, refused: vec![third.name.clone()] });
    })
    .await;
}

#[tokio::test]
async fn a_namespace_without_a_role_holds_up_no_other_and_is_served_once_it_has_one() {
    between_namespaces(async |a, b| {
        for ns in [a, b] {
            ns.apply(TEAM).await;
            ns.apply(task("fix")).await;
        }
        grant([a, b], 0).await;
        let operator = operator_in(&[a, b], setup([a, b]));
        a.phase("fix", Phase::Completed).await;
        let told = operator.log.until(&format!("the watch of Tasks in namespace {} failed", b.name)).await;
        assert!(told.contains("403"), "{told}");
        operator.is_ready().await;
        grant([a, b], 1).await;
        b.phase("fix", Phase::Completed).await;
        a.apply(task("again")).await;
        a.phase("again", Phase::Completed).await;
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn watches_that_lose_the_thread_in_one_namespace_lose_nothing_of_either() {
    between_namespaces(async |a, b| {
        for ns in [a, b] {
            ns.apply(TEAM).await;
        }
        let of_b = format!("/namespaces/{}/", b.name);
        let shown = AtomicUsize::default();
        let gone = Faults::by(move |moment| {
            if moment.verb != "WATCH" || !moment.path.contains(&of_b) {
                return None;
            }
            let number = shown.fetch_add(1, Ordering::Relaxed);
            // seldom enough that a list comes to its end, and not for ever: each list is events, too
            (number % 11 == 10 && number < 60).then_some(Fault::WatchGone)
        });
        let watch_namespaces = vec![a.name.clone(), b.name.clone()];
        let setup = Setup { faults: gone.clone(), watch_namespaces, ..Setup::default() };
        let operator = operator_in(&[a, b], setup);
        for ns in [a, b] {
            ns.create_many(task("t").agent_in(&a.name, "one-at-a-time"), 4).await;
        }
        for ns in [a, b] {
            until_in_phase(ns, "Completed", 4).await;
        }
        assert!(!gone.struck().is_empty(), "no fault was reached");
        operator.stop().await;
    })
    .await;
}
