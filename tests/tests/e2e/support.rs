//! What the tests on the whole cluster share: Agents, Tasks, and what can be asked of both.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use kube::runtime::wait::Error as WaitError;
use kube::{Client, ResourceExt};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::task::Task;
use kubeopencode_tests::cluster::from_environment;
use kubeopencode_tests::namespace::{TestNamespace, scenario};
use kubeopencode_tests::objects::{self, Builder, documents, service_account, status};
use serde_json::{Value, json};

/// The example: the real OpenCode, with the stand-in for the model.
const EXAMPLE: &str = include_str!("../../../examples/quickstart/agent.yaml");

/// Runs a scenario in a namespace of its own, with the operator that the chart installed.
pub(crate) async fn on_the_whole_cluster(run: impl AsyncFnOnce(&TestNamespace)) {
    scenario(None, run).await;
}

/// Where the stand-in for the model runs.
pub(crate) fn model_namespace() -> String {
    from_environment("KUBEOPENCODE_E2E_MODEL_NAMESPACE").into_string().unwrap()
}

/// Where the stand-in for the model answers.
pub(crate) fn model_url() -> String {
    format!("http://model-stub.{}.svc.cluster.local/v1", model_namespace())
}

/// The example's objects with another model of the stand-in: `slow-N` answers after N seconds, `fail-N` with that status.
pub(crate) fn agent(model: &str) -> Vec<Value> {
    agent_with(model, "{}")
}

/// The same with more in the Agent's `spec`, as YAML.
pub(crate) fn agent_with(model: &str, fields: &str) -> Vec<Value> {
    with_its_objects(agent_of_example(model).spec(fields))
}

/// The example's Agent alone, to be changed.
pub(crate) fn agent_of_example(model: &str) -> Builder<Agent> {
    Builder::among(EXAMPLE, "Agent", "default")
        .change("/spec/config/model", format!("stub/{model}"))
        .change("/spec/config/provider/stub/options/baseURL", model_url())
        .change("/spec/config/provider/stub/models", json!({model: {}}))
}

/// The example's other objects with this Agent.
pub(crate) fn with_its_objects(agent: Builder<Agent>) -> Vec<Value> {
    let others = documents(EXAMPLE).into_iter().filter(|object| object["kind"] != "Agent");
    others.chain([agent.json()]).collect()
}

/// An Agent whose command is a shell script in place of OpenCode, with more in its `spec`, as YAML.
pub(crate) fn shell_agent(script: &str, fields: &str) -> Vec<Value> {
    let mut account = service_account("kubeopencode-agent");
    account["automountServiceAccountToken"] = false.into();
    let agent = objects::agent("default").set("/spec/command", json!(["sh", "-c", script])).spec(fields);
    vec![account, agent.json()]
}

/// A Task that says hello.
pub(crate) fn task(name: &str) -> Builder<Task> {
    objects::task(name).description(&format!("Task {name} says hello."))
}

/// What the agent of a Task wrote.
pub(crate) async fn log(ns: &TestNamespace, task: &Task) -> String {
    let status = status(task);
    let pods = Api::<Pod>::namespaced(ns.client.clone(), status.pod_namespace.as_deref().unwrap());
    let agent = LogParams { container: Some("agent".to_owned()), ..LogParams::default() };
    pods.logs(status.pod_name.as_deref().unwrap(), &agent).await.unwrap()
}

/// What the stand-in for the model received so far, as text.
pub(crate) async fn received(client: &Client) -> String {
    requests(client).await.join("\n")
}

/// The newest request to the stand-in that holds these words.
pub(crate) async fn received_with(client: &Client, words: &str) -> String {
    let request = requests(client).await.into_iter().rfind(|request| request.contains(words));
    request.unwrap_or_else(|| panic!("the model never saw: {words}"))
}

/// Each request to the stand-in as text, the oldest first.
async fn requests(client: &Client) -> Vec<String> {
    let path = format!("/api/v1/namespaces/{}/services/model-stub:http/proxy/requests", model_namespace());
    let requests: Value = client.request(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap();
    let text = |message: &Value| match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    };
    let texts =
        |request: &Value| request["messages"].as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    requests.as_array().unwrap().iter().map(|request| texts(request).join("\n")).collect()
}

/// Waits for what no record shows, and says in the end what was waited for.
pub(crate) async fn in_time<T>(
    patience: Duration,
    what: &str,
    wait: impl Future<Output = Result<T, WaitError>>,
) -> T {
    let waited = tokio::time::timeout(patience, wait).await;
    waited.unwrap_or_else(|_| panic!("waited {patience:?} in vain: {what}")).unwrap()
}

/// Names of objects.
pub(crate) fn names<K: ResourceExt>(objects: &[K]) -> Vec<String> {
    objects.iter().map(ResourceExt::name_any).collect()
}
