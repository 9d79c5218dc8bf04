//! Server-mode Agents: one real `opencode serve` in the cluster, and Tasks that attach to it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::runtime::wait::await_condition;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{secret, status, words};
use kubeopencode_tests::record::Kind;
use serde_json::Value;
use std::time::Duration;

use crate::support::{
    agent_of_example, agent_with, in_time, log, model_url, on_the_whole_cluster, received_with, task,
    with_its_objects,
};

/// Of the example's Agent.
const CONTEXT_OF_AGENT: &str = "Every change is read by somebody who did not write it.";
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until the Agent says so.
async fn until_agent(ns: &TestNamespace, what: &str, is_so: impl Fn(&Agent) -> bool) -> Agent {
    ns.until(&format!("the Agent {what}"), |history| {
        let agent = history.get(Kind::Agent, "default")?;
        let agent: Agent = serde_json::from_value(agent.object.clone()).unwrap();
        is_so(&agent).then_some(agent)
    })
    .await
}

fn condition<'a>(agent: &'a Agent, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = &agent.status.as_ref()?.conditions;
    let condition = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&condition.status, &condition.reason, &condition.message))
}

async fn serves(ns: &TestNamespace) -> Agent {
    until_agent(ns, "has a server that is ready", |agent| {
        condition(agent, "ServerReady").is_some_and(|(is, ..)| is == "True")
    })
    .await
}

async fn server_pods(ns: &TestNamespace) -> Vec<String> {
    let of_server = ListParams::default().labels("app.kubernetes.io/name=kubeopencode-server");
    let pods = ns.api::<Pod>().list(&of_server).await.unwrap().items;
    pods.into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| pod.uid())
        .collect()
}

async fn gone<K>(ns: &TestNamespace, name: &str)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let gone = await_condition(ns.api::<K>(), name, |there: Option<&K>| there.is_none());
    in_time(PATIENCE, &format!("{name} is gone"), gone).await;
}

#[tokio::test]
async fn tasks_attach_to_one_server_that_has_the_agents_contexts() {
    on_the_whole_cluster(async |ns| {
        let server = "serverConfig: {}\nmaxConcurrentTasks: 2";
        ns.apply(agent_with("m", server)).await;
        // the Task comes before its server is up, and waits for it in its Pod
        ns.apply(
            task("early").spec("contexts: [{type: Text, name: note, text: A note for the attached one.}]"),
        )
        .await;
        let agent = serves(ns).await;
        let url = format!("http://default.{}.svc.cluster.local:4096", ns.name);
        let server_status = agent.status.as_ref().unwrap().server_status.clone().unwrap();
        assert_eq!(server_status.url, url);
        assert_eq!(
            (server_status.deployment_name.as_str(), server_status.service_name.as_str()),
            ("default-server", "default")
        );
        assert_eq!(
            condition(&agent, "ServerHealthy").map(|(is, why, _)| (is, why)),
            Some(("True", "DeploymentHealthy"))
        );
        let before = server_pods(ns).await;
        ns.apply(task("second")).await;
        // the stand-in says the first line of what it was asked
        for (name, first_line) in [("early", "<context name=\"note\""), ("second", "Task second says hello.")]
        {
            let task = ns.phase(name, Phase::Completed).await;
            let pod = ns.pods().get(status(&task).pod_name.as_deref().unwrap()).await.unwrap();
            let command = pod.spec.unwrap().containers[0].command.clone().unwrap().join(" ");
            assert!(command.contains(&format!("run --attach {url}")), "{command}");
            let said = format!("The model stub was asked: {first_line}");
            let log = log(ns, &task).await;
            assert!(log.starts_with(&said), "the log is what the agent said: {log}");
            let result = status(&task).result.as_ref().unwrap();
            assert!(result.summary.as_ref().unwrap().contains(&said), "{result:?}");
            let usage = status(&task).usage.as_ref().unwrap();
            assert_eq!(
                (usage.input_tokens, usage.output_tokens),
                (Some(11), Some(7)),
                "as the stand-in counts"
            );
        }
        assert_eq!(server_pods(ns).await, before, "one server for both");
        // one of them is the server's first session
        for name in ["early", "second"] {
            let asked = received_with(&ns.client, &format!("Task {name} says hello.")).await;
            assert!(asked.contains(CONTEXT_OF_AGENT), "{name} did without the Agent's context: {asked}");
            assert_eq!(asked.contains("A note for the attached one."), name == "early", "{asked}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_task_that_is_stopped_ends_its_session_on_the_server() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent_with("slow-60", "serverConfig: {}")).await;
        serves(ns).await;
        ns.apply(task("stopped")).await;
        ns.agent_runs("stopped-pod").await;
        let server = format!("/api/v1/namespaces/{}/services/default:http/proxy", ns.name);
        let ask = async |path: &str| -> Value {
            let request = http::Request::get(format!("{server}{path}")).body(Vec::new()).unwrap();
            ns.client.request(request).await.unwrap()
        };
        // nobody can watch this
        let busy = async {
            loop {
                let status = ask("/session/status").await;
                if let Some(id) = status.as_object().unwrap().keys().next() {
                    return id.clone();
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let session = tokio::time::timeout(PATIENCE, busy).await.expect("a session is busy");
        ns.stop_task("stopped").await;
        ns.phase("stopped", Phase::Completed).await;
        ns.gone(Kind::Pod, "stopped-pod").await;
        assert_eq!(ask("/session/status").await, serde_json::json!({}), "nothing goes on");
        assert_eq!(ask(&format!("/session/{session}")).await["title"], format!("{}/stopped", ns.name));
        let messages = ask(&format!("/session/{session}/message")).await;
        let last = messages.as_array().unwrap().last().unwrap();
        assert_eq!(last["info"]["error"]["name"], "MessageAbortedError", "{last}");
    })
    .await;
}

#[tokio::test]
async fn a_change_rolls_the_server_and_without_server_config_it_goes() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent_with("m", "serverConfig: {port: 5000}")).await;
        serves(ns).await;
        let before = server_pods(ns).await;
        let changed = agent_of_example("m")
            .spec("serverConfig: {port: 5001}")
            .change("/spec/contexts/0/type", "Text")
            .without("/spec/contexts/0/configMap")
            .set("/spec/contexts/0/text", "A new rule for everybody.");
        ns.apply(with_its_objects(changed)).await;
        let on_the_new_port = |agent: &Agent| {
            let url = agent.status.as_ref().and_then(|s| s.server_status.as_ref()).map(|s| s.url.clone());
            url.is_some_and(|url| url.ends_with(":5001"))
                && condition(agent, "ServerReady").is_some_and(|(is, ..)| is == "True")
        };
        until_agent(ns, "serves on the new port", on_the_new_port).await;
        assert_ne!(server_pods(ns).await, before);
        ns.apply(task("after")).await;
        ns.phase("after", Phase::Completed).await;
        let asked = received_with(&ns.client, "Task after says hello.").await;
        assert!(asked.contains("A new rule for everybody."), "{asked}");
        ns.apply(agent_with("m", "")).await;
        gone::<Deployment>(ns, "default-server").await;
        gone::<Service>(ns, "default").await;
        gone::<NetworkPolicy>(ns, "default-server").await;
        let cleared = |agent: &Agent| {
            let of_server = |condition: &Condition| condition.type_.starts_with("Server");
            agent
                .status
                .as_ref()
                .is_none_or(|s| s.server_status.is_none() && !s.conditions.iter().any(of_server))
        };
        until_agent(ns, "has no server status any more", cleared).await;
    })
    .await;
}

#[tokio::test]
async fn a_label_replaces_no_server_and_a_task_whose_server_is_replaced_says_so() {
    on_the_whole_cluster(async |ns| {
        let labelled = |team: &str| {
            let labels = serde_json::json!({"team": team});
            agent_of_example("slow-60").spec("serverConfig: {}").set("/spec/podSpec/labels", labels)
        };
        ns.apply(with_its_objects(labelled("a"))).await;
        serves(ns).await;
        let before = server_pods(ns).await;
        ns.apply(task("cut")).await;
        ns.phase("cut", Phase::Running).await;
        ns.agent_runs("cut-pod").await;
        ns.apply(with_its_objects(labelled("b"))).await;
        let waits = |agent: &Agent| {
            condition(agent, "ServerReady")
                .is_some_and(|(is, _, why)| is == "True" && why.contains("podSpec.labels"))
        };
        until_agent(ns, "says when the label comes", waits).await;
        assert_eq!(server_pods(ns).await, before, "a server reads no label of its Pod");
        let other = labelled("b").set("/spec/podSpec/terminationGracePeriodSeconds", 9);
        ns.apply(with_its_objects(other)).await;
        let task = ns.phase("cut", Phase::Failed).await;
        let message = status(&task).message.clone().unwrap();
        assert!(message.contains("the server of the Agent was replaced, or ended"), "{message}");
        let pods = Api::<Pod>::namespaced(ns.client.clone(), &ns.name);
        serves(ns).await;
        let of_server = ListParams::default().labels("app.kubernetes.io/name=kubeopencode-server,team=b");
        assert!(!pods.list(&of_server).await.unwrap().items.is_empty(), "the label came with it");
    })
    .await;
}

#[tokio::test]
async fn config_and_credentials_reach_the_server_and_a_password_keeps_strangers_out() {
    on_the_whole_cluster(async |ns| {
        ns.apply(secret("server", &[("password", "s3cret")])).await;
        ns.apply(secret("model", &[("url", &model_url())])).await;
        let fields = "serverConfig: {passwordSecretRef: {name: server, key: password}}\n\
                      credentials: [{name: model, secretRef: {name: model, key: url}, env: MODEL_URL}]";
        // without it the server finds no model
        let url = "/spec/config/provider/stub/options/baseURL";
        ns.apply(with_its_objects(agent_of_example("m").spec(fields).change(url, "{env:MODEL_URL}"))).await;
        serves(ns).await;
        let path = format!("/api/v1/namespaces/{}/services/default:http/proxy/session", ns.name);
        assert_eq!(ns.cluster.status_of(&path).await, 401, "a stranger is refused");
        ns.apply(task("inside")).await;
        let task = ns.phase("inside", Phase::Completed).await;
        assert!(log(ns, &task).await.contains("Task inside says hello."));
    })
    .await;
}

#[tokio::test]
async fn objects_of_somebody_else_are_left_alone() {
    on_the_whole_cluster(async |ns| {
        let foreign = "{apiVersion: v1, kind: Service, metadata: {name: default}, spec: {ports: [{port: 80}], selector: {app: mine}}}";
        ns.apply(foreign).await;
        ns.apply(agent_with("m", "serverConfig: {}")).await;
        let conflict = |agent: &Agent| condition(agent, "ServerReady").is_some_and(|(_, why, _)| why == "NameConflict");
        let agent = until_agent(ns, "tells of the conflict", conflict).await;
        assert!(condition(&agent, "ServerReady").unwrap().2.contains("Service \"default\""));
        let service = ns.api::<Service>().get("default").await.unwrap();
        assert_eq!(service.spec.unwrap().selector.unwrap()["app"], "mine");
        ns.api::<Service>().delete("default", &Default::default()).await.unwrap();
        // nobody tells that the name is free
        serves(ns).await;
    })
    .await;
}

#[tokio::test]
async fn files_of_a_task_cannot_reach_a_server() {
    on_the_whole_cluster(async |ns| {
        ns.apply(agent_with("m", "serverConfig: {}")).await;
        for (name, context) in [
            ("text", "{type: Text, name: note, text: t, mountPath: note.md}"),
            ("git", "{type: Git, name: note, mountPath: r, git: {repository: 'https://git.example.com/r'}}"),
        ] {
            ns.apply(task(name).spec(&format!("contexts: [{context}]"))).await;
            let task = ns.phase(name, Phase::Failed).await;
            assert_eq!(status(&task).reason.as_deref(), Some("ContextError"), "{:#?}", task.status);
            let expected = "context \"note\": mountPath is not supported by server-mode Agent \"default\"";
            assert!(words(&task, "Contexts").2.contains(expected), "{:?}", words(&task, "Contexts"));
        }
        let pods = Api::<Pod>::namespaced(ns.client.clone(), &ns.name);
        let of_tasks = ListParams::default().labels("app=kubeopencode");
        assert!(pods.list(&of_tasks).await.unwrap().items.is_empty());
    })
    .await;
}
