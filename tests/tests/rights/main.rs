//! After the tests on the whole cluster: the operator asked for nothing that the chart does not allow, and the chart
//! allows nothing that it never asked for.

#![allow(clippy::unwrap_used, reason = "all of this is tests: a failure is a panic")]

use kubeopencode_tests::cluster::Cluster;
use kubeopencode_tests::rbac::{Findings, Granted};

/// What only an accident makes the operator ask for: a Pod that its watch does not show, and an Agent whose status somebody
/// else wrote at the same time. The tests with faults on a control plane of their own ask for both. And lists, where the
/// API server, unlike this one, has no streamed ones: before Kubernetes 1.34.
const RARE: [&str; 8] = [
    "get pods",
    "get agents.kubeopencode.io",
    "list pods",
    "list tasks.kubeopencode.io",
    "list agents.kubeopencode.io",
    "list kubeopencodeconfigs.kubeopencode.io",
    "list deployments.apps",
    "list plugins.kubeopencode.io",
];

#[tokio::test]
async fn the_charts_rules_are_what_the_operator_needs() {
    let cluster = Cluster::whole().await;
    let mut findings = Granted::by_the_chart().compare(cluster.audit.asked());
    findings.unused.retain(|words| !RARE.contains(&words.as_str()));
    assert_eq!(findings, Findings::default(), "found in the API server's audit log of this cluster");
}
