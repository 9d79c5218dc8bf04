//! What does not show in a snapshot: same input, same bytes; limits; custom plugins and builders.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container};
use kubeopencode_api::literals::PLAN_ANNOTATION;
use kubeopencode_api::plugin::{Action, ConfigMapMount, EnvVar, Extension, File, Plan, Tools};
use kubeopencode_plan::{ExecutionPlan, Granted, Item};
use serde_json::{Value, json};

use crate::build::Given;
use crate::guests;

type PlanFor = fn(&Item) -> Plan;

const TASK: &str = include_str!("fixtures/task.yaml");

pub(crate) fn given(contexts: Value) -> Given {
    let mut given = Given::yaml(TASK);
    given.agent.spec.contexts.clear();
    given.task.spec.contexts = serde_json::from_value(contexts).unwrap();
    given
}

pub(crate) fn container<'a>(plan: &'a ExecutionPlan, name: &str) -> &'a Container {
    let spec = plan.pod.spec.as_ref().unwrap();
    let mut all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.find(|container| container.name == name).unwrap()
}

pub(crate) fn env<'a>(container: &'a Container, name: &str) -> &'a str {
    let found = container.env.iter().flatten().find(|variable| variable.name == name);
    found.and_then(|variable| variable.value.as_deref()).unwrap()
}

fn annotation(map: &ConfigMap) -> &str {
    &map.metadata.annotations.as_ref().unwrap()[PLAN_ANNOTATION]
}

#[test]
fn the_same_input_gives_the_same_bytes_and_another_name_the_same_digest() {
    let mut given = Given::yaml(TASK);
    let plan = given.plan().unwrap();
    assert_eq!(plan, given.plan().unwrap());
    assert_eq!(plan.digest.len(), "sha256:".len() + 64);
    assert_eq!(plan.pod.metadata.annotations.as_ref().unwrap()[PLAN_ANNOTATION], plan.digest);
    assert!(plan.config_maps.iter().all(|map| annotation(map) == plan.digest && map.immutable == Some(true)));

    let renamed = plan.clone().into_with_uid();
    assert_eq!(renamed.digest, plan.digest);
    assert_eq!(renamed.pod.metadata.name.as_deref(), Some("hello-6e0bfa7c-pod"));
    assert_eq!(renamed.config_maps[0].metadata.name.as_deref(), Some("hello-6e0bfa7c-context"));
    let volumes = serde_json::to_string(&renamed.pod.spec.unwrap().volumes).unwrap();
    assert!(volumes.contains("\"hello-6e0bfa7c-context\""), "{volumes}");
    assert!(!volumes.contains("\"hello-context\""), "{volumes}");

    // the operator labels the Task at its launch
    given.task.metadata.labels = Some(BTreeMap::from([("kubeopencode.io/agent".into(), "default".into())]));
    assert_eq!(given.plan().unwrap().digest, plan.digest);
    given.task.spec.description = Some("Something else.".into());
    assert_ne!(given.plan().unwrap().digest, plan.digest);
}

#[test]
fn big_content_is_spread_over_config_maps_and_joined_in_the_pod() {
    let big = "x".repeat(1_000_000);
    let plan = given(json!([
        {"type": "Text", "text": big, "mountPath": "inside.txt"},
        {"type": "Text", "text": big, "mountPath": "/etc/outside.txt", "fileMode": 288},
    ]))
    .plan()
    .unwrap();
    assert!(plan.config_maps.len() >= 3);
    for map in &plan.config_maps {
        let bytes: usize = map.data.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
        assert!(bytes < 1 << 20, "{bytes}");
    }
    let mappings: Vec<Value> =
        serde_json::from_str(env(container(&plan, "context-init"), "FILE_MAPPINGS")).unwrap();
    let inside = mappings.iter().find(|m| m["targetPath"] == "/workspace/inside.txt").unwrap();
    assert_eq!((inside["parts"].as_array().unwrap().len(), inside.get("key")), (2, None));

    let mounts = container(&plan, "agent").volume_mounts.as_ref().unwrap();
    let outside = mounts.iter().find(|mount| mount.mount_path == "/etc/outside.txt").unwrap();
    assert_eq!(outside.name, "tools", "joined there by context-init");
    let joined = format!("/tools/{}", outside.sub_path.as_deref().unwrap());
    let mapping = mappings.iter().find(|m| m["targetPath"] == joined).unwrap();
    assert_eq!(mapping["fileMode"], 288);

    let volumes = plan.pod.spec.as_ref().unwrap().volumes.as_ref().unwrap();
    let files = volumes.iter().find(|volume| volume.name == "context-files").unwrap();
    assert_eq!(files.projected.as_ref().unwrap().sources.as_ref().unwrap().len(), plan.config_maps.len());
}

#[test]
fn too_much_is_refused() {
    let big = "x".repeat(1 << 20);
    let items: Vec<_> =
        (0..5).map(|i| json!({"type": "Text", "text": big, "mountPath": format!("f{i}")})).collect();
    let refusal = given(Value::from(items)).plan().unwrap_err();
    assert!(refusal.message.contains("at most 4194304 are allowed"), "{refusal}");

    let items: Vec<_> = (0..65).map(|i| json!({"type": "Text", "text": i.to_string()})).collect();
    let refusal = given(Value::from(items)).plan().unwrap_err();
    assert!(refusal.message.contains("has 65 contexts, those of Agent"), "{refusal}");
}

#[test]
fn a_plugin_that_asks_for_very_much_is_refused_at_once() {
    let mut given = given(json!([{"type": "Custom", "mountPath": "dir"}]));
    let plugins: [(PlanFor, &str); 2] = [
        (
            |_| {
                let file =
                    |i| File { path: format!("dir/{}{i}", "d/".repeat(400)), content: vec![], mode: None };
                Plan { actions: (0..50_000).map(|i| Action::WriteFile(file(i))).collect(), ..Plan::default() }
            },
            "too many for one Pod",
        ),
        (
            |_| {
                let mount = |i| ConfigMapMount {
                    name: format!("m{i}"),
                    optional: true,
                    path: format!("dir/{i}"),
                    mode: None,
                };
                Plan {
                    actions: (0..17).map(|i| Action::MountConfigMap(mount(i))).collect(),
                    ..Plan::default()
                }
            },
            "it asks for 17 volumes and containers",
        ),
    ];
    for (plugin, words) in plugins {
        given.plugin = Some((plugin, Granted::none()));
        let refusal = given.plan().unwrap_err();
        assert!(refusal.message.contains(words), "{refusal}");
    }
}

#[test]
fn bytes_that_are_no_text_stay_what_they_are() {
    let mut given = given(json!([{"type": "Custom", "mountPath": "dir"}]));
    given.plugin = Some((
        |_| {
            let file = |path: &str, content: &[u8]| {
                Action::WriteFile(File { path: path.into(), content: content.into(), mode: Some(0o4755) })
            };
            Plan { actions: vec![file("dir/a", b"\xff\x00"), file("dir/b", b"\x01text")], ..Plan::default() }
        },
        Granted::none(),
    ));
    let plan = given.plan().unwrap();
    let binary = plan.config_maps[0].binary_data.as_ref().unwrap();
    assert_eq!(binary["workspace-dir-a"].0, b"\xff\x00");
    assert_eq!(binary["workspace-dir-b"].0, b"\x01text", "control characters grow sixfold in JSON");
    let mappings = env(container(&plan, "context-init"), "FILE_MAPPINGS");
    assert!(mappings.contains(r#""targetPath":"/workspace/dir/a","fileMode":493"#), "{mappings}");
}

#[test]
fn a_builder_brings_its_image_and_files_but_not_the_hosts_variables() {
    let mut given = given(json!([]));
    given.builder = |request| {
        let mut command = guests::opencode(request);
        command.tools = Tools::InitContainer(Some("registry.example/claude:1".into()));
        command.files =
            vec![File { path: "/tools/claude.json".into(), content: b"{}".into(), mode: Some(0o600) }];
        command
    };
    let refusal = given.plan().unwrap_err();
    let words = "it brings its program with image \"registry.example/claude:1\", which no grant allows";
    assert!(refusal.message.contains(words), "{refusal}");
    given.builder_granted = Granted { images: vec!["registry.example/claude:*".into()], ..Granted::none() };
    let plan = given.plan().unwrap();
    let image = container(&plan, "opencode-init").image.as_deref();
    assert_eq!(image, Some("registry.example/claude:1"), "the Agent names none");
    let mappings = env(container(&plan, "context-init"), "FILE_MAPPINGS");
    assert!(mappings.contains(r#""targetPath":"/tools/claude.json","fileMode":416"#), "{mappings}");

    given.builder = |request| {
        let mut command = guests::opencode(request);
        command.tools = Tools::None;
        command.result_reader = None;
        command
    };
    let plan = given.plan().unwrap();
    let inits: Vec<_> = plan.pod.spec.as_ref().unwrap().init_containers.iter().flatten().collect();
    assert_eq!(inits.iter().map(|init| init.name.as_str()).collect::<Vec<_>>(), ["context-init"]);

    type Builder = fn(&kubeopencode_api::plugin::BuildRequest) -> kubeopencode_api::plugin::CommandPlan;
    let bad: [(Builder, &str); 6] = [
        (
            |request| {
                let mut command = guests::opencode(request);
                command.tools = Tools::Extended(Extension { kind: "volume".into(), body: "{}".into() });
                command
            },
            "it asks for \"volume\", which this version does not know",
        ),
        (
            |request| {
                let mut command = guests::opencode(request);
                command.env.push(EnvVar::value("HOME", "/root"));
                command
            },
            "command builder \"opencode\": environment variable HOME is set by both KubeOpenCode and",
        ),
        (
            |request| {
                let mut command = guests::opencode(request);
                command.files = vec![File { path: "/etc/x".into(), content: vec![], mode: None }];
                command
            },
            "path \"/etc/x\" lies neither in the workspace nor in /tools",
        ),
        (
            |request| {
                let mut command = guests::opencode(request);
                command.result_reader = Some("{}".into());
                command
            },
            "command builder \"opencode\": result-reader: /: ",
        ),
        (
            |request| {
                let mut command = guests::opencode(request);
                let session = r#"{"open":"/s","body":{},"id":"/id","args":[],"records":"/s/{id}","events":{"part":"/parts"},
                    "identity":["/part/id"],"abort":"/s/{id}/abort"}"#;
                command.result_reader = Some(format!(r#"{{"format":"json-lines","session":{session}}}"#));
                command
            },
            "result-reader: /session: this program attaches to no server",
        ),
        (
            |request| {
                let mut command = guests::opencode(request);
                command.files =
                    vec![File { path: "/tools/opencode.json".into(), content: vec![], mode: None }];
                command
            },
            "mount path conflict: \"/tools/opencode.json\" is used by both spec.config of Agent team/default",
        ),
    ];
    for (builder, words) in bad {
        given.builder = builder;
        let refusal = given.plan().unwrap_err();
        assert!(refusal.message.contains(words), "{refusal}");
    }
}

#[test]
fn the_builder_learns_whether_there_is_a_prompt() {
    let prompt = |given: &Given| {
        let run = given.run().unwrap();
        run.build_request(&[], json!({})).prompt_path
    };
    let mut given = given(json!([]));
    assert_eq!(prompt(&given).as_deref(), Some("/workspace/task.md"));
    given.task.spec.description = Some(" \n".into());
    assert_eq!(prompt(&given), None);
    given.agent.spec.command = vec!["mine".into()];
    assert_eq!(prompt(&given).as_deref(), Some("/workspace/task.md"), "its argv is not the builder's");

    let command = |contexts: Value| {
        let mut given = self::given(contexts);
        given.task.spec.description = None;
        container(&given.plan().unwrap(), "agent").command.as_ref().unwrap()[2].clone()
    };
    assert!(command(json!([{"type": "Text", "text": "Do it."}])).ends_with("< nothing"));
    for contexts in [
        json!([{"type": "Text", "text": "Do it.", "mountPath": "task.md"}]),
        json!([{"type": "Git", "git": {"repository": "https://a.example/b"}, "mountPath": "/workspace"}]),
    ] {
        assert!(command(contexts).ends_with("< /workspace/task.md"));
    }
}
