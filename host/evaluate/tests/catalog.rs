//! Which plugins are found under which name, and by whom.

#![allow(clippy::unwrap_used, reason = "all of this is tests: a failure is a panic")]

use std::convert::Infallible;
use std::future::poll_fn;
use std::path::Path;
use std::task::Poll;

use k8s_openapi::api::core::v1::ConfigMap;
use kubeopencode_api::agent::{Agent, AgentSpec};
use kubeopencode_api::context::ContextItem;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::task::{Task, TaskSpec};
use kubeopencode_evaluate::{Catalog, ConfigMapReader, evaluate};
use kubeopencode_plan::frontend::kubeopencode;
use kubeopencode_plan::{Granted, Layer, Run, Settings};
use kubeopencode_plugin_host::{HostOptions, Kind, LimitClass, PluginHost};
use serde_json::{Value, json};

const FRAME: &str = include_str!("../../plugin-host/tests/common/context-type.wat");

/// A context type `Greeting` that answers every item with the text "hello".
const MODULE: &str = include_str!("../../plugin-host/tests/common/greeting.wat");

#[test]
fn a_snapshot_shows_what_was_there_when_it_was_taken_and_names_of_built_in_plugins_are_taken() {
    let cache = tempfile::tempdir().unwrap();
    let options = HostOptions {
        cache_dir: cache.path().to_owned(),
        worker: env!("CARGO_BIN_EXE_evaluate-test-worker").into(),
    };
    let host = PluginHost::new(options).unwrap();
    let built_in = host.load_built_in().unwrap();
    let catalog = Catalog::new(built_in.clone());
    let before = catalog.snapshot();
    assert!(before.find(Kind::ContextType, "Text").is_some());
    assert!(before.find(Kind::CommandBuilder, "opencode").is_some());
    assert!(before.find(Kind::CommandBuilder, "Text").is_none(), "each kind has names of its own");

    let component = wat::parse_str(FRAME.replace("(;MODULE;)", MODULE)).unwrap();
    let plugin = host.load(&component, Kind::ContextType, LimitClass::Default).unwrap();
    catalog.install(&plugin, &Granted::none()).unwrap();
    assert!(before.find(Kind::ContextType, "Greeting").is_none(), "it came later");
    assert!(catalog.snapshot().find(Kind::ContextType, "Greeting").is_some());

    let text = built_in.into_iter().find(|plugin| plugin.type_named("Text").is_some()).unwrap();
    let refused = catalog.install(&text, &Granted::none()).unwrap_err();
    assert_eq!(refused.to_string(), "\"Text\" is the name of a built-in plugin: give the plugin another one");
}

/// A component that serves two types: what its `Fixture` does, its config says.
const FIXTURE: &[u8] = include_bytes!("../../plugin-host/tests/fixtures/1.0.0/rust.wasm.zst");

/// The built-in plugins and those two.
fn with_fixture(cache: &Path) -> Catalog {
    let options = HostOptions {
        cache_dir: cache.to_owned(),
        worker: env!("CARGO_BIN_EXE_evaluate-test-worker").into(),
    };
    let host = PluginHost::new(options).unwrap();
    let catalog = Catalog::new(host.load_built_in().unwrap());
    let component = zstd::decode_all(FIXTURE).unwrap();
    let plugin = host.load(&component, Kind::ContextType, LimitClass::Default).unwrap();
    catalog.install(&plugin, &Granted::none()).unwrap();
    catalog
}

/// There is a ConfigMap of every name, with a key that is asked for and one that no plugin could be given.
struct Big;

impl ConfigMapReader for Big {
    type Error = Infallible;

    async fn get(&self, _: &ObjectKey) -> Result<Option<ConfigMap>, Infallible> {
        let data = [("a.md", "Use tabs.".to_owned()), ("b.md", "x".repeat(2 << 20))];
        let data = data.map(|(key, value)| (key.to_owned(), value)).into();
        Ok(Some(ConfigMap { data: Some(data), ..ConfigMap::default() }))
    }
}

/// What the agent reads in its context file.
fn context_of(config: Value) -> String {
    let cache = tempfile::tempdir().unwrap();
    let snapshot = with_fixture(cache.path()).snapshot();
    let run = run_of(ContextItem { type_: "Fixture".into(), config: Some(config), ..ContextItem::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let planned = runtime.block_on(evaluate(&snapshot, &Big, &(), run)).unwrap();
    planned.plan.config_maps[0].data.as_ref().unwrap()["workspace-.kubeopencode-context.md"].clone()
}

#[test]
fn each_type_of_a_component_is_found_by_its_name() {
    let cache = tempfile::tempdir().unwrap();
    let snapshot = with_fixture(cache.path()).snapshot();
    for name in ["Fixture", "FixtureSettings"] {
        assert!(snapshot.find(Kind::ContextType, name).is_some(), "{name}");
    }
}

#[test]
fn a_plugin_is_given_the_prompt_that_it_asks_for() {
    assert!(context_of(json!({"deed": "prompt"})).contains("\nasked: Mend the build.\n"));
}

#[test]
fn a_plugin_is_given_the_keys_that_it_asks_for_and_no_other() {
    // the other key alone would be more than it may read
    assert!(context_of(json!({"deed": "read"})).contains("\nUse tabs.\n"));
}

/// There are no ConfigMaps.
struct Nothing;

impl ConfigMapReader for Nothing {
    type Error = Infallible;

    async fn get(&self, _: &ObjectKey) -> Result<Option<ConfigMap>, Infallible> {
        Ok(None)
    }
}

/// A Task with a text of so many bytes.
fn run(bytes: usize) -> Run {
    run_of(ContextItem { type_: "Text".into(), text: Some("x".repeat(bytes)), ..ContextItem::default() })
}

/// A Task with this item.
fn run_of(item: ContextItem) -> Run {
    let description = Some("Mend the build.".to_owned());
    let spec = TaskSpec { description, contexts: vec![item], ..TaskSpec::default() };
    let mut task = Task::new("t", spec);
    let spec = AgentSpec { service_account_name: "s".into(), ..AgentSpec::default() };
    let mut agent = Agent::new("default", spec);
    for metadata in [&mut task.metadata, &mut agent.metadata] {
        (metadata.namespace, metadata.uid) = (Some("team".into()), Some("6e0bfa7c".into()));
    }
    kubeopencode::task(&task, &agent, &Settings::resolve(Layer::Absent, Layer::Absent, Layer::Absent))
        .unwrap()
}

#[test]
fn a_small_request_of_a_built_in_plugin_is_answered_without_another_thread() {
    let cache = tempfile::tempdir().unwrap();
    let options = HostOptions {
        cache_dir: cache.path().to_owned(),
        worker: env!("CARGO_BIN_EXE_evaluate-test-worker").into(),
    };
    let snapshot = Catalog::new(PluginHost::new(options).unwrap().load_built_in().unwrap()).snapshot();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        // the only thread that may block does
        let (release, held) = std::sync::mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || held.recv());
        assert!(evaluate(&snapshot, &Nothing, &(), run(1000)).await.is_ok());
        let mut big = Box::pin(evaluate(&snapshot, &Nothing, &(), run(100_000)));
        let is_ready = poll_fn(|context| Poll::Ready(big.as_mut().poll(context).is_ready())).await;
        assert!(!is_ready, "a big one may take its time, and waits for the thread");
        release.send(()).unwrap();
        taken.await.unwrap().unwrap();
        assert!(big.await.is_ok());
    });
}
