//! Which plugins are found under which name, and by whom.

#![allow(clippy::unwrap_used, reason = "all of this is tests: a failure is a panic")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kubeopencode_api::agent::{Agent, AgentSpec};
use kubeopencode_api::context::ContextItem;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::task::{Task, TaskSpec};
use kubeopencode_evaluate::{Catalog, Change, ConfigMapReader, EvaluateError, Lookup, Publication, evaluate};
use kubeopencode_plan::frontend::kubeopencode;
use kubeopencode_plan::{Granted, Layer, Run, Settings};
use kubeopencode_plugin_host::{HostOptions, Kind, LimitClass, Plugin, PluginHost};
use serde_json::json;

const FRAME: &str = include_str!("../../plugin-host/tests/common/context-type.wat");

/// A context type `Greeting` that answers every item with the text "hello".
const MODULE: &str = include_str!("../../plugin-host/tests/common/greeting.wat");

/// A host, whose cache goes with the folder.
fn host() -> (tempfile::TempDir, PluginHost) {
    let cache = tempfile::tempdir().unwrap();
    let worker = env!("CARGO_BIN_EXE_evaluate-test-worker").into();
    let host = PluginHost::new(HostOptions { cache_dir: cache.path().to_owned(), worker }).unwrap();
    (cache, host)
}

fn greeting(host: &PluginHost) -> Arc<Plugin> {
    load(host, MODULE)
}

fn load(host: &PluginHost, module: &str) -> Arc<Plugin> {
    let component = wat::parse_str(FRAME.replace("(;MODULE;)", module)).unwrap();
    host.load(&component, Kind::ContextType, LimitClass::Default).unwrap()
}

/// The same with a schema of its own, in the room behind what it says.
fn greeting_with(host: &PluginHost, schema: &str) -> Arc<Plugin> {
    let (place, text) = (r"\00\02\00\00\02\00\00\00", r#"(data (i32.const 512) "{}")"#);
    assert!(MODULE.contains(place) && MODULE.contains(text) && schema.len() < 256);
    let own_place = format!(r"\00\0c\00\00\{:02x}\00\00\00", schema.len());
    let own_text = format!(r#"(data (i32.const 3072) "{}")"#, schema.replace('"', r"\22"));
    load(host, &MODULE.replace(place, &own_place).replace(text, &own_text))
}

fn publication(source: &str, created: i64, plugin: &Arc<Plugin>) -> Publication {
    Publication {
        source: source.to_owned(),
        created: Timestamp::from_second(created).unwrap(),
        plugin: Arc::clone(plugin),
        names: BTreeMap::new(),
        settings: serde_json::json!({}),
        granted: Granted::none(),
        allowed_namespaces: Vec::new(),
    }
}

/// Who serves a type to namespace `team`, in words.
fn found(catalog: &Catalog, kind: Kind, name: &str) -> String {
    match catalog.snapshot().find(kind, name, "team") {
        Lookup::Offer(offer) => format!("{offer:?}"),
        Lookup::NotYet(why) => format!("not yet: {why}"),
        Lookup::NotAllowed(why) => format!("not allowed: {why}"),
        Lookup::Nobody => "nobody".to_owned(),
    }
}

fn serves(catalog: &Catalog, kind: Kind, name: &str) -> bool {
    found(catalog, kind, name).starts_with("Offer")
}

#[test]
fn a_snapshot_shows_what_was_there_when_it_was_taken_and_names_of_built_in_plugins_are_taken() {
    let (_cache, host) = host();
    let built_in = host.load_built_in().unwrap();
    let catalog = Catalog::new(built_in.clone());
    let before = catalog.snapshot();
    assert!(serves(&catalog, Kind::ContextType, "Text"));
    assert!(serves(&catalog, Kind::CommandBuilder, "opencode"));
    assert!(!serves(&catalog, Kind::CommandBuilder, "Text"), "each kind has names of its own");

    catalog.install(&greeting(&host), &Granted::none()).unwrap();
    assert!(matches!(before.find(Kind::ContextType, "Greeting", "team"), Lookup::Nobody), "it came later");
    assert!(serves(&catalog, Kind::ContextType, "Greeting"));

    let text = built_in.into_iter().find(|plugin| plugin.type_named("Text").is_some()).unwrap();
    let refused = catalog.install(&text, &Granted::none()).unwrap_err();
    assert_eq!(refused.to_string(), "\"Text\" is the name of a built-in plugin: give the plugin another one");
    let mut named = publication("note", 1, &text);
    named.names.insert("Text".into(), "Note".into());
    catalog.publish(&named).unwrap();
    assert!(serves(&catalog, Kind::ContextType, "Note"), "under another name it may come");
}

#[test]
fn of_two_that_bring_one_type_the_older_serves_whichever_comes_first() {
    let (_cache, host) = host();
    let (catalog, plugin) = (Catalog::new([]), greeting(&host));
    let mut changes = catalog.changes();
    let type_ = (Kind::ContextType, "Greeting".to_owned());
    let change = catalog.publish(&publication("young", 2, &plugin)).unwrap();
    assert_eq!(change, Change { types: vec![type_.clone()], displaced: vec![] });
    let change = catalog.publish(&publication("old", 1, &plugin)).unwrap();
    assert_eq!(change, Change { types: vec![type_.clone()], displaced: vec!["young".into()] });
    let refused = catalog.publish(&publication("young", 2, &plugin)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\"Greeting\" is served by Plugin \"old\", which is older: give the type another name in spec.names, or remove that \
         Plugin"
    );
    assert_eq!(catalog.withdraw("nobody").types, []);
    assert_eq!(catalog.withdraw("old").types, [type_]);
    assert_eq!(found(&catalog, Kind::ContextType, "Greeting"), "nobody");
    catalog.publish(&publication("young", 2, &plugin)).unwrap();

    // a new component of a Plugin that brings somebody else's type changes nothing
    let mut other = publication("other", 3, &plugin);
    other.names.insert("Greeting".into(), "Other".into());
    catalog.publish(&other).unwrap();
    other.names.clear();
    assert!(catalog.publish(&other).is_err());
    assert!(serves(&catalog, Kind::ContextType, "Other"), "what it brought before serves on");
    let told = std::iter::from_fn(|| changes.try_recv().ok()).map(|change| change.types.len());
    assert_eq!(told.collect::<Vec<_>>(), [1, 1, 0, 1, 1, 1]);
}

#[test]
fn a_plugin_is_for_the_namespaces_that_it_allows() {
    let (_cache, host) = host();
    let catalog = Catalog::new([]);
    let mut publication = publication("greeting", 1, &greeting(&host));
    publication.allowed_namespaces = vec!["platform".into(), "dev-*".into()];
    catalog.publish(&publication).unwrap();
    assert_eq!(
        found(&catalog, Kind::ContextType, "Greeting"),
        "not allowed: namespace \"team\" is not allowed to use Plugin \"greeting\" (allowed: [platform, dev-*])"
    );
    assert!(matches!(catalog.snapshot().find(Kind::ContextType, "Greeting", "dev-1"), Lookup::Offer(_)));
}

#[test]
fn a_type_is_waited_for_while_its_plugin_may_come() {
    let catalog = Catalog::new([]);
    let jira = || found(&catalog, Kind::ContextType, "Jira");
    assert_eq!(jira(), "nobody", "where no Plugins are read, none is waited for");
    catalog.opens();
    assert_eq!(jira(), "not yet: the operator has not read all Plugins");
    catalog.awaits("jira", Kind::ContextType, Some(vec!["Jira".into()]));
    catalog.awaits("slack", Kind::ContextType, Some(vec!["Slack".into()]));
    catalog.awaits("claude", Kind::CommandBuilder, None);
    catalog.complete(Timestamp::UNIX_EPOCH);
    assert_eq!(jira(), "not yet: Plugin \"jira\" is loading");
    catalog.arrived("jira", Timestamp::UNIX_EPOCH);
    assert_eq!(jira(), "nobody", "the others bring something else");
    catalog.awaits("new", Kind::ContextType, None);
    assert_eq!(jira(), "not yet: Plugin \"new\" is loading", "nobody knows what it brings");
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
    let spec = TaskSpec { description: Some("d".into()), contexts: vec![item], ..TaskSpec::default() };
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
    let (_cache, host) = host();
    let snapshot = Catalog::new(host.load_built_in().unwrap()).snapshot();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        // the only thread that may block does
        let (release, held) = std::sync::mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || held.recv());
        assert!(evaluate(&snapshot, &Nothing, &(), run(1000), None).await.is_ok());
        let mut big = Box::pin(evaluate(&snapshot, &Nothing, &(), run(100_000), None));
        let is_ready = poll_fn(|context| Poll::Ready(big.as_mut().poll(context).is_ready())).await;
        assert!(!is_ready, "a big one may take its time, and waits for the thread");
        release.send(()).unwrap();
        taken.await.unwrap().unwrap();
        assert!(big.await.is_ok());
    });
}

#[tokio::test]
async fn what_takes_much_memory_once_it_is_decoded_waits_until_there_is_some() {
    let snapshot = Catalog::new([]).snapshot();
    let hold = async |weight| snapshot.hold::<Infallible>(weight).await.unwrap();
    let all = [hold(100 << 20).await, hold(1 << 20).await];
    let of = async |values: usize| {
        let config = Some(json!(vec![json!({}); values]));
        let item = ContextItem { type_: "Greeting".into(), config, ..ContextItem::default() };
        evaluate(&snapshot, &Nothing, &(), run_of(item), None).await.unwrap_err()
    };
    assert!(matches!(of(100).await, EvaluateError::NoPlugin { .. }), "it needs none");
    // 6 KB as text
    assert!(matches!(of(2_000).await, EvaluateError::NoMemory));
    drop(all);
    assert!(matches!(of(2_000).await, EvaluateError::NoPlugin { .. }));
}

#[test]
fn a_payload_that_takes_its_time_to_check_holds_up_nobody_else() {
    let (_cache, host) = host();
    let catalog = Catalog::new(host.load_built_in().unwrap());
    let plugin = greeting_with(&host, r#"{"pattern":"^[ab]{500}$"}"#);
    catalog.publish(&publication("greeting", 1, &plugin)).unwrap();
    let snapshot = catalog.snapshot();
    let run = |letters: usize| {
        let config = Some(json!("a".repeat(letters)));
        run_of(ContextItem { type_: "Greeting".into(), config, ..ContextItem::default() })
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        // the only thread that may block does
        let (release, held) = std::sync::mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || held.recv());
        let refused = async |letters| match evaluate(&snapshot, &Nothing, &(), run(letters), None).await {
            Err(EvaluateError::Refused(refusal)) => refusal.message,
            other => panic!("{}", other.is_ok()),
        };
        assert!(refused(1).await.contains("does not match"));
        let mut long = Box::pin(refused(600));
        let is_ready = poll_fn(|context| Poll::Ready(long.as_mut().poll(context).is_ready())).await;
        assert!(!is_ready, "it waits for the thread");
        release.send(()).unwrap();
        taken.await.unwrap().unwrap();
        assert!(long.await.contains("does not match"));
    });
}
