//! A plugin is installed, replaced and removed, with the operator that the chart installed and the rights that it has.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kubeopencode_api::literals::DEFAULT_OPERATOR_NAMESPACE;
use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::cluster::FIELD_MANAGER;
use kubeopencode_tests::components::{config_map, greeting, sha256};
use kubeopencode_tests::namespace::TestNamespace;

use crate::support::{log, on_the_whole_cluster, shell_agent, task};

/// How long the operator may take.
const PATIENCE: Duration = Duration::from_secs(60);

async fn install(ns: &TestNamespace, name: &str, component: &[u8]) {
    let maps = Api::<ConfigMap>::namespaced(ns.client.clone(), DEFAULT_OPERATOR_NAMESPACE);
    let map = config_map(name, "greeting.wasm", component);
    maps.patch(name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&map)).await.unwrap();
    let digest = format!("sha256:{}", sha256(component));
    let serves = |plugin: Option<&Plugin>| {
        plugin.and_then(|plugin| plugin.status.as_ref()?.digest.as_ref()).is_some_and(|now| *now == digest)
    };
    let plugins = Api::<Plugin>::all(ns.client.clone());
    let served = tokio::time::timeout(PATIENCE, await_condition(plugins, name, serves)).await;
    served.expect("the plugin serves").unwrap();
}

#[tokio::test]
async fn what_a_plugin_of_a_config_map_says_reaches_the_agent() {
    on_the_whole_cluster(async |ns| {
        let name = format!("{}-greeting", ns.name);
        ns.apply(shell_agent("cat .kubeopencode/context.md", "")).await;
        for says in ["hello", "salut"] {
            install(ns, &name, &greeting(says)).await;
            ns.apply(task(says).spec("contexts: [{type: Greeting}]")).await;
            let done = ns.phase(says, Phase::Completed).await;
            let said = log(ns, &done).await;
            assert!(said.contains(&format!("type=\"Greeting\">\n{says}\n</context>")), "{said}");
        }
        let maps = Api::<ConfigMap>::namespaced(ns.client.clone(), DEFAULT_OPERATOR_NAMESPACE);
        maps.delete(&name, &DeleteParams::default()).await.unwrap();
        let plugins = Api::<Plugin>::all(ns.client.clone());
        let is_gone = |plugin: Option<&Plugin>| plugin.is_none();
        let gone = tokio::time::timeout(PATIENCE, await_condition(plugins, &name, is_gone)).await;
        gone.expect("the Plugin goes with its ConfigMap").unwrap();
    })
    .await;
}
