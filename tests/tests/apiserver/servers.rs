//! The objects of an Agent's server, where no Pod of it runs.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use kube::runtime::wait::await_condition;
use kubeopencode_tests::components::greeting;
use kubeopencode_tests::namespace::{PATIENCE, TEAM, TestNamespace};
use kubeopencode_tests::objects::agent;
use kubeopencode_tests::record::Kind;

use crate::plugins::{clear, in_config_map};
use crate::scenario;

/// Waits until the server's Deployment is that of another plan.
async fn planned(ns: &TestNamespace, before: Option<&Deployment>) -> Deployment {
    let plan = |deployment: &Deployment| deployment.annotations().get("kubeopencode.io/plan").cloned();
    let before = before.and_then(plan);
    let is_new = |there: Option<&Deployment>| there.is_some_and(|there| plan(there) != before);
    let there = await_condition(ns.api::<Deployment>(), "default-server", is_new);
    tokio::time::timeout(PATIENCE, there).await.expect("the server is planned").unwrap().unwrap()
}

fn template(deployment: &Deployment) -> &PodTemplateSpec {
    &deployment.spec.as_ref().unwrap().template
}

fn label(deployment: &Deployment) -> &str {
    &template(deployment).metadata.as_ref().unwrap().labels.as_ref().unwrap()["team"]
}

/// Waits until one ConfigMap of a server is there; gives its name.
async fn one_config_map(ns: &TestNamespace, but: &str) -> String {
    ns.until("one ConfigMap of the server", |history| {
        let all = history.all(Kind::ConfigMap).map(|map| map.name());
        let all: Vec<_> = all.filter(|name| name.starts_with("default-server-context-")).collect();
        (all.len() == 1 && all[0] != but).then(|| all[0].to_owned())
    })
    .await
}

#[tokio::test]
async fn a_label_changes_no_template_and_what_a_server_had_read_goes() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let server = |label: &str, rule: &str| {
            agent("default").spec(&format!(
                "serverConfig: {{}}, podSpec: {{labels: {{team: {label}}}}}, contexts: [{{type: Text, text: {rule}}}]"
            ))
        };
        ns.apply(server("a", "first")).await;
        let first = planned(ns, None).await;
        let map = one_config_map(ns, "").await;
        ns.apply(server("b", "first")).await;
        let labelled = planned(ns, Some(&first)).await;
        assert_eq!(template(&labelled), template(&first));
        assert_eq!(label(&labelled), "a");
        ns.apply(server("b", "second")).await;
        let second = planned(ns, Some(&labelled)).await;
        assert_ne!(template(&second).spec, template(&first).spec);
        assert_eq!(label(&second), "b");
        one_config_map(ns, &map).await;
        ns.apply(agent("default")).await;
        ns.until("nothing of the server is left", |history| {
            let mut maps = history.all(Kind::ConfigMap).map(|map| map.name());
            (!maps.any(|name| name.starts_with("default-server-"))).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn what_a_server_copies_from_a_config_map_is_part_of_its_plan() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let guides = |text: &str| {
            format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: guides}}, data: {{a.md: {text}}}}}")
        };
        let directory = "[{type: ConfigMap, mountPath: guides, configMap: {name: guides}}]";
        let server = |label: &str| {
            agent("default").spec(&format!(
                "serverConfig: {{}}, podSpec: {{labels: {{team: {label}}}}}, contexts: {directory}"
            ))
        };
        ns.apply(&guides("first")).await;
        let _operator = ns.operator();
        ns.apply(server("a")).await;
        let first = planned(ns, None).await;
        ns.apply(&guides("second")).await;
        // it is read with the Agent, else every ten minutes; the label alone changes no template
        ns.apply(server("b")).await;
        let second = planned(ns, Some(&first)).await;
        assert_ne!(template(&second).spec, template(&first).spec);
    })
    .await;
}

#[tokio::test]
async fn a_server_has_what_the_plugin_gives_that_serves_now() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let component = |says: &str| in_config_map(ns, "greeting", "greeting.wasm", &greeting(says));
        ns.apply(agent("default").spec("serverConfig: {}, contexts: [{type: Greeting}]")).await;
        ns.apply(component("hello")).await;
        let first = planned(ns, None).await;
        let map = one_config_map(ns, "").await;
        ns.apply(component("salut")).await;
        let second = planned(ns, Some(&first)).await;
        assert_ne!(template(&second).spec, template(&first).spec);
        let map = one_config_map(ns, &map).await;
        let text = ns.record.history().get(Kind::ConfigMap, &map).unwrap().object.to_string();
        assert!(text.contains("salut") && !text.contains("hello"), "{text}");
        clear(ns).await;
    })
    .await;
}
