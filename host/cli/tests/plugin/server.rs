//! Golden cases of servers: what `plugin test` and `plugin eval` say of a command builder whose agent runs as one, the guest
//! `plugins/serving`, and of one whose agent does not.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::replaced;
use crate::{greeting, guests, in_folder, project, project_of};

/// The Agent, with a server at this port.
fn agent(port: u16) -> String {
    format!(
        "{{apiVersion: kubeopencode.io/v1alpha1, kind: Agent, metadata: {{name: default, namespace: default}}, \
         spec: {{commandBuilder: serving, serviceAccountName: agent, serverConfig: {{port: {port}}}, contexts: [{{type: Text, text: Be brief.}}]}}}}"
    )
}

/// A folder with the guest, and these golden cases.
fn serving(name: &str, cases: &str) -> PathBuf {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let built = guests::build(&plugins, &target, &["serving"]).unwrap();
    project_of(name, &fs::read(built.join("serving.wasm")).unwrap(), cases)
}

/// What a server's plan is to be, as JSON.
fn plan() -> Value {
    json!({
        "command": {
            "tools": "none",
            "command": ["serving", "--port", "8080"],
            "files": [{"path": "/tools/serving.conf", "content": "read /workspace/.kubeopencode/context.md\n"}],
        },
        "healthPath": "/health",
    })
}

#[test]
fn a_server_has_golden_cases_as_a_task_has() {
    let (server, refused, plan) = (agent(8080), agent(1), plan());
    let context =
        "<context name=\"context\" namespace=\"default\" type=\"Text\">\nBe brief.\n</context>\n".to_owned();
    let cases = [
        format!("name: its plan\nserver: {server}\nexpect: {{plan: {plan}}}\n"),
        format!("name: what it reads\nserver: {server}\nexpect: {{contextFile: {}}}\n", Value::from(context)),
        format!(
            "name: its files\nserver: {server}\nexpect: {{files: {{/tools/serving.conf: read /workspace/.kubeopencode/context.md}}}}\n"
        ),
        format!(
            "name: what it refuses\nserver: {refused}\nexpect: {{error: {{kind: invalid-config, message: 'spec.serverConfig.port: as asked'}}}}\n"
        ),
        // no server, but a Task beside it
        format!(
            "name: a Task attaches\nagent: {server}\nexpect: {{plan: {{tools: none, command: [client, 'http://default.default.svc.cluster.local:8080']}}}}\n"
        ),
    ];
    let folder = serving("serving", &cases.join("---\n"));
    let said = in_folder(&folder, &["test"]);
    assert!(said.stdout.ends_with("\n5 cases ok\n"), "{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, 0);
    let said = in_folder(&folder, &["check"]);
    let twice = said.stdout.lines().find(|line| line.starts_with("  same twice")).unwrap();
    assert!(twice.starts_with("  same twice  yes: 5 golden cases, "), "{twice}");
    assert!(twice.ends_with(" fuel, same bytes") && !twice.contains("reach"), "{twice}");

    let said = in_folder(&folder, &["eval", "-f", "tests/cases.yaml"]);
    for words in [
        "    call 1      answers: a command ",
        "      healthPath: /health\n",
        "what the agent reads in .kubeopencode/context.md:\n<context name=\"context\"",
        "    error       invalid-config\n",
        "the Agent has no server, as the case expects: nothing is made for it\n",
    ] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    assert_eq!(said.code, 0);
}

#[test]
fn what_came_of_a_server_is_written_too() {
    let case = |name: &str, port: u16, expect: &str| {
        format!("name: {name} # as it is\nserver: {}\nexpect: {{{expect}}}\n", agent(port))
    };
    let cases = [case("served", 8080, "plan: {healthPath: /ready}"), case("refused", 1, "plan: {}")];
    let folder = serving("serving-update", &cases.join("---\n"));
    let said = in_folder(&folder, &["test"]);
    assert!(said.stdout.contains("- healthPath: /ready\n"), "{}", said.stdout);
    assert!(said.stdout.contains("+ healthPath: /health\n"), "{}", said.stdout);
    assert_eq!(said.code, 1);
    let said = in_folder(&folder, &["test", "--update"]);
    assert!(said.stdout.contains("2 cases written; "), "{}{}", said.stdout, said.stderr);
    let text = fs::read_to_string(folder.join("tests/cases.yaml")).unwrap();
    assert_eq!(text.matches(" # as it is\nserver: {apiVersion: ").count(), 2, "{text}");
    let first: Value = serde_norway::from_str(text.split("\n---\n").next().unwrap()).unwrap();
    assert_eq!(first["expect"], json!({"plan": plan()}));
    let said = in_folder(&folder, &["test"]);
    assert!(said.stdout.ends_with("\n2 cases ok\n"), "{}{}", said.stdout, said.stderr);
}

#[test]
fn a_context_type_is_asked_for_a_server_too() {
    let server = replaced(&agent(8080), "commandBuilder: serving, ", "");
    let server = replaced(&server, "type: Text, text: Be brief.", "type: Greeting");
    let context = "<context name=\"context\" namespace=\"default\" type=\"Greeting\">\nhello\n</context>";
    let context = Value::from(context);
    let cases = format!(
        "name: its text\nserver: {server}\nexpect: {{contextFile: {context}}}\n---\nname: its plan\nserver: {server}\nexpect: {{plan: {{actions: [{{inline: hello}}]}}}}\n"
    );
    let folder = project("serving-item", &greeting(""), &cases);
    let said = in_folder(&folder, &["test"]);
    assert!(said.stdout.ends_with("\n2 cases ok\n"), "{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, 0);
}

#[test]
fn a_builder_without_a_server_says_what_the_agents_condition_says() {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-host/tests/fixtures/1.0.0/rust.wasm.zst");
    let component = zstd::decode_all(fs::File::open(fixture).unwrap()).unwrap();
    let server = replaced(&agent(8080), "commandBuilder: serving", "commandBuilder: fixture");
    let expect = "{kind: InvalidConfig, message: 'spec.serverConfig: command builder \"fixture\" cannot run a server: remove serverConfig, or name another builder'}";
    let cases = format!("name: it runs none\nserver: {server}\nexpect: {{error: {expect}}}\n");
    let folder = project_of("serving-none", &component, &cases);
    let said = in_folder(&folder, &["test", "--kind", "command-builder"]);
    assert!(said.stdout.ends_with("\n1 case ok\n"), "{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, 0);
}
