//! A host for tests, requests, and hostile plugins written as core WebAssembly text.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod bomb;
#[path = "../../build/guests.rs"]
pub(crate) mod guests;
pub(crate) mod items;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kubeopencode_api::plugin::{
    Action, AgentView, BuildRequest, EvaluateRequest, Kind, Origin, Outcome, Plan, TaskView,
};
use kubeopencode_plugin_host::{HostOptions, LimitClass, LoadError, Plugin, PluginHost};
use serde_json::{Value, json};

/// The compile worker that cargo built beside the tests.
pub(crate) fn worker() -> PathBuf {
    env!("CARGO_BIN_EXE_compile-worker").into()
}

/// The compiled guest that does what its payload says.
pub(crate) fn hostile() -> &'static Plugin {
    static PLUGIN: OnceLock<Arc<Plugin>> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
        let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
        let built = guests::build(&plugins, &target_dir, &["hostile"]).unwrap();
        let component = std::fs::read(built.join("hostile.wasm")).unwrap();
        host().load(&component, Kind::ContextType, LimitClass::Default).unwrap()
    })
}

/// One host for all tests of a binary; its cache lasts between runs.
pub(crate) fn host() -> &'static PluginHost {
    static HOST: OnceLock<PluginHost> = OnceLock::new();
    HOST.get_or_init(|| {
        let cache_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
        PluginHost::new(HostOptions { cache_dir, worker: worker() }).unwrap()
    })
}

/// The built-in context type of this name.
pub(crate) fn context_type(name: &str) -> Arc<Plugin> {
    built_in(Kind::ContextType, name)
}

/// The built-in command builder of this name.
pub(crate) fn command_builder(name: &str) -> Arc<Plugin> {
    built_in(Kind::CommandBuilder, name)
}

fn built_in(kind: Kind, name: &str) -> Arc<Plugin> {
    static PLUGINS: OnceLock<Vec<Arc<Plugin>>> = OnceLock::new();
    let plugins = PLUGINS.get_or_init(|| host().load_built_in().unwrap());
    let found = plugins.iter().find(|plugin| plugin.kind() == kind && plugin.type_named(name).is_some());
    Arc::clone(found.unwrap_or_else(|| panic!("no built-in {kind} {name}")))
}

/// The Task of all requests.
pub(crate) fn task() -> TaskView {
    TaskView {
        name: "task".into(),
        namespace: "team".into(),
        uid: "7f7e5f0c-5d49-4b8e-9c36-0d6c7a2f5b11".into(),
        created: "2026-01-02T03:04:05Z".parse().unwrap(),
        labels: vec![("a".into(), "b".into())],
        annotations: vec![],
    }
}

/// Its Agent.
pub(crate) fn agent() -> AgentView {
    AgentView { name: "default".into(), namespace: "team".into(), workspace_dir: "/workspace".into() }
}

/// An item of the Task, of this type, with this payload and nothing else.
pub(crate) fn request_of(type_name: &str, payload: impl Into<Value>) -> EvaluateRequest {
    EvaluateRequest {
        type_name: type_name.to_owned(),
        task: Some(task()),
        agent: agent(),
        origin: Origin::Task,
        namespace: "team".into(),
        item_name: None,
        mount_path: None,
        file_mode: None,
        payload: payload.into(),
        settings: json!({}),
        inputs: vec![],
        extensions: vec![],
    }
}

/// The same, of the type `Hostile`.
pub(crate) fn request(payload: impl Into<Value>) -> EvaluateRequest {
    request_of("Hostile", payload)
}

/// The process of a Task with prompt, context and config.
pub(crate) fn build_request() -> BuildRequest {
    BuildRequest {
        task: task(),
        agent: agent(),
        tools_dir: "/tools".into(),
        prompt_path: Some("/workspace/task.md".into()),
        context_path: Some("/workspace/.kubeopencode/context.md".into()),
        attach_to: None,
        config: Some(r#"{"model": "a/b"}"#.into()),
        config_path: Some("/tools/opencode.json".into()),
        settings: json!({}),
        extensions: vec![],
    }
}

/// A plan of one action.
pub(crate) fn ready(action: Action) -> Outcome {
    Outcome::Ready(Plan { actions: vec![action], ..Plan::default() })
}

/// A plan of one text.
pub(crate) fn inline(text: &str) -> Outcome {
    ready(Action::Inline(text.into()))
}

/// The host still serves others.
pub(crate) fn assert_others_work(host: &PluginHost) {
    let text = include_bytes!(concat!(env!("OUT_DIR"), "/built-in/text.wasm"));
    let text = host.load(text, Kind::ContextType, LimitClass::Default).unwrap();
    assert_eq!(text.evaluate(request_of("Text", "hello")).unwrap(), inline("hello"));
}

/// A context type as core WebAssembly text. Its memory begins with the list of its one descriptor, from 1024 on the answer
/// `ready([inline("hello")])`; from 4096 on the schema, and what follows is free.
pub(crate) struct Guest<'a> {
    /// Pages of memory at the start.
    pub(crate) pages: u32,
    /// `name` in the descriptor.
    pub(crate) name: &'a str,
    /// `config-schema` in the descriptor.
    pub(crate) schema: &'a str,
    /// Further items of the module.
    pub(crate) items: &'a str,
    /// Statements of `describe` before it answers.
    pub(crate) describe: &'a str,
    /// Statements of `evaluate` before it answers with what is at 1024.
    pub(crate) evaluate: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Guest { pages: 1, name: "Hostile", schema: "{}", items: "", describe: "", evaluate: "" }
    }
}

impl Guest<'_> {
    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap()
    }

    /// The same for another version of the interface.
    pub(crate) fn of_version(&self, version: &str) -> Vec<u8> {
        wat::parse_str(self.text().replace("@1.0.0", &format!("@{version}"))).unwrap()
    }

    fn text(&self) -> String {
        let Guest { pages, name, schema, items, describe, evaluate } = self;
        let word = |n: usize| n.to_le_bytes()[..4].iter().map(|b| format!("\\{b:02x}")).collect::<String>();
        let escaped: String = schema.bytes().map(|b| format!("\\{b:02x}")).collect();
        let text = format!(
            r#"(core module $main
                (import "kubeopencode:plugin/log@1.0.0" "log" (func $log (param i32 i32 i32)))
                (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $get-stdout (result i32)))
                (import "$root" "danger" (func $danger))
                (memory (export "memory") {pages})
                (data (i32.const 0) "{described_at}{one}")
                (data (i32.const 128)
                    "{name_at}{name_len}{one_at}{one}{one_at}{one}{schema_at}{schema_len}{absent}{none}{none}{rule_at}{rule_len}{absent}{none}")
                (data (i32.const 256) "{name}")
                (data (i32.const 512) "optional")
                (data (i32.const 4096) "{escaped}")
                (data (i32.const 1024) "\00\00\00\00\01\00\00\00{action_at}{one}{none}{none}")
                (data (i32.const 1056) "\00\00\00\00{one_at}{five}")
                (data (i32.const 2048) "hello")
                (global $free (mut i32) (i32.const {free}))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (global.get $free)
                    (global.set $free (i32.and
                        (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7)) (i32.const -8))))
                {items}
                (func (export "kubeopencode:plugin/context-type@1.0.0#describe") (result i32)
                    {describe} (i32.const 0))
                (func $evaluate (export "kubeopencode:plugin/context-type@1.0.0#evaluate") (param i32) (result i32)
                    {evaluate} (i32.const 1024)))"#,
            described_at = word(128),
            rule_at = word(512),
            rule_len = word(8),
            absent = word(0).repeat(3),
            name_at = word(256),
            name_len = word(name.len()),
            one_at = word(2048),
            schema_at = word(4096),
            schema_len = word(schema.len()),
            none = word(0).repeat(2),
            action_at = word(1056),
            one = word(1),
            five = word(5),
            free = (4096 + schema.len()).next_multiple_of(8),
        );
        include_str!("context-type.wat").replace("(;MODULE;)", &text)
    }

    /// The component with further definitions of its own.
    pub(crate) fn with(&self, definitions: &str) -> Vec<u8> {
        let text = self.text();
        let (frame, _) = text.rsplit_once(')').unwrap();
        wat::parse_str(format!("{frame} {definitions})")).unwrap()
    }

    /// The plugin, loaded.
    pub(crate) fn load(&self) -> Result<std::sync::Arc<Plugin>, LoadError> {
        host().load(&self.component(), Kind::ContextType, LimitClass::Default)
    }
}
