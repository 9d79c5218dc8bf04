//! A Task whose dependencies are missing waits for a short grace, and then says what is missing.

use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::record::Kind;
use kubeopencode_tests::stage::{Stage, TEAM};

use crate::{condition, scenario, status, words};

const IMPATIENT: &str = "{apiVersion: kubeopencode.io/v1alpha1, kind: KubeOpenCodeConfig, metadata: {name: default}, spec: {dependencyGraceSeconds: 1}}";
const PATIENT: &str = "{apiVersion: kubeopencode.io/v1alpha1, kind: KubeOpenCodeConfig, metadata: {name: default}, spec: {dependencyGraceSeconds: 600}}";

fn task(spec: &str) -> String {
    format!("apiVersion: kubeopencode.io/v1alpha1\nkind: Task\nmetadata: {{name: fix}}\nspec: {spec}\n")
}

async fn waits(stage: &Stage, message: &str) {
    let task = stage.until_task("fix", "waits", |task| task.status.is_some()).await;
    assert_eq!(status(&task).phase, Some(Phase::Pending));
    assert_eq!(words(&task, "Accepted").0, "Unknown", "{:#?}", task.status);
    assert_eq!(words(&task, "Accepted").1, "WaitingForDependency");
    assert!(words(&task, "Accepted").2.contains(message), "{:?}", words(&task, "Accepted"));
}

#[tokio::test]
async fn files_may_be_applied_in_any_order() {
    scenario(async |stage| {
        stage.apply(PATIENT).await;
        let _operator = stage.operator();
        stage.apply(&task("{description: d, contexts: [{type: ConfigMap, configMap: {name: later}}]}")).await;
        waits(stage, &format!("agent \"default\" not found in namespace \"{}\"", stage.namespace)).await;
        stage.apply(TEAM).await;
        let for_map = |task: &Task| words(task, "Accepted").2.contains("ConfigMap later not found");
        stage.until_task("fix", "waits for its ConfigMap", for_map).await;
        stage.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: later}, data: {a: b}}").await;
        let task = stage.phase("fix", Phase::Completed).await;
        assert_eq!(words(&task, "Accepted").0, "True");
    })
    .await;
}

#[tokio::test]
async fn what_stays_missing_fails_the_task_with_its_name() {
    let conventions = |more: &str| {
        format!(
            "{{description: d, contexts: [{{type: ConfigMap, configMap: {{name: team-conventions, {more}}}}}]}}"
        )
    };
    for (spec, reason, condition, words_expected) in [
        (
            "{description: d, agentRef: nobody}".to_owned(),
            "AgentError",
            "Accepted",
            "agent \"nobody\" not found in namespace",
        ),
        (
            "{description: d, contexts: [{type: ConfigMap, configMap: {name: none}}]}".to_owned(),
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
            "{description: d, contexts: [{type: Jira, config: {}}]}".to_owned(),
            "PluginError",
            "Contexts",
            "no plugin for context type \"Jira\"",
        ),
    ] {
        scenario(async |stage| {
            stage.apply(TEAM).await;
            stage.apply(IMPATIENT).await;
            let _operator = stage.operator();
            stage.apply(&task(&spec)).await;
            let task = stage.phase("fix", Phase::Failed).await;
            assert_eq!(status(&task).reason.as_deref(), Some(reason));
            let (is, why, message) = words(&task, condition);
            assert_eq!((is, why), ("False", reason));
            assert!(message.contains(words_expected), "{message}");
            assert_eq!(status(&task).message.as_deref(), Some(message));
            assert_eq!(stage.record.history().revisions(Kind::Pod).count(), 0, "nothing was made");
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_optional_may_be_missing() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        stage
            .apply(&task(
                "{description: d, contexts: [
                  {type: ConfigMap, configMap: {name: none, optional: true}},
                  {type: ConfigMap, configMap: {name: team-conventions, key: none, optional: true}},
                  {type: ConfigMap, optional: true, configMap: {name: none-either}}]}",
            ))
            .await;
        let task = stage.phase("fix", Phase::Completed).await;
        let (is, reason, message) = words(&task, "Contexts");
        assert_eq!((is, reason), ("True", "OptionalSkipped"));
        assert!(message.contains("none-either"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_missing_service_account_is_waited_for() {
    scenario(async |stage| {
        stage.apply(PATIENT).await;
        stage
            .apply("{apiVersion: kubeopencode.io/v1alpha1, kind: Agent, metadata: {name: default}, spec: {serviceAccountName: later, maxConcurrentTasks: 1}}")
            .await;
        let _operator = stage.operator();
        stage.apply(&task("{description: d}")).await;
        waits(stage, "serviceaccount \"later\" not found").await;
        stage
            .until("its slot is free meanwhile", |history| {
                history.get(Kind::Agent, "default")?.list("/status/admitted").is_empty().then_some(())
            })
            .await;
        stage.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: later}}").await;
        stage.phase("fix", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn the_grace_runs_from_the_first_miss_also_over_a_restart() {
    scenario(async |stage| {
        stage.apply(PATIENT).await;
        let operator = stage.operator();
        stage.apply(&task("{description: d, contexts: [{type: ConfigMap, configMap: {name: never}}]}")).await;
        waits(stage, "agent \"default\" not found").await;
        let first =
            condition(&stage.tasks().get("fix").await.unwrap(), "Accepted").last_transition_time.clone();
        operator.crash().await;
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        let misses_another = |task: &Task| words(task, "Accepted").2.contains("ConfigMap never not found");
        let task = stage.until_task("fix", "misses its ConfigMap now", misses_another).await;
        assert_eq!(condition(&task, "Accepted").last_transition_time, first);
        stage.apply(IMPATIENT).await;
        stage.phase("fix", Phase::Failed).await;
    })
    .await;
}
