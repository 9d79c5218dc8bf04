//! What the plugins of `examples/plugins` plan where they are granted what they need.

use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::components::sha256;
use kubeopencode_tests::examples::{component, file};
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::Builder;
use kubeopencode_tests::record::Kind;
use kubeopencode_tests::verbatim::Verbatim;
use serde_json::{Value, json};

use crate::plugins::{clear, in_config_map, named, serves};
use crate::scenario;

#[tokio::test]
async fn a_pull_request_is_downloaded_twice_with_a_secret_in_a_header() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let component = component("pull-request");
        ns.apply(in_config_map(ns, "pull-request", "pull-request.wasm", &component)).await;
        let plugin = Builder::<Plugin>::among(&file("pull-request/plugin.yaml"), "Plugin", "pull-request")
            .change("/metadata/name", named(ns, "pull-request"))
            .change("/spec/source/configMap/name", named(ns, "pull-request"))
            .change("/spec/sha256", sha256(&component));
        Verbatim::new(&plugin.json().to_string(), &ns.name).apply(&ns.client).await.unwrap();
        serves(ns, "pull-request", &component).await;
        ns.apply(Builder::<Task>::among(&file("pull-request/task.yaml"), "Task", "review")).await;
        ns.phase("review", Phase::Completed).await;

        let is_download =
            |init: &&Value| init["name"].as_str().is_some_and(|name| name.starts_with("url-fetch-"));
        let downloads: Vec<_> = {
            let history = ns.record.history();
            let pod = history.revisions(Kind::Pod).find(|pod| pod.name() == "review-pod").unwrap();
            pod.list("/spec/initContainers").iter().filter(is_download).cloned().collect()
        };
        let env = |init: &Value, name: &str| {
            let variables = init["env"].as_array().unwrap();
            variables.iter().find(|variable| variable["name"] == name).cloned().unwrap_or_default()
        };
        let expected = [
            ("/workspace/pull-request-7/pull.diff", "application/vnd.github.diff"),
            ("/workspace/pull-request-7/pull.json", "application/vnd.github+json"),
        ];
        assert_eq!(downloads.len(), expected.len());
        for (init, (target, accept)) in downloads.iter().zip(expected) {
            assert_eq!(env(init, "URL_SOURCE")["value"], "https://api.github.com/repos/acme/shop/pulls/7");
            assert_eq!(env(init, "URL_TARGET")["value"], target);
            let headers = format!(r#"{{"Accept":"{accept}","X-GitHub-Api-Version":"2022-11-28"}}"#);
            assert_eq!(env(init, "URL_HEADERS")["value"], headers);
            let token = json!({"secretKeyRef": {"name": "github", "key": "token"}});
            assert_eq!(env(init, "URL_SECRET_HEADER_0")["valueFrom"], token);
        }
        clear(ns).await;
    })
    .await;
}
