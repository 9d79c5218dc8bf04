//! What the tests on the whole cluster share: Agents, Tasks, and what can be asked of both.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use kube::runtime::wait::Error as WaitError;
use kube::{Client, ResourceExt};
use kubeopencode_api::task::{Task, TaskStatus};
use kubeopencode_tests::cluster::from_environment;
use kubeopencode_tests::record::Kind;
use kubeopencode_tests::stage::{Stage, scenario};
use serde_json::Value;

/// The Agent of the example: the real OpenCode, with the stand-in for the model.
pub(crate) const AGENT: &str = include_str!("../../../examples/quickstart/agent.yaml");
/// The namespace of the stand-in for the model, as the example has it.
const MODEL_OF_EXAMPLE: &str = "model-stub.kubeopencode-quickstart.svc";

/// Plays a scenario in a namespace of its own, with the operator that the chart installed.
pub(crate) async fn on_the_whole_cluster(play: impl AsyncFnOnce(&Stage)) {
    scenario(None, play).await;
}

/// Where the stand-in for the model runs.
pub(crate) fn model_namespace() -> String {
    from_environment("KUBEOPENCODE_E2E_MODEL_NAMESPACE").into_string().unwrap()
}

/// The example's Agent with another model of the stand-in: `slow-N` answers after N seconds, `fail-N` with that status.
pub(crate) fn agent(model: &str) -> String {
    assert!(AGENT.contains(MODEL_OF_EXAMPLE) && AGENT.contains("model: stub/m") && AGENT.contains("m: {}"));
    AGENT
        .replace(MODEL_OF_EXAMPLE, &format!("model-stub.{}.svc", model_namespace()))
        .replace("model: stub/m", &format!("model: stub/{model}"))
        .replace("m: {}", &format!("{model}: {{}}"))
}

/// The same with more in its `spec`, as YAML lines without indentation.
pub(crate) fn agent_with(model: &str, more: &str) -> String {
    let lines: String = more.lines().map(|line| format!("  {line}\n")).collect();
    agent(model).replace("spec:\n  serviceAccountName", &format!("spec:\n{lines}  serviceAccountName"))
}

/// An Agent whose command is a shell script in place of OpenCode, with more in its `spec`.
pub(crate) fn shell_agent(script: &str, more: &str) -> String {
    let command = serde_json::to_string(&["sh", "-c", script]).unwrap();
    let lines: String = more.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: kubeopencode-agent}}\nautomountServiceAccountToken: false\n---\n\
         apiVersion: kubeopencode.io/v1alpha1\nkind: Agent\nmetadata: {{name: default}}\nspec:\n  serviceAccountName: kubeopencode-agent\n  command: {command}\n{lines}"
    )
}

/// A Task that only has a description.
pub(crate) fn task(name: &str) -> String {
    task_with(name, "{}")
}

/// A Task with more in its `spec`, as YAML in one line.
pub(crate) fn task_with(name: &str, more: &str) -> String {
    let more = more.trim().trim_start_matches('{').trim_end_matches('}');
    format!(
        "{{apiVersion: kubeopencode.io/v1alpha1, kind: Task, metadata: {{name: {name}}}, spec: {{description: Task {name} says hello., {more}}}}}"
    )
}

/// The status of a Task that has one.
pub(crate) fn status(task: &Task) -> &TaskStatus {
    task.status.as_ref().expect("a status")
}

/// Status, reason and message of a condition.
pub(crate) fn words<'a>(task: &'a Task, type_: &str) -> (&'a str, &'a str, &'a str) {
    let found = status(task).conditions.iter().find(|condition| condition.type_ == type_);
    let condition = found.unwrap_or_else(|| panic!("no condition {type_}: {:#?}", task.status));
    (&condition.status, &condition.reason, &condition.message)
}

/// What the agent of a Task wrote.
pub(crate) async fn log(stage: &Stage, task: &Task) -> String {
    let status = status(task);
    let pods = Api::<Pod>::namespaced(stage.client.clone(), status.pod_namespace.as_deref().unwrap());
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

/// The agent's container runs.
pub(crate) async fn agent_runs(stage: &Stage, pod: &str) {
    let running = |pod: &Value| pod["status"]["containerStatuses"][0]["state"].get("running").is_some();
    stage
        .until(&format!("the agent in Pod {pod} runs"), |history| {
            running(&history.get(Kind::Pod, pod)?.object).then_some(())
        })
        .await;
}

/// Names of objects.
pub(crate) fn names<K: ResourceExt>(objects: &[K]) -> Vec<String> {
    objects.iter().map(ResourceExt::name_any).collect()
}
