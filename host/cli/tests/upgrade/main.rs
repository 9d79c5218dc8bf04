//! `kubeopencode check-upgrade`, as a user calls it: these files, these words, this exit code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;

use common::{Said, call};

/// In the folder of the examples of docs/spec/architecture.md.
fn check(args: &[&str], stdin: &str) -> Said {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/spec/architecture");
    call("check-upgrade", args, &examples, stdin, &[])
}

/// An object of `kubeopencode.io`.
fn object(kind: &str, metadata: &str, spec: &str) -> String {
    format!("---\napiVersion: kubeopencode.io/v1alpha1\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n")
}

/// An Agent of which nothing differs.
fn agent(name: &str, more: &str) -> String {
    let spec = format!("{{serviceAccountName: runner, podSpec: {{securityContext: {{}}}}{more}}}");
    object("Agent", &format!("{{name: {name}}}"), &spec)
}

#[test]
fn what_differs_is_said_field_by_field_and_ends_with_0() {
    let files = [
        object(
            "Agent",
            "{name: shared, namespace: platform}",
            "{serviceAccountName: runner, command: [/tools/opencode, run], maxConcurrentTasks: 3, \
             quota: {maxTaskStarts: 10, windowSeconds: 3600}, \
             contexts: [{type: Text, text: Be kind.}, {type: Git, mountPath: r, git: {repository: 'https://git.example.com/r'}}], \
             podSpec: {labels: {app: mine, team: a}, resources: {requests: {memory: 1Gi}}}}",
        ),
        object(
            "Task",
            "{name: fix, namespace: team}",
            "{description: Fix it., agentRef: {name: shared, namespace: platform}}",
        ),
        object("KubeOpenCodeConfig", "{name: default, namespace: team}", "{systemImage: {image: 'a/b:1'}}"),
        object("KubeOpenCodeConfig", "{name: default, namespace: ours}", "{cleanup: {maxRetainedTasks: 9}}"),
    ];
    let said = check(&["-f", "-", "--operator-namespace", "ours"], &files.concat());
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    assert_eq!(
        said.stdout,
        "\
stdin: Agent platform/shared
  ignored  LabelsIgnored: spec.podSpec.labels of Agent platform/shared: app ignored, these keys are KubeOpenCode's own
  differs  spec.command: it is taken, and its exit code alone decides how a Task ends: without it the default command also fills \
         status.result and status.usage
  differs  spec.maxConcurrentTasks: Tasks start as soon as there is room, in the order of their creation over all namespaces
  differs  spec.quota: Tasks start as soon as there is room, in the order of their creation over all namespaces
  differs  spec.podSpec.resources: they are those of every container of the Pod
  differs  spec.podSpec.securityContext: by default containers have no capabilities, no privilege escalation and the seccomp \
         profile RuntimeDefault, and the Pod has fsGroup 65532: set it, and podSecurityContext, where an image needs more
  differs  spec.contexts[1].git: a project's own opencode.json is not read, unless the Agent says that it trusts it
stdin: Task team/fix: the same here
stdin: KubeOpenCodeConfig team/default
  differs  metadata.namespace: it holds for its own namespace, field by field before the one in the operator's namespace \
         (--operator-namespace)
  differs  spec.systemImage.image: init containers run programs of this operator in it: name the image of this operator, or remove \
         the field
stdin: KubeOpenCodeConfig ours/default: the same here
"
    );
}

#[test]
fn what_has_to_be_changed_is_said_and_ends_with_1() {
    let files = [
        agent("newer", ", profile: fast"),
        agent("credentials", ", credentials: [{name: key, env: KEY, secretRef: {name: key}}]"),
        agent("server", ", serverConfig: {}"),
        object("Task", "{name: of-newer}", "{description: Fix it., agentRef: newer}"),
        object("Task", "{name: of-credentials}", "{description: Fix it., agentRef: credentials}"),
        object("Task", "{name: of-server}", "{description: Fix it., agentRef: server}"),
        object("Task", "{name: of-nobody}", "{description: Fix it.}"),
        object("KubeOpenCodeConfig", "{name: cluster, namespace: kubeopencode-system}", "{}"),
        object("Workflow", "{name: later}", "{}"),
    ];
    let said = check(&["-f", "-"], &files.concat());
    assert_eq!((said.code, said.stderr.as_str()), (1, "kubeopencode: to be changed: 8 of 9 objects\n"));
    assert_eq!(
        said.stdout,
        "\
stdin: Agent default/newer
  change   unknown field \"spec.profile\": kubectl refuses it, and the API server drops it from objects that are there: remove it, \
         or write it as this API has it
stdin: Agent default/credentials
  change   InvalidConfig: spec.credentials[0] \"key\" of Agent default/credentials: env KEY needs one key of the Secret: add \
         secretRef.key, or remove env
stdin: Agent default/server
  change   spec.serverConfig: the Deployment server-server and the Service server of another operator are not taken over \
         (NameConflict): take the field out while the Go operator still runs, and put it back when this one does
stdin: Task default/of-newer
  change   spec.agentRef: change the Agent default/newer first, then look again
stdin: Task default/of-credentials
  change   spec.agentRef: change the Agent default/credentials first, then look again
stdin: Task default/of-server: the same here
stdin: Task default/of-nobody
  change   AgentError: agent \"default\" not found in namespace \"default\": create it, or name another in spec.agentRef
stdin: KubeOpenCodeConfig kubeopencode-system/cluster
  change   metadata.name: a KubeOpenCodeConfig has the name \"default\", no other one is read: rename it
stdin: Workflow default/later
  change   no matches for kind \"Workflow\" in version \"kubeopencode.io/v1alpha1\"
"
    );
}

/// As `kubectl get -o yaml` writes them, with what an operator has done so far.
#[test]
fn a_task_that_another_operator_works_for_has_to_be_waited_for() {
    let task = |name: &str, more: &str| {
        format!(
            "- apiVersion: kubeopencode.io/v1alpha1\n  kind: Task\n  metadata: {{name: {name}{more}\n  spec: {{description: Fix it.}}\n"
        )
    };
    let files = [
        agent("default", ""),
        "---\napiVersion: v1\nkind: List\nitems:\n".to_owned(),
        task(
            "running",
            ", finalizers: [example.com/cleanup]}\n  status: {phase: Running, podName: a, ofAnother: true}",
        ),
        task("queued", "}\n  status: {phase: Queued}"),
        task("over", "}\n  status: {phase: Completed, podName: b}"),
        // its Agent is not there, and nobody asks for it
        task("elsewhere", ", namespace: gone}\n  status: {phase: Failed}"),
        task("ours", ", finalizers: [kubeopencode.io/task-cleanup]}\n  status: {phase: Running, podUID: c}"),
    ];
    let said = check(&["-f", "-"], &files.concat());
    assert_eq!((said.code, said.stderr.as_str()), (1, "kubeopencode: to be changed: 2 of 6 objects\n"));
    assert_eq!(
        said.stdout,
        "\
stdin: Agent default/default: the same here
stdin: Task default/running
  change   status.phase: Running, without status.podUID: this operator ends it as Failed (PodLost) and leaves its Pod alone: wait \
         for its end, or stop it with the annotation kubeopencode.io/stop=true, before this operator is installed
  change   metadata.finalizers: example.com/cleanup holds the Task for ever once nobody removes it: delete the Task while the Go \
         operator still runs
stdin: Task default/queued
  change   status.phase: Queued, without status.podUID: the operator that comes first launches it, or both do: keep its YAML, \
         delete it while the Go operator still runs, and make it anew when this one does
stdin: Task default/over
  differs  status.phase: Completed: it stays as it is, and so does its Pod where that is in another namespace: delete the Task \
         while the Go operator still runs
stdin: Task gone/elsewhere
  differs  status.phase: Failed: it stays as it is, and so does its Pod where that is in another namespace: delete the Task \
         while the Go operator still runs
stdin: Task default/ours: the same here
"
    );
}

#[test]
fn nothing_of_the_documents_whole_examples_has_to_be_changed() {
    let examples = [
        "09-cross-namespace.yaml",
        "10-concurrency-control.yaml",
        "11-quota.yaml",
        "15-kubeopencodeconfig.yaml",
        "16-simple-task-execution.yaml",
    ];
    let said = check(&[&["-f"][..], &examples].concat(), "");
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{}", said.stdout);
    let same: Vec<_> = said.stdout.lines().filter(|line| line.ends_with(": the same here")).collect();
    assert_eq!(
        same,
        [
            "09-cross-namespace.yaml: Task dev-team-a/fix-bug-123: the same here",
            "16-simple-task-execution.yaml: Task kubeopencode-system/update-service-a: the same here",
        ]
    );
}

#[test]
fn files_without_such_objects_are_no_success() {
    let others = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: kubetask.io/v1alpha1\nkind: Task\n\
                  metadata: {name: a}\nspec: {contexts: []}\n";
    let said = check(&["-f", "-"], others);
    let words = "kubeopencode: no Task, Agent or KubeOpenCodeConfig: name a file that holds one with -f\n";
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (1, "", words));
    let said = check(&["-f", "-"], "a: 1\n");
    let words =
        "stdin: document 1\n  change   apiVersion and kind are required: is this a Kubernetes object?\n";
    assert_eq!((said.code, said.stdout.as_str()), (1, words));
}
