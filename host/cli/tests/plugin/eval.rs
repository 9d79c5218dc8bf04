//! `plugin eval`, `plugin explain` and `plugin build`.

use std::fs;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{asking, greeting, in_folder, logging, masked, project};

const SCHEMA: &str = r#"{"type": "object", "required": ["issue"], "properties": {"issue": {"type": "string", "description": "Its key", "examples": ["PAY-7"]}, "secret": {"type": "object", "properties": {"name": {"type": "string", "x-kubeopencode-secret": true}}}}}"#;
const SETTINGS: &str = r#"{"required": ["baseUrl"], "properties": {"baseUrl": {"type": "string"}}}"#;

const ITEM: &str = "type: Greeting\nname: words\n";

#[test]
fn an_item_is_shown_with_its_calls_its_plan_and_what_the_agent_reads() {
    let folder = project("eval", &greeting(""), "");
    fs::write(folder.join("item.yaml"), ITEM).unwrap();
    let said = in_folder(&folder, &["eval", "-f", "item.yaml"]);
    assert_snapshot!(masked(&said.stdout));
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));

    let said = in_folder(&folder, &["eval", "-f", "item.yaml", "-o", "json"]);
    let all: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(all[0]["items"][0]["plan"]["actions"][0]["inline"], "hello");
    assert_eq!(
        all[0]["contextFile"],
        "<context name=\"words\" namespace=\"default\" type=\"Greeting\">\nhello\n</context>"
    );
}

#[test]
fn a_task_is_evaluated_with_the_plugin_that_stands_beside_it() {
    let folder = project("eval-task", &greeting(&asking(SCHEMA, SETTINGS)), "");
    let task = "apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {name: fix, namespace: team}
spec:
  description: a
  contexts:
    - {type: Text, text: first}
    - {type: Greeting, mountPath: b.md, config: {issue: PAY-7}}
";
    let plugin = "---
apiVersion: kubeopencode.io/v1alpha1
kind: Plugin
metadata: {name: jira}
spec: {kind: context-type, source: {configMap: {name: jira}}, config: {baseUrl: x}}
";
    fs::write(folder.join("task.yaml"), task).unwrap();
    let said = in_folder(&folder, &["eval", "-f", "task.yaml"]);
    assert_eq!(
        said.stderr,
        "kubeopencode: Plugin: spec.config: not what Greeting takes: \"baseUrl\" is a required property\n"
    );
    fs::write(folder.join("both.yaml"), format!("{task}{plugin}")).unwrap();
    let said = in_folder(&folder, &["eval", "-f", "both.yaml"]);
    assert_snapshot!(masked(&said.stdout));
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
}

#[test]
fn a_type_is_explained_as_its_users_want_to_read_it() {
    let folder = project("explain", &greeting(&asking(SCHEMA, SETTINGS)), "");
    let said = in_folder(&folder, &["explain"]);
    let digest = |line: &&str| !line.trim_start().starts_with("sha256: ");
    assert_snapshot!(said.stdout.lines().filter(digest).collect::<Vec<_>>().join("\n"));
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));

    let said = in_folder(&folder, &["explain", "--type", "Jira"]);
    assert_eq!(
        (said.stderr.as_str(), said.code),
        ("kubeopencode: there is no type Jira: there are Greeting\n", 2)
    );
    // in the folder of the plugin a type needs no flag
    assert_eq!(in_folder(&folder, &["explain", "Greeting"]).stdout, in_folder(&folder, &["explain"]).stdout);
    let said = in_folder(&folder, &["explain", "Jira"]);
    assert_eq!(
        (said.stderr.as_str(), said.code),
        ("kubeopencode: there is no type Jira: there are Greeting\n", 2)
    );
    let said = in_folder(&folder, &["explain", "no.wasm"]);
    assert!(said.stderr.starts_with("kubeopencode: no.wasm: No such file"), "{}", said.stderr);
    let said = in_folder(&folder, &["explain", "-o", "json"]);
    let types: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (&types[0]["config"][0]["path"], &types[0]["config"][0]["required"]),
        (&"issue".into(), &true.into())
    );
}

#[test]
fn a_build_prints_its_command_and_what_it_made() {
    let folder = project("build", &greeting(""), "");
    let toml = |build: &str| format!("name = \"greeting\"\nbuild = \"{build}\"\ncomponent = \"out.wasm\"\n");
    fs::write(folder.join("plugin.toml"), toml("/bin/cp greeting.wasm out.wasm")).unwrap();
    let said = in_folder(&folder, &["build"]);
    assert_eq!(said.stderr, "+ /bin/cp greeting.wasm out.wasm\n");
    assert!(
        said.stdout.starts_with("./out.wasm (") && said.stdout.contains("kubeopencode plugin check"),
        "{}",
        said.stdout
    );
    assert_eq!(said.code, 0);
    for (build, words, code) in [
        ("exit 3", "kubeopencode: build of greeting: the command ended with 3: see above\n", 1),
        (
            "/bin/rm out.wasm",
            "kubeopencode: ./out.wasm: No such file or directory (os error 2): the build does not make it; mend component in plugin.toml\n",
            2,
        ),
    ] {
        fs::write(folder.join("plugin.toml"), toml(build)).unwrap();
        let said = in_folder(&folder, &["build"]);
        assert_eq!((said.stderr, said.code), (format!("+ {build}\n{words}"), code));
    }
    // a program reads what was made, and nothing that the command prints
    let build = "echo hello; /bin/cp greeting.wasm out.wasm";
    fs::write(folder.join("plugin.toml"), toml(build)).unwrap();
    let said = in_folder(&folder, &["build", "-o", "json"]);
    let made: Value = serde_json::from_str(&said.stdout).unwrap();
    let bytes = fs::metadata(folder.join("out.wasm")).unwrap().len();
    assert_eq!(made, json!({"component": "./out.wasm", "bytes": bytes}));
    assert_eq!((said.stderr, said.code), (format!("+ {build}\nhello\n"), 0));
}

/// As componentize-py says it: what helps stands between tracebacks of its own.
#[test]
fn why_a_build_in_python_fails_is_its_first_line() {
    let folder = project("build-python", &greeting(""), "");
    let said_by_it = "Traceback (most recent call last):
  File \".venv/bin/componentize-py\", line 8, in <module>
AssertionError: Traceback (most recent call last):
ModuleNotFoundError: No module named 'requests'
The above exception was the direct cause of the following exception:
    ModuleNotFoundError: No module named 'requests': name its package in requirements.txt
Caused by:
    error while executing: 1
";
    fs::write(folder.join("said.txt"), said_by_it).unwrap();
    let toml = |code: u8| {
        let build = format!("cat said.txt >&2 # componentize-py\nexit {code}");
        format!("name = \"greeting\"\nbuild = '''\n{build}\n'''\ncomponent = \"greeting.wasm\"\n")
    };
    fs::write(folder.join("plugin.toml"), toml(1)).unwrap();
    let said = in_folder(&folder, &["build"]);
    let begins = "+ cat said.txt >&2 # componentize-py\n+ exit 1\n";
    let first = "kubeopencode: build of greeting: ModuleNotFoundError: No module named 'requests': name its package in requirements.txt\n";
    let last = "kubeopencode: build of greeting: the command ended with 1: see above\n";
    assert_eq!((said.stderr, said.code), (format!("{begins}{first}{said_by_it}{last}"), 1));
    // what does not fail has no cause
    fs::write(folder.join("plugin.toml"), toml(0)).unwrap();
    let said = in_folder(&folder, &["build"]);
    assert_eq!(
        (said.stderr, said.code),
        (format!("+ cat said.txt >&2 # componentize-py\n+ exit 0\n{said_by_it}"), 0)
    );
}

#[test]
fn the_component_and_what_is_evaluated_have_names_of_their_own() {
    let folder = project("eval-help", &greeting(""), "");
    let said = in_folder(&folder, &["eval", "--help"]);
    let usage = said.stdout.lines().find(|line| line.starts_with("Usage: ")).unwrap();
    assert!(usage.contains("--filename <FILE>") && usage.ends_with("[COMPONENT]"), "{usage}");
}

#[test]
fn what_it_logs_is_there() {
    let folder = project("eval-log", &logging(), "");
    fs::write(folder.join("item.yaml"), ITEM).unwrap();
    let said = in_folder(&folder, &["eval", "-f", "item.yaml"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, "log  Greeting, call 1: warn: hello\n"));
    assert!(!said.stdout.contains("warn"), "{}", said.stdout);
    let said = in_folder(&folder, &["eval", "-f", "item.yaml", "-o", "json"]);
    let all: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    let item = "spec.contexts[0] \"words\" of Task default/task";
    let line = json!({"item": item, "type": "Greeting", "call": 1, "level": "warn", "message": "hello"});
    assert_eq!((&all[0]["log"], said.stderr.as_str()), (&json!([line]), ""));
}

#[test]
fn items_stand_in_one_file_as_documents_or_as_a_list() {
    let folder = project("eval-items", &greeting(""), "");
    fs::write(folder.join("items.yaml"), "type: Greeting\nname: a\n---\ntype: Greeting\nname: b\n").unwrap();
    fs::write(folder.join("list.yaml"), "- {type: Greeting, name: c}\n- {type: Greeting, name: d}\n")
        .unwrap();
    let said = in_folder(&folder, &["eval", "-f", "items.yaml", "-f", "list.yaml", "-o", "json"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    let all: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    let names = |one: &Value| {
        let text = one["contextFile"].as_str().unwrap();
        text.matches("name=\"").count()
    };
    assert_eq!(all.iter().map(names).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(all[1]["place"], "items.yaml: Task default/task-2");
}

#[test]
fn an_error_that_its_case_expects_is_well() {
    let folder = project("eval-expected", &greeting(&asking(SCHEMA, "")), "");
    let item = "item: {type: Greeting, config: {}}";
    for (name, kind, words, code) in [
        ("met", "invalid-config", "\nthe Task fails, as the case expects: nothing is made of it\n", 0),
        ("other", "unsatisfied", "\nthe Task fails: nothing is made of it\n", 1),
    ] {
        let case = format!("name: {name}\n{item}\nexpect: {{error: {{kind: {kind}}}}}\n");
        fs::write(folder.join("case.yaml"), case).unwrap();
        let said = in_folder(&folder, &["eval", "-f", "case.yaml"]);
        assert!(said.stdout.ends_with(words), "{}", said.stdout);
        assert_eq!((said.code, said.stderr.as_str()), (code, ""), "{name}");
        let said = in_folder(&folder, &["eval", "-f", "case.yaml", "-o", "json"]);
        let all: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(
            (&all[0]["ok"], &all[0]["error"]["kind"]),
            (&(code == 0).into(), &"invalid-config".into())
        );
    }
}

#[test]
fn a_file_with_nothing_to_evaluate_is_named() {
    let folder = project("eval-nothing", &greeting(""), "");
    fs::write(folder.join("empty.yaml"), "").unwrap();
    fs::create_dir_all(folder.join("items")).unwrap();
    for name in ["empty.yaml", "items"] {
        let said = in_folder(&folder, &["eval", "-f", name]);
        let words = format!("kubeopencode: {name}: there is no item, no Task and no golden case in it\n");
        assert_eq!((said.stderr, said.code), (words, 2));
    }
}

#[test]
fn a_wrong_type_is_told_with_those_of_the_component() {
    let folder = project("eval-type", &greeting(""), "");
    fs::write(folder.join("item.yaml"), "type: Greting\n").unwrap();
    let said = in_folder(&folder, &["eval", "-f", "item.yaml"]);
    let words =
        "take one of the types Text, ConfigMap, Git, URL, Runtime and File; of plugins there is Greeting\n";
    assert!(said.stdout.contains(words), "{}", said.stdout);
    assert_eq!(said.code, 1);
}
