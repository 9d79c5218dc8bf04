//! `plugin list`: what comes with the program, and what a cluster has.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use crate::{file, plugin};

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

/// A kubeconfig whose cluster gives one answer to everybody.
fn kubeconfig(name: &str, status: &str, answer: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = answer.to_string();
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(response.as_bytes());
        }
    });
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "u", "user": {}}],
    });
    file(name, config.to_string()).to_str().unwrap().to_owned()
}

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
    let status = |code: u16, reason: &str, message: &str| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message});
    for (name, line, answer, words) in [
        (
            "missing.json",
            "404 Not Found",
            status(404, "NotFound", "the server could not find the requested resource"),
            "the cluster has no Plugins: KubeOpenCode is not installed there, or without them",
        ),
        (
            "forbidden.json",
            "403 Forbidden",
            status(403, "Forbidden", "plugins is forbidden: User \"a\" cannot list resource"),
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
