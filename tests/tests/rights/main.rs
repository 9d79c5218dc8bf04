//! After the tests on the whole cluster: the operator asked for nothing that the chart does not allow, and the chart
//! allows nothing that it never asked for.

#![allow(clippy::unwrap_used, reason = "all of this is tests: a failure is a panic")]

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kubeopencode_tests::cluster::Cluster;
use kubeopencode_tests::rbac::{Findings, Granted};

/// What only an accident, or a setting of its own, makes the operator ask for: a Pod that its watch does not show, a Batch that it does not show before
/// its Tasks, and an Agent whose status somebody else wrote at the same time. The tests with faults on a control plane of their own ask for them. And lists, where the
/// API server, unlike this one, has no streamed ones: before Kubernetes 1.34.
const RARE: [&str; 13] = [
    "get pods",
    "get agents.kubeopencode.io",
    "get batches.kubetask.io",
    "delete batches.kubetask.io",
    "list pods",
    "list tasks.kubeopencode.io",
    "list tasks.kubetask.io",
    "list batches.kubetask.io",
    "list workspaceconfigs.kubetask.io",
    "list agents.kubeopencode.io",
    "list kubeopencodeconfigs.kubeopencode.io",
    "list deployments.apps",
    "list plugins.kubeopencode.io",
];

#[tokio::test]
async fn the_charts_rules_are_what_the_operator_needs() {
    let cluster = Cluster::whole().await;
    let operator =
        Api::<Deployment>::namespaced(cluster.client(), "kubeopencode-system").get("kubeopencode").await;
    let containers = operator.unwrap().spec.unwrap().template.spec.unwrap().containers;
    let without_kubetask =
        containers.iter().flat_map(|c| c.args.iter().flatten()).any(|arg| arg == "--without-kubetask");
    let mut granted = Granted::by_the_chart();
    if without_kubetask {
        granted = granted.without_group("kubetask.io");
    }
    let mut findings = granted.compare(cluster.audit.asked());
    findings.unused.retain(|words| !RARE.contains(&words.as_str()));
    assert_eq!(findings, Findings::default(), "found in the API server's audit log of this cluster");
}
