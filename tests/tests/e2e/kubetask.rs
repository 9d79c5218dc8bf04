//! The second document on a whole cluster: its examples byte for byte as an agent's own image finds them, and Batches.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{Api, LogParams};
use kube::runtime::wait::await_condition;
use kubeopencode_api::kubetask::batch::{Batch, BatchPhase};
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_api::task::{Phase, TaskStatus};
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{config, config_map, documents, secret, workspace_config};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::on_the_whole_cluster;

const DOCUMENT: &str = include_str!("../../../docs/spec/agent-context.md");
/// How long real nodes may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// It tells what it was given.
const IMAGE: &str = "quay.io/kubeopencode/kubeopencode-agent-entrypoint:latest";

/// The same for other users, by the end of its name.
fn image_of(user: &str) -> String {
    IMAGE.replace(":latest", &format!("{user}:latest"))
}

/// The YAML of the document's examples that have objects.
fn examples() -> Vec<Vec<Value>> {
    let blocks = DOCUMENT.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let objects = blocks.map(documents);
    objects.filter(|objects| objects.iter().all(|object| object.get("kind").is_some())).collect()
}

/// A WorkspaceConfig `default` with the image that tells what it was given, and the ServiceAccount's rights left out.
fn workspace() -> Value {
    json!({"apiVersion": "kubetask.io/v1alpha1", "kind": "WorkspaceConfig", "metadata": {"name": "default"},
           "spec": {"agentImage": IMAGE}})
}

/// A Task whose contexts are these, in YAML.
fn task(name: &str, contexts: &str) -> Value {
    let text = format!(
        "{{apiVersion: kubetask.io/v1alpha1, kind: Task, metadata: {{name: {name}}}, spec: {{contexts: [{contexts}]}}}}"
    );
    documents(&text).remove(0)
}

fn file(name: &str, source: &str, mount_path: &str) -> String {
    let mount_path = if mount_path.is_empty() { String::new() } else { format!(", mountPath: {mount_path}") };
    format!("{{type: File, file: {{name: {name}, source: {{{source}}}{mount_path}}}}}")
}

/// Waits until an object of the second group says so.
async fn until<K>(ns: &TestNamespace, name: &str, is_so: impl Fn(&K) -> bool) -> K
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Send
        + DeserializeOwned
        + 'static,
{
    let api: Api<K> = ns.api();
    let found = await_condition(api.clone(), name, |object: Option<&K>| object.is_some_and(&is_so));
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(found) => found.unwrap().unwrap(),
        Err(_) => panic!("waited {PATIENCE:?} in vain: {name} is {:?}", api.get_opt(name).await),
    }
}

async fn in_phase(ns: &TestNamespace, name: &str, phase: Phase) -> TaskStatus {
    let is_so = |task: &Task| task.status.as_ref().is_some_and(|status| status.phase == Some(phase));
    until(ns, name, is_so).await.status.unwrap()
}

/// What the agent of a Task said: a line for itself, its variables, and the files that it found, each after its path and mode.
async fn log(ns: &TestNamespace, status: &TaskStatus) -> String {
    let agent = LogParams { container: Some("agent".to_owned()), ..LogParams::default() };
    ns.api::<Pod>().logs(status.pod_name.as_deref().unwrap(), &agent).await.unwrap()
}

/// What the agent of a Task found, by path; what it said of itself stands under the empty path.
async fn found(ns: &TestNamespace, status: &TaskStatus) -> BTreeMap<String, String> {
    let log = log(ns, status).await;
    let mut parts = log.split("==> ");
    let mut files = BTreeMap::from([(String::new(), parts.next().unwrap().to_owned())]);
    for part in parts {
        let (line, content) = part.split_once('\n').unwrap();
        let (path, _mode) = line.split_once(' ').unwrap();
        files.insert(path.to_owned(), content.to_owned());
    }
    files
}

#[tokio::test]
async fn the_first_example_of_the_document_is_one_file() {
    on_the_whole_cluster(async |ns| {
        ns.apply(workspace()).await;
        ns.apply(config_map("workflow-guides", &[("pr-workflow.md", "Branch, commit, ask.\n")])).await;
        ns.apply(examples().remove(0)).await;
        let status = in_phase(ns, "update-deps", Phase::Completed).await;
        assert_eq!(status.pod_name.as_deref(), Some("update-deps-kt-pod"));
        let found = found(ns, &status).await;
        assert_eq!(
            found["/workspace/task.md"],
            "Update all dependencies to latest versions.\nRun tests and create a PR.\n\n---\n\nBranch, commit, ask.\n"
        );
        // the image's own program in its own directory, as its own user, and two variables
        let itself = format!(
            "user 65532:65532 in /home/agent, home /home/agent\nTASK_NAME=update-deps\nTASK_NAMESPACE={}\n",
            ns.name
        );
        assert_eq!(found[""], itself);
        assert_eq!(found["/etc/image/own"], "of the image\n");
    })
    .await;
}

#[tokio::test]
async fn the_second_example_has_files_where_it_says_and_the_image_keeps_its_own() {
    on_the_whole_cluster(async |ns| {
        ns.apply(workspace()).await;
        ns.apply(config_map("agent-configs", &[("claude-instructions.md", "Be brief.\n")])).await;
        ns.apply(secret("deploy-secrets", &[("production.yaml", "token: s3cret\n")])).await;
        ns.apply(examples().remove(1)).await;
        let status = in_phase(ns, "deploy-service", Phase::Completed).await;
        let found = found(ns, &status).await;
        assert_eq!(found["/workspace/task.md"], "Deploy the service to production.\n");
        assert_eq!(found["/home/agent/.claude/CLAUDE.md"], "Be brief.\n");
        assert_eq!(found["/etc/deploy/config.yaml"], "token: s3cret\n");
        assert_eq!(found["/etc/image/own"], "of the image\n");
    })
    .await;
}

#[tokio::test]
async fn the_third_example_has_three_layers() {
    on_the_whole_cluster(async |ns| {
        let mut objects = examples().remove(2);
        objects[0]["spec"]["agentImage"] = IMAGE.into();
        ns.apply(config_map(
            "org-standards",
            &[("coding.md", "Tabs.\r\n\n"), ("claude-config.md", "Be brief.\n")],
        ))
        .await;
        ns.apply(config_map("repo-configs", &[("service-a.json", "{}\n")])).await;
        ns.apply(objects).await;
        let done = |batch: &Batch| {
            batch.status.as_ref().is_some_and(|status| status.phase == Some(BatchPhase::Completed))
        };
        let batch = until(ns, "update-all-repos", done).await;
        let progress = batch.status.unwrap().progress.unwrap();
        assert_eq!((progress.total, progress.completed, progress.failed), (1, 1, 0));
        let status = in_phase(ns, "update-all-repos-task-0", Phase::Completed).await;
        let found = found(ns, &status).await;
        assert_eq!(found["/workspace/task.md"], "Tabs.\n\n---\n\nUpdate dependencies and create PR.\n");
        assert_eq!(found["/home/agent/.claude/CLAUDE.md"], "Be brief.\n");
        assert_eq!(found["/workspace/repo-config.json"], "{}\n");
    })
    .await;
}

#[tokio::test]
async fn secret_pieces_are_joined_in_the_pod_and_optional_ones_go_with_their_separator() {
    on_the_whole_cluster(async |ns| {
        ns.apply(workspace()).await;
        ns.apply(config_map("m", &[("there", "from a map\n\n")])).await;
        ns.apply(secret("s", &[("there", "hidden\n")])).await;
        let sources = [
            "inline: \"first\\n\"",
            "secretKeyRef: {name: s, key: there}",
            "secretKeyRef: {name: s, key: gone, optional: true}",
            "secretKeyRef: {name: gone, key: gone, optional: true}",
            "configMapKeyRef: {name: m, key: gone, optional: true}",
            "configMapKeyRef: {name: m, key: there}",
        ];
        let pieces: Vec<_> = sources.iter().map(|source| file("piece", source, "")).collect();
        let mounted: Vec<_> = sources
            .iter()
            .enumerate()
            .map(|(i, source)| file("file", source, &format!("/etc/given/{i}")))
            .collect();
        ns.apply(task("look", &format!("{}, {}", pieces.join(", "), mounted.join(", ")))).await;
        let status = in_phase(ns, "look", Phase::Completed).await;
        let found = found(ns, &status).await;
        assert_eq!(found["/workspace/task.md"], "first\n\n---\n\nhidden\n\n---\n\nfrom a map\n\n");
        // a missing ConfigMap's is left out; of a missing Secret only the kubelet knows, and it would make a directory
        let given: Vec<_> =
            (0..6).map(|i| found.get(&format!("/etc/given/{i}")).map(String::as_str)).collect();
        assert_eq!(
            given,
            [Some("first\n"), Some("hidden\n"), Some(""), Some(""), None, Some("from a map\n\n")]
        );
    })
    .await;
}

/// `task.md` is one key of a ConfigMap where all its pieces are known, and a file that was joined in the Pod where a Secret has one.
#[tokio::test]
async fn whoever_an_image_is_it_stays_and_reads_all_its_files() {
    on_the_whole_cluster(async |ns| {
        ns.apply(config_map("m", &[("k", "from a map\n")])).await;
        ns.apply(secret("s", &[("k", "hidden\n")])).await;
        let users = [("usual", "", 65532), ("root", "-root", 0), ("other", "-1000", 1000)];
        let first = file("first", "inline: \"first\\n\"", "");
        let second = file("second", "secretKeyRef: {name: s, key: k}", "");
        let texts = [
            ("known", first.clone(), "first\n"),
            ("joined", format!("{first}, {second}"), "first\n\n---\n\nhidden\n"),
        ];
        let map = file("map", "configMapKeyRef: {name: m, key: k}", "/etc/given/map");
        let secret = file("secret", "secretKeyRef: {name: s, key: k}", "/etc/given/secret");
        for (user, image, _) in users {
            ns.apply(workspace_config(user).set("/spec/agentImage", image_of(image))).await;
            for (how, pieces, _) in &texts {
                let mut task = task(&format!("{user}-{how}"), &format!("{pieces}, {map}, {secret}"));
                task["spec"]["workspaceConfigRef"] = user.into();
                ns.apply(task).await;
            }
        }
        for (user, _, uid) in users {
            for (how, _, text) in &texts {
                let status = in_phase(ns, &format!("{user}-{how}"), Phase::Completed).await;
                let log = log(ns, &status).await;
                for said in [
                    format!("user {uid}:{uid} in /home/agent, home /home/agent\n"),
                    format!("==> /workspace/task.md 644\n{text}==> "),
                    "==> /etc/given/map 644\nfrom a map\n==> ".to_owned(),
                    "==> /etc/given/secret 644\nhidden\n==> ".to_owned(),
                ] {
                    assert!(log.contains(&said), "{user}, {how}: {said:?} is missing in\n{log}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_restricted_namespace_takes_the_pods_and_holds_root_up() {
    on_the_whole_cluster(async |ns| {
        ns.label_namespace("pod-security.kubernetes.io/enforce", "restricted").await;
        ns.apply(config("defaults: {podSecurityContext: {runAsNonRoot: true}}")).await;
        ns.apply(secret("s", &[("k", "hidden\n")])).await;
        let contexts = [
            file("first", "inline: first", ""),
            file("second", "secretKeyRef: {name: s, key: k}", ""),
            file("secret", "secretKeyRef: {name: s, key: k}", "/etc/given/secret"),
        ];
        for (user, image) in [("other", "-1000"), ("root", "-root")] {
            ns.apply(workspace_config(user).set("/spec/agentImage", image_of(image))).await;
            let mut task = task(user, &contexts.join(", "));
            task["spec"]["workspaceConfigRef"] = user.into();
            ns.apply(task).await;
        }
        let found = found(ns, &in_phase(ns, "other", Phase::Completed).await).await;
        assert!(found[""].starts_with("user 1000:1000 "), "{found:?}");
        assert_eq!(found["/workspace/task.md"], "first\n\n---\n\nhidden\n");
        assert_eq!(found["/etc/given/secret"], "hidden\n");
        let is_held_up = |task: &Task| {
            let conditions = task.status.iter().flat_map(|status| &status.conditions);
            conditions
                .into_iter()
                .any(|condition| condition.type_ == "Started" && condition.reason == "ContainerConfigError")
        };
        until(ns, "root", is_held_up).await;
    })
    .await;
}

#[tokio::test]
async fn without_an_image_the_real_opencode_is_asked_with_the_joined_text() {
    on_the_whole_cluster(async |ns| {
        // no model is configured, so its own error is what it says; that it was asked, the file shows
        ns.apply(task("look", &file("piece", "inline: Say hello.", ""))).await;
        let started = |task: &Task| task.status.as_ref().is_some_and(|status| status.agent_started.is_some());
        let task: Task = until(ns, "look", started).await;
        let pod = ns.api::<Pod>().get(task.status.unwrap().pod_name.as_deref().unwrap()).await.unwrap();
        let agent = pod.spec.unwrap().containers.remove(0);
        let argv = [agent.command.unwrap_or_default(), agent.args.unwrap_or_default()].concat().join(" ");
        assert!(argv.contains("opencode"), "{argv}");
        let patch = json!({"metadata": {"annotations": {"kubetask.io/stop": "true"}}});
        let patch = kube::api::Patch::Merge(patch);
        ns.api::<Task>().patch("look", &Default::default(), &patch).await.unwrap();
        let over = |task: &Task| task.status.as_ref().is_some_and(|status| status.completion_time.is_some());
        until::<Task>(ns, "look", over).await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_set_is_its_own_index_and_the_exit_code_counts() {
    on_the_whole_cluster(async |ns| {
        ns.apply(workspace()).await;
        let sets: Vec<_> = ["0", "3", "0"]
            .iter()
            .map(|code| format!("[{}]", file("code", &format!("inline: '{code}'"), "/workspace/exit-code")))
            .collect();
        let batch = format!(
            "{{apiVersion: kubetask.io/v1alpha1, kind: Batch, metadata: {{name: sets}}, spec: {{parallelism: 2, \
             commonContext: [{}], variableContexts: [{}]}}}}",
            file("task", "inline: Work.", ""),
            sets.join(", ")
        );
        ns.apply(&batch).await;
        let over = |batch: &Batch| {
            batch.status.as_ref().is_some_and(|status| status.phase == Some(BatchPhase::Failed))
        };
        let batch = until(ns, "sets", over).await;
        let progress = batch.status.unwrap().progress.unwrap();
        assert_eq!((progress.total, progress.completed, progress.failed), (3, 2, 1));
        let failed = in_phase(ns, "sets-task-1", Phase::Failed).await;
        assert!(failed.message.unwrap().contains("exited with code 3"));
        in_phase(ns, "sets-task-2", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_long_task_that_is_over_is_cleaned_up() {
    on_the_whole_cluster(async |ns| {
        ns.apply(workspace()).await;
        ns.apply(config("cleanup: {ttlSecondsAfterFinished: 0}")).await;
        // more than the operator's cache keeps of a Task
        let text = "words ".repeat(1_000);
        ns.apply(task("long", &file("piece", &format!("inline: '{text}'"), ""))).await;
        let completed = |task: Option<&Task>| {
            task.is_none_or(|task| {
                task.status.as_ref().is_some_and(|status| status.phase == Some(Phase::Completed))
            })
        };
        let gone = |task: Option<&Task>| task.is_none();
        for is_so in [&completed as &(dyn Fn(Option<&Task>) -> bool + Sync), &gone] {
            let found = await_condition(ns.api::<Task>(), "long", |task: Option<&Task>| is_so(task));
            tokio::time::timeout(PATIENCE, found).await.expect("it completes and goes").unwrap();
        }
    })
    .await;
}
