//! Operators that die, come back, or work at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kubeopencode_api::group::Group;
use kubeopencode_api::task::Phase;
use kubeopencode_operator::{Release, release_finalizers};
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::{agent, config_map, task, words};
use kubeopencode_tests::record::Kind;
use serde_json::json;

use crate::{scenario, until_in_phase};

/// Each Task had exactly one Pod that lost its gate: the invariants say at most one, the end says at least one.
#[tokio::test]
async fn two_operators_at_once_do_no_harm() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("two").at_once(2)).await;
        let (_one, _two) = (ns.operator(), ns.operator());
        ns.create_many(task("free"), 15).await;
        ns.create_many(task("limited").agent("two"), 15).await;
        until_in_phase(ns, "Completed", 30).await;
    })
    .await;
}

#[tokio::test]
async fn two_operators_with_stale_watches_do_no_harm() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("two").at_once(2)).await;
        let stale = || ns.operator_with(&Faults::stale_watches());
        let (_one, _two) = (stale(), stale());
        ns.create_many(task("free"), 8).await;
        ns.create_many(task("limited").agent("two"), 8).await;
        until_in_phase(ns, "Completed", 16).await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_survives_its_operator_again_and_again() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("two").at_once(2)).await;
        let mut operator = ns.operator();
        ns.create_many(task("t").agent("two"), 24).await;
        for done in [3, 8, 13, 18] {
            until_in_phase(ns, "Completed", done).await;
            operator.crash().await;
            operator = ns.operator();
        }
        until_in_phase(ns, "Completed", 24).await;
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_takes_over_while_the_old_one_still_writes() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("two").at_once(2)).await;
        let old = ns.operator();
        ns.create_many(task("t").agent("two"), 12).await;
        until_in_phase(ns, "Completed", 2).await;
        let _new = ns.operator();
        until_in_phase(ns, "Completed", 6).await;
        old.stop().await;
        until_in_phase(ns, "Completed", 12).await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_shuts_down_finishes_what_it_began() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        ns.create_many(task("t"), 10).await;
        ns.until("a Pod is made", |history| history.all(Kind::Pod).next().map(drop)).await;
        operator.stop().await;
        // what was begun was brought to its end: no Pod is left with its gate
        ns.record.catch_up().await;
        let gated: Vec<String> = ns
            .record
            .history()
            .all(Kind::Pod)
            .filter(|pod| pod.is_gated())
            .map(|pod| pod.name().to_owned())
            .collect();
        assert!(gated.is_empty(), "{gated:?}");
        let _next = ns.operator();
        until_in_phase(ns, "Completed", 10).await;
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_is_slow_and_refuses_is_lived_with() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("two").at_once(2)).await;
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
        let _operator = ns.operator_with(&faults);
        ns.create_many(task("free"), 8).await;
        ns.create_many(task("limited").agent("two"), 8).await;
        until_in_phase(ns, "Completed", 16).await;
        assert!(!faults.struck().is_empty(), "no fault was reached");
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_uninstalled_stands_still_and_lets_go_of_all_tasks() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.candidate("leader");
        ns.apply(task("before")).await;
        ns.phase("before", Phase::Completed).await;
        let only_in = std::slice::from_ref(&ns.name);
        let (client, of) = (&ns.client, Release { groups: &Group::ALL, only_in });
        let released = release_finalizers(client, &ns.name, of.clone()).await.unwrap();
        assert_eq!(released.tasks, 1);
        // it would make a Pod within milliseconds
        ns.apply(task("after")).await;
        assert_eq!(release_finalizers(client, &ns.name, of).await.unwrap().tasks, 0);
        let tasks = ns.tasks().list(&ListParams::default()).await.unwrap();
        assert!(tasks.iter().all(|task| task.finalizers().is_empty()), "{tasks:#?}");
        assert_eq!(ns.tasks().get("after").await.unwrap().status, None);
        ns.tasks().delete("after", &DeleteParams::default()).await.unwrap();
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_another_operator_took_back_is_none() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("default").at_once(1)).await;
        ns.apply(config_map("rules", &[("a.md", "be kind")])).await;
        ns.apply(task("first").spec("contexts: [{type: ConfigMap, configMap: {name: rules}}]")).await;
        ns.apply(task("second").does("run-on")).await;
        let admit = async |name: &str| {
            let uid = ns.tasks().get(name).await.unwrap().metadata.uid;
            let entry = json!({
                "taskUID": uid, "taskNamespace": ns.name, "taskName": name,
                "startTime": jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
            });
            let admitted = Patch::Merge(json!({"status": {"admitted": [entry]}}));
            ns.agents().patch_status("default", &PatchParams::default(), &admitted).await.unwrap();
        };
        // the other operator, by hand: it admits the first one, is refused its Pod, and admits the second one
        admit("first").await;
        let began = AtomicBool::new(false);
        let faults = Faults::by(move |moment| {
            let reads = moment.verb == "GET" && moment.path.ends_with("/configmaps/rules");
            let of_agents = moment.verb == "WATCH" && moment.path.ends_with("/agents");
            let has_begun = began.fetch_or(reads, Ordering::Relaxed);
            (reads || (of_agents && has_begun)).then_some(Fault::Held)
        });
        // what this one knows of Agents stays what it was when it began to read
        let _operator = ns.operator_with(&faults);
        faults.until_struck().await;
        admit("second").await;
        faults.let_go();
        let queued = ns.phase("first", Phase::Queued).await;
        assert_eq!(words(&queued, "Queued").1, "AgentAtCapacity");
        ns.phase("second", Phase::Running).await;
        ns.stop_task("second").await;
        ns.phase("first", Phase::Completed).await;
    })
    .await;
}
