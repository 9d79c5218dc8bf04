//! No input of a user stops the operator, blocks another Task or is retried for ever: the Task ends, or waits, with a
//! condition that names object, field and remedy.

use kubeopencode_api::task::Phase;
use kubeopencode_tests::stage::{Stage, TEAM};

use crate::{scenario, status};

const IMPATIENT: &str = "{apiVersion: kubeopencode.io/v1alpha1, kind: KubeOpenCodeConfig, metadata: {name: default}, spec: {dependencyGraceSeconds: 1}}";

/// One bad Task (or Agent) on a stage of its own: how it ends, and that the next Task runs.
async fn fails(what: &str, yaml: &str, reason: &str, words: &str) {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        stage.apply(IMPATIENT).await;
        let _operator = stage.operator();
        stage.apply(yaml).await;
        let bad = stage.phase("bad", Phase::Failed).await;
        assert_eq!(status(&bad).reason.as_deref(), Some(reason), "{what}: {:?}", status(&bad).message);
        let message = status(&bad).message.as_deref().unwrap();
        assert!(message.contains(words), "{what}: {message}");
        runs(stage).await;
    })
    .await;
}

async fn runs(stage: &Stage) {
    stage.apply("{apiVersion: kubeopencode.io/v1alpha1, kind: Task, metadata: {name: good}, spec: {description: d}}").await;
    stage.phase("good", Phase::Completed).await;
}

fn task(spec: &str) -> String {
    format!("apiVersion: kubeopencode.io/v1alpha1\nkind: Task\nmetadata: {{name: bad}}\nspec: {spec}\n")
}

fn with_agent(agent: &str) -> String {
    format!(
        "apiVersion: kubeopencode.io/v1alpha1\nkind: Agent\nmetadata: {{name: odd}}\nspec: {agent}\n---\n{}",
        task("{description: d, agentRef: odd}")
    )
}

#[tokio::test]
async fn references_that_are_none() {
    fails(
        "a misspelt key",
        &task("{description: d, agentRef: {name: default, namspace: other}}"),
        "InvalidConfig",
        "namspace",
    )
    .await;
    fails("a boolean", &task("{description: d, agentRef: true}"), "InvalidConfig", "agentRef").await;
}

#[tokio::test]
async fn nothing_to_do() {
    fails("no description", &task("{}"), "InvalidConfig", "spec.description").await;
}

#[tokio::test]
async fn contexts_that_cannot_be() {
    for (what, spec, reason, words) in [
        (
            "equal paths",
            "{description: d, contexts: [{type: Text, text: a, mountPath: x.md}, {type: Text, text: b, mountPath: ./x.md}]}",
            "ContextError",
            "mount path conflict: \"/workspace/x.md\" is used by both",
        ),
        (
            "Git without a path",
            "{description: d, contexts: [{type: Git, git: {repository: 'https://x/y'}}]}",
            "ContextError",
            "git context requires mountPath to be specified",
        ),
        (
            "a path of the system",
            "{description: d, contexts: [{type: Text, text: a, mountPath: /proc/x}]}",
            "ContextError",
            "spec.contexts[0]",
        ),
        (
            "a path that climbs out",
            "{description: d, contexts: [{type: Text, text: a, mountPath: ../../etc/passwd}]}",
            "ContextError",
            "spec.contexts[0]",
        ),
        (
            "an unknown type",
            "{description: d, contexts: [{type: Jira, config: {a: [1, {b: null}]}}]}",
            "PluginError",
            "no plugin for context type \"Jira\"",
        ),
    ] {
        fails(what, &task(spec), reason, words).await;
    }
}

#[tokio::test]
async fn agents_that_make_no_sense() {
    for (what, spec, reason, words) in [
        (
            "broken config",
            "{serviceAccountName: kubeopencode-agent, config: '{\"model\": '}",
            "InvalidConfig",
            "invalid JSON in Agent config:",
        ),
        (
            "config of another kind",
            "{serviceAccountName: kubeopencode-agent, config: [1, 2]}",
            "InvalidConfig",
            "config",
        ),
        (
            "a credential with a key and no place",
            "{serviceAccountName: kubeopencode-agent, credentials: [{name: c, secretRef: {name: s, key: k}}]}",
            "InvalidConfig",
            "credentials",
        ),
        (
            "a volume mount without its volume",
            "{serviceAccountName: kubeopencode-agent, podSpec: {volumeMounts: [{name: none, mountPath: /data}]}}",
            "InvalidConfig",
            "spec.podSpec.volumeMounts[0] of Agent",
        ),
        (
            "an image that is none",
            "{serviceAccountName: kubeopencode-agent, executorImage: ' '}",
            "PodCreationError",
            "image",
        ),
        (
            "a command builder that nobody knows",
            "{serviceAccountName: kubeopencode-agent, commandBuilder: none}",
            "PluginError",
            "none",
        ),
    ] {
        fails(what, &with_agent(spec), reason, words).await;
    }
}

#[tokio::test]
async fn numbers_that_fit_no_machine_are_refused_by_the_api_server() {
    // the schema of an integer has no bounds of its own, and an object that cannot be read can be told nothing
    scenario(async |stage| {
        let git = "{description: d, contexts: [{type: Git, mountPath: src, git: {repository: 'https://x/y', depth: 5000000000}}]}";
        for (yaml, field) in [
            (task(git), "spec.contexts[0].git.depth"),
            (with_agent("{serviceAccountName: s, maxConcurrentTasks: 5000000000}"), "spec.maxConcurrentTasks"),
            (with_agent("{serviceAccountName: s, podSpec: {volumes: [{name: v, secret: {defaultMode: 5000000000}}]}}"), "defaultMode"),
        ] {
            let refused = stage.try_apply(&yaml).await.expect_err(field).to_string();
            assert!(refused.contains(field), "{refused}");
        }
    })
    .await;
}

#[tokio::test]
async fn quantities_may_be_numbers_as_in_a_pod() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        let pod_spec = "{resources: {limits: {cpu: 2}}, volumes: [{name: scratch, emptyDir: {sizeLimit: 1000000}}], volumeMounts: [{name: scratch, mountPath: /scratch}]}";
        stage.apply(&with_agent(&format!("{{serviceAccountName: kubeopencode-agent, podSpec: {pod_spec}}}"))).await;
        stage.phase("bad", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_prompt_of_a_megabyte_runs() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        stage.apply(&task(&format!("{{description: '{}'}}", "x".repeat(1_000_000)))).await;
        let task = stage.phase("bad", Phase::Completed).await;
        assert!(status(&task).pod_name.is_some());
        runs(stage).await;
    })
    .await;
}

#[tokio::test]
async fn more_text_than_a_task_may_have_is_refused_by_size() {
    // each ConfigMap takes a megabyte, the Task names five of them
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        let text = "y".repeat(950_000);
        for i in 0..5 {
            stage
                .apply(&format!(
                    "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: big-{i}}}, data: {{a: '{text}'}}}}"
                ))
                .await;
        }
        let items: Vec<_> =
            (0..5).map(|i| format!("{{type: ConfigMap, configMap: {{name: big-{i}}}}}")).collect();
        stage.apply(&task(&format!("{{description: d, contexts: [{}]}}", items.join(", ")))).await;
        let bad = stage.phase("bad", Phase::Failed).await;
        assert_eq!(status(&bad).reason.as_deref(), Some("ContextError"), "{:?}", status(&bad).message);
        runs(stage).await;
    })
    .await;
}

#[tokio::test]
async fn names_as_long_as_they_may_be() {
    scenario(async |stage| {
        stage.apply(TEAM).await;
        let _operator = stage.operator();
        let name = "n".repeat(253);
        stage.apply(&task("{description: d}").replace("name: bad", &format!("name: {name}"))).await;
        let task = stage.phase(&name, Phase::Completed).await;
        let pod = status(&task).pod_name.clone().unwrap();
        assert!(pod.len() <= 253 && pod.ends_with("-pod"), "{pod}");
    })
    .await;
}
