//! What others have a say in every Pod of a Task: a container that they add, as a mesh, a Vault agent or a log shipper does, and
//! a webhook that is asked about it and does not answer.
//!
//! A MutatingAdmissionPolicy adds the container in place of a webhook that does answer, which would need a server and a
//! certificate.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kubeopencode_api::literals::DEFAULT_EXECUTOR_IMAGE;
use serde_json::{Value, json};

/// Between two looks at whether the API server injects yet, and how long it may take.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

/// What kind of container is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// One beside the agent: the Pod is not over before it is.
    Container,
    /// A native sidecar: an init container with `restartPolicy: Always`, which ends after the agent.
    Sidecar,
}

/// Name of the container.
pub const INJECTED: &str = "mesh-proxy";

/// Name of the webhook.
pub const NOBODY: &str = "nobody.example.com";

/// Adds to every Pod that is made in this namespace from now on a container that runs this shell script. Returns once
/// the API server does so.
///
/// # Panics
/// When the API server knows no MutatingAdmissionPolicy, or does not take it.
pub async fn inject(client: &Client, namespace: &str, what: Injected, script: &str) {
    let (list, path, restart) = match what {
        Injected::Container => ("containers", "/spec/containers/-", ""),
        Injected::Sidecar => ("initContainers", "/spec/initContainers/0", ", restartPolicy: \"Always\""),
    };
    let container = format!(
        "Object.spec.{list}{{name: {INJECTED:?}, image: {DEFAULT_EXECUTOR_IMAGE:?}, imagePullPolicy: \"IfNotPresent\", \
         command: [\"sh\", \"-c\", {script:?}]{restart}}}"
    );
    let name = format!("{namespace}-inject");
    let pods =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    let policy = json!({"metadata": {"name": name}, "spec": {
        "failurePolicy": "Fail", "reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": pods},
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {
            "expression": format!("[JSONPatch{{op: \"add\", path: {path:?}, value: {container}}}]")}}],
    }});
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "matchResources": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}});
    for (kind, object) in [("MutatingAdmissionPolicy", policy), ("MutatingAdmissionPolicyBinding", binding)] {
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        api(client, kind).create(&PostParams::default(), &object).await.expect("it is taken");
    }
    // the API server reads its policies from a watch of its own
    let probe: Pod = serde_json::from_value(json!({"metadata": {"name": "injection-probe"}, "spec": {
        "initContainers": [{"name": "init", "image": "i"}], "containers": [{"name": "agent", "image": "i"}]}}))
    .expect("a Pod");
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let is_injected = |pod: &Value| pod["spec"][list].as_array().is_some_and(|all| all.len() == 2);
    let injects = async {
        // a young namespace has no ServiceAccount yet, and takes no Pod at all
        while !pods.create(&dry_run, &probe).await.is_ok_and(|pod| is_injected(&json!(pod))) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, injects).await.expect("the API server injects");
}

/// Takes back what [`inject`] made.
///
/// # Panics
/// When the API server does not answer.
pub async fn stop_injecting(client: &Client, namespace: &str) {
    for kind in ["MutatingAdmissionPolicyBinding", "MutatingAdmissionPolicy"] {
        let api = api(client, kind);
        api.delete(&format!("{namespace}-inject"), &DeleteParams::default()).await.expect("it was there");
    }
}

/// Has the API server ask about every Pod that is made in this namespace from now on a webhook where nobody answers.
/// Returns once the API server does so.
///
/// # Panics
/// When the API server does not take the webhook.
pub async fn ask_nobody(client: &Client, namespace: &str) {
    let webhook = json!({
        "name": NOBODY, "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1, "clientConfig": {"url": "https://127.0.0.1:1/"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    });
    let webhooks = json!({"metadata": {"name": format!("{namespace}-{NOBODY}")}, "webhooks": [webhook]});
    let webhooks: ValidatingWebhookConfiguration = serde_json::from_value(webhooks).expect("webhooks");
    webhooks_of(client).create(&PostParams::default(), &webhooks).await.expect("it is taken");
    // the API server reads its webhooks from a watch of its own
    let probe = json!({"metadata": {"name": "webhook-probe"}, "spec": {"containers": [{"name": "agent", "image": "i"}]}});
    let probe: Pod = serde_json::from_value(probe).expect("a Pod");
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let is_asked = |error: kube::Error| matches!(error, kube::Error::Api(status) if status.code == 500);
    let asks = async {
        while !pods.create(&dry_run, &probe).await.is_err_and(is_asked) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, asks).await.expect("the API server asks");
}

/// Takes back what [`ask_nobody`] made.
///
/// # Panics
/// When the API server does not answer.
pub async fn stop_asking(client: &Client, namespace: &str) {
    let name = format!("{namespace}-{NOBODY}");
    webhooks_of(client).delete(&name, &DeleteParams::default()).await.expect("it was there");
}

fn webhooks_of(client: &Client) -> Api<ValidatingWebhookConfiguration> {
    Api::all(client.clone())
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1beta1", kind);
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}
