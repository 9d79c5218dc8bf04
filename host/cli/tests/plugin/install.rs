//! The verbs that ask a cluster: what they say where it says no, and what they take.

use std::fs;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::{answering, component, greeting, in_folder, kubeconfig, kubeconfig_of, plugin, project, refusal};

#[test]
fn what_the_cluster_refuses_is_told_with_what_helps() {
    let path = component("refused.wasm", &greeting(""));
    let path = path.to_str().unwrap();
    let forbidden =
        refusal(403, "Forbidden", "configmaps \"greeting\" is forbidden: User \"a\" cannot patch");
    let config = kubeconfig("install-forbidden.json", "403 Forbidden", &forbidden);
    let remedy = "bind the ClusterRole kubeopencode-plugin-installer for Plugins, and the Role of that name in the operator's \
                  namespace for ConfigMaps\n";
    let said = plugin(&["install", path, "--kubeconfig", &config], &[]);
    let words = "kubeopencode: ConfigMap kubeopencode-system/greeting cannot be applied: configmaps \"greeting\" is forbidden: \
                 User \"a\" cannot patch; ";
    // after the summary of what was packed
    let (_, refused) = said.stderr.split_once('\n').unwrap();
    assert_eq!((refused, said.code), (format!("{words}{remedy}").as_str(), 1));
    for verb in ["uninstall", "logs"] {
        let said = plugin(&[verb, "greeting", "--kubeconfig", &config], &[]);
        let begins = "kubeopencode: Plugin greeting cannot be read: ";
        assert!(said.stderr.starts_with(begins) && said.stderr.ends_with(remedy), "{}", said.stderr);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    }

    let conflict =
        refusal(409, "Conflict", "Apply failed with 1 conflict: conflict with \"kubectl\": .binaryData");
    let config = kubeconfig("install-conflict.json", "409 Conflict", &conflict);
    let said = plugin(&["install", path, "--kubeconfig", &config], &[]);
    assert!(said.stderr.ends_with("; --force-conflicts takes the fields over\n"), "{}", said.stderr);

    let said = plugin(&["install", path], &[("HOME", "/nowhere")]);
    assert!(said.stderr.contains("\nkubeopencode: no cluster: "), "{}", said.stderr);
    assert_eq!(said.code, 1);
}

#[test]
fn only_what_pack_printed_is_installed() {
    let folder = project("install", &greeting(""), "");
    let packed = in_folder(&folder, &["pack"]);
    fs::write(folder.join("packed.yaml"), &packed.stdout).unwrap();
    fs::write(folder.join("other.yaml"), "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n").unwrap();
    fs::write(folder.join("none.yaml"), "").unwrap();
    let image = format!("ghcr.io/acme/greeting@sha256:{}", "0a".repeat(32));
    let in_registry = in_folder(&folder, &["pack", "--image", &image]).stdout;
    fs::write(folder.join("in-registry.yaml"), &in_registry).unwrap();
    let no_sha256: String = in_registry
        .lines()
        .filter(|line| !line.contains("sha256: "))
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(folder.join("no-sha256.yaml"), no_sha256).unwrap();
    let no_digest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    fs::write(folder.join("no-digest.yaml"), no_digest).unwrap();
    let as_json = in_folder(&folder, &["pack", "--class", "large", "-o", "json"]);
    fs::write(folder.join("packed.json"), as_json.stdout).unwrap();
    let other = json!({"kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret"}]});
    fs::write(folder.join("other.json"), other.to_string()).unwrap();
    for (args, words, code) in [
        (
            &["install", "other.yaml"][..],
            "other.yaml: it holds a Secret: there may be one Plugin and its ConfigMaps",
            1,
        ),
        (&["install", "other.json"], "other.json: it holds a Secret: there may be one Plugin", 1),
        (&["install", "none.yaml"], "there is no ConfigMap with a component in it", 2),
        (&["install", "no-digest.yaml"], "ConfigMap a does not say which component it holds", 2),
        (&["install", "packed.yaml", "--grant", "url"], "packed.yaml: it is packed already", 2),
        (
            &["install", "no-sha256.yaml"],
            "Plugin greeting does not say which component it means: add spec.sha256",
            2,
        ),
        // what can be read asks the cluster
        (&["install", "packed.yaml"], "no cluster: ", 1),
        (&["install", "packed.json", "-o", "json"], "no cluster: ", 1),
        (&["install", "in-registry.yaml"], "no cluster: ", 1),
    ] {
        let said = in_folder(&folder, args);
        assert!(said.stderr.starts_with(&format!("kubeopencode: {words}")), "{args:?}: {}", said.stderr);
        assert_eq!((said.code, said.stdout.as_str()), (code, ""), "{args:?}");
    }
}

#[test]
fn a_task_is_evaluated_with_the_config_maps_of_the_cluster() {
    let folder = project("in-cluster", &greeting(""), "");
    let task = "apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata: {name: fix}
spec:
  description: a
  contexts:
    - {type: ConfigMap, name: guide, configMap: {name: guide}}
    - {type: Greeting, name: words}
";
    fs::write(folder.join("task.yaml"), task).unwrap();
    let guide = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "guide"}, "data": {"a.md": "from there"}});
    let config = kubeconfig("in-cluster.json", "200 OK", &guide);
    let args = ["eval", "-f", "task.yaml", "-o", "json", "--in-cluster", "--kubeconfig", &config];
    let said = in_folder(&folder, &args);
    let all: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    let text = all[0]["contextFile"].as_str().unwrap();
    assert!(text.contains("from there") && text.contains("hello"), "{text}");
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));

    let said = in_folder(&folder, &["eval", "-f", "task.yaml"]);
    assert!(said.stdout.contains("ConfigMap guide not found"), "{}", said.stdout);
    assert_eq!(said.code, 1);

    let forbidden = refusal(403, "Forbidden", "configmaps \"guide\" is forbidden: User \"a\" cannot get");
    let config = kubeconfig("in-cluster-forbidden.json", "403 Forbidden", &forbidden);
    let said = in_folder(&folder, &["eval", "-f", "task.yaml", "--in-cluster", "--kubeconfig", &config]);
    let words =
        "ConfigMap \"default/guide\" of the cluster cannot be read: configmaps \"guide\" is forbidden";
    assert!(said.stdout.contains(words), "{}", said.stdout);
    assert_eq!(said.code, 1);
}

#[test]
fn what_no_operator_looks_at_stays_and_how_it_goes_is_said() {
    let folder = project("install-nobody", &greeting(""), "");
    let missing = refusal(404, "NotFound", "plugins.kubeopencode.io \"greeting\" not found");
    let list = json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "PluginList", "metadata": {"resourceVersion": "1"}, "items": []});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "greeting"}});
    let config = answering("install-nobody.json", move |request| match request {
        request if request.contains("/configmaps/") => Some(("200 OK".to_owned(), map.clone())),
        request if request.contains("watch=true") => None,
        request if request.contains("/plugins?") => Some(("200 OK".to_owned(), list.clone())),
        _ => Some(("404 Not Found".to_owned(), missing.clone())),
    });
    let args = ["install", "--namespace", "elsewhere", "--timeout", "1s", "--kubeconfig", &config];
    let said = in_folder(&folder, &args);
    let remedy = format!(
        "what was applied stays there: `kubeopencode plugin uninstall greeting --namespace elsewhere --kubeconfig {config}` removes it\n"
    );
    assert!(
        said.stdout.starts_with(
            "ConfigMap elsewhere/greeting applied\nPlugin greeting: no operator has looked at it: "
        ),
        "{}",
        said.stdout
    );
    assert!(said.stdout.ends_with(&remedy), "{}", said.stdout);
    assert_eq!(said.code, 1);
}

#[test]
fn what_was_applied_before_a_refusal_is_said() {
    let folder = project("install-half", &greeting(""), "");
    let forbidden = refusal(403, "Forbidden", "configmaps \"greeting\" is forbidden");
    let made = json!({"apiVersion": "kubeopencode.io/v1alpha1", "kind": "Plugin", "metadata": {"name": "greeting"},
        "spec": {"kind": "context-type", "source": {"configMap": {"name": "greeting"}}}});
    let config = answering("install-half.json", move |request| match request.contains("/plugins/") {
        true => Some(("200 OK".to_owned(), made.clone())),
        false => Some(("403 Forbidden".to_owned(), forbidden.clone())),
    });
    let said = in_folder(&folder, &["install", "--class", "large", "--kubeconfig", &config]);
    let ends = format!(
        "Plugin greeting applied\nwhat was applied stays there: `kubeopencode plugin uninstall greeting --kubeconfig {config}` removes it\n"
    );
    assert!(
        said.stderr.contains("ConfigMap kubeopencode-system/greeting cannot be applied: "),
        "{}",
        said.stderr
    );
    assert!(said.stderr.ends_with(&ends), "{}", said.stderr);
    assert_eq!(said.code, 1);
}

#[test]
fn a_cluster_that_is_not_there_is_named_with_its_address_and_context() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = kubeconfig_of("unreachable.json", &format!("http://127.0.0.1:{port}"));
    let folder = project("unreachable", &greeting(""), "");
    fs::write(folder.join("item.yaml"), "type: Greeting\n").unwrap();
    let words = format!(
        "the cluster cannot be asked: http://127.0.0.1:{port} (context c of the kubeconfig): Connection refused (os error 111)\n"
    );
    for verb in
        [&["install"][..], &["logs", "a"], &["uninstall", "a"], &["eval", "-f", "item.yaml", "--in-cluster"]]
    {
        let said = in_folder(&folder, &[verb, &["--kubeconfig", &config]].concat());
        assert!(said.stderr.ends_with(&format!("kubeopencode: {words}")), "{verb:?}: {}", said.stderr);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{verb:?}");
    }
    let said = plugin(&["list", "--kubeconfig", &config], &[]);
    assert_eq!(said.stderr, format!("only those that come with KubeOpenCode: {words}"));
    // the chart's hooks, in whose Pods nobody says which cluster
    for (command, args) in [("wait-task", &["fix"][..]), ("release-finalizers", &[])] {
        let said = crate::common::call(command, args, &folder, "", &[("KUBECONFIG", &config)]);
        assert_eq!(said.stderr, format!("kubeopencode: {words}"), "{command}");
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{command}");
    }
}

#[test]
fn a_plugin_that_is_not_there_is_no_cluster_without_kubeopencode() {
    let missing = refusal(404, "NotFound", "plugins.kubeopencode.io \"jira\" not found");
    let config = kubeconfig("logs-missing.json", "404 Not Found", &missing);
    let said = plugin(&["logs", "jira", "--kubeconfig", &config], &[]);
    let words = "kubeopencode: there is no Plugin jira; `kubeopencode plugin list` shows what there is\n";
    assert_eq!((said.stderr.as_str(), said.code), (words, 1));
    let no_kind = refusal(404, "NotFound", "the server could not find the requested resource");
    let config = kubeconfig("logs-no-kind.json", "404 Not Found", &no_kind);
    let said = plugin(&["logs", "jira", "--kubeconfig", &config], &[]);
    assert!(
        said.stderr.ends_with("; KubeOpenCode is not installed there, or without Plugins\n"),
        "{}",
        said.stderr
    );
}
