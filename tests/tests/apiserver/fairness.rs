//! What one namespace does is not felt in another: a burst of launches, ends that hang, a full ResourceQuota.

use std::collections::BTreeSet;

use kube::api::{DeleteParams, Patch, PatchParams};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::audit::Mark;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace, operator_of};
use kubeopencode_tests::objects::{agent, task, words};
use kubeopencode_tests::record::{History, Kind};
use serde_json::json;

use crate::{between_namespaces, scenario, until_in_phase};

/// How many Pods of these Tasks were made before this revision of the API server.
fn made_before(history: &History, prefix: &str, version: u64) -> usize {
    let pods = history.revisions(Kind::Pod).filter(|pod| pod.name().starts_with(prefix));
    pods.filter(|pod| pod.version < version).map(|pod| pod.uid()).collect::<BTreeSet<_>>().len()
}

/// When a Task first was in this phase.
fn came_into(history: &History, task: &str, phase: &str) -> u64 {
    let revisions = history.revisions(Kind::Task).filter(|revision| revision.name() == task);
    let in_phase = revisions.filter(|revision| revision.text("/status/phase") == phase);
    in_phase.map(|revision| revision.version).min().unwrap()
}

/// A burst of launches in one namespace, while in another one Task is stopped, one is deleted and one is made.
#[tokio::test]
async fn a_burst_in_one_namespace_delays_nobody_in_another() {
    const BURST: usize = 400;
    between_namespaces(async |busy, calm| {
        busy.apply(TEAM).await;
        calm.apply(TEAM).await;
        let operator = operator_of(&[busy, calm], &Faults::none());
        for name in ["stopped", "deleted"] {
            calm.apply(task(name).does("run-on")).await;
            calm.agent_runs(&format!("{name}-pod")).await;
        }
        operator.stop().await;
        busy.create_many(task("burst").does("run-on"), BURST).await;
        let _operator = operator_of(&[busy, calm], &Faults::none());
        busy.until("the burst has begun", |history| history.all(Kind::Pod).next().map(drop)).await;
        calm.stop_task("stopped").await;
        calm.delete_task("deleted").await;
        calm.apply(task("new").does("run-on")).await;
        calm.phase("stopped", Phase::Completed).await;
        calm.gone(Kind::Task, "deleted").await;
        calm.phase("new", Phase::Running).await;
        let [stopped, deleted, new] = {
            let history = calm.record.history();
            let gone = history.revisions(Kind::Task).find(|task| task.gone && task.name() == "deleted");
            [
                came_into(&history, "stopped", "Completed"),
                gone.unwrap().version,
                came_into(&history, "new", "Running"),
            ]
        };
        until_in_phase(busy, "Running", BURST).await;
        let history = busy.record.history();
        let before = [stopped, deleted, new].map(|version| made_before(&history, "burst", version));
        eprintln!("Pods of a burst of {BURST} that were made before a neighbour was stopped, deleted, launched: {before:?}");
        assert!(before.iter().all(|before| *before < BURST / 2), "{before:?}");
    })
    .await;
}

/// In one namespace more Tasks are stopped than the controller has places, and their Pods' deletions are not answered.
#[tokio::test]
async fn ends_that_hang_in_one_namespace_hold_up_nobody_in_another() {
    const STOPPED: usize = 80;
    between_namespaces(async |busy, calm| {
        busy.apply(TEAM).await;
        calm.apply(TEAM).await;
        let (count, mut held) = tokio::sync::watch::channel(0);
        let pods = format!("/namespaces/{}/pods/", busy.name);
        let faults = Faults::by(move |moment| {
            let is_end = moment.verb == "DELETE" && moment.path.contains(&pods);
            is_end.then(|| {
                count.send_modify(|held| *held += 1);
                Fault::Held
            })
        });
        let _operator = operator_of(&[busy, calm], &faults);
        busy.create_many(task("stopped").does("run-on"), STOPPED).await;
        until_in_phase(busy, "Running", STOPPED).await;
        for i in 0..STOPPED {
            busy.stop_task(&format!("stopped-{i}")).await;
        }
        held.wait_for(|held| *held >= 48).await.unwrap();
        calm.apply(task("new")).await;
        calm.phase("new", Phase::Completed).await;
        faults.let_go();
        until_in_phase(busy, "Completed", STOPPED).await;
    })
    .await;
}

/// Requests of the operator in the namespace since then, and those of them for a Pod that the ResourceQuota refused.
fn asked(ns: &TestNamespace, mark: Mark) -> (usize, Vec<String>) {
    let asked = ns.cluster.audit.requests_since(mark, &ns.name);
    let refused = asked.iter().filter(|entry| entry.summary() == "create pods 403");
    (asked.len(), refused.map(|entry| entry.name().to_owned()).collect())
}

#[tokio::test]
async fn a_full_resource_quota_is_asked_by_one_and_the_others_follow_in_order() {
    const WAITING: usize = 30;
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: small}, spec: {hard: {pods: 2}}}")
            .await;
        ns.quota_is_in_force("small").await;
        let (count, mut tries) = tokio::sync::watch::channel(0);
        let counted = Faults::by(move |moment| {
            if moment.verb == "POST" && moment.path.ends_with("/pods") {
                count.send_modify(|tries| *tries += 1);
            }
            None
        });
        let _operator = ns.operator_with(&counted);
        ns.create_many(task("holds").does("run-on"), 2).await;
        for pod in ["holds-0-pod", "holds-1-pod"] {
            ns.agent_runs(pod).await;
        }
        let begin = ns.cluster.audit.mark();
        ns.create_many(task("burst"), WAITING).await;
        let waits = |history: &History| {
            let waiting = history.all(Kind::Task).filter(|task| {
                task.text("/status/reason") == "NamespaceQuotaExceeded"
                    && task.text("/status/message").contains("exceeded quota: small")
            });
            (waiting.count() == WAITING).then_some(())
        };
        ns.until("all say what they wait for", waits).await;
        let tried = asked(ns, begin).1.into_iter().collect::<BTreeSet<_>>().len();
        // from here on one of them tries: first whoever had the turn already, then always the first in line
        let mark = ns.cluster.audit.mark();
        let before = *tries.borrow_and_update();
        tries.wait_for(|tries| *tries >= before + 5).await.unwrap();
        let (requests, refused) = asked(ns, mark);
        eprintln!(
            "{WAITING} waiting: {tried} tried at first; then {requests} requests, {} refused",
            refused.len()
        );
        let who: BTreeSet<_> = refused.iter().rev().take(3).collect();
        assert_eq!(who.len(), 1, "{who:?}");
        assert!(requests <= 6 * refused.len() + 6, "{requests} requests for {} tries", refused.len());
        for name in ["holds-0", "holds-1"] {
            ns.stop_task(name).await;
        }
        until_in_phase(ns, "Completed", WAITING + 2).await;
        let (requests, refused) = asked(ns, begin);
        eprintln!("in all {requests} requests, {} refused", refused.len());
        assert!(refused.len() <= 5 * WAITING, "{} refused", refused.len());
        let history = ns.record.history();
        let mut arrived: Vec<_> = history
            .all(Kind::Task)
            .filter(|task| task.name().starts_with("burst"))
            .map(|task| (task.text("/metadata/creationTimestamp").to_owned(), format!("{}-pod", task.name())))
            .collect();
        arrived.sort();
        let mut made: Vec<_> = Vec::new();
        for pod in history.revisions(Kind::Pod).filter(|pod| pod.name().starts_with("burst")) {
            if !made.contains(&pod.name()) {
                made.push(pod.name());
            }
        }
        assert_eq!(made, arrived.iter().map(|(_, pod)| pod.as_str()).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_room_gives_its_slot_to_others_and_says_so() {
    between_namespaces(async |team, platform| {
        let allowed = |name: &str| agent(name).set("/spec/allowedNamespaces", json!([team.name]));
        team.apply(TEAM).await;
        platform.apply(TEAM).await;
        platform.apply(allowed("shared").at_once(1)).await;
        platform
            .apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {pods: 0}}}")
            .await;
        platform.quota_is_in_force("none").await;
        let _operator = operator_of(&[team, platform], &Faults::none());
        for name in ["a", "b", "c"] {
            team.apply(task(name).agent_in(&platform.name, "shared")).await;
            let queued = team.phase(name, Phase::Queued).await;
            let (is, reason, message) = words(&queued, "Queued");
            assert_eq!((is, reason), ("True", "NamespaceQuotaExceeded"));
            let room = format!("Waiting for room in namespace \"{}\": exceeded quota: none", platform.name);
            assert!(message.starts_with(&room), "{message}");
        }
        platform
            .until("nobody holds a slot", |history| {
                history.get(Kind::Agent, "shared")?.list("/status/admitted").is_empty().then_some(())
            })
            .await;
        // the one whose turn it is goes away
        team.delete_task("a").await;
        let roomy = json!({"spec": {"hard": {"pods": "5"}}});
        let quotas = platform.api::<k8s_openapi::api::core::v1::ResourceQuota>();
        quotas.patch("none", &PatchParams::default(), &Patch::Merge(&roomy)).await.unwrap();
        for name in ["b", "c"] {
            team.phase(name, Phase::Completed).await;
        }
        quotas.delete("none", &DeleteParams::default()).await.unwrap();
    })
    .await;
}
