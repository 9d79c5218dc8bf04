//! One object of any shape harms nobody else: it is refused by its name, and all others are served.

use std::sync::Arc;

use http::Request;
use kube::ResourceExt;
use kube::api::DeleteParams;
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::FINALIZER;
use kubeopencode_api::task::Phase;
use kubeopencode_operator::{Release, release_finalizers};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{config, status, task};
use kubeopencode_tests::record::{Kind, Revision};

use crate::scenario;

/// Levels that serde_json does not read, and the API server does.
const LEVELS: usize = 140;

/// An object whose text is given: no library here writes one as deep.
async fn create(
    ns: &TestNamespace,
    resource: &str,
    kind: &str,
    metadata: &str,
    spec: &str,
) -> Result<String, kube::Error> {
    let deep = format!("{}1{}", "{\"a\":".repeat(LEVELS), "}".repeat(LEVELS));
    let spec = spec.replace("DEEP", &deep);
    let body = format!(
        r#"{{"apiVersion": "kubeopencode.io/v1alpha1", "kind": "{kind}", "metadata": {{{metadata}}}, "spec": {spec}}}"#
    );
    let path = format!("/apis/kubeopencode.io/v1alpha1/namespaces/{}/{resource}", ns.name);
    let request =
        Request::post(path).header("content-type", "application/json").body(body.into_bytes()).unwrap();
    ns.client.request_text(request).await
}

async fn deep_task(ns: &TestNamespace, name: &str, spec: &str) {
    create(ns, "tasks", "Task", &format!(r#""name": "{name}""#), spec).await.unwrap();
}

const DEEP_CONTEXT: &str = r#"{"description": "x", "contexts": [{"type": "Jira", "config": DEEP}]}"#;
const DEEP_REFERENCE: &str = r#"{"description": "x", "agentRef": {"name": "default", "zz": DEEP}}"#;

async fn is_refused(ns: &TestNamespace, name: &str, place: &str) {
    let bad = ns.phase(name, Phase::Failed).await;
    assert_eq!(status(&bad).reason.as_deref(), Some("InvalidConfig"), "{name}");
    let message = status(&bad).message.as_deref().unwrap();
    assert!(message.starts_with(place), "{message}");
    assert!(message.ends_with("is nested more than 128 levels deep"), "{message}");
}

async fn runs(ns: &TestNamespace, name: &str) {
    ns.apply(task(name)).await;
    ns.phase(name, Phase::Completed).await;
}

#[tokio::test]
async fn a_task_of_any_depth_is_refused_and_holds_nobody_up() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        deep_task(ns, "before", DEEP_CONTEXT).await;
        deep_task(ns, "before-by-reference", DEEP_REFERENCE).await;
        let operator = ns.operator();
        is_refused(ns, "before", "spec.contexts[0].config.a").await;
        is_refused(ns, "before-by-reference", "spec.agentRef.zz.a").await;
        runs(ns, "good").await;
        deep_task(ns, "after", DEEP_CONTEXT).await;
        is_refused(ns, "after", "spec.contexts[0].config.a").await;
        operator.stop().await;
        // the next operator begins with all of them
        ns.apply(task("while-away")).await;
        let _operator = ns.operator();
        ns.phase("while-away", Phase::Completed).await;
        runs(ns, "good-again").await;
        for name in ["before", "before-by-reference", "after"] {
            delete(ns, name).await;
        }
        ns.until("all of them are gone", |history| {
            ["before", "before-by-reference", "after"]
                .iter()
                .all(|name| history.get(Kind::Task, name).is_none())
                .then_some(())
        })
        .await;
    })
    .await;
}

/// Without a look at the answer, which shows the object.
async fn delete(ns: &TestNamespace, name: &str) {
    let path = format!("/apis/kubeopencode.io/v1alpha1/namespaces/{}/tasks/{name}", ns.name);
    let params = serde_json::to_vec(&DeleteParams::default()).unwrap();
    let request = Request::delete(path).header("content-type", "application/json").body(params).unwrap();
    ns.client.request_text(request).await.unwrap();
}

#[tokio::test]
async fn a_deep_task_with_our_finalizer_can_be_deleted_and_uninstalled() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        for name in ["deleted", "uninstalled"] {
            let metadata = format!(r#""name": "{name}", "finalizers": ["{FINALIZER}"]"#);
            create(ns, "tasks", "Task", &metadata, DEEP_REFERENCE).await.unwrap();
        }
        let operator = ns.operator();
        is_refused(ns, "deleted", "spec.agentRef.zz.a").await;
        delete(ns, "deleted").await;
        ns.until("it is gone", |history| history.get(Kind::Task, "deleted").is_none().then_some(())).await;
        operator.stop().await;
        let of = Release { groups: &Group::ALL, only_in: std::slice::from_ref(&ns.name) };
        assert_eq!(release_finalizers(&ns.client, &ns.name, of).await.unwrap().tasks, 1);
        let left = ns.tasks().list_metadata(&Default::default()).await;
        assert!(left.is_err(), "managedFields are as deep as the object: {left:?}");
    })
    .await;
}

#[tokio::test]
async fn a_deep_agent_fails_its_own_tasks_alone() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 1")).await;
        let spec = r#"{"serviceAccountName": "kubeopencode-agent", "maxConcurrentTasks": 1, "config": DEEP}"#;
        create(ns, "agents", "Agent", r#""name": "deep""#, spec).await.unwrap();
        let _operator = ns.operator();
        runs(ns, "good").await;
        ns.apply(task("bad").agent("deep")).await;
        let bad = ns.phase("bad", Phase::Failed).await;
        let message = status(&bad).message.as_deref().unwrap();
        assert!(message.starts_with("agent \"deep\" cannot be read: spec.config.a"), "{message}");
        assert!(message.ends_with("is nested more than 128 levels deep"), "{message}");
        runs(ns, "good-again").await;
    })
    .await;
}

#[tokio::test]
async fn a_config_that_cannot_be_read_denies_what_it_might_deny() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let spec = r#"{"taskSecretRefs": "Allow", "defaults": {"config": DEEP}}"#;
        create(ns, "kubeopencodeconfigs", "KubeOpenCodeConfig", r#""name": "default""#, spec).await.unwrap();
        let _operator = ns.operator();
        let secret =
            "{type: File, mountPath: f, file: {name: f, source: {secretKeyRef: {name: model, key: key}}}}";
        let download = "{type: URL, mountPath: u, url: {source: 'https://example.com/u'}}";
        for (name, context, words) in [
            (
                "secret",
                secret,
                "contexts of Tasks may not name Secrets here (taskSecretRefs: Deny in KubeOpenCodeConfig, or a \
                 KubeOpenCodeConfig that cannot be read); let the Agent hold it",
            ),
            (
                "download",
                download,
                "spec.taskNetwork of a KubeOpenCodeConfig decides, and a KubeOpenCodeConfig cannot be read",
            ),
        ] {
            ns.apply(task(name).spec(&format!("contexts: [{context}]"))).await;
            let denied = ns.phase(name, Phase::Failed).await;
            let message = status(&denied).message.as_deref().unwrap();
            assert!(message.contains(words), "{message}");
        }
        runs(ns, "good").await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_would_grow_in_memory_fails_its_own_tasks_alone() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 1")).await;
        let zeros = format!("[0{}]", ",0".repeat(60_000));
        let spec = format!(r#"{{"serviceAccountName": "kubeopencode-agent", "config": {{"a": {zeros}}}}}"#);
        create(ns, "agents", "Agent", r#""name": "wide""#, &spec).await.unwrap();
        let _operator = ns.operator();
        runs(ns, "good").await;
        ns.apply(task("bad").agent("wide")).await;
        let bad = ns.phase("bad", Phase::Failed).await;
        let message = status(&bad).message.as_deref().unwrap();
        assert!(message.starts_with("agent \"wide\" cannot be read: spec has 600"), "{message}");
        let remedy = "leave some out, or move them into a ConfigMap or a Git repository";
        assert!(message.ends_with(&format!(" values, at most 50000 are allowed: {remedy}")), "{message}");
        runs(ns, "good-again").await;
    })
    .await;
}

#[tokio::test]
async fn a_task_that_leaves_no_room_for_its_status_is_refused_and_can_be_deleted() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        // the schema limits text, and cannot look into what is a plugin's own
        let spec =
            |bytes| format!(r#"{{"contexts": [{{"type": "Jira", "config": "{}"}}]}}"#, "x".repeat(bytes));
        // the API server takes them all: beside the first there is room for a short status, beside the second for
        // nothing, and beside the third for all but the launch
        for (name, bytes) in [("full", 1_570_800), ("brim", 1_572_400), ("nearly", 1_500_000)] {
            let metadata = format!(r#""name": "{name}""#);
            create(ns, "tasks", "Task", &metadata, &spec(bytes)).await.unwrap();
        }
        for (name, words) in
            [("full", "the Task has 157"), ("nearly", "and may have 1433600, so that its status fits")]
        {
            let bad = ns.phase(name, Phase::Failed).await;
            let message = status(&bad).message.as_deref().unwrap();
            assert!(message.contains(words), "{message}");
        }
        let told = ns.until("an Event tells it", |history| {
            let about = |event: &&Arc<Revision>| {
                event.text("/regarding/name") == "brim" && event.text("/reason") == "TooLarge"
            };
            history.all(Kind::Event).find(about).map(|event| event.text("/note").to_owned())
        });
        let told = told.await;
        assert!(told.contains("does not fit into etcd"), "{told}");
        runs(ns, "good").await;
        for name in ["full", "brim", "nearly"] {
            assert!(ns.tasks().get(name).await.unwrap().finalizers().is_empty(), "nothing keeps {name}");
            ns.tasks().delete(name, &DeleteParams::default()).await.unwrap();
        }
        ns.until("all of them are gone", |history| {
            let gone = |name: &&str| history.get(Kind::Task, name).is_none();
            ["full", "brim", "nearly"].iter().all(gone).then_some(())
        })
        .await;
    })
    .await;
}
