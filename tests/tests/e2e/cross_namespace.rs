//! Tasks of one namespace with an Agent of another: the Pod runs where the Agent is, and nothing of it is left behind.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::ListParams;
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::namespace::{TestNamespace, between_namespaces};
use kubeopencode_tests::objects::{Builder, status, task, words};
use kubeopencode_tests::record::Kind;

use crate::support::{log, names, shell_agent};

const SHOW: &str =
    "echo $MODEL_KEY; cat task.md; cat guide.md; cat guides/a.md guides/b.md; cat .kubeopencode/context.md";

/// A Task with the Agent of the other namespace.
fn far(name: &str, platform: &TestNamespace) -> Builder<Task> {
    task(name).description("Do it.").agent_in(&platform.name, "default")
}

async fn pods_and_maps(platform: &TestNamespace) -> (Vec<String>, Vec<String>) {
    let of_tasks = ListParams::default().labels("app=kubeopencode");
    let pods = platform.api::<Pod>().list(&of_tasks).await.unwrap().items;
    let maps = platform.api::<ConfigMap>().list(&of_tasks).await.unwrap().items;
    (names(&pods), names(&maps))
}

async fn nothing_is_left(platform: &TestNamespace) {
    platform
        .until("no Pod and no ConfigMap of a Task is left", |history| {
            let of_task = |object: &&std::sync::Arc<kubeopencode_tests::record::Revision>| {
                object.label("app") == "kubeopencode"
            };
            let left = history.all(Kind::Pod).chain(history.all(Kind::ConfigMap)).filter(of_task).count();
            (left == 0).then_some(())
        })
        .await;
}

#[tokio::test]
async fn the_pod_runs_beside_the_agent_with_its_secrets_and_the_tasks_config_maps() {
    between_namespaces(None, async |team, platform| {
        let credentials = "credentials: [{name: key, secretRef: {name: model, key: key}, env: MODEL_KEY}]\ncontexts: [{type: ConfigMap, name: house, configMap: {name: house}}]";
        platform.apply("{apiVersion: v1, kind: Secret, metadata: {name: model}, stringData: {key: platform-key}}").await;
        platform.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: house}, data: {rule: Be kind.}}").await;
        platform.apply(shell_agent(SHOW, credentials)).await;
        team.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: guides}, data: {a.md: \"A\\n\", b.md: \"B\\n\"}}").await;
        let contexts = "contexts: [{type: ConfigMap, mountPath: guide.md, configMap: {name: guides, key: a.md}}, {type: ConfigMap, mountPath: guides, configMap: {name: guides}}, {type: ConfigMap, name: own, configMap: {name: guides}}]";
        team.apply(far("far", platform).spec(contexts)).await;
        let task = team.phase("far", Phase::Completed).await;
        let status = status(&task);
        assert_eq!(status.pod_namespace.as_deref(), Some(platform.name.as_str()));
        let short = &task.metadata.uid.as_deref().unwrap()[..8];
        let pod = format!("{}-far-{short}-pod", team.name);
        assert_eq!(status.pod_name.as_deref(), Some(pod.as_str()));
        let log = log(team, &task).await;
        for part in [
            "platform-key\nDo it.A\nA\nB\n",
            &format!("<context name=\"house\" namespace=\"{}\" type=\"ConfigMap\">", platform.name),
            &format!("<context name=\"own\" namespace=\"{}\" type=\"ConfigMap\">", team.name),
            "Be kind.",
        ] {
            assert!(log.contains(part), "{part:?} is missing in\n{log}");
        }
        {
            let history = platform.record.history();
            let pod = history.get(Kind::Pod, &pod).unwrap();
            assert!(pod.list("/metadata/ownerReferences").is_empty(), "no owner in another namespace");
            assert_eq!(pod.label("kubeopencode.io/task-namespace"), team.name);
        }
        let (pods, maps) = pods_and_maps(platform).await;
        assert_eq!(pods, [pod]);
        let prefix = format!("{}-far-{short}-context", team.name);
        assert!(!maps.is_empty() && maps.iter().all(|map| map.starts_with(&prefix)), "{maps:?}");
        team.delete_task("far").await;
        team.gone(Kind::Task, "far").await;
        nothing_is_left(platform).await;
    })
    .await;
}

#[tokio::test]
async fn secrets_of_the_agents_namespace_are_out_of_a_tasks_reach() {
    between_namespaces(None, async |team, platform| {
        platform.apply("{apiVersion: v1, kind: Secret, metadata: {name: model}, stringData: {key: platform-key}}").await;
        platform.apply(shell_agent("true", "")).await;
        for (name, context) in [
            ("file", "{type: File, mountPath: f, file: {name: f, source: {secretKeyRef: {name: model, key: key}}}}"),
            ("git", "{type: Git, mountPath: r, git: {repository: 'https://git.example.com/r', secretRef: {name: model}}}"),
            ("url", "{type: URL, mountPath: u, url: {source: 'https://example.com/u', secretRef: {name: model}}}"),
        ] {
            team.apply(far(name, platform).spec(&format!("contexts: [{context}]"))).await;
            let task = team.phase(name, Phase::Failed).await;
            assert_eq!(status(&task).reason.as_deref(), Some("ContextError"), "{:#?}", task.status);
            assert!(status(&task).message.as_deref().unwrap().contains("model"), "{:?}", status(&task).message);
        }
        assert_eq!(pods_and_maps(platform).await, (vec![], vec![]));
    })
    .await;
}

#[tokio::test]
async fn an_agent_says_which_namespaces_may_use_it() {
    between_namespaces(None, async |team, platform| {
        platform.apply(shell_agent("true", "allowedNamespaces: ['dev-*', staging]")).await;
        team.apply(far("outside", platform)).await;
        let refused = team.phase("outside", Phase::Failed).await;
        let expected = format!(
            "namespace \"{}\" is not allowed to use Agent \"default\" (allowed: [dev-*, staging])",
            team.name
        );
        assert_eq!(words(&refused, "Accepted").1, "AgentError");
        assert!(words(&refused, "Accepted").2.contains(&expected), "{:?}", words(&refused, "Accepted"));
        platform.apply(shell_agent("true", "allowedNamespaces: ['test-*']")).await;
        team.apply(far("inside", platform)).await;
        team.phase("inside", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_slot_is_shared_by_all_namespaces_that_use_the_agent() {
    between_namespaces(None, async |team, platform| {
        platform.apply(shell_agent("sleep 600", "maxConcurrentTasks: 1")).await;
        platform.apply(far("near", platform)).await;
        platform.phase("near", Phase::Running).await;
        team.apply(far("far", platform)).await;
        let queued = team.phase("far", Phase::Queued).await;
        assert_eq!(words(&queued, "Queued").2, "Waiting for agent \"default\" capacity (max: 1)");
        platform.stop_task("near").await;
        team.phase("far", Phase::Running).await;
    })
    .await;
}

#[tokio::test]
async fn the_namespace_of_the_task_goes_and_takes_the_far_pod_along() {
    between_namespaces(None, async |team, platform| {
        platform.apply(shell_agent("sleep 600", "")).await;
        team.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {k: v}}").await;
        team.apply(far("far", platform).spec("contexts: [{type: ConfigMap, configMap: {name: m}}]")).await;
        let task = team.phase("far", Phase::Running).await;
        platform.agent_runs(status(&task).pod_name.as_deref().unwrap()).await;
        team.delete_namespace().await;
        nothing_is_left(platform).await;
    })
    .await;
}

#[tokio::test]
async fn the_namespace_of_the_agent_goes_and_the_task_says_so() {
    between_namespaces(None, async |team, platform| {
        platform.apply(shell_agent("trap 'exit 3' TERM; sleep 600 & wait", "")).await;
        team.apply(far("far", platform)).await;
        let task = team.phase("far", Phase::Running).await;
        platform.agent_runs(status(&task).pod_name.as_deref().unwrap()).await;
        platform.delete_namespace().await;
        let task = team.phase("far", Phase::Failed).await;
        let reason = status(&task).reason.as_deref();
        assert!(matches!(reason, Some("PodLost" | "PodDeleted" | "Evicted")), "{:#?}", task.status);
        team.delete_task("far").await;
        team.gone(Kind::Task, "far").await;
    })
    .await;
}

#[tokio::test]
async fn the_longest_name_runs() {
    between_namespaces(None, async |team, platform| {
        platform.apply(shell_agent("echo $TASK_NAME", "")).await;
        let name = "n".repeat(253);
        for ns in [team, platform] {
            ns.apply(far(&name, platform)).await;
            let task = ns.phase(&name, Phase::Completed).await;
            assert_eq!(log(ns, &task).await.trim(), name);
            ns.delete_task(&name).await;
            ns.gone(Kind::Task, &name).await;
        }
        nothing_is_left(platform).await;
    })
    .await;
}
