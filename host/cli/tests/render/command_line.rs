//! What is read, what is refused, and in which words.

use crate::common::replaced;
use crate::program::render;

const AGENT: &str = "apiVersion: kubeopencode.io/v1alpha1
kind: Agent
metadata: {name: default}
spec: {serviceAccountName: runner}
";

fn task(spec: &str) -> String {
    format!(
        "{AGENT}---
apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {{name: fix}}
spec: {spec}
"
    )
}

#[test]
fn the_same_files_give_the_same_bytes_wherever_they_are_read_from() {
    let text = task("{description: Say hello.}");
    let one = render(&["-f", "-"], &text);
    assert_eq!((one.code, one.stderr.as_str()), (0, ""), "{}", one.stderr);
    let kinds: Vec<_> = one.stdout.lines().filter(|line| line.starts_with("kind: ")).collect();
    assert_eq!(kinds, ["kind: ConfigMap", "kind: Pod"], "{}", one.stdout);
    assert_eq!(one.stdout, render(&["-f", "-"], &text).stdout);

    let items: Vec<String> = text
        .split("---\n")
        .map(|document| format!("- {}", document.trim_end().replace('\n', "\n  ")))
        .collect();
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}\n", items.join("\n"));
    assert_eq!(one.stdout, render(&["-f", "-"], &list).stdout);
    assert_eq!(one.stdout, render(&["-f", "directory"], "").stdout);
    assert_eq!(one.stdout, render(&["-f", "directory/agent.yaml", "directory/task.yml"], "").stdout);
}

#[test]
fn an_object_without_a_namespace_gets_the_one_of_the_command_line() {
    let said = render(&["-n", "team", "-f", "-"], &task("{description: Say hello.}"));
    assert!(said.stdout.contains("namespace: team\n"), "{}", said.stdout);
    // UUIDv5 of team/fix
    assert!(
        said.stdout.contains("kubeopencode.io/task-uid: 8cfe1f4b-3ba7-594b-b221-be29afe02d0a"),
        "{}",
        said.stdout
    );
}

#[test]
fn a_server_is_reached_in_the_clusters_own_domain() {
    let text = replaced(&task("{description: Say hello.}"), "runner}", "runner, serverConfig: {}}");
    for (args, address) in [
        (vec!["-f", "-"], "http://default.default.svc.cluster.local:4096"),
        (
            vec!["--cluster-domain", "k8s.example.com", "-f", "-"],
            "http://default.default.svc.k8s.example.com:4096",
        ),
    ] {
        let said = render(&args, &text);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(said.stdout.contains(&format!("value: {address}\n")), "{}", said.stdout);
    }
}

#[test]
fn yaml_is_read_as_kubectl_reads_it() {
    let item = "{type: Text, text: a, mountPath: a.sh, fileMode: 0755}";
    let said = render(&["-f", "-"], &task(&format!("{{description: Run it., contexts: [{item}]}}")));
    assert!(said.stdout.contains(r#""targetPath":"/workspace/a.sh","fileMode":493"#), "{}", said.stdout);
}

#[test]
fn what_cannot_be_rendered_ends_with_one_and_words_for_the_user() {
    let other = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";
    for (text, words) in [
        (task("{descrption: a}"), "stdin: Task default/fix: unknown field \"spec.descrption\"\n"),
        (
            task("{description: a, timeout: 5 minutes}"),
            "stdin: Task default/fix: spec.timeout: \"5 minutes\" must be a duration of at least 1s in hours, minutes and \
             seconds, for example 90s or 2h30m\n",
        ),
        (
            task("{description: a, contexts: [{type: Text, text: b, fileMode: 01000}]}"),
            "stdin: Task default/fix: spec.contexts[0].fileMode: 512 is greater than the maximum of 511\n",
        ),
        (
            task(
                "{description: a, contexts: [{type: Git, mountPath: r, git: {repository: 'https://h/r', ref: 1.10}}]}",
            ),
            "stdin: Task default/fix: spec.contexts[0].git.ref: 1.1 is not of type",
        ),
        (
            task("{description: a, agentRef: other}"),
            "stdin: Task default/fix: AgentError: agent \"other\" not found in namespace \"default\"",
        ),
        (task("{}"), "InvalidConfig: the Task has nothing to do: set spec.description"),
        (
            task("{description: a, contexts: [{type: ConfigMap, configMap: {name: gone}}]}"),
            "ContextError: spec.contexts[0] of Task default/fix: name: ConfigMap gone not found",
        ),
        (
            task("{description: a, contexts: [{type: Jira, config: {}}]}"),
            "PluginError: no plugin for context type \"Jira\"",
        ),
        (AGENT.to_owned(), "no Task: there is nothing to render"),
        (other.to_owned(), "no Task: there is nothing to render"),
        ("a: [\n".to_owned(), "stdin: "),
        ("a: 1\n".to_owned(), "stdin: document 1: apiVersion and kind are required"),
        (
            replaced(AGENT, "Agent", "Agnet"),
            "stdin: document 1: no matches for kind \"Agnet\" in version \"kubeopencode.io/v1alpha1\"",
        ),
        (
            format!("{AGENT}---\n{AGENT}"),
            "the same object stands in stdin: Agent default/default: remove one",
        ),
        (replaced(AGENT, "name: default", "generateName: a-"), "Agent: metadata.name is missing: add it"),
    ] {
        let said = render(&["-f", "-"], &text);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{text}");
        assert!(said.stderr.starts_with("kubeopencode: "), "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
}

#[test]
fn all_that_is_wrong_with_all_objects_is_told_at_once() {
    let wrong = task("{descrption: a, duration: 1s}");
    let said = render(
        &["-f", "-"],
        &[replaced(AGENT, "name: default", "generateName: a-"), "---\n".into(), wrong].concat(),
    );
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!((said.code, said.stdout.as_str(), lines.len()), (1, "", 3), "{}", said.stderr);
    assert!(lines[0].ends_with("document 1: Agent: metadata.name is missing: add it"), "{}", lines[0]);
    assert!(lines[1].ends_with("Task default/fix: unknown field \"spec.descrption\""), "{}", lines[1]);
    assert!(lines[2].ends_with("Task default/fix: unknown field \"spec.duration\""), "{}", lines[2]);
}

#[test]
fn every_refused_task_is_named_and_a_good_one_does_not_hide_them() {
    let bad = |name: &str| {
        format!(
            "---\napiVersion: kubeopencode.io/v1alpha1\nkind: Task\nmetadata: {{name: {name}}}\nspec: {{}}\n"
        )
    };
    let said = render(&["-f", "-"], &[task("{description: a}"), bad("one"), bad("two")].concat());
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", said.stderr);
    assert!(lines[0].starts_with("kubeopencode: stdin: Task default/one: InvalidConfig: "), "{}", lines[0]);
    assert!(lines[1].starts_with("kubeopencode: stdin: Task default/two: InvalidConfig: "), "{}", lines[1]);
}

#[test]
fn what_was_left_out_is_said_beside_the_result() {
    let item = "{type: ConfigMap, configMap: {name: gone, optional: true}}";
    let said = render(&["-f", "-"], &task(&format!("{{description: a, contexts: [{item}]}}")));
    assert_eq!(said.code, 0);
    assert!(
        said.stderr.starts_with("warning: stdin: Task default/fix: OptionalSkipped: "),
        "{}",
        said.stderr
    );
}

#[test]
fn files_that_are_not_there_or_no_plugin_are_named() {
    let said = render(&["-f", "missing.yaml"], "");
    assert_eq!(said.stderr, "kubeopencode: missing.yaml: No such file or directory (os error 2)\n");
    let said = render(&["-f", "directory", "--plugin", "directory/agent.yaml"], "");
    assert_eq!(
        said.stderr,
        "kubeopencode: directory/agent.yaml: this is not a WebAssembly component: it does not begin with a \
         component's header\n"
    );
}
