//! The chart's ValidatingAdmissionPolicy: only the operator writes what tells whose Pod it is, and everybody else works with
//! Pods as before.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::cluster::FIELD_MANAGER;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{documents, task};
use kubeopencode_tests::operator::Setup;
use kubeopencode_tests::rbac::Granted;
use kubeopencode_tests::record::Kind;
use serde_json::{Value, json};

use crate::scenario;

/// What the chart renders with its defaults.
const CHART: &str = include_str!("../../../deploy/install/operator.yaml");

/// How long the API server may take until it enforces a new policy.
const IN_FORCE: Duration = Duration::from_secs(60);

async fn apply_to_the_cluster(ns: &TestNamespace, object: Value) {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let kind = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let api = Api::<DynamicObject>::all_with(ns.client.clone(), &ApiResource::from_gvk(&kind));
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.unwrap();
}

/// The chart's policy, for this namespace alone: others run their operators under other names.
async fn enforce(ns: &TestNamespace) {
    let of_kind =
        |kind: &str| documents(CHART).into_iter().find(|object| object["kind"] == kind).expect(kind);
    let (mut policy, mut binding) =
        (of_kind("ValidatingAdmissionPolicy"), of_kind("ValidatingAdmissionPolicyBinding"));
    let name = format!("{}-{}", policy["metadata"]["name"].as_str().unwrap(), ns.name);
    policy["metadata"]["name"] = json!(name);
    binding["metadata"]["name"] = json!(name);
    binding["spec"]["policyName"] = json!(name);
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": ns.name}});
    binding["spec"]["matchResources"] = json!({"namespaceSelector": here});
    apply_to_the_cluster(ns, policy).await;
    apply_to_the_cluster(ns, binding).await;
    let tried = PostParams { dry_run: true, ..PostParams::default() };
    let in_force = async {
        // no object says so
        while !is_of_the_policy(&ns.pods().create(&tried, &labelled()).await) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(IN_FORCE, in_force).await.expect("the policy is in force");
}

/// Gives a ServiceAccount the operator's rights, in all namespaces.
async fn grant(ns: &TestNamespace, namespace: &str, name: &str) {
    let api = "rbac.authorization.k8s.io/v1";
    let metadata = json!({"name": format!("operator-{}", ns.name)});
    let rules = Granted::by_the_chart().without(&[], "tasks");
    apply_to_the_cluster(
        ns,
        json!({"apiVersion": api, "kind": "ClusterRole", "metadata": metadata, "rules": rules}),
    )
    .await;
    let binding = json!({
        "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
    });
    apply_to_the_cluster(ns, binding).await;
}

/// A user who may create Pods here, and nothing else.
async fn author_of_pods(ns: &TestNamespace, user: &str) -> Client {
    let (api, metadata) = ("rbac.authorization.k8s.io/v1", json!({"name": "author-of-pods"}));
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}]);
    ns.apply(json!({"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": rules})).await;
    ns.apply(json!({
        "apiVersion": api, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "author-of-pods"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }))
    .await;
    let setup = Setup { user: Some(user.to_owned()), ..Setup::default() };
    ns.cluster.operator_client(std::slice::from_ref(&ns.name), &setup)
}

fn pod(name: &str, more: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": name},
        "spec": {"serviceAccountName": "kubeopencode-agent", "containers": [{"name": "c", "image": "image"}]},
    });
    for (part, fields) in more.as_object().unwrap() {
        pod[part].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    }
    serde_json::from_value(pod).unwrap()
}

fn labelled() -> Pod {
    pod(
        "forged",
        json!({"metadata": {"labels": {"app": "kubeopencode", "kubeopencode.io/task-uid": "another"}}}),
    )
}

/// Whether the policy refused, and not for want of a right.
fn is_of_the_policy<T>(answer: &Result<T, kube::Error>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("ValidatingAdmissionPolicy"))
}

/// The policy's words.
#[track_caller]
fn is_refused<T>(answer: Result<T, kube::Error>, words: &str) {
    assert!(is_of_the_policy(&answer), "not refused by the policy: {:?}", answer.err());
    let said = answer.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains(words), "{said}");
}

const LABELS: &str = "metadata.labels: only the operator of KubeOpenCode sets, changes or removes";
const GATE: &str = "spec.schedulingGates: only the operator of KubeOpenCode sets or removes";
const FINALIZER: &str = "metadata.finalizers: kubeopencode.io/task-cleanup is for Tasks";

#[tokio::test]
async fn nobody_but_the_operator_makes_a_pod_look_like_a_tasks() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        enforce(ns).await;
        let create = async |pod: Pod| ns.pods().create(&PostParams::default(), &pod).await;
        is_refused(create(labelled()).await, LABELS);
        let gate = json!({"spec": {"schedulingGates": [{"name": "kubeopencode.io/launch"}]}});
        is_refused(create(pod("forged", gate)).await, GATE);
        let finalizer = json!({"metadata": {"finalizers": ["kubeopencode.io/task-cleanup"]}});
        is_refused(create(pod("forged", finalizer)).await, FINALIZER);
        let of_kubetask =
            json!({"metadata": {"labels": {"app": "kubetask", "kubetask.io/task-uid": "another"}}});
        is_refused(create(pod("forged", of_kubetask)).await, LABELS);
        let finalizer = json!({"metadata": {"finalizers": ["kubetask.io/task-cleanup"]}});
        let words = "metadata.finalizers: kubetask.io/task-cleanup is for Tasks";
        is_refused(create(pod("forged", finalizer)).await, words);
        create(pod("plain", json!({"metadata": {"labels": {"app": "kubeopencode"}}}))).await.unwrap();
        let label = Patch::Merge(json!({"metadata": {"labels": {"kubeopencode.io/task-uid": "another"}}}));
        is_refused(ns.pods().patch("plain", &PatchParams::default(), &label).await, LABELS);
        is_refused(ns.pods().patch_status("plain", &PatchParams::default(), &label).await, LABELS);
        let other = Patch::Merge(json!({"metadata": {"labels": {"app": "mine", "team": "a"}}}));
        ns.pods().patch("plain", &PatchParams::default(), &other).await.unwrap();
        ns.pods().delete("plain", &DeleteParams::default()).await.unwrap();
        // the operator's name, in a namespace of one's own
        let namesake = author_of_pods(ns, "system:serviceaccount:another:kubeopencode").await;
        let pods = Api::<Pod>::namespaced(namesake, &ns.name);
        is_refused(pods.create(&PostParams::default(), &labelled()).await, LABELS);
    })
    .await;
}

#[tokio::test]
async fn a_task_runs_and_ends_under_the_policy_and_nobody_takes_its_pod_away_from_it() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        enforce(ns).await;
        grant(ns, "kubeopencode-system", "kubeopencode").await;
        let held = Faults::always(("PATCH", "/pods/held-pod"), Fault::Unavailable);
        let user = Some("system:serviceaccount:kubeopencode-system:kubeopencode".to_owned());
        let operator = ns.start_operator(Setup { faults: held, user, ..Setup::default() });
        // kubelet and scheduler of the harness are not the operator
        ns.apply(task("done")).await;
        ns.phase("done", Phase::Completed).await;
        ns.apply(task("fix").does("run-on")).await;
        ns.agent_runs("fix-pod").await;
        let patch = async |name: &str, patch: Value| {
            ns.pods().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
        };
        for labels in [
            json!({"kubeopencode.io/task-uid": null}),
            json!({"kubeopencode.io/task": "another"}),
            json!({"kubeopencode.io/task-namespace": "another"}),
            json!({"app": "renamed"}),
        ] {
            is_refused(patch("fix-pod", json!({"metadata": {"labels": labels}})).await, LABELS);
        }
        patch(
            "fix-pod",
            json!({"metadata": {"labels": {"cost-centre": "a"}, "annotations": {"seen": "yes"}}}),
        )
        .await
        .unwrap();
        ns.apply(task("held")).await;
        ns.phase("held", Phase::Running).await;
        is_refused(patch("held-pod", json!({"spec": {"schedulingGates": null}})).await, GATE);
        for name in ["fix", "held"] {
            ns.delete_task(name).await;
            ns.gone(Kind::Task, name).await;
            ns.gone(Kind::Pod, &format!("{name}-pod")).await;
        }
        operator.stop().await;
    })
    .await;
}
