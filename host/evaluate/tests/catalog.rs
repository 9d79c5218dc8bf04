//! Which plugins are found under which name, and by whom.

#![allow(clippy::unwrap_used, reason = "all of this is tests: a failure is a panic")]

use std::convert::Infallible;
use std::future::poll_fn;
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
    let contexts =
        vec![ContextItem { type_: "Text".into(), text: Some("x".repeat(bytes)), ..ContextItem::default() }];
    let spec = TaskSpec { description: Some("d".into()), contexts, ..TaskSpec::default() };
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
