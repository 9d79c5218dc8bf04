//! Plugins that come through the door: a ConfigMap or a Plugin is applied, and a new type exists, for as long as something
//! good of it is there.

mod hostile;
mod installed;
mod pushed;
mod registry;
mod signed;
mod sources;
mod trouble;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kubeopencode_api::plugin::Kind as PluginKind;
use kubeopencode_api::plugin_object::{Plugin, PluginStatus};
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::components::{self, INLINE, SET_ENV, component, greeting, sha256};
use kubeopencode_tests::namespace::{PATIENCE, TEAM, TestNamespace};
use kubeopencode_tests::objects::{Builder, config, status, task, words};
use kubeopencode_tests::record::Kind;
use kubeopencode_tests::verbatim::Verbatim;
use serde_json::{Value, json};

use crate::scenario;

/// The name of this test's own, among all Plugins of the cluster.
pub(crate) fn named(ns: &TestNamespace, name: &str) -> String {
    format!("{}-{name}", ns.name)
}

/// A labelled ConfigMap with a component.
pub(crate) fn in_config_map(ns: &TestNamespace, name: &str, key: &str, bytes: &[u8]) -> Value {
    components::config_map(&named(ns, name), PluginKind::ContextType, key, bytes)
}

fn plugins(ns: &TestNamespace) -> Api<Plugin> {
    Api::all(ns.client.clone())
}

/// Applies a Plugin with these fields of its spec, in YAML.
async fn apply_plugin(ns: &TestNamespace, name: &str, fields: &str) {
    let text = format!(
        "apiVersion: kubeopencode.io/v1alpha1\nkind: Plugin\nmetadata: {{name: {}}}\nspec: {{kind: context-type, {fields}}}\n",
        named(ns, name)
    );
    Verbatim::new(&text, &ns.name).apply(&ns.client).await.unwrap();
}

/// Waits until a Plugin says so.
async fn until(ns: &TestNamespace, name: &str, what: &str, is_so: impl Fn(&PluginStatus) -> bool) -> Plugin {
    let is_so = |plugin: Option<&Plugin>| {
        let new = |plugin: &&Plugin| {
            let observed = plugin.status.as_ref().and_then(|status| status.observed_generation);
            observed == plugin.metadata.generation
        };
        plugin.filter(new).and_then(|plugin| plugin.status.as_ref()).is_some_and(&is_so)
    };
    let full_name = named(ns, name);
    let found = await_condition(plugins(ns), &full_name, is_so);
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(found) => found.unwrap().unwrap(),
        Err(_) => {
            let now = plugins(ns).get_opt(&full_name).await.unwrap();
            panic!("waited in vain: Plugin {name} {what}: {now:#?}")
        }
    }
}

/// A condition as `True Reason`, with its message.
fn says(status: &PluginStatus, type_: &str) -> (String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_);
    found.map(|c| (format!("{} {}", c.status, c.reason), c.message.clone())).unwrap_or_default()
}

/// Waits until a condition of a Plugin is so, and gives its message.
async fn condition(ns: &TestNamespace, name: &str, type_: &str, is: &str) -> String {
    let plugin = until(ns, name, &format!("has {type_}={is}"), |status| says(status, type_).0 == is).await;
    says(&plugin.status.unwrap(), type_).1
}

/// Waits until a Plugin serves these bytes.
pub(crate) async fn serves(ns: &TestNamespace, name: &str, bytes: &[u8]) -> Plugin {
    let digest = format!("sha256:{}", sha256(bytes));
    let is_so = |status: &PluginStatus| {
        status.digest.as_ref() == Some(&digest) && says(status, "Ready").0 == "True Ready"
    };
    until(ns, name, "serves", is_so).await
}

async fn is_gone(ns: &TestNamespace, name: &str) {
    let full_name = named(ns, name);
    let gone = await_condition(plugins(ns), &full_name, |plugin: Option<&Plugin>| plugin.is_none());
    tokio::time::timeout(PATIENCE, gone).await.expect("the Plugin goes").unwrap();
}

async fn delete_config_map(ns: &TestNamespace, name: &str) {
    ns.api::<ConfigMap>().delete(&named(ns, name), &DeleteParams::default()).await.unwrap();
}

/// Waits until the operator keeps this component of a Plugin, and none from before it.
async fn keeps_alone(ns: &TestNamespace, name: &str, bytes: &[u8]) {
    let full_name = named(ns, name);
    ns.until("the one before is kept no more", |history| {
        let maps = history.all(Kind::ConfigMap);
        let kept = maps.filter(|map| !map.label("kubeopencode.io/plugin-kept").is_empty());
        let kept = kept.filter(|map| map.annotation("kubeopencode.io/plugin-name") == full_name);
        let kept: Vec<_> = kept.map(|map| map.annotation("kubeopencode.io/sha256").to_owned()).collect();
        (kept == [sha256(bytes)]).then_some(())
    })
    .await;
}

/// Plugins are the cluster's: those of this test go with it.
pub(crate) async fn clear(ns: &TestNamespace) {
    for plugin in plugins(ns).list(&ListParams::default()).await.unwrap() {
        if plugin.name_any().starts_with(&format!("{}-", ns.name)) {
            plugins(ns).delete(&plugin.name_any(), &DeleteParams::default()).await.unwrap();
        }
    }
}

/// A Task with one item of a type.
fn task_of(name: &str, type_: &str) -> Builder<Task> {
    task(name).spec(&format!("contexts: [{{type: {type_}}}]"))
}

/// What the agent of a Task reads.
async fn context_of(ns: &TestNamespace, name: &str) -> String {
    let text =
        |object: &Value| Some(object["data"]["workspace-.kubeopencode-context.md"].as_str()?.to_owned());
    let prefix = format!("{name}-");
    ns.until("its context is there", |history| {
        history
            .all(Kind::ConfigMap)
            .filter(|map| map.name().starts_with(&prefix))
            .find_map(|map| text(&map.object))
    })
    .await
}

/// Waits until these Events are there, each as `<kind> <type> <reason>`.
async fn events(ns: &TestNamespace, of: &str, wanted: &[&str]) {
    let name = named(ns, of);
    let mut missing: Vec<_> = wanted.to_vec();
    let events = watcher(Api::<Event>::all(ns.client.clone()), watcher::Config::default()).applied_objects();
    futures::pin_mut!(events);
    let all = async {
        while let Some(event) = events.try_next().await.unwrap() {
            let regarding = event.regarding.unwrap_or_default();
            if regarding.name.as_ref() != Some(&name) {
                continue;
            }
            let words = [regarding.kind, event.type_, event.reason].map(Option::unwrap_or_default).join(" ");
            missing.retain(|wanted| *wanted != words);
            if missing.is_empty() {
                return;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, all).await;
    assert!(found.is_ok(), "no Event: {missing:?}");
}

#[tokio::test]
async fn a_config_map_is_a_plugin_while_it_is_there() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 0")).await;
        let _operator = ns.operator();
        let (hello, salut) = (greeting("hello"), greeting("salut"));
        let packed = zstd::encode_all(hello.as_slice(), 19).unwrap();
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm.zst", &packed)).await;
        let plugin = serves(ns, "greeting", &hello).await;
        let served = plugin.status.unwrap();
        assert_eq!((served.type_names.as_deref(), served.version.as_deref()), (Some("Greeting"), Some("1")));
        assert_eq!(served.wanted, served.digest);
        assert_eq!(served.size_bytes, Some(hello.len() as i64));
        let since = plugin.metadata.creation_timestamp.unwrap().0;
        eprintln!("Ready {:?} after the Plugin's creation", served.history[0].time.0.duration_since(since));
        ns.apply(task_of("first", "Greeting")).await;
        let first = ns.phase("first", Phase::Completed).await;
        assert!(context_of(ns, "first").await.contains("type=\"Greeting\">\nhello\n</context>"));
        let used = status(&first).plugins.iter().find(|used| used.type_ == "Greeting").unwrap();
        assert_eq!(Some(&used.digest), served.digest.as_ref());
        assert_eq!(used.version.as_deref(), Some("1"));

        delete_config_map(ns, "greeting").await;
        is_gone(ns, "greeting").await;
        ns.apply(task_of("nobody", "Greeting")).await;
        let nobody = ns.phase("nobody", Phase::Failed).await;
        let expected = "no plugin for context type \"Greeting\"";
        assert!(status(&nobody).message.as_deref().unwrap().contains(expected), "{:?}", nobody.status);

        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &hello)).await;
        serves(ns, "greeting", &hello).await;
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &salut)).await;
        let plugin = serves(ns, "greeting", &salut).await;
        assert_eq!(plugin.status.unwrap().history.len(), 2);
        ns.apply(task_of("second", "Greeting")).await;
        ns.phase("second", Phase::Completed).await;
        assert!(context_of(ns, "second").await.contains("salut"));
        for kind in ["Plugin", "ConfigMap"] {
            let [ready, replaced] =
                ["PluginReady", "PluginReplaced"].map(|reason| format!("{kind} Normal {reason}"));
            events(ns, "greeting", &[&ready, &replaced]).await;
        }
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn the_last_good_component_serves_on_whatever_becomes_of_its_source() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.operator();
        let (hello, salut) = (greeting("hello"), greeting("salut"));
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &hello)).await;
        serves(ns, "greeting", &hello).await;
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", b"\0asm\x01\0\0\0")).await;
        let why = condition(ns, "greeting", "Compiled", "False Invalid").await;
        assert!(why.starts_with("this is a core WebAssembly module, not a component"), "{why}");
        let still = serves(ns, "greeting", &hello).await.status.unwrap();
        assert_ne!(still.wanted, still.digest);
        events(ns, "greeting", &["Plugin Warning PluginRefused", "ConfigMap Warning PluginRefused"]).await;
        ns.apply(task_of("before", "Greeting")).await;
        ns.phase("before", Phase::Completed).await;

        operator.stop().await;
        ns.apply(task_of("after", "Greeting")).await;
        let operator = ns.operator();
        ns.phase("after", Phase::Completed).await;
        assert!(context_of(ns, "after").await.contains("hello"));
        assert_eq!(condition(ns, "greeting", "Compiled", "False Invalid").await, why);

        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &salut)).await;
        serves(ns, "greeting", &salut).await;
        keeps_alone(ns, "greeting", &salut).await;
        // one that somebody wrote outlives its source
        apply_plugin(
            ns,
            "greeting",
            &format!("source: {{configMap: {{name: {}}}}}, allowedNamespaces: ['*']", named(ns, "greeting")),
        )
        .await;
        serves(ns, "greeting", &salut).await;
        delete_config_map(ns, "greeting").await;
        let why = condition(ns, "greeting", "Fetched", "False NotFound").await;
        assert!(why.contains("with label kubeopencode.io/plugin in namespace"), "{why}");
        operator.stop().await;
        let _operator = ns.operator();
        ns.apply(task_of("outlives", "Greeting")).await;
        ns.phase("outlives", Phase::Completed).await;
        assert!(context_of(ns, "outlives").await.contains("salut"));
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn what_belongs_together_may_be_applied_in_any_order() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 600")).await;
        let _operator = ns.operator();
        ns.apply(task_of("waits", "Greeting")).await;
        let waits =
            |task: &Task| task.status.is_some() && words(task, "Accepted").1 == "WaitingForDependency";
        ns.until_task("waits", "waits for its plugin", waits).await;
        let hello = greeting("hello");
        let source = format!("source: {{configMap: {{name: {}}}}}", named(ns, "greeting"));
        apply_plugin(ns, "by-hand", &format!("{source}, sha256: {}", sha256(&hello))).await;
        condition(ns, "by-hand", "Ready", "False Nothing").await;
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &hello)).await;
        serves(ns, "by-hand", &hello).await;
        ns.phase("waits", Phase::Completed).await;
        let made = plugins(ns).get_opt(&named(ns, "greeting")).await.unwrap();
        assert_eq!(made, None, "the ConfigMap has a Plugin");

        // other bytes than the Plugin means: the last good ones serve until it means them
        let salut = greeting("salut");
        ns.apply(in_config_map(ns, "greeting", "greeting.wasm", &salut)).await;
        let why = condition(ns, "by-hand", "Verified", "False DigestMismatch").await;
        assert!(why.contains(&format!("spec.sha256 says {}", sha256(&hello))), "{why}");
        serves(ns, "by-hand", &hello).await;
        apply_plugin(ns, "by-hand", &format!("{source}, sha256: {}", sha256(&salut))).await;
        serves(ns, "by-hand", &salut).await;
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn of_two_plugins_of_one_type_the_older_serves_and_the_newer_takes_over_when_it_goes() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let (hello, salut) = (greeting("hello"), greeting("salut"));
        ns.apply(in_config_map(ns, "a-old", "greeting.wasm", &hello)).await;
        serves(ns, "a-old", &hello).await;
        ns.apply(in_config_map(ns, "b-new", "greeting.wasm", &salut)).await;
        let why = condition(ns, "b-new", "Ready", "False NameTaken").await;
        assert!(
            why.starts_with(&format!(
                "\"Greeting\" is served by Plugin \"{}\", which is older",
                named(ns, "a-old")
            )),
            "{why}"
        );
        serves(ns, "a-old", &hello).await;
        let source = format!("source: {{configMap: {{name: {}}}}}", named(ns, "b-new"));
        apply_plugin(
            ns,
            "canary",
            &format!("{source}, names: {{Greeting: GreetingNext}}, allowedNamespaces: [{}]", ns.name),
        )
        .await;
        serves(ns, "canary", &salut).await;
        ns.apply(task_of("canary", "GreetingNext")).await;
        ns.phase("canary", Phase::Completed).await;
        assert!(context_of(ns, "canary").await.contains("type=\"GreetingNext\">\nsalut"));
        delete_config_map(ns, "a-old").await;
        is_gone(ns, "a-old").await;
        serves(ns, "b-new", &salut).await;
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_plugin_may_do_is_granted_for_its_bytes_and_the_task_names_what_is_missing() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let setter = component("Variable", SET_ENV, "hello");
        ns.apply(in_config_map(ns, "variable", "variable.wasm", &setter)).await;
        serves(ns, "variable", &setter).await;
        ns.apply(task_of("none", "Variable")).await;
        let none = ns.phase("none", Phase::Failed).await;
        let message = status(&none).message.clone().unwrap();
        // its descriptor has none
        let remedy = "needs the capability \"env\": its type does not declare it: add it to the type's own capabilities first, then add \
                      it to spec.grants.capabilities of Plugin";
        assert!(message.contains(remedy), "{message}");

        let source = format!(
            "source: {{configMap: {{name: {}}}}}, sha256: {}",
            named(ns, "variable"),
            sha256(&setter)
        );
        apply_plugin(ns, "variable", &format!("{source}, grants: {{capabilities: [env], env: ['OTHER_*']}}"))
            .await;
        serves(ns, "variable", &setter).await;
        ns.apply(task_of("other", "Variable")).await;
        let other = ns.phase("other", Phase::Failed).await;
        let message = status(&other).message.clone().unwrap();
        assert!(message.contains("environment variable GREETING is not granted"), "{message}");

        apply_plugin(ns, "variable", &format!("{source}, grants: {{capabilities: [env], env: ['GREET*']}}"))
            .await;
        serves(ns, "variable", &setter).await;
        ns.apply(task_of("granted", "Variable")).await;
        ns.phase("granted", Phase::Completed).await;
        let env = {
            let history = ns.record.history();
            let pod = history.revisions(Kind::Pod).find(|pod| pod.name() == "granted-pod").unwrap();
            pod.list("/spec/containers/0/env").to_vec()
        };
        assert!(env.contains(&json!({"name": "GREETING", "value": "hello"})), "{env:?}");

        apply_plugin(ns, "variable", &format!("{source}, allowedNamespaces: [somebody-else]")).await;
        serves(ns, "variable", &setter).await;
        ns.apply(task_of("foreign", "Variable")).await;
        let foreign = ns.phase("foreign", Phase::Failed).await;
        let expected = format!(
            "namespace \"{}\" is not allowed to use Plugin \"{}\" (allowed: [somebody-else])",
            ns.name,
            named(ns, "variable")
        );
        let message = status(&foreign).message.clone().unwrap();
        assert!(message.contains(&expected), "{message}");
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_a_plugin_says_why_and_harms_no_other() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        // 64 MiB of zeros in a few KB; decode.rs tries 4 GiB
        let bomb = zstd::encode_all(vec![0; 64 << 20].as_slice(), 1).unwrap();
        ns.apply(in_config_map(ns, "bomb", "bomb.wasm.zst", &bomb)).await;
        let hello = greeting("hello");
        let part = |name: &str, part: &str, bytes: &[u8]| {
            let mut map = in_config_map(ns, name, "greeting.wasm", bytes);
            map["metadata"]["annotations"] = json!({
                "kubeopencode.io/plugin-name": named(ns, "parts"), "kubeopencode.io/plugin-part": part,
            });
            map
        };
        // first, so that the ConfigMaps have their Plugin
        apply_plugin(
            ns,
            "settings",
            &format!("source: {{configMap: {{name: {}}}}}, config: {{a: b}}", named(ns, "parts")),
        )
        .await;
        let (head, tail) = hello.split_at(100);
        ns.apply(part("second", "2/2", tail)).await;
        let mut named_wrong =
            in_config_map(ns, "wrong", "greeting.wasm", &component("Farewell", INLINE, "hello"));
        named_wrong["metadata"]["annotations"] = json!({"kubeopencode.io/sha256": sha256(b"other")});
        ns.apply(named_wrong).await;

        let why = condition(ns, "bomb", "Fetched", "False TooLarge").await;
        assert!(why.contains("more than the 4194304 bytes of limits class default"), "{why}");
        let why = condition(ns, "wrong", "Verified", "False DigestMismatch").await;
        assert!(why.contains("kubeopencode.io/sha256 says"), "{why}");
        let why = condition(ns, "settings", "Fetched", "False PartMissing").await;
        assert!(why.starts_with(&format!("part 1/2 of {} is missing", named(ns, "parts"))), "{why}");
        ns.apply(part("first", "1/2", head)).await;
        let why = condition(ns, "settings", "Compiled", "False SettingsInvalid").await;
        assert!(why.starts_with("spec.config: not what Greeting takes: it takes no settings"), "{why}");
        apply_plugin(ns, "settings", &format!("source: {{configMap: {{name: {}}}}}", named(ns, "parts")))
            .await;
        serves(ns, "settings", &hello).await;
        ns.apply(task_of("fix", "Greeting")).await;
        ns.phase("fix", Phase::Completed).await;
        // one apply may bring both sides of it, so that is told a little later than all else
        events(ns, "wrong", &["Plugin Warning PluginRefused", "ConfigMap Warning PluginRefused"]).await;
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_packed_for_the_door_goes_through_it() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let name = named(ns, "greeting");
        let apply = async |component: &[u8]| {
            let packed = kubeopencode_operator::pack_plugin(component).unwrap();
            let kind = kubeopencode_api::plugin::Kind::ContextType;
            let maps = packed.config_maps(&name, &ns.name, kind, &sha256(component));
            for map in &maps {
                ns.apply(serde_json::to_value(map).unwrap()).await;
            }
            maps.len()
        };
        let small = greeting("hello");
        assert_eq!(apply(&small).await, 1);
        serves(ns, "greeting", &small).await;
        // it grows beyond one ConfigMap, and shrinks again
        let large = components::with_noise(&greeting("salut"), 1 << 20);
        assert_eq!(apply(&large).await, 2);
        serves(ns, "greeting", &large).await;
        assert_eq!(apply(&small).await, 1);
        serves(ns, "greeting", &small).await;
        clear(ns).await;
    })
    .await;
}
