//! What has no equivalent is said, with object, field and remedy.

use serde_json::json;

use crate::common::replaced;
use crate::{migrate, objects, old, only, text};

/// A Task with these contexts and an Agent for it.
fn task(contexts: &[&str]) -> String {
    let config = old("WorkspaceConfig", "default", "{}");
    [config, old("Task", "fix", &format!("{{contexts: [{}]}}", contexts.join(", ")))].concat()
}

fn file(source: &str, path: &str) -> String {
    format!("{{type: File, file: {{name: f, source: {{{source}}}, mountPath: \"{path}\"}}}}")
}

#[test]
fn an_image_with_an_entrypoint_waits_until_its_command_is_written() {
    let said = migrate(&old("WorkspaceConfig", "default", "{agentImage: example.com/agent:1}"));
    let spec = &only(&said, "Agent")["spec"];
    assert_eq!(
        spec,
        &json!({"executorImage": "example.com/agent:1", "serviceAccountName": "default", "suspend": true})
    );
    let words = "warning: stdin: WorkspaceConfig default/default: spec.agentImage: example.com/agent:1 is run by its own \
                 ENTRYPOINT, of which an Agent knows nothing: write it in spec.command, and remove spec.suspend";
    assert!(said.stderr.starts_with(words), "{}", said.stderr);
}

#[test]
fn each_thing_that_differs_is_said_with_its_remedy() {
    let secret = "secretKeyRef: {name: s, key: k}";
    let map = "configMapKeyRef: {name: gone, key: k}";
    let image = old("WorkspaceConfig", "own", "{agentImage: example.com/agent:1}");
    for (yaml, words) in [
        (
            old("Task", "fix", &format!("{{contexts: [{}]}}", text("a"))),
            "Task default/fix: spec.workspaceConfigRef: WorkspaceConfig default/default is not among the files: without a \
             WorkspaceConfig there were built-in images, without an Agent there is nothing. Add it with -f, or apply an Agent",
        ),
        (
            old("Task", "fix", &format!("{{workspaceConfigRef: big, contexts: [{}]}}", text("a"))),
            "spec.workspaceConfigRef: WorkspaceConfig default/big is not among the files. Add it with -f, or apply an Agent",
        ),
        (
            task(&[&text("a"), &file(secret, "")]),
            "spec.contexts[1]: it comes from a Secret, so its text moves from /workspace/task.md to \
             /workspace/.kubeopencode/context.md, between tags: OpenCode reads both, another program has to be told",
        ),
        (
            task(&[&text("a"), &file(map, "")]),
            "spec.contexts[1]: ConfigMap default/gone is not among the files (add it with -f to have the text in \
             spec.description), so its text moves",
        ),
        (
            task(&[&text("a"), "{type: Jira, config: {issue: A-1}}"]),
            "spec.contexts[1]: its plugin Jira says its text at the launch, so its text moves",
        ),
        (
            task(&["{type: Jira, config: {issue: A-1}}"]),
            "spec.contexts: none of them is text that is known here, and a Task without a prompt fails: write spec.description",
        ),
        (
            old("WorkspaceConfig", "default", &format!("{{defaultContexts: [{}]}}", text("a"))),
            "spec.defaultContexts[0]: it is for all Tasks, so its text moves from /workspace/task.md to /workspace/.kubeopencode/context.md",
        ),
        (
            old(
                "WorkspaceConfig",
                "default",
                &format!("{{agentImage: a, defaultContexts: [{}]}}", text("a")),
            ),
            "spec.defaultContexts[0]: it is for all Tasks: those of these files begin with its text in spec.description, as it \
             stood in /workspace/task.md; later ones have it in /workspace/.kubeopencode/context.md alone",
        ),
        (
            old(
                "WorkspaceConfig",
                "default",
                &format!("{{agentImage: a, defaultContexts: [{}]}}", file(map, "")),
            ),
            "spec.defaultContexts[0]: ConfigMap default/gone is not among the files (add it with -f to have the text in \
             spec.description), so its text moves",
        ),
        (
            old(
                "WorkspaceConfig",
                "default",
                &format!(
                    "{{agentImage: a, defaultContexts: [{}]}}",
                    file(secret, "/home/agent/.claude/CLAUDE.md")
                ),
            ),
            "spec.defaultContexts[0]: mountPath /home/agent/.claude/CLAUDE.md lies in a home directory, and HOME is /tmp, not \
             the image's: set HOME in spec.podSpec.env, or no program finds it at ~",
        ),
        (
            image
                + &old(
                    "Task",
                    "fix",
                    &format!("{{workspaceConfigRef: own, contexts: [{}]}}", file(secret, "/root/.a")),
                ),
            "spec.contexts[0]: mountPath /root/.a lies in a home directory, and HOME is /tmp, not the image's: let Agent \
             default/own hold this context, and set HOME in its podSpec.env",
        ),
        (
            old("WorkspaceConfig", "default", &format!("{{defaultContexts: [{}]}}", file(map, "/etc//a")))
                + &old("Task", "fix", &format!("{{contexts: [{}, {}]}}", text("b"), file(secret, "/etc/a"))),
            "Task default/fix: spec.contexts[1]: mountPath /etc/a is that of spec.contexts[0] of Agent default/default too; \
             the higher layer won, and now it is a conflict, which fails the Task: remove one of the two",
        ),
        (
            task(&[&text("a"), &file(secret, "/usr/local/bin/tool")]),
            "spec: as it stands, the Task fails: spec.contexts[0] \"f\" of Task default/fix: path /usr/local/bin/tool reaches \
             into /usr, which the agent's image decides on",
        ),
        (
            task(&[&text("a"), &file(secret, "/tools/a")]),
            "spec: as it stands, the Task fails: spec.contexts[0] \"f\" of Task default/fix: mountPath \"/tools/a\" reaches \
             into /tools, which is reserved",
        ),
        (
            old("WorkspaceConfig", "default", "{credentials: [{name: c, secretRef: {name: s, key: k}}]}"),
            "spec: as it stands, no Task of it can run: spec.credentials[0] \"c\" of Agent default/default",
        ),
        (
            task(&[&text("a")]),
            "metadata.name: its Pod is fix-pod with the labels app=kubeopencode and kubeopencode.io/task, and was fix-kt-pod \
             with the labels app=kubetask and kubetask.io/task",
        ),
        (
            old("Batch", "b", &format!("{{parallelism: 3, variableContexts: [[{}]]}}", text("a"))),
            "Batch default/b: spec.parallelism: at most 3 ran at a time, and Tasks start all at once: set \
             spec.maxConcurrentTasks of Agent default/default to 3, which counts all of its Tasks",
        ),
        (
            old(
                "Batch",
                "b, annotations: {kubetask.io/pause: \"true\"}",
                &format!("{{variableContexts: [[{}]]}}", text("a")),
            ),
            "metadata.annotations: it is paused, and Tasks are not: set spec.suspend of Agent default/default to true",
        ),
        (
            old("Batch", "b", &format!("{{variableContexts: [[{}]]}}", text("a"))),
            "metadata.name: its Tasks have the label batch=b in place of kubetask.io/batch and kubetask.io/batch-index",
        ),
        (
            old(
                "Batch",
                "b",
                &format!(
                    "{{commonContext: [{}, {}], variableContexts: [[{}], []]}}",
                    text("a"),
                    file(map, "/etc/a"),
                    file(secret, "/etc/./a")
                ),
            ),
            "spec.commonContext[1]: its mountPath is overridden in Tasks that have it too, and left out there",
        ),
        (
            old(
                "Batch",
                "b",
                &format!("{{variableContexts: [[{0}, {1}], [{0}, {1}]]}}", text("a"), file(secret, "/usr/a")),
            ),
            "path /usr/a reaches into /usr, which the agent's image decides on: choose one in the workspace /workspace, or let \
             Agent default/default hold the context (1 more such things are wrong with its Tasks)",
        ),
    ] {
        let said = migrate(&yaml);
        assert_eq!(said.code, 0, "{}", said.stderr);
        let line = |line: &str| line.starts_with("warning: stdin: ") && line.contains(words);
        assert_eq!(said.stderr.lines().filter(|text| line(text)).count(), 1, "{words}\n{}", said.stderr);
    }
}

#[test]
fn a_layer_that_is_overridden_is_left_out_where_it_can_be() {
    let [low, high] = [("low", "/etc/a"), ("high", "/etc/./a")].map(|(name, path)| {
        format!("{{type: File, file: {{name: {name}, source: {{secretKeyRef: {{name: s, key: k}}}}, mountPath: {path}}}}}")
    });
    let batch = old(
        "Batch",
        "b",
        &format!("{{commonContext: [{}, {low}], variableContexts: [[{high}], []]}}", text("a")),
    );
    let said = migrate(&batch);
    let names: Vec<_> = objects(&said.stdout)
        .iter()
        .map(|task| (task["metadata"]["name"].clone(), task["spec"]["contexts"][0]["name"].clone()))
        .collect();
    assert_eq!(names, [(json!("b-task-0"), json!("high")), (json!("b-task-1"), json!("low"))]);
}

#[test]
fn what_ran_already_does_not_run_again() {
    let task = task(&[&text("a")]);
    let over = |status: &str| format!("{task}status: {status}\n");
    for (yaml, words) in [
        (
            over("{phase: Completed}"),
            "status.phase: left out: it is Completed, and its agent would run again",
        ),
        (over("{phase: Running, podUID: u}"), "status.phase: left out: it is Running"),
        (
            replaced(&task, "name: fix", "name: fix, annotations: {kubetask.io/stop: \"true\"}"),
            "metadata.annotations: left out: it is stopped",
        ),
        (
            replaced(
                &task,
                "name: fix",
                "name: fix, ownerReferences: [{apiVersion: kubetask.io/v1alpha1, kind: Batch, name: b, uid: u, controller: true}]",
            ),
            "metadata.ownerReferences: left out: it is a Task of Batch b, which becomes Tasks itself",
        ),
    ] {
        let said = migrate(&yaml);
        assert!(!said.stdout.contains("kind: Task"), "{}", said.stdout);
        assert!(said.stderr.contains(&format!("Task default/fix: {words}")), "{}", said.stderr);
    }
    let batch = old("Batch", "b", &format!("{{variableContexts: [[{0}], [{0}], [{0}]]}}", text("a")));
    let said = migrate(&format!("{batch}status: {{phase: Failed}}\n"));
    assert_eq!(said.stdout, "", "{}", said.stderr);
    let said = migrate(&format!("{batch}status: {{phase: Running, made: 2}}\n"));
    assert_eq!(only(&said, "Task")["metadata"]["name"], "b-task-2");
    assert!(said.stderr.contains("status.made: left out: the first 2 of its 3 Tasks"), "{}", said.stderr);
}
