//! What the agent sees of a Task that was migrated, through `render`: the text that it saw before, or a warning.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::{call, migrate, objects, old, repository, text};

const CONFIG_MAPS: &str = include_str!("fixtures/config-maps.yaml");

/// The files of each Pod that `render` prints for these objects, by the Task's name and their paths, as far as they are no
/// Secret's and not the program's own.
fn files(yaml: &str) -> BTreeMap<(String, String), String> {
    let said = call("render", &["-f", "-"], yaml);
    assert_eq!(said.code, 0, "{}\n{yaml}", said.stderr);
    let rendered = objects(&said.stdout);
    let maps: BTreeMap<_, _> = rendered
        .iter()
        .filter(|object| object["kind"] == "ConfigMap")
        .map(|map| (map["metadata"]["name"].as_str().unwrap(), &map["data"]))
        .collect();
    let mut files = BTreeMap::new();
    for pod in rendered.iter().filter(|object| object["kind"] == "Pod") {
        let task = pod["metadata"]["annotations"]["kubeopencode.io/task-name"].as_str().unwrap();
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        let map_of = |volume: &str| {
            let volume = volumes.iter().find(|found| found["name"] == volume).unwrap();
            maps[volume["configMap"]["name"].as_str().unwrap()]
        };
        let mut add = |path: &Value, text: &Value| {
            let path = path.as_str().unwrap();
            if !path.starts_with("/tools/") {
                files.insert(key(task, path), text.as_str().unwrap().to_owned());
            }
        };
        for init in pod["spec"]["initContainers"].as_array().into_iter().flatten() {
            let variables = init["env"].as_array().into_iter().flatten();
            for mappings in variables.filter(|variable| variable["name"] == "FILE_MAPPINGS") {
                let mappings: Vec<Value> = serde_json::from_str(mappings["value"].as_str().unwrap()).unwrap();
                for mapping in mappings.iter().filter(|mapping| mapping["key"].is_string()) {
                    add(&mapping["targetPath"], &map_of("context-files")[mapping["key"].as_str().unwrap()]);
                }
            }
        }
        for mount in pod["spec"]["containers"][0]["volumeMounts"].as_array().unwrap() {
            if let ("context-files", Some(key)) = (mount["name"].as_str().unwrap(), mount["subPath"].as_str())
            {
                add(&mount["mountPath"], &map_of("context-files")[key]);
            }
        }
    }
    files
}

/// The files of objects of `kubetask.io`, which are those of what they become.
fn unchanged(yaml: &str) -> BTreeMap<(String, String), String> {
    let before = files(yaml);
    assert_eq!(migrated(yaml), before, "{yaml}");
    before
}

/// The files of what the objects become.
fn migrated(yaml: &str) -> BTreeMap<(String, String), String> {
    let said = migrate(yaml);
    assert_eq!(said.code, 0, "{}", said.stderr);
    files(&said.stdout)
}

fn example(name: &str) -> String {
    let path = repository().join("tests/fixtures/spec/agent-context").join(name);
    fs::read_to_string(path).unwrap() + "\n---\n"
}

fn key(task: &str, path: &str) -> (String, String) {
    (task.to_owned(), path.to_owned())
}

#[test]
fn the_documents_examples_say_what_they_said() {
    let config = old("WorkspaceConfig", "default", "{}") + "---\n";
    let all = [
        config,
        example("02-aggregated-context.yaml"),
        example("03-mixed-contexts.yaml"),
        CONFIG_MAPS.into(),
    ]
    .concat();
    let files = unchanged(&all);
    assert_eq!(
        files[&key("update-deps", "/workspace/task.md")],
        "Update all dependencies to latest versions.\nRun tests and create a PR.\n\n---\n\nOpen a pull request for each change.\n"
    );
    assert_eq!(files[&key("deploy-service", "/workspace/task.md")], "Deploy the service to production.\n");
    assert_eq!(files[&key("deploy-service", "/home/agent/.claude/CLAUDE.md")], "Be brief.\n");

    let batch = [example("04-batch-with-defaults.yaml"), CONFIG_MAPS.into()].concat();
    let (before, mut files) = (self::files(&batch), migrated(&batch));
    let task = "update-all-repos-task-0";
    // the Agent has it for those that are written later
    let context = files.remove(&key(task, "/workspace/.kubeopencode/context.md")).unwrap();
    assert!(
        context.starts_with("<context name=\"coding-standards.md\"")
            && context.contains("\nNames say what.\n"),
        "{context}"
    );
    assert_eq!(files, before);
    assert_eq!(
        files[&key(task, "/workspace/task.md")],
        "Names say what.\n\n---\n\nUpdate dependencies and create PR.\n"
    );
    assert_eq!(files[&key(task, "/home/agent/.claude/CLAUDE.md")], "Be polite.\n");
    assert_eq!(files[&key(task, "/workspace/repo-config.json")], r#"{"repository": "service-a"}"#);
}

/// A program of an image of the user's looks into `task.md` alone, and OpenCode into both files.
#[test]
fn what_a_workspace_config_says_is_in_the_prompt_where_the_program_looks_for_it() {
    let context = key("fix", "/workspace/.kubeopencode/context.md");
    let prompt = key("fix", "/workspace/task.md");
    for (image, defaults, own, expected) in [
        ("agentImage: i, ", &["a\r\n", "\n", "b\n"][..], &["c\n"][..], Some("a\n\n---\n\nb\n\n---\n\nc\n")),
        ("agentImage: i, ", &["a\n\n"], &[], Some("a\n\n")),
        ("", &["a\n"], &["c\n"], Some("c\n")),
    ] {
        let list = |pieces: &[&str]| pieces.iter().map(|piece| text(piece)).collect::<Vec<_>>().join(", ");
        let yaml = [
            old("WorkspaceConfig", "default", &format!("{{{image}defaultContexts: [{}]}}", list(defaults))),
            old("Task", "fix", &format!("{{contexts: [{}]}}", list(own))),
        ];
        let (before, after) = (files(&yaml.concat()), migrated(&yaml.concat()));
        assert_eq!(after.get(&prompt).map(String::as_str), expected);
        assert!(after[&context].contains(">\na"), "{after:?}");
        assert_eq!(after.get(&prompt) == before.get(&prompt), !image.is_empty());
    }
}

#[test]
fn pieces_are_one_prompt_byte_for_byte() {
    let config = old("WorkspaceConfig", "default", "{}");
    for (pieces, joined) in [
        (&["a\n", "b\n"][..], "a\n\n---\n\nb\n"),
        (&["a\n\n"], "a\n\n"),
        (&["", "\n", "a"], "a"),
        (&["a\r\n\r\n", "\r\n", "b"], "a\n\n---\n\nb"),
        (
            &["</context> $(HOME) `x` {{ y }}\t", "---\n- a: 'b'\n"],
            "</context> $(HOME) `x` {{ y }}\t\n\n---\n\n---\n- a: 'b'\n",
        ),
        (&["\u{feff}é\u{2028}🦀 \n  indented", "yes"], "\u{feff}é\u{2028}🦀 \n  indented\n\n---\n\nyes"),
    ] {
        let contexts: Vec<_> = pieces.iter().map(|piece| text(piece)).collect();
        let contexts = contexts.join(", ");
        let (first, others) = contexts.split_at(contexts.find(", {type").unwrap_or(contexts.len()));
        let others = others.trim_start_matches(", ");
        let yaml = [
            config.clone(),
            old("Task", "alone", &format!("{{contexts: [{contexts}]}}")),
            old("Batch", "b", &format!("{{commonContext: [{first}], variableContexts: [[{others}]]}}")),
        ];
        let files = unchanged(&yaml.concat());
        for task in ["alone", "b-task-0"] {
            assert_eq!(files[&key(task, "/workspace/task.md")], joined, "{task}");
        }
        assert_eq!(files.len(), 2, "{files:?}");
    }
}

#[test]
fn the_text_of_a_config_map_is_the_prompt_wherever_it_is_kept() {
    let config = old("WorkspaceConfig", "default", "{}");
    let piece = |name: &str, key: &str, more: &str| {
        format!(
            "{{type: File, file: {{name: f, source: {{configMapKeyRef: {{name: {name}, key: {key}{more}}}}}}}}}"
        )
    };
    let map =
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: one}\nbinaryData: {b: dHdv}\n";
    let contexts =
        [piece("m", "a", ""), piece("m", "gone", ", optional: true"), piece("m", "b", "")].join(", ");
    let task = old("Task", "fix", &format!("{{contexts: [{contexts}]}}"));
    let prompt = key("fix", "/workspace/task.md");
    assert_eq!(unchanged(&[&config, &task, map].concat())[&prompt], "one\n\n---\n\ntwo");
    // one alone is read at the launch, as it was, where it is not among the files
    let task = old("Task", "fix", &format!("{{contexts: [{}]}}", piece("m", "a", "")));
    let yaml = [config, task].concat();
    let said = migrate(&yaml);
    assert!(!said.stderr.contains("moves"), "{}", said.stderr);
    assert_eq!(files(&[&said.stdout, map].concat())[&prompt], "one");
    assert_eq!(files(&[yaml.as_str(), map].concat())[&prompt], "one");
}
