//! An operator under test in a process of its own, for what only a process has: `operator NAMESPACE...` sees these
//! namespaces, the first of which is its own, and runs until it is killed.
#![allow(clippy::unwrap_used, reason = "a test program that cannot go on says so by panicking")]

use std::sync::Arc;

use kubeopencode_operator::{Options, run};
use kubeopencode_tests::cluster::{Cluster, plugin_host};
use kubeopencode_tests::operator::Setup;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let namespaces: Vec<String> = std::env::args().skip(1).collect();
    let worker = std::env::current_exe().unwrap().with_file_name("plugin-worker");
    let plugins = plugin_host(worker.to_str().unwrap()).await;
    let options = Options {
        namespace: namespaces.first().cloned().unwrap_or_default(),
        namespaces: Vec::new(),
        identity: "operator-under-test".to_owned(),
        health_address: None,
        metrics_address: None,
        leader_elect: false,
        catalog: plugins.catalog(),
        plugin_host: Some(Arc::clone(&plugins.host)),
        plugin_sources: kubeopencode_operator::PluginSources::default(),
        kubetask: true,
        cluster_domain: kubeopencode_api::literals::DEFAULT_CLUSTER_DOMAIN.to_owned(),
    };
    let client = Cluster::control_plane().await.operator_client(&namespaces, &Setup::default());
    run(client, options, CancellationToken::new()).await.unwrap();
}
