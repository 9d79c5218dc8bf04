//! `plugin list`: what comes with the program, and what a cluster has.

use serde_json::{Value, json};

use crate::{kubeconfig, plugin, refusal};

const BUILT_IN: &str = "\
TYPE        KIND              VERSION   ASKS FOR     PLUGIN       READY   REASON
ConfigMap   context-type      0.1.0                  <built in>   True
File        context-type      0.1.0     secret       <built in>   True
Git         context-type      0.1.0     git,secret   <built in>   True
opencode    command-builder   0.1.0                  <built in>   True
Runtime     context-type      0.1.0                  <built in>   True
Text        context-type      0.1.0                  <built in>   True
URL         context-type      0.1.0     url,secret   <built in>   True
";

#[test]
fn without_a_cluster_there_are_those_that_come_with_the_program() {
    let said = plugin(&["list"], &[("HOME", "/nowhere")]);
    assert_eq!(said.stdout, BUILT_IN);
    assert!(
        said.stderr.starts_with("only those that come with KubeOpenCode: no cluster: "),
        "{}",
        said.stderr
    );
    assert_eq!((said.code, said.stderr.lines().count()), (0, 1), "{}", said.stderr);
}

#[test]
fn the_plugins_of_a_cluster_stand_below() {
    let jira = json!({
        "apiVersion": "kubeopencode.io/v1alpha1",
        "kind": "Plugin",
        "metadata": {"name": "jira"},
        "spec": {"kind": "context-type", "source": {"configMap": {"name": "jira"}}},
        "status": {
            "version": "1.2.0",
            "types": [{"name": "Jira", "capabilities": ["url"]}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}],
        },
    });
    let list = json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "PluginList", "metadata": {}, "items": [jira]});
    let config = kubeconfig("cluster.json", "200 OK", &list);
    let said = plugin(&["list", "--kubeconfig", &config], &[]);
    let last = said.stdout.lines().last().unwrap();
    assert_eq!(
        last, "Jira        context-type      1.2.0     url          jira         True",
        "{}",
        said.stdout
    );
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));

    let said = plugin(&["list", "-o", "json"], &[("KUBECONFIG", &config)]);
    let rows: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    let jira = json!({"type": "Jira", "kind": "context-type", "version": "1.2.0", "capabilities": ["url"], "plugin": "jira", "ready": true, "reason": null});
    assert_eq!(rows.last(), Some(&jira));
}

#[test]
fn a_cluster_that_says_no_is_told_in_one_line() {
    for (name, line, answer, words) in [
        (
            "missing.json",
            "404 Not Found",
            refusal(404, "NotFound", "the server could not find the requested resource"),
            "the cluster has no Plugins: KubeOpenCode is not installed there, or without them",
        ),
        (
            "forbidden.json",
            "403 Forbidden",
            refusal(403, "Forbidden", "plugins is forbidden: User \"a\" cannot list resource"),
            "the cluster's Plugins cannot be read: ",
        ),
    ] {
        let config = kubeconfig(name, line, &answer);
        let said = plugin(&["list", "--kubeconfig", &config], &[]);
        assert_eq!(said.stdout, BUILT_IN);
        let expected = format!("only those that come with KubeOpenCode: {words}");
        assert!(said.stderr.starts_with(&expected), "{}", said.stderr);
        assert_eq!((said.code, said.stderr.lines().count()), (0, 1), "{}", said.stderr);
    }
}
