//! The operator as the chart installs it: two replicas, the lease between them, metrics, and what a crash costs.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::exclusive::{Exclusive, exclusive};
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::record::Kind;
use serde_json::json;

use crate::support::{agent_with, in_time, names, on_the_whole_cluster, received, shell_agent, task};

const SYSTEM: &str = "kubeopencode-system";
const DEPLOYMENT: &str = "kubeopencode";
const LEASE: &str = "kubeopencode.io";
const PATIENCE: Duration = Duration::from_secs(120);

/// What docs/contract.md and docs/operations.md promise, of what this scene brings about.
const METRICS: [&str; 10] = [
    "kubeopencode_tasks{",
    "kubeopencode_task_duration_seconds_bucket",
    "kubeopencode_task_queue_seconds_bucket",
    "kubeopencode_task_launch_seconds_bucket",
    "kubeopencode_agent_capacity{",
    "kubeopencode_agent_queue_length{",
    "kubeopencode_reconcile_duration_seconds_bucket",
    "kubeopencode_plugin_calls_total{",
    "kubeopencode_plugin_call_seconds_bucket",
    "kubeopencode_build_info{",
];

/// One test at a time takes the operator away.
async fn alone() -> Exclusive {
    exclusive(std::env::temp_dir().join("kubeopencode-tests-operator.lock")).await
}

fn operators(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), SYSTEM)
}

async fn operator_pods(client: &Client) -> Vec<Pod> {
    let of_operator = ListParams::default()
        .labels("app.kubernetes.io/name=kubeopencode,app.kubernetes.io/component=controller");
    operators(client).list(&of_operator).await.unwrap().items
}

async fn scale(client: &Client, replicas: i32) {
    let deployments = Api::<Deployment>::namespaced(client.clone(), SYSTEM);
    let scaled = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch_scale(DEPLOYMENT, &PatchParams::default(), &scaled).await.unwrap();
    let available = |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status.is_some_and(|status| {
            status.replicas == Some(replicas) && status.available_replicas == Some(replicas)
        })
    };
    in_time(PATIENCE, "replicas", await_condition(deployments, DEPLOYMENT, available)).await;
}

/// The lease, once somebody who may holds it.
async fn lease_of(client: &Client, may: impl Fn(&str) -> bool + Send + Sync + Clone) -> Lease {
    let leases = Api::<Lease>::namespaced(client.clone(), SYSTEM);
    let held = move |lease: Option<&Lease>| {
        lease.and_then(|lease| lease.spec.as_ref()?.holder_identity.as_deref()).is_some_and(&may)
    };
    in_time(PATIENCE, "the lease", await_condition(leases, LEASE, held)).await.unwrap()
}

/// What a Prometheus would read of this operator.
async fn metrics_of(client: &Client, pod: &str) -> String {
    let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
    client.request_text(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
}

async fn until_completed(ns: &TestNamespace, count: usize) {
    ns.until(&format!("{count} Tasks are Completed"), |history| {
        let tasks = history.all(Kind::Task);
        let over = tasks.filter(|task| task.text("/status/phase") == "Completed").count();
        (over >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_two_replicas_one_works_and_the_other_takes_over_at_once() {
    let _alone = alone().await;
    on_the_whole_cluster(async |ns| {
        let client = &ns.client;
        scale(client, 2).await;
        ns.apply(shell_agent("sleep 1", "maxConcurrentTasks: 2")).await;
        ns.create_many(task("t"), 12).await;
        until_completed(ns, 3).await;

        let pods = names(&operator_pods(client).await);
        let before = lease_of(client, move |holder| pods.iter().any(|pod| pod == holder)).await.spec.unwrap();
        let leader = before.holder_identity.unwrap();
        let stopped = jiff::Timestamp::now();
        operators(client).delete(&leader, &DeleteParams::default()).await.unwrap();
        let after = lease_of(client, {
            let leader = leader.clone();
            move |holder| !holder.is_empty() && holder != leader
        });
        let after = after.await.spec.unwrap();
        let taken = after.acquire_time.unwrap().0;
        eprintln!("the lease went over {} after its holder was deleted", taken.duration_since(stopped));
        let runs_out = before.renew_time.unwrap().0
            + jiff::SignedDuration::from_secs(before.lease_duration_seconds.unwrap().into());
        assert!(taken < runs_out, "it was released, not waited for: {taken} {runs_out}");

        // the record itself says when more than two Pods of the Agent were alive, or more than one of any Task
        until_completed(ns, 12).await;
        let metrics = metrics_of(client, &after.holder_identity.unwrap()).await;
        let completed = format!("kubeopencode_tasks_total{{namespace=\"{}\",phase=\"Completed\"}}", ns.name);
        for name in METRICS.iter().copied().chain([completed.as_str()]) {
            assert!(metrics.lines().any(|line| line.starts_with(name)), "no metric {name}: {metrics}");
        }
        assert!(!metrics.contains("\"t-1"), "never a label with a Task's name: {metrics}");
        scale(client, 1).await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_killed_again_and_again_runs_each_task_once() {
    let _alone = alone().await;
    on_the_whole_cluster(async |ns| {
        ns.apply(agent_with("slow-3", "maxConcurrentTasks: 2")).await;
        // the stand-in for the model remembers what earlier runs asked
        let names: Vec<String> = (0..5).map(|i| format!("{}-{i}", ns.name)).collect();
        for name in &names {
            ns.apply(task(name)).await;
        }
        for done in 1..=3 {
            for pod in operator_pods(&ns.client).await {
                // its process gets SIGKILL, as in a node's crash
                let now = DeleteParams::default().grace_period(0);
                let _ = operators(&ns.client).delete(&pod.name_any(), &now).await;
            }
            until_completed(ns, done).await;
        }
        for name in &names {
            ns.phase(name, Phase::Completed).await;
        }
        let received = received(&ns.client).await;
        for name in &names {
            let history = ns.record.history();
            let pod = history.get(Kind::Pod, &format!("{name}-pod")).unwrap();
            assert_eq!(pod.object["status"]["containerStatuses"][0]["restartCount"], 0);
            // OpenCode asks twice per run: for a title and for the answer
            let asked = received.matches(&format!("Task {name} says hello.")).count();
            assert!((1..=2).contains(&asked), "{name}: {asked}");
        }
    })
    .await;
}

#[tokio::test]
async fn only_the_operator_says_whose_pod_it_is() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent("sleep 600", "{}")).await;
        ns.apply(task("fix")).await;
        ns.agent_runs("fix-pod").await;
        let label = async |key: &str| {
            let patch = Patch::Merge(json!({"metadata": {"labels": {key: "another"}}}));
            ns.pods().patch("fix-pod", &PatchParams::default(), &patch).await
        };
        label("cost-centre").await.unwrap();
        for key in ["app", "kubeopencode.io/task-uid"] {
            let refused = label(key).await.unwrap_err().to_string();
            assert!(refused.contains("only the operator of KubeOpenCode"), "{refused}");
        }
        // kubelet and scheduler are nobody's business
        ns.delete_task("fix").await;
        ns.gone(Kind::Task, "fix").await;
        ns.gone(Kind::Pod, "fix-pod").await;
    })
    .await;
}
