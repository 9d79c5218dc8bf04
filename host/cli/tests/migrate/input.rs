//! What is read, what passes, and what is refused.

use serde_json::json;

use crate::{migrate, objects, old, only, text};

#[test]
fn fields_of_a_workspace_config_stand_in_an_agent() {
    let config = old(
        "WorkspaceConfig",
        "team",
        "{serviceAccountName: runner, podLabels: {cost: a}, credentials: [{name: c, secretRef: {name: s}}], \
         scheduling: {nodeSelector: {disk: ssd}}, defaultContexts: [{type: File, file: {name: a, mountPath: /etc/a, \
         source: {secretKeyRef: {name: s, key: k}}}}]}",
    );
    let said = migrate(&config);
    let agent = only(&said, "Agent");
    let file = json!({"name": "a", "source": {"secretKeyRef": {"name": "s", "key": "k"}}});
    let expected = json!({
        "apiVersion": "kubeopencode.io/v1alpha1",
        "kind": "Agent",
        "metadata": {"name": "team"},
        "spec": {
            "serviceAccountName": "runner",
            "contexts": [{"type": "File", "name": "a", "mountPath": "/etc/a", "file": file}],
            "credentials": [{"name": "c", "secretRef": {"name": "s"}}],
            "podSpec": {"labels": {"cost": "a"}, "scheduling": {"nodeSelector": {"disk": "ssd"}}},
        },
    });
    assert_eq!((agent, said.stderr.as_str()), (expected, ""));
    let agent = only(&migrate(&old("WorkspaceConfig", "default", "{}")), "Agent");
    assert_eq!(
        agent["spec"],
        json!({"serviceAccountName": "default"}),
        "it was default, and has to be written"
    );
}

#[test]
fn what_a_cluster_wrote_is_left_out_and_what_people_wrote_stays() {
    let task = "apiVersion: kubetask.io/v1alpha1
kind: Task
metadata:
  name: fix
  namespace: team
  labels: {app: mine, kubetask.io/batch: b}
  annotations: {owner: me, kubectl.kubernetes.io/last-applied-configuration: '{}'}
  uid: 0e3d
  resourceVersion: \"7\"
  creationTimestamp: 2026-01-01T00:00:00Z
  generation: 2
  managedFields: []
  finalizers: [kubetask.io/task-cleanup]
  ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: nightly, uid: u}]
spec: {contexts: [{type: File, file: {name: f, source: {inline: Do it.}}}], workspaceConfigRef: big}
status: {phase: Pending}
";
    let said = migrate(task);
    let expected = json!({
        "apiVersion": "kubeopencode.io/v1alpha1",
        "kind": "Task",
        "metadata": {"name": "fix", "namespace": "team", "labels": {"app": "mine"}, "annotations": {"owner": "me"}},
        "spec": {"description": "Do it.", "agentRef": "big"},
    });
    assert_eq!(only(&said, "Task"), expected);
    for words in [
        "metadata.ownerReferences: left out",
        "metadata.labels: kubetask.io/batch is left out",
        "metadata.uid: it is in a cluster: delete it there first, or its agent runs twice",
    ] {
        assert!(said.stderr.contains(&format!("warning: stdin: Task team/fix: {words}")), "{}", said.stderr);
    }
}

#[test]
fn everything_else_passes_as_it_is_and_who_names_kubetask_is_named() {
    let others = "---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Secret, metadata: {name: s, uid: u}, stringData: {k: '0400'}}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: agents}
  spec: {podSelector: {matchLabels: {app: kubetask}}}
- {apiVersion: example.com/v1, kind: Anything, any: [1, yes]}
---
apiVersion: kubeopencode.io/v1alpha1
kind: Agent
metadata: {name: default}
spec: {serviceAccountName: runner}
";
    let said =
        migrate(&[&old("Task", "fix", &format!("{{contexts: [{}]}}", text("Do it."))), others].concat());
    let expected = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "0400"}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "agents"},
            "spec": {"podSelector": {"matchLabels": {"app": "kubetask"}}}}),
        json!({"apiVersion": "example.com/v1", "kind": "Anything", "any": [1, true]}),
        json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Agent", "metadata": {"name": "default"},
            "spec": {"serviceAccountName": "runner"}}),
    ];
    assert_eq!(objects(&said.stdout)[1..], expected, "{}", said.stderr);
    let named =
        "document 2: items[1]: spec.podSelector.matchLabels.app: it names kubetask, and passes as it is";
    assert!(said.stderr.contains(named), "{}", said.stderr);
    assert!(!said.stderr.contains("workspaceConfigRef"), "an Agent is there: {}", said.stderr);
}

#[test]
fn what_cannot_be_ends_with_one_and_all_that_is_wrong() {
    let task = old("Task", "fix", &format!("{{contexts: [{}]}}", text("a")));
    let agent = "---\napiVersion: kubeopencode.io/v1alpha1\nkind: Agent\nmetadata: {name: default}\nspec: {serviceAccountName: a}\n";
    for (yaml, words) in [
        (agent.to_owned(), "no WorkspaceConfig, Task or Batch of kubetask.io: there is nothing to migrate"),
        (
            format!("{task}{task}"),
            "stdin: Task default/fix: it becomes Task default/fix, and so does stdin: Task default/fix",
        ),
        (
            format!("{}{agent}", old("WorkspaceConfig", "default", "{}")),
            "it becomes Agent default/default, and so does stdin: WorkspaceConfig default/default: remove or rename one",
        ),
        (
            format!("{}{}", old("Task", "b-task-0", "{}"), old("Batch", "b", "{variableContexts: [[]]}")),
            "stdin: Batch default/b: it becomes Task default/b-task-0, and so does stdin: Task default/b-task-0",
        ),
        (old("Task", "fix", "{contxts: []}"), "stdin: Task default/fix: unknown field \"spec.contxts\""),
        (old("Batch", "b", "{variableContexts: []}"), "stdin: Batch default/b: spec.variableContexts: [] "),
        (
            old("Workspace", "fix", "{}"),
            "stdin: document 1: no matches for kind \"Workspace\" in version \"kubetask.io/v1alpha1\"",
        ),
        (old("Task", "fix", "{contexts: [{type: File}]}"), "spec.contexts[0]: type File needs file: add it"),
        (
            old("Batch", "b", "{variableContexts: [[{type: File}], [{type: Git}]]}"),
            "spec.variableContexts[0][0]: type File needs file: add it\nkubeopencode: stdin: Batch default/b: \
             spec.variableContexts[1][0]: type Git needs config: add it\n",
        ),
        (
            old("Task", "fix", "{contexts: [{type: File, file: {name: a, source: {}}}]}"),
            "spec.contexts[0].file.source: ",
        ),
        (
            old(
                "Task",
                "fix",
                "{contexts: [{type: File, file: {name: a, mountPath: b, source: {inline: c}}}]}",
            ),
            "spec.contexts[0].file.mountPath: ",
        ),
    ] {
        let said = migrate(&yaml);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{yaml}");
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
}
