//! How much the operator asks the API server for, by its own record.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Event;
use kube::api::{Patch, PatchParams, PostParams};
use kubeopencode_api::literals::{FINALIZER, MADE_IN_ANNOTATION};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::audit::{AuditLog, Entry};
use kubeopencode_tests::faults::Faults;
use kubeopencode_tests::namespace::{TEAM, operator_of};
use kubeopencode_tests::objects::{agent, kubetask, service_account, task, workspace_config};
use kubeopencode_tests::record::{History, Kind, Revision};
use serde_json::json;

use crate::{between_namespaces, in_phase, scenario};

#[tokio::test]
async fn who_fails_is_deleted_or_frees_a_slot_causes_no_search_over_all_pods() {
    const FAIL: usize = 20;
    between_namespaces(async |team, platform| {
        team.apply(TEAM).await;
        platform.apply(TEAM).await;
        let allowed = agent("shared").set("/spec/allowedNamespaces", json!([team.name]));
        platform.apply(allowed.at_once(2)).await;
        let mark = team.cluster.audit.mark();
        let _operator = operator_of(&[team, platform], &Faults::none());
        let two =
            "contexts: [{type: Text, text: a, mountPath: x.md}, {type: Text, text: b, mountPath: ./x.md}]";
        team.create_many(task("fails").spec(two), FAIL).await;
        team.until("all have failed", |history| (in_phase(history, "Failed") == FAIL).then_some(())).await;
        team.create_many(task("runs").agent_in(&platform.name, "shared").does("run-on"), 2).await;
        for name in ["runs-0", "runs-1"] {
            team.phase(name, Phase::Running).await;
        }
        team.create_many(task("waits").agent_in(&platform.name, "shared"), 8).await;
        team.until("all wait", |history| (in_phase(history, "Queued") == 8).then_some(())).await;
        let names: Vec<_> =
            (0..8).map(|i| format!("waits-{i}")).chain((0..2).map(|i| format!("runs-{i}"))).collect();
        for name in &names {
            team.delete_task(name).await;
        }
        for name in &names {
            team.gone(Kind::Task, name).await;
        }
        platform
            .until("all slots are free", |history| {
                history.get(Kind::Agent, "shared")?.list("/status/admitted").is_empty().then_some(())
            })
            .await;
        let uids: HashSet<_> =
            team.record.history().revisions(Kind::Task).map(|task| task.uid().to_owned()).collect();
        assert_eq!(team.cluster.audit.searches_since(mark, &uids), 0);
        for (ns, most) in [(team, 2 * FAIL), (platform, 6 * names.len())] {
            let mut reads = ns.cluster.audit.reads_since(mark, &ns.name);
            reads.retain(|read| read.summary().starts_with("get pods"));
            eprintln!("Pods that were asked for by name: {:?}", AuditLog::count(&reads));
            assert!(reads.len() <= most, "{:?}", AuditLog::count(&reads));
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_task_says_of_its_config_maps_elsewhere_costs_few_requests_and_holds_no_deletion() {
    between_namespaces(async |team, platform| {
        team.apply(TEAM).await;
        let mark = team.cluster.audit.mark();
        let _operator = operator_of(&[team, platform], &Faults::none());
        // its author may write both
        for (name, made_in) in
            [("many", format!("{}=2000", platform.name)), ("nowhere", "no/where at all?=3".to_owned())]
        {
            let claims = task(name).agent("none").annotation(MADE_IN_ANNOTATION, &made_in);
            team.apply(claims.set("/metadata/finalizers", json!([FINALIZER]))).await;
            team.until_task(name, "is there", |_| true).await;
            team.delete_task(name).await;
            team.gone(Kind::Task, name).await;
        }
        let mut reads = team.cluster.audit.reads_since(mark, &platform.name);
        reads.retain(|read| read.summary().starts_with("get configmaps"));
        // of 2,000 names 16 at each try, and there are some where the operator writes while it is deleted
        assert!(reads.len() <= 160, "{:?}", AuditLog::count(&reads));
    })
    .await;
}

#[tokio::test]
async fn the_events_of_all_silent_pods_of_a_namespace_are_one_list() {
    const SILENT: usize = 10;
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.create_many(task("silent").does("never-start"), SILENT).await;
        let is_bound = |history: &History| {
            let bound = history.all(Kind::Pod).filter(|pod| !pod.text("/spec/nodeName").is_empty());
            (bound.count() == SILENT).then_some(())
        };
        ns.until("all have a node", is_bound).await;
        let pods: Vec<_> = {
            let history = ns.record.history();
            history.all(Kind::Pod).map(|pod| (pod.name().to_owned(), pod.uid().to_owned())).collect()
        };
        let now = jiff::Timestamp::now();
        for (name, uid) in &pods {
            let event: Event = serde_json::from_value(json!({
                "metadata": {"generateName": "failed-mount-"},
                "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": ns.name, "name": name, "uid": uid},
                "type": "Warning", "reason": "FailedMount", "message": format!("secret \"of-{name}\" not found"),
                "lastTimestamp": now.strftime("%FT%TZ").to_string(),
            }))
            .unwrap();
            ns.api::<Event>().create(&PostParams::default(), &event).await.unwrap();
        }
        let mark = ns.cluster.audit.mark();
        // silent for a minute
        let since = now.checked_sub(jiff::SignedDuration::from_secs(60)).unwrap();
        let scheduled = json!({"status": {"conditions": [{
            "type": "PodScheduled", "status": "True", "lastTransitionTime": since.strftime("%FT%TZ").to_string(),
        }]}});
        for (name, _) in &pods {
            let patch = Patch::Strategic(&scheduled);
            ns.pods().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
        }
        for i in 0..SILENT {
            let says = |task: &kubeopencode_api::task::Task| {
                task.status.as_ref().is_some_and(|status| {
                    status.reason.as_deref() == Some("VolumeNotReady")
                        && status.message.as_deref() == Some(&*format!("secret \"of-silent-{i}-pod\" not found"))
                })
            };
            ns.until_task(&format!("silent-{i}"), "says what its Pod misses", says).await;
        }
        let mut reads = ns.cluster.audit.reads_since(mark, &ns.name);
        reads.retain(|read| read.summary().starts_with("list events"));
        assert!(reads.len() <= 2, "{} lists of Events for {SILENT} Pods", reads.len());
    })
    .await;
}

#[tokio::test]
async fn a_large_agent_is_read_once_for_all_its_tasks_and_again_when_it_changed() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let mark = ns.cluster.audit.mark();
        let _operator = ns.operator();
        for (generation, rule) in [(1_usize, "the first rule "), (2, "the second rule ")] {
            let rules = rule.repeat(1_000);
            let contexts = json!([{"type": "Text", "text": rules}]);
            ns.apply(agent("large").set("/spec/contexts", contexts)).await;
            ns.until("it says whether it is accepted", |history| {
                let agent = history.get(Kind::Agent, "large")?;
                let mut conditions = agent.list("/status/conditions").iter();
                let is_seen =
                    conditions.any(|c| c["type"] == "Accepted" && c["observedGeneration"] == generation);
                is_seen.then_some(())
            })
            .await;
            ns.create_many(task(&format!("of-{generation}")).agent("large"), 4).await;
            ns.until("all have ended", |history| {
                (in_phase(history, "Completed") == 4 * generation).then_some(())
            })
            .await;
            assert_eq!(config_maps_with(&ns.record.history(), &rules), 4);
        }
        let mut reads = ns.cluster.audit.reads_since(mark, &ns.name);
        reads.retain(|read| read.summary().starts_with("get agents"));
        let names: Vec<_> = reads.iter().map(Entry::name).collect();
        assert_eq!(names, ["large", "large"], "the small ones are kept whole");
    })
    .await;
}

#[tokio::test]
async fn a_large_workspace_config_is_read_once_for_all_its_tasks() {
    scenario(async |ns| {
        ns.apply(service_account("runner")).await;
        let rules = "the rules of all ".repeat(1_000);
        let piece = json!([{"type": "File", "file": {"name": "rules.md", "source": {"inline": rules}}}]);
        let large = workspace_config("default").spec("serviceAccountName: runner");
        ns.apply(large.set("/spec/defaultContexts", piece)).await;
        let mark = ns.cluster.audit.mark();
        let _operator = ns.operator();
        for name in ["first", "second"] {
            ns.apply(kubetask(name)).await;
            ns.kubetask_phase(name, Phase::Completed).await;
        }
        assert_eq!(config_maps_with(&ns.record.history(), &rules), 2);
        let mut reads = ns.cluster.audit.reads_since(mark, &ns.name);
        reads.retain(|read| read.summary().starts_with("get workspaceconfigs"));
        assert_eq!(reads.len(), 1, "{:?}", AuditLog::count(&reads));
    })
    .await;
}

/// How many ConfigMaps have this text, whatever stands around it.
fn config_maps_with(history: &History, text: &str) -> usize {
    let has_it = |map: &&Arc<Revision>| map.object.to_string().contains(text.trim());
    history.all(Kind::ConfigMap).filter(has_it).count()
}
