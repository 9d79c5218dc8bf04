//! Plugins that break, and operators that die beside them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kubeopencode_api::plugin_object::PluginStatus;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::components::{self, INLINE, component, greeting, sha256, with_noise};
use kubeopencode_tests::faults::{Fault, Faults, Moment};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{config, status};
use kubeopencode_tests::operator::{Operator, Setup};
use kubeopencode_tests::record::{History, Kind};
use serde_json::Value;

use super::{
    clear, condition, context_of, delete_config_map, events, in_config_map, is_gone, keeps_alone, named,
    says, serves, task_of, until,
};
use crate::leaders::holds;
use crate::scenario;

/// One that takes a second to compile, and more: a context type `Fixture`.
const JAVASCRIPT: &[u8] =
    include_bytes!("../../../../host/plugin-host/tests/fixtures/1.0.0/javascript.wasm.zst");
/// A plugin's life has fewer requests, and shows fewer events.
const TOO_FAR: usize = 30;
/// Verbs of what an operator may die at.
const WRITES: &[&str] = &["POST", "PUT", "PATCH", "DELETE"];
const READS: &[&str] = &["GET"];
const EVENTS: &[&str] = &["WATCH"];
/// How long the garbage collector may take, which learns of new kinds every 30 s.
const COLLECTION_PATIENCE: Duration = Duration::from_secs(120);
/// How often a component is replaced while Tasks start.
const UPDATES: u8 = 20;
/// Tasks that a leader begins to start before it dies, and as many that come while nobody leads.
const TASKS: usize = 10;

/// An operator with these faults that leads, and one that stands by; both have loaded this component as Plugin `greeting`.
async fn leader_and_stand_by(ns: &TestNamespace, faults: &Faults, component: &[u8]) -> (Operator, Operator) {
    let setup = Setup { faults: faults.clone(), candidate: Some("first".into()), ..Setup::default() };
    let first = ns.start_operator(setup);
    ns.apply(in_config_map(ns, "greeting", "greeting.wasm", component)).await;
    serves(ns, "greeting", component).await;
    let second = ns.candidate("second");
    second.log.until("standing by").await;
    second.log.until(&format!("sha256:{}", sha256(component))).await;
    (first, second)
}

#[tokio::test]
async fn a_plugin_whose_calls_break_is_left_alone_and_nobody_beside_it_notices() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let (bad, good) = (components::crashing(), component("Farewell", INLINE, "hello"));
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &bad)).await;
        ns.apply(in_config_map(ns, "farewell", "farewell.wasm", &good)).await;
        serves(ns, "greeting", &bad).await;
        serves(ns, "farewell", &good).await;
        for name in ["one", "two", "three"] {
            ns.apply(task_of(name, "Greeting")).await;
            let failed = ns.phase(name, Phase::Failed).await;
            let message = status(&failed).message.clone().unwrap();
            assert!(message.contains("plugin \"Greeting\": the plugin crashed: it aborted"), "{message}");
        }
        let why = condition(ns, "greeting", "Healthy", "False Paused").await;
        let paused = format!("In namespace {} 3 calls in a row broke, so it is not asked before ", ns.name);
        assert!(why.starts_with(&paused) && why.ends_with("the plugin crashed: it aborted"), "{why}");
        for kind in ["Plugin", "ConfigMap"] {
            events(ns, "greeting", &[&format!("{kind} Warning PluginPaused")]).await;
        }
        ns.apply(task_of("four", "Greeting")).await;
        let failed = ns.phase("four", Phase::Failed).await;
        let message = status(&failed).message.clone().unwrap();
        assert!(message.contains("3 calls in a row broke, so it is not asked before "), "{message}");
        ns.apply(task_of("beside", "Farewell")).await;
        ns.phase("beside", Phase::Completed).await;

        let mended = greeting("hello");
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &mended)).await;
        serves(ns, "greeting", &mended).await;
        condition(ns, "greeting", "Healthy", "True Healthy").await;
        ns.apply(task_of("five", "Greeting")).await;
        ns.phase("five", Phase::Completed).await;
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn a_config_map_that_goes_while_its_component_is_compiled_leaves_no_type() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 0")).await;
        let _operator = ns.operator();
        // other bytes in each run, so that they are compiled
        let length = 1 + usize::from_str_radix(&sha256(ns.name.as_bytes())[..4], 16).unwrap();
        let component = with_noise(&zstd::decode_all(JAVASCRIPT).unwrap(), length);
        let packed = zstd::encode_all(component.as_slice(), 3).unwrap();
        ns.apply(in_config_map(ns, "fixture", "fixture.wasm.zst", &packed)).await;
        // or it was soon enough on this machine
        let is_so = |status: &PluginStatus| {
            says(status, "Compiled").0 == "Unknown Loading" || says(status, "Ready").0 == "True Ready"
        };
        until(ns, "fixture", "is being loaded", is_so).await;
        delete_config_map(ns, "fixture").await;
        is_gone(ns, "fixture").await;
        ns.apply(task_of("nobody", "Fixture")).await;
        let nobody = ns.phase("nobody", Phase::Failed).await;
        let message = status(&nobody).message.clone().unwrap();
        assert!(message.contains("no plugin for context type \"Fixture\""), "{message}");
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn a_component_that_may_not_be_kept_is_told_of_and_tried_again() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let tries = AtomicUsize::new(0);
        // as a quota would
        let faults = Faults::by(move |moment: &Moment<'_>| {
            let is_kept = moment.verb == "POST" && moment.path.ends_with("/configmaps");
            (is_kept && tries.fetch_add(1, Ordering::Relaxed) < 2).then_some(Fault::Forbidden)
        });
        let _operator = ns.operator_with(&faults);
        let hello = greeting("hello");
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &hello)).await;
        events(ns, "greeting", &["Plugin Warning PluginNotKept", "ConfigMap Warning PluginNotKept"]).await;
        serves(ns, "greeting", &hello).await;
        assert_eq!(faults.struck().len(), 2);
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_kept_is_asked_for_until_the_api_server_gives_it() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        // a Task waits for what served before, however short its grace
        ns.apply(config("dependencyGraceSeconds: 0")).await;
        let operator = ns.operator();
        let hello = greeting("hello");
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &hello)).await;
        serves(ns, "greeting", &hello).await;
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", b"\0asm\x01\0\0\0")).await;
        condition(ns, "greeting", "Compiled", "False Invalid").await;
        operator.stop().await;

        let tries = AtomicUsize::new(0);
        let faults = Faults::by(move |moment: &Moment<'_>| {
            let is_kept = moment.verb == "GET" && moment.path.contains("/configmaps/plugin-kept-");
            (is_kept && tries.fetch_add(1, Ordering::Relaxed) < 2).then_some(Fault::Unavailable)
        });
        let _operator = ns.operator_with(&faults);
        ns.apply(task_of("after", "Greeting")).await;
        ns.phase("after", Phase::Completed).await;
        assert!(context_of(ns, "after").await.contains("type=\"Greeting\">\nhello\n"));
        assert_eq!(faults.struck().len(), 2);
        clear(ns).await;
    })
    .await;
}

/// A plugin comes, becomes another one, and goes.
async fn lives_and_goes(ns: &TestNamespace, name: &str) {
    let (hello, salut) = (greeting("hello"), greeting("salut"));
    ns.apply(in_config_map(ns, name, "greeting.wasm", &hello)).await;
    serves(ns, name, &hello).await;
    ns.apply(in_config_map(ns, name, "greeting.wasm", &salut)).await;
    let plugin = serves(ns, name, &salut).await;
    let history: Vec<_> = plugin.status.unwrap().history.into_iter().map(|served| served.digest).collect();
    assert_eq!(history, [&salut, &hello].map(|bytes| format!("sha256:{}", sha256(bytes))));
    keeps_alone(ns, name, &salut).await;
    delete_config_map(ns, name).await;
    is_gone(ns, name).await;
}

#[tokio::test]
async fn an_operator_that_dies_at_any_request_or_event_about_a_plugin_leaves_nothing_undone() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        for (fault, verbs, word) in [
            (Fault::CrashBefore, WRITES, "before"),
            (Fault::CrashAfter, WRITES, "after"),
            // with what it was given, as while it compiles that
            (Fault::CrashAfter, READS, "given"),
            // whoever comes next reads it in a list
            (Fault::WatchCrash, EVENTS, "told"),
        ] {
            for k in 1.. {
                assert!(k < TOO_FAR, "it asks and asks");
                let count = AtomicUsize::new(0);
                let faults = Faults::by(move |moment: &Moment<'_>| {
                    let is_about_one =
                        moment.path.contains("/plugins") || moment.path.contains("/configmaps");
                    let is_one = is_about_one && verbs.contains(&moment.verb);
                    (is_one && count.fetch_add(1, Ordering::Relaxed) + 1 == k).then_some(fault)
                });
                let mut operator = ns.operator_with(&faults);
                {
                    let supervised = async {
                        faults.crashed().await;
                        operator.dead().await;
                        operator = ns.operator();
                        std::future::pending::<()>().await;
                    };
                    let name = format!("{word}-{k}");
                    tokio::select! {
                        () = lives_and_goes(ns, &name) => {}
                        () = supervised => unreachable!("a supervisor never ends"),
                    }
                }
                operator.stop().await;
                if faults.struck().is_empty() {
                    assert!(
                        k > 6,
                        "made, kept and told of; replaced, kept, told of and what was kept removed; removed; \
                         listed, both components read, and twice what is kept; the ends of two lists, and what comes, \
                         changes and goes of ConfigMap and Plugin"
                    );
                    break;
                }
            }
        }
        let nothing_is_kept = |history: &History| {
            let mut maps = history.all(Kind::ConfigMap);
            maps.all(|map| map.label("kubeopencode.io/plugin-kept").is_empty()).then_some(())
        };
        let collected = ns.record.wait(COLLECTION_PATIENCE, nothing_is_kept).await;
        collected.expect("what was kept of Plugins that are gone is collected");
    })
    .await;
}

#[tokio::test]
async fn of_two_operators_that_believe_to_lead_none_undoes_what_the_other_did() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let (_one, _other) = (ns.operator(), ns.operator());
        for name in ["first", "second"] {
            lives_and_goes(ns, name).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_task_has_what_one_component_gave_and_names_it_however_often_that_is_replaced() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        let says: Vec<_> = (0..UPDATES).map(|i| format!("text{}", char::from(b'a' + i))).collect();
        let digests: HashMap<_, _> =
            says.iter().map(|says| (format!("sha256:{}", sha256(&greeting(says))), says)).collect();
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &greeting(&says[0]))).await;
        serves(ns, "greeting", &greeting(&says[0])).await;
        for (i, says) in says.iter().enumerate() {
            ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &greeting(says))).await;
            ns.apply(task_of(&format!("task-{i}"), "Greeting")).await;
        }
        let newest = says.last().unwrap();
        let plugin = serves(ns, "greeting", &greeting(newest)).await;
        assert!(plugin.status.unwrap().history.len() <= 5);
        for i in 0..says.len() {
            let name = format!("task-{i}");
            let task = ns.phase(&name, Phase::Completed).await;
            let used = status(&task).plugins.iter().find(|used| used.type_ == "Greeting").unwrap();
            let text = context_of(ns, &name).await;
            assert!(text.contains(&format!("type=\"Greeting\">\n{}\n", digests[&used.digest])), "{text}");
        }
        clear(ns).await;
        operator.stop().await;
    })
    .await;
}

/// Nobody lets go of the lease, so that a stand-by waits for its end; but it has the components already.
#[tokio::test]
async fn a_leader_dies_while_tasks_of_a_custom_type_start_and_the_next_one_starts_each_once() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let (hello, salut) = (greeting("hello"), greeting("salut"));
        let [of_hello, of_salut] = [&hello, &salut].map(|bytes| format!("sha256:{}", sha256(bytes)));
        let launches = AtomicUsize::new(0);
        // amid its launches, one of which has made a Pod that no Task names
        let faults = Faults::by(move |moment: &Moment<'_>| {
            let is_launch = moment.verb == "POST" && moment.path.ends_with("/pods");
            (is_launch && launches.fetch_add(1, Ordering::Relaxed) + 1 == TASKS / 2)
                .then_some(Fault::CrashAfter)
        });
        let (mut first, second) = leader_and_stand_by(ns, &faults, &hello).await;
        ns.create_many(task_of("early", "Greeting"), TASKS).await;
        faults.crashed().await;
        first.dead().await;
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &salut)).await;
        second.log.until(&of_salut).await;
        ns.create_many(task_of("late", "Greeting"), TASKS).await;

        let mut ended = Vec::new();
        for i in 0..TASKS {
            for (name, may_be_older) in [(format!("early-{i}"), true), (format!("late-{i}"), false)] {
                let task = ns.phase(&name, Phase::Completed).await;
                let used = status(&task).plugins.iter().find(|used| used.type_ == "Greeting").unwrap();
                let says = if used.digest == of_hello && may_be_older { "hello" } else { "salut" };
                assert!(says == "hello" || used.digest == of_salut, "{name}: {used:?}");
                let text = context_of(ns, &name).await;
                assert!(text.contains(&format!("type=\"Greeting\">\n{says}\n")), "{name}: {used:?}\n{text}");
                ended.push(task);
            }
        }
        assert_eq!(
            holds(ns, "second").await.lease_transitions,
            Some(1),
            "it was waited for, and not released"
        );
        serves(ns, "greeting", &salut).await;
        keeps_alone(ns, "greeting", &salut).await;
        second.stop().await;
        ns.record.catch_up().await;
        {
            let history = ns.record.history();
            for task in &ended {
                let uid = task.metadata.uid.as_deref().unwrap();
                let of_task = history.revisions(Kind::Pod).filter(|pod| pod.task_uid() == uid);
                let opened: BTreeSet<_> =
                    of_task.filter(|pod| !pod.is_gated()).map(|pod| pod.uid()).collect();
                assert_eq!(opened, BTreeSet::from([task.pod_uid().unwrap()]), "{:?}", task.metadata.name);
            }
            let waits = |condition: &Value| condition["reason"] == "WaitingForDependency";
            let waited: BTreeSet<_> = history
                .revisions(Kind::Task)
                .filter(|task| task.list("/status/conditions").iter().any(waits))
                .map(|task| task.name())
                .collect();
            assert!(waited.is_empty(), "they waited for a plugin that was there all the time: {waited:?}");
        }
        clear(ns).await;
    })
    .await;
}

/// The leader dies before it has said that the new bytes are bad. One stood by with the good ones, and one was started beside the
/// bad ones and has only what is kept.
#[tokio::test]
async fn whoever_leads_next_serves_the_last_good_component_while_bad_bytes_lie_in_its_config_map() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let hello = greeting("hello");
        let of_hello = format!("sha256:{}", sha256(&hello));
        let is_bad = Arc::new(AtomicBool::new(false));
        let (bad, path) = (Arc::clone(&is_bad), format!("/plugins/{}/status", named(ns, "greeting")));
        let faults = Faults::by(move |moment: &Moment<'_>| {
            let is_word = moment.verb == "PATCH" && moment.path.ends_with(&path);
            (is_word && bad.load(Ordering::Relaxed)).then_some(Fault::CrashBefore)
        });
        let (mut first, second) = leader_and_stand_by(ns, &faults, &hello).await;
        is_bad.store(true, Ordering::Relaxed);
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", b"\0asm\x01\0\0\0")).await;
        faults.crashed().await;
        first.dead().await;
        ns.apply(task_of("warm", "Greeting")).await;
        ns.phase("warm", Phase::Completed).await;
        assert!(context_of(ns, "warm").await.contains("type=\"Greeting\">\nhello\n"));
        let why = condition(ns, "greeting", "Compiled", "False Invalid").await;
        assert!(why.starts_with("this is a core WebAssembly module, not a component"), "{why}");
        // what it found while it stood by, too
        events(ns, "greeting", &["Plugin Warning PluginRefused", "ConfigMap Warning PluginRefused"]).await;

        let third = ns.candidate("third");
        third.log.until(&of_hello).await;
        second.stop().await;
        holds(ns, "third").await;
        ns.apply(task_of("cold", "Greeting")).await;
        ns.phase("cold", Phase::Completed).await;
        assert!(context_of(ns, "cold").await.contains("type=\"Greeting\">\nhello\n"));
        assert_eq!(condition(ns, "greeting", "Compiled", "False Invalid").await, why);
        let still = serves(ns, "greeting", &hello).await.status.unwrap();
        assert_ne!(still.wanted, still.digest);
        third.stop().await;
        clear(ns).await;
    })
    .await;
}
