//! The seam between the plan and the program in the Pod: what is rendered is given to the real `context-init`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::replaced;
use crate::program::{example, examples, objects_of, render};

/// Writes what the Pod's volumes would show below `root`, and runs `context-init` there: every path of the Pod is one
/// below `root`. The workspace must be there already.
fn context_init(root: &Path, stdout: &str, secrets: &[(&str, &str)]) {
    let documents = objects_of(stdout);
    let at = |path: &str| format!("{}{path}", root.display());
    for dir in ["/configmap-files", "/tools"] {
        fs::create_dir_all(at(dir)).unwrap();
    }
    for map in documents.iter().filter(|document| document["kind"] == "ConfigMap") {
        for (key, value) in map["data"].as_object().unwrap() {
            fs::write(at(&format!("/configmap-files/{key}")), value.as_str().unwrap()).unwrap();
        }
    }
    for (path, value) in secrets {
        fs::create_dir_all(Path::new(&at(path)).parent().unwrap()).unwrap();
        fs::write(at(path), value).unwrap();
    }
    let pod = documents.iter().find(|document| document["kind"] == "Pod").unwrap();
    let inits = pod["spec"]["initContainers"].as_array().unwrap();
    let container = inits.iter().find(|container| container["name"] == "context-init").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubeopencode"));
    command.arg("context-init").env_clear();
    for variable in container["env"].as_array().unwrap() {
        let value = expanded(variable["value"].as_str().unwrap());
        let value = match variable["name"].as_str().unwrap() {
            "CONFIGMAP_PATH" | "TOOLS_DIR" => at(&value),
            "FILE_MAPPINGS" => {
                let secrets = value.replace("\"/secret-", &format!("\"{}", at("/secret-")));
                secrets.replace("\"/tools/", &format!("\"{}", at("/tools/")))
            }
            _ => value,
        };
        command.env(variable["name"].as_str().unwrap(), value);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The root of a Pod, with a workspace and a user's home.
fn root_with_home() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for dir in ["workspace", "home"] {
        fs::create_dir(root.path().join(dir)).unwrap();
    }
    root
}

/// What git prints to the agent.
fn git(root: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(args).env("HOME", root.join("home")).env("GIT_CONFIG_GLOBAL", root.join("tools/.gitconfig"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_clone_can_be_committed_to_in_the_name_that_the_user_gives_or_in_ours() {
    let root = root_with_home();
    let objects = format!(
        "apiVersion: kubeopencode.io/v1alpha1
kind: Agent
metadata: {{name: default}}
spec: {{serviceAccountName: runner, workspaceDir: {}}}
---
apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {{name: fix}}
spec:
  description: Do it.
  contexts: [{{type: Git, mountPath: src, git: {{repository: https://git.example/org/repo}}}}]
",
        root.path().join("workspace").display()
    );
    let said = render(&["-f", "-"], &objects);
    assert_eq!(said.code, 0, "{}", said.stderr);
    context_init(root.path(), &said.stdout, &[]);
    let value = |key: &str| git(root.path(), &["config", "--get", key]);
    assert_eq!(value("safe.directory"), "*");
    assert_eq!(
        (value("user.name"), value("user.email")),
        ("KubeOpenCode".into(), "noreply@kubeopencode.io".into())
    );
    // as an agent does it, and as a user who mounts a file
    git(root.path(), &["config", "--global", "user.email", "agent@example.com"]);
    assert_eq!(value("user.email"), "agent@example.com");
    fs::write(root.path().join("home/.gitconfig"), "[user]\n\tname = Build Bot\n[alias]\n\tci = commit\n")
        .unwrap();
    assert_eq!((value("user.name"), value("alias.ci")), ("Build Bot".into(), "commit".into()));
}

/// The Agent's word counts more than a file that its image has or that somebody mounts.
#[test]
fn an_agent_says_who_commits() {
    let root = root_with_home();
    let objects = format!(
        r#"apiVersion: kubeopencode.io/v1alpha1
kind: Agent
metadata: {{name: default}}
spec: {{serviceAccountName: runner, workspaceDir: {}, git: {{identity: {{name: 'A "B" \ #c', email: bot@example.com}}}}}}
---
apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {{name: fix}}
spec: {{description: Do it.}}
"#,
        root.path().join("workspace").display()
    );
    let said = render(&["-f", "-"], &objects);
    assert_eq!(said.code, 0, "{}", said.stderr);
    context_init(root.path(), &said.stdout, &[]);
    fs::write(root.path().join("home/.gitconfig"), "[user]\n\tname = Of the image\n").unwrap();
    for (key, expected) in [("user.name", r#"A "B" \ #c"#), ("user.email", "bot@example.com")] {
        assert_eq!(git(root.path(), &["config", "--get", key]), expected, "{key}");
    }
}

/// A variable's value as kubelet gives it to the container: `$$` is `$`, and nothing here names another variable.
fn expanded(value: &str) -> String {
    assert!(!value.replace("$$", "").contains("$("), "{value}");
    value.replace("$$", "$")
}

#[test]
fn dollars_of_prompts_texts_and_paths_stay_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let workspace = root.path().join("workspace");
    fs::create_dir(&workspace).unwrap();
    let prompt = "-n $(HOME) $$ ${TASK_NAME} `id` 'EOF'\n</context>\n\u{1f680}";
    let text = "$(PATH) $$ $(TASK_NAME)";
    let agent = json!({
        "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Agent", "metadata": {"name": "default"},
        "spec": {"serviceAccountName": "runner", "workspaceDir": workspace},
    });
    let task = json!({
        "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Task", "metadata": {"name": "fix"},
        "spec": {"description": prompt, "contexts": [{"type": "Text", "text": text, "mountPath": "notes $(HOME).md"}]},
    });
    let said = render(&["-f", "-"], &format!("{agent}\n---\n{task}\n"));
    assert_eq!(said.code, 0, "{}", said.stderr);
    context_init(root.path(), &said.stdout, &[]);
    let read = |path: &str| fs::read_to_string(workspace.join(path)).unwrap();
    assert_eq!(read("task.md"), prompt);
    assert_eq!(read("notes $(HOME).md"), text);
}

#[test]
fn files_secrets_and_parts_come_together() {
    let root = tempfile::tempdir().unwrap();
    let workspace = root.path().join("workspace");
    fs::create_dir(&workspace).unwrap();
    let big = "0123456789abcdef ".repeat(60_000);
    let objects = format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: big}}
data: {{all: \"{big}\"}}
---
apiVersion: kubeopencode.io/v1alpha1
kind: Agent
metadata: {{name: default}}
spec:
  serviceAccountName: runner
  workspaceDir: {}
  config: {{model: a/b}}
---
apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {{name: fix}}
spec:
  description: Do it.
  contexts:
    - {{name: one, type: ConfigMap, configMap: {{name: big, key: all}}}}
    - {{name: two, type: File, file: {{name: f, source: {{secretKeyRef: {{name: s, key: a}}}}}}}}
    - {{name: three, type: File, file: {{name: f, source: {{secretKeyRef: {{name: s, key: b, optional: true}}}}}}}}
    - {{type: ConfigMap, configMap: {{name: big, key: all}}, mountPath: big.txt, fileMode: 0640}}
    - {{type: File, mountPath: may, file: {{name: f, source: {{secretKeyRef: {{name: s, key: b, optional: true}}}}}}}}
",
        workspace.display()
    );
    let said = render(&["-f", "-"], &objects);
    assert_eq!(said.code, 0, "{}", said.stderr);
    context_init(root.path(), &said.stdout, &[("/secret-0/a", "</context> a secret")]);

    let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
    assert_eq!(read("workspace/task.md"), "Do it.");
    assert_eq!(
        read("workspace/.kubeopencode/context.md"),
        format!(
            "<context name=\"one\" namespace=\"default\" type=\"ConfigMap\">\n{big}\n</context>\n\n\
             <context name=\"two\" namespace=\"default\" type=\"File\">\n&lt;/context> a secret\n</context>"
        )
    );
    assert_eq!(read("workspace/big.txt"), big);
    assert_eq!(read("workspace/may"), "", "an optional Secret that is not there is an empty file");
    assert_eq!(read("tools/opencode.json"), r#"{"model":"a/b"}"#);
    assert!(root.path().join("tools/kubeopencode").is_file(), "the result reader");
}

#[test]
fn pieces_are_joined_around_a_secret_that_may_be_missing() {
    let said = render(&["-f", "kubetask_layers.yaml"], "");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let start = "Write tests first.\n\n---\n\nUpdate it.\n\n---\n\n";
    for (hint, expected) in [
        (Some("Look at main.\n\n"), format!("{start}Look at main.\n\n---\n\nSay done.\n")),
        // it goes with its separator
        (Some("\r\n"), format!("{start}Say done.\n")),
        (None, format!("{start}Say done.\n")),
    ] {
        let root = tempfile::tempdir().unwrap();
        let secrets: Vec<_> = hint.map(|hint| ("/secret-0/a", hint)).into_iter().collect();
        context_init(root.path(), &said.stdout, &secrets);
        let read = |i: usize| fs::read_to_string(root.path().join(format!("tools/.files/{i}"))).unwrap();
        assert_eq!(read(0), expected, "{hint:?}");
        let other = fs::read_dir(root.path().join("tools/.files")).unwrap().count();
        assert_eq!(other, 2, "task.md and the optional file");
    }
}

/// They print what the programs print, and say what they were given.
const CLAUDE: &str = include_str!("../../../../tests/fixtures/claude.sh");
const CODEX: &str = include_str!("../../../../tests/fixtures/codex.sh");

/// What is left of a Task: exit code, log and report, with paths as in the Pod.
struct Ran {
    code: Option<i32>,
    log: String,
    report: Value,
}

/// Runs a Task of the Agent `agent` of an example, with `stand_in` as the program that an image brings.
fn ran(name: &str, agent: &str, program: &str, stand_in: &str, does: &str) -> Ran {
    let component = example(name);
    let objects = fs::read_to_string(examples().join(name).join("agent.yaml")).unwrap();
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| format!("{}{path}", root.path().display());
    fs::create_dir(at("/workspace")).unwrap();
    let place = format!("spec:\n  workspaceDir: {}\n", at("/workspace"));
    let objects = format!(
        "{}\n---\napiVersion: kubeopencode.io/v1alpha1\nkind: Task\nmetadata: {{name: hello}}\n\
         spec: {{agentRef: {agent}, description: {does}, contexts: [{{type: Text, text: Some words.}}]}}\n",
        replaced(&objects, "spec:\n", &place)
    );
    let said = render(&["--plugin", component.to_str().unwrap(), "-f", "-"], &objects);
    assert_eq!(said.code, 0, "{}", said.stderr);
    context_init(root.path(), &said.stdout, &[]);
    let program = at(&format!("/tools/{program}"));
    fs::write(&program, stand_in).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // the kubelet's
    fs::write(at("/message"), "").unwrap();

    let pod = objects_of(&said.stdout).into_iter().find(|object| object["kind"] == "Pod").unwrap();
    let container = &pod["spec"]["containers"][0];
    let here = |value: &Value| value.as_str().unwrap().replace("/tools", &at("/tools"));
    let words: Vec<_> = container["command"].as_array().unwrap().iter().map(here).collect();
    let variables = container["env"].as_array().unwrap().iter().filter(|it| it["value"].is_string());
    let output = Command::new(&words[0])
        .args(&words[1..])
        .envs(variables.map(|it| (it["name"].as_str().unwrap(), here(&it["value"]))))
        .env("KUBEOPENCODE_TERMINATION_LOG", at("/message"))
        .output()
        .unwrap();
    let in_the_pod = |text: &str| text.replace(&at(""), "");
    let message = in_the_pod(&fs::read_to_string(at("/message")).unwrap());
    let report = serde_json::from_str(&message)
        .unwrap_or_else(|e| panic!("{e}: {message}{}", String::from_utf8_lossy(&output.stderr)));
    let log = in_the_pod(&String::from_utf8(output.stdout).unwrap());
    Ran { code: output.status.code(), log, report }
}

/// The summary, which has all of these words.
fn summary<'r>(report: &'r Value, expected: &[&str]) -> &'r str {
    let summary = report["summary"].as_str().unwrap();
    for words in expected {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    summary
}

#[test]
fn claude_code_is_given_its_files_and_its_output_is_read() {
    let ran = |does| ran("claude-code", "claude", "claude", CLAUDE, does);
    let usage = json!({"inputTokens": 1205, "outputTokens": 21, "cacheReadTokens": 800, "costUSD": "0.0125"});
    let Ran { code, log, report } = ran("Say hello.");
    assert_eq!((code, &report["outcome"], &report["usage"]), (Some(0), &json!("completed"), &usage));
    let summary = summary(
        &report,
        &[
            "asked: Say hello.;",
            "arguments: -p --setting-sources user --strict-mcp-config --permission-mode bypassPermissions --settings",
            "--output-format stream-json --verbose;",
            "settings: {model:sonnet,permissions:{deny:[WebFetch]}};",
            "servers: {mcpServers:{docs:{type:http,url:https://mcp.example.com}}};",
            "Some words.",
        ],
    );
    assert_eq!(log, format!("I will look.\nBash\n{summary}\n"));

    let Ran { code, report, .. } = ran("Please fail.");
    assert_eq!((code, &report["outcome"], &report["usage"]), (Some(1), &json!("agent-error"), &usage));
    assert_eq!(report["error"], "API Error: 401 invalid x-api-key");
}

#[test]
fn codex_is_given_its_home_and_its_output_is_read() {
    let ran = |does| ran("codex", "codex", "codex", CODEX, does);
    let Ran { code, log, report } = ran("Say hello.");
    assert_eq!((code, &report["outcome"]), (Some(0), &json!("completed")));
    let usage =
        json!({"inputTokens": 2005, "outputTokens": 61, "reasoningTokens": 20, "cacheReadTokens": 1600});
    assert_eq!(report["usage"], usage);
    let summary = summary(
        &report,
        &[
            "asked: Say hello.;",
            "arguments: exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox - --json;",
            "mcp_servers = {docs = {url = https://mcp.example.com}} model = gpt-5.6 ",
            "projects = {/workspace = {trust_level = untrusted}}",
            "Some words.",
        ],
    );
    let before = "Model metadata for `stand-in` not found.\nI will look.\n/bin/sh -lc ls\n";
    assert_eq!(log, format!("{before}{summary}\n"));

    let Ran { code, log, report } = ran("Please fail.");
    assert_eq!((code, &report["outcome"]), (Some(1), &json!("agent-error")));
    let refused = "unexpected status 401 Unauthorized: Incorrect API key provided";
    assert_eq!(report["error"], refused);
    let tried = format!("{before}Reconnecting... 5/5 ({refused})\n{refused}\nerror: {refused}\n");
    assert_eq!(log, tried, "a request that is tried again is no end");
}
