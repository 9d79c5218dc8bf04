//! One object of any shape harms nobody else: it is refused by its name, and all others are served.

use std::sync::Arc;

use http::Request;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use kubeopencode_api::group::Group;
use kubeopencode_api::literals::{
    AGENT_CONTAINER, AGENT_NAME_ANNOTATION, APP, APP_LABEL, FINALIZER, LAUNCH_GATE, TASK_LABEL,
    TASK_NAME_ANNOTATION, TASK_UID_LABEL,
};
use kubeopencode_api::task::Phase;
use kubeopencode_operator::{Release, release_finalizers};
use kubeopencode_tests::faults::Faults;
use kubeopencode_tests::kubelet::AGENT_DOES;
use kubeopencode_tests::namespace::{TEAM, TestNamespace, operator_of};
use kubeopencode_tests::objects::{agent, config, kubetask, status, task, words};
use kubeopencode_tests::record::{Kind, Revision};
use serde_json::{Value, json};

use crate::kubetask::prepare;
use crate::{between_namespaces, scenario};

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
    create_of("kubeopencode.io", ns, (resource, kind), metadata, spec).await
}

/// The same of this API group.
async fn create_of(
    group: &str,
    ns: &TestNamespace,
    (resource, kind): (&str, &str),
    metadata: &str,
    spec: &str,
) -> Result<String, kube::Error> {
    let deep = format!("{}1{}", "{\"a\":".repeat(LEVELS), "}".repeat(LEVELS));
    let spec = spec.replace("DEEP", &deep);
    let body = format!(
        r#"{{"apiVersion": "{group}/v1alpha1", "kind": "{kind}", "metadata": {{{metadata}}}, "spec": {spec}}}"#
    );
    let path = format!("/apis/{group}/v1alpha1/namespaces/{}/{resource}", ns.name);
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

#[tokio::test]
async fn a_task_and_a_batch_of_kubetask_of_any_depth_hold_nobody_up() {
    scenario(async |ns| {
        prepare(ns).await;
        let item = r#"{"type": "Jira", "config": DEEP}"#;
        let task = format!(r#"{{"contexts": [{item}]}}"#);
        create_of("kubetask.io", ns, ("tasks", "Task"), r#""name": "deep""#, &task).await.unwrap();
        let batch = format!(r#"{{"variableContexts": [[{item}]]}}"#);
        create_of("kubetask.io", ns, ("batches", "Batch"), r#""name": "deep""#, &batch).await.unwrap();
        let _operator = ns.operator();
        let bad = ns.kubetask_phase("deep", Phase::Failed).await;
        assert_eq!(status(&bad).reason.as_deref(), Some("InvalidConfig"));
        let message = status(&bad).message.as_deref().unwrap();
        assert!(message.starts_with("spec.contexts[0].config.a"), "{message}");
        ns.until("the Batch says what is wrong", |history| {
            let conditions = history.get(Kind::Batch, "deep")?.list("/status/conditions");
            let words = conditions.iter().find(|c| c["reason"] == "InvalidConfig")?["message"].as_str()?;
            words.ends_with("is nested more than 128 levels deep").then_some(())
        })
        .await;
        ns.apply(kubetask("good")).await;
        ns.kubetask_phase("good", Phase::Completed).await;
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

/// A merge patch of a Task, or of its status, without a look at the answer, which shows the object.
async fn merge(ns: &TestNamespace, what: &str, patch: &Value) {
    let path = format!("/apis/kubeopencode.io/v1alpha1/namespaces/{}/tasks/{what}", ns.name);
    let request = Request::patch(path).header("content-type", "application/merge-patch+json");
    let request = request.body(patch.to_string().into_bytes()).unwrap();
    ns.client.request_text(request).await.unwrap();
}

/// A deep Task whose agent runs. This version refuses it before it has a Pod, and afterwards no spec changes: only a
/// version that reads more, and was rolled back, launches one.
async fn launched_by_a_newer_version(ns: &TestNamespace, name: &str, agent: &str) {
    let metadata = format!(
        r#""name": "{name}", "finalizers": ["{FINALIZER}"], "annotations": {{"{AGENT_DOES}": "run-on"}}"#
    );
    create(ns, "tasks", "Task", &metadata, DEEP_CONTEXT).await.unwrap();
    let uid = ns.tasks().get_metadata(name).await.unwrap().metadata.uid;
    let pod = format!("{name}-pod");
    let owner = json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task", "name": name, "uid": uid});
    ns.apply(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod, "ownerReferences": [owner],
            "labels": {APP_LABEL: APP, TASK_LABEL: name, TASK_UID_LABEL: uid},
            "annotations": {TASK_NAME_ANNOTATION: name, AGENT_NAME_ANNOTATION: agent},
        },
        "spec": {
            "serviceAccountName": "kubeopencode-agent", "restartPolicy": "Never",
            "schedulingGates": [{"name": LAUNCH_GATE}],
            "containers": [{"name": AGENT_CONTAINER, "image": "image"}],
        },
    }))
    .await;
    let pod_uid = ns.pods().get(&pod).await.unwrap().metadata.uid;
    let now = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let is_true = |condition: &str| {
        json!({
            "type": condition, "status": "True", "reason": "PodLaunched", "message": "by a newer version",
            "lastTransitionTime": now,
        })
    };
    let status = json!({
        "phase": "Running", "reason": "PodLaunched", "startTime": now, "agentStarted": now,
        "agentRef": {"name": agent, "namespace": ns.name},
        "podName": pod, "podNamespace": ns.name, "podUID": pod_uid,
        "conditions": [is_true("Ready"), is_true("Started")],
    });
    merge(ns, &format!("{name}/status"), &json!({"status": status})).await;
    let open = json!({"spec": {"schedulingGates": null}});
    ns.pods().patch(&pod, &PatchParams::default(), &Patch::Merge(&open)).await.unwrap();
    ns.agent_runs(&pod).await;
}

#[tokio::test]
async fn a_deep_task_that_a_newer_version_launched_holds_its_slot_until_it_is_over_or_gone() {
    for is_deleted in [false, true] {
        scenario(async |ns| {
            ns.apply(TEAM).await;
            launched_by_a_newer_version(ns, "deep", "limited").await;
            // an Agent that was made again: only the Task's status says who has the slot
            ns.apply(agent("limited").at_once(1)).await;
            let _operator = ns.operator();
            ns.apply(task("next").agent("limited")).await;
            let queued = ns.phase("next", Phase::Queued).await;
            assert_eq!(words(&queued, "Queued").1, "AgentAtCapacity");
            ns.phase("deep", Phase::Running).await;
            if is_deleted {
                delete(ns, "deep").await;
                ns.gone(Kind::Task, "deep").await;
            } else {
                merge(ns, "deep", &json!({"metadata": {"annotations": {AGENT_DOES: "succeed"}}})).await;
                // the kubelet looks when the Pod changes
                let look = json!({"metadata": {"annotations": {"example.com/look": "again"}}});
                ns.pods().patch("deep-pod", &PatchParams::default(), &Patch::Merge(&look)).await.unwrap();
                ns.phase("deep", Phase::Completed).await;
            }
            ns.phase("next", Phase::Completed).await;
        })
        .await;
    }
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

/// Tasks that the API server takes, and that leave room for a short status, for nothing, and for all but the launch.
const BIG: [(&str, usize); 3] = [("full", 1_570_800), ("brim", 1_572_400), ("nearly", 1_500_000)];

async fn create_big_tasks(ns: &TestNamespace) {
    for (name, bytes) in BIG {
        // the schema limits text, and cannot look into what is a plugin's own
        let spec = format!(r#"{{"contexts": [{{"type": "Jira", "config": "{}"}}]}}"#, "x".repeat(bytes));
        create(ns, "tasks", "Task", &format!(r#""name": "{name}""#), &spec).await.unwrap();
    }
}

async fn big_tasks_are_refused_and_kept_by_nothing(ns: &TestNamespace) {
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
    for (name, _) in BIG {
        assert!(ns.tasks().get(name).await.unwrap().finalizers().is_empty(), "nothing keeps {name}");
    }
}

#[tokio::test]
async fn a_task_that_leaves_no_room_for_its_status_is_refused_and_can_be_deleted() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        create_big_tasks(ns).await;
        big_tasks_are_refused_and_kept_by_nothing(ns).await;
        runs(ns, "good").await;
        for (name, _) in BIG {
            ns.tasks().delete(name, &DeleteParams::default()).await.unwrap();
        }
        ns.until("all of them are gone", |history| {
            BIG.iter().all(|(name, _)| history.get(Kind::Task, name).is_none()).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn tasks_that_leave_no_room_hold_up_no_other_namespace_and_go_with_their_own() {
    between_namespaces(async |neighbour, ns| {
        neighbour.apply(TEAM).await;
        ns.apply(TEAM).await;
        let _operator = operator_of(&[neighbour, ns], &Faults::none());
        create_big_tasks(ns).await;
        runs(neighbour, "beside").await;
        big_tasks_are_refused_and_kept_by_nothing(ns).await;
        ns.delete_namespace().await;
        runs(neighbour, "afterwards").await;
    })
    .await;
}
