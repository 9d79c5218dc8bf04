//! A plugin is installed, replaced and removed, with the operator that the chart installed and the rights that it has.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kubeopencode_api::literals::DEFAULT_OPERATOR_NAMESPACE;
use kubeopencode_api::plugin::Kind;
use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::cluster::FIELD_MANAGER;
use kubeopencode_tests::components::{config_map, greeting, sha256};
use kubeopencode_tests::namespace::TestNamespace;
use serde_json::Value;

use crate::support::{in_time, log, on_the_whole_cluster, shell_agent, task};

/// How long the operator may take, also to fetch and compile what brings an interpreter.
const PATIENCE: Duration = Duration::from_secs(120);

/// A component in a labelled ConfigMap of the operator's namespace.
pub(crate) async fn install(ns: &TestNamespace, name: &str, kind: Kind, component: &[u8]) {
    apply_map(ns, &config_map(name, kind, &format!("{name}.wasm"), component)).await;
    serves(ns, name, component).await;
}

/// `kubectl apply --server-side` of a ConfigMap to the operator's namespace.
pub(crate) async fn apply_map(ns: &TestNamespace, map: &Value) {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let name = map["metadata"]["name"].as_str().unwrap();
    config_maps(ns).patch(name, &params, &Patch::Apply(map)).await.unwrap();
}

/// Waits until a Plugin as it is now serves this component.
pub(crate) async fn serves(ns: &TestNamespace, name: &str, component: &[u8]) {
    let digest = Some(format!("sha256:{}", sha256(component)));
    let serves = |plugin: Option<&Plugin>| {
        plugin.is_some_and(|plugin| {
            let status = plugin.status.as_ref();
            let observed = status.and_then(|status| status.observed_generation);
            observed == plugin.metadata.generation && status.is_some_and(|status| status.digest == digest)
        })
    };
    in_time(PATIENCE, "the plugin serves", await_condition(plugins(ns), name, serves)).await;
}

/// Removes a ConfigMap with a plugin, and its Plugin, whoever made it; neither need be there.
pub(crate) async fn remove(ns: &TestNamespace, name: &str) {
    let (foreground, is_gone) = (DeleteParams::default(), |plugin: Option<&Plugin>| plugin.is_none());
    for deleted in [
        config_maps(ns).delete(name, &foreground).await.map(drop),
        plugins(ns).delete(name, &foreground).await.map(drop),
    ] {
        let is_there = !matches!(&deleted, Err(kube::Error::Api(status)) if status.is_not_found());
        assert!(!is_there || deleted.is_ok(), "{deleted:?}");
    }
    in_time(PATIENCE, "the Plugin goes", await_condition(plugins(ns), name, is_gone)).await;
}

pub(crate) fn plugins(ns: &TestNamespace) -> Api<Plugin> {
    Api::all(ns.client.clone())
}

fn config_maps(ns: &TestNamespace) -> Api<ConfigMap> {
    Api::namespaced(ns.client.clone(), DEFAULT_OPERATOR_NAMESPACE)
}

#[tokio::test]
async fn what_a_plugin_of_a_config_map_says_reaches_the_agent() {
    on_the_whole_cluster(async |ns| {
        let name = format!("{}-greeting", ns.name);
        ns.apply(shell_agent("cat .kubeopencode/context.md", "")).await;
        for says in ["hello", "salut"] {
            install(ns, &name, Kind::ContextType, &greeting(says)).await;
            ns.apply(task(says).spec("contexts: [{type: Greeting}]")).await;
            let done = ns.phase(says, Phase::Completed).await;
            let said = log(ns, &done).await;
            assert!(said.contains(&format!("type=\"Greeting\">\n{says}\n</context>")), "{said}");
        }
        config_maps(ns).delete(&name, &DeleteParams::default()).await.unwrap();
        let is_gone = |plugin: Option<&Plugin>| plugin.is_none();
        let gone = await_condition(plugins(ns), &name, is_gone);
        in_time(PATIENCE, "the Plugin goes with its ConfigMap", gone).await;
    })
    .await;
}
