//! A Task whose dependencies are missing waits for a short grace, and then says what is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::api::{Patch, PatchParams};
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::injection::{NOBODY, ask_nobody, stop_asking};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{
    Builder, agent, condition, config, config_map, service_account, status, task, words,
};
use kubeopencode_tests::record::Kind;
use serde_json::json;

use crate::scenario;

/// How long a missing dependency is waited for.
fn grace(seconds: u32) -> Builder<KubeOpenCodeConfig> {
    config(&format!("dependencyGraceSeconds: {seconds}"))
}

async fn waits(ns: &TestNamespace, message: &str) {
    let task = ns.until_task("fix", "waits", |task| task.status.is_some()).await;
    assert_eq!(status(&task).phase, Some(Phase::Pending));
    assert_eq!(words(&task, "Accepted").0, "Unknown", "{:#?}", task.status);
    assert_eq!(words(&task, "Accepted").1, "WaitingForDependency");
    assert!(words(&task, "Accepted").2.contains(message), "{:?}", words(&task, "Accepted"));
}

#[tokio::test]
async fn files_may_be_applied_in_any_order() {
    scenario(async |ns| {
        ns.apply(grace(600)).await;
        let _operator = ns.operator();
        ns.apply(task("fix").spec("{contexts: [{type: ConfigMap, configMap: {name: later}}]}")).await;
        waits(ns, &format!("agent \"default\" not found in namespace \"{}\"", ns.name)).await;
        ns.apply(TEAM).await;
        let for_map = |task: &Task| words(task, "Accepted").2.contains("ConfigMap later not found");
        ns.until_task("fix", "waits for its ConfigMap", for_map).await;
        ns.apply(config_map("later", &[("a", "b")])).await;
        let task = ns.phase("fix", Phase::Completed).await;
        assert_eq!(words(&task, "Accepted").0, "True");
    })
    .await;
}

#[tokio::test]
async fn what_stays_missing_fails_the_task_with_its_name() {
    let conventions = |more: &str| {
        format!("{{contexts: [{{type: ConfigMap, configMap: {{name: team-conventions, {more}}}}}]}}")
    };
    for (spec, reason, condition, words_expected) in [
        (
            "{agentRef: nobody}".to_owned(),
            "AgentError",
            "Accepted",
            "agent \"nobody\" not found in namespace",
        ),
        (
            "{contexts: [{type: ConfigMap, configMap: {name: none}}]}".to_owned(),
            "ContextError",
            "Contexts",
            "ConfigMap none not found",
        ),
        (
            conventions("key: none"),
            "ContextError",
            "Contexts",
            "key none not found in ConfigMap team-conventions",
        ),
        (
            "{contexts: [{type: Jira, config: {}}]}".to_owned(),
            "PluginError",
            "Contexts",
            "no plugin for context type \"Jira\"",
        ),
    ] {
        scenario(async |ns| {
            ns.apply(TEAM).await;
            ns.apply(grace(1)).await;
            let _operator = ns.operator();
            ns.apply(task("fix").spec(&spec)).await;
            let task = ns.phase("fix", Phase::Failed).await;
            assert_eq!(status(&task).reason.as_deref(), Some(reason));
            let (is, why, message) = words(&task, condition);
            assert_eq!((is, why), ("False", reason));
            assert!(message.contains(words_expected), "{message}");
            assert_eq!(status(&task).message.as_deref(), Some(message));
            let agent = status(&task).agent_ref.as_ref().expect("a refused Task says of which Agent it was");
            let named = if spec.contains("nobody") { "nobody" } else { "default" };
            assert_eq!((agent.namespace.as_str(), agent.name.as_str()), (ns.name.as_str(), named));
            assert_eq!(ns.record.history().revisions(Kind::Pod).count(), 0, "nothing was made");
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_optional_may_be_missing() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("fix").spec(
            "{contexts: [
                  {type: ConfigMap, configMap: {name: none, optional: true}},
                  {type: ConfigMap, configMap: {name: team-conventions, key: none, optional: true}},
                  {type: ConfigMap, optional: true, configMap: {name: none-either}}]}",
        ))
        .await;
        let task = ns.phase("fix", Phase::Completed).await;
        let (is, reason, message) = words(&task, "Contexts");
        assert_eq!((is, reason), ("True", "OptionalSkipped"));
        assert!(message.contains("none-either"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_missing_service_account_is_waited_for() {
    scenario(async |ns| {
        ns.apply(grace(600)).await;
        ns.apply(agent("default").change("/spec/serviceAccountName", "later").at_once(1)).await;
        let _operator = ns.operator();
        ns.apply(task("fix")).await;
        waits(ns, "serviceaccount \"later\" not found").await;
        ns.until("its slot is free meanwhile", |history| {
            history.get(Kind::Agent, "default")?.list("/status/admitted").is_empty().then_some(())
        })
        .await;
        ns.apply(service_account("later")).await;
        ns.phase("fix", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn the_grace_runs_from_the_first_miss_also_over_a_restart() {
    scenario(async |ns| {
        ns.apply(grace(600)).await;
        let operator = ns.operator();
        ns.apply(task("fix").spec("{contexts: [{type: ConfigMap, configMap: {name: never}}]}")).await;
        waits(ns, "agent \"default\" not found").await;
        let first = condition(&ns.tasks().get("fix").await.unwrap(), "Accepted").last_transition_time.clone();
        operator.crash().await;
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let misses_another = |task: &Task| words(task, "Accepted").2.contains("ConfigMap never not found");
        let task = ns.until_task("fix", "misses its ConfigMap now", misses_another).await;
        assert_eq!(condition(&task, "Accepted").last_transition_time, first);
        ns.apply(grace(1)).await;
        ns.phase("fix", Phase::Failed).await;
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_named_and_waited_for() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ask_nobody(&ns.client, &ns.name).await;
        let _operator = ns.operator();
        ns.apply(task("fix")).await;
        let says = |task: &Task| {
            let message = task.status.as_ref().and_then(|status| status.message.as_deref());
            message.is_some_and(|words| words.contains("webhook"))
        };
        let waits = ns.until_task("fix", "says what it waits for", says).await;
        let (is, reason, message) = words(&waits, "Ready");
        assert_eq!((is, reason, status(&waits).phase), ("Unknown", "PodCreationError", Some(Phase::Pending)));
        assert!(message.contains(&format!("failed calling webhook \"{NOBODY}\"")), "{message}");
        assert!(message.ends_with("; the Task waits until the webhook answers"), "{message}");
        stop_asking(&ns.client, &ns.name).await;
        ns.phase("fix", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_refusal_after_a_long_wait_for_a_webhook_has_its_own_minute() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ask_nobody(&ns.client, &ns.name).await;
        let operator = ns.operator();
        ns.apply(task("fix")).await;
        let waits = |task: &Task| {
            let message = task.status.as_ref().and_then(|status| status.message.as_deref());
            message.is_some_and(|words| words.ends_with("; the Task waits until the webhook answers"))
        };
        let waits = ns.until_task("fix", "waits for the webhook", waits).await;
        operator.stop().await;
        // the webhook was away for an hour
        let mut conditions = serde_json::to_value(&status(&waits).conditions).unwrap();
        for condition in conditions.as_array_mut().unwrap() {
            condition["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
        }
        let long = Patch::Merge(json!({"status": {"conditions": conditions}}));
        ns.tasks().patch_status("fix", &PatchParams::default(), &long).await.unwrap();
        stop_asking(&ns.client, &ns.name).await;
        let refuse = Arc::new(AtomicBool::new(true));
        let faults = Faults::while_set(&refuse, ("POST", "/pods"), Fault::Forbidden);
        let _operator = ns.operator_with(&faults);
        let refused = |task: &Task| words(task, "Ready").2.contains("a fault of the tests: Forbidden");
        let refused = ns.until_task("fix", "is refused", refused).await;
        let (is, reason, _) = words(&refused, "Ready");
        assert_eq!(
            (is, reason, status(&refused).phase),
            ("Unknown", "PodCreationError", Some(Phase::Pending))
        );
        refuse.store(false, Ordering::Relaxed);
        ns.phase("fix", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_fails_is_told_and_waited_for() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let fails = Arc::new(AtomicBool::new(true));
        let faults = Faults::while_set(&fails, ("POST", "/pods"), Fault::Unavailable);
        let _operator = ns.operator_with(&faults);
        ns.apply(task("fix")).await;
        let says = |task: &Task| task.status.as_ref().is_some_and(|status| status.message.is_some());
        let waits = ns.until_task("fix", "says what it waits for", says).await;
        let told = "the API server answers 503 ServiceUnavailable: a fault of the tests: ServiceUnavailable; the Task waits \
                    until that has passed";
        assert_eq!(words(&waits, "Ready"), ("Unknown", "WaitingForDependency", told));
        assert_eq!(status(&waits).phase, Some(Phase::Pending));
        fails.store(false, Ordering::Relaxed);
        ns.phase("fix", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_config_map_that_the_operator_may_not_read_is_told() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config_map("rules", &[("a.md", "be kind")])).await;
        let refuse = Arc::new(AtomicBool::new(true));
        let faults = Faults::while_set(&refuse, ("GET", "/configmaps/rules"), Fault::Forbidden);
        let _operator = ns.operator_with(&faults);
        ns.apply(task("fix").spec("contexts: [{type: ConfigMap, configMap: {name: rules}}]")).await;
        waits(ns, "the operator may not read a ConfigMap that the Task needs: 403 Forbidden").await;
        refuse.store(false, Ordering::Relaxed);
        ns.phase("fix", Phase::Completed).await;
    })
    .await;
}
