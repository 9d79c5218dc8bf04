//! `kubetask.io`: what becomes of its Tasks and Batches, and in which words they are refused.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::contract::without_digests;
use crate::program::{Said, fixtures, objects_of, render};

/// The examples of docs/spec/agent-context.md, byte for byte as they stand there.
const DOCUMENT: &str = "../../../../../tests/fixtures/spec/agent-context";

fn example(file: &str, more: &[&str]) -> Said {
    let file = format!("{DOCUMENT}/{file}");
    let said = render(&[&["-f", &file, "kubetask_maps.yaml"], more].concat(), "");
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{}", said.stderr);
    said
}

/// Parts of the only Pod.
fn pod(said: &Said) -> Value {
    let pods = objects_of(&said.stdout).into_iter().filter(|object| object["kind"] == "Pod");
    let [pod] = <[Value; 1]>::try_from(pods.collect::<Vec<_>>()).unwrap();
    pod
}

/// What the plan's ConfigMap has at this key.
fn file<'a>(objects: &'a [Value], key: &str) -> Option<&'a str> {
    objects.iter().find_map(|object| object["data"][key].as_str())
}

#[test]
fn the_first_example_is_one_file() {
    let said = example("02-aggregated-context.yaml", &["kubetask_image.yaml"]);
    assert_eq!(
        file(&objects_of(&said.stdout), "workspace-task.md"),
        Some(
            "Update all dependencies to latest versions.\nRun tests and create a PR.\n\n---\n\n\
             Name the ticket in the title.\n"
        )
    );
    insta::assert_snapshot!(without_digests(&said.stdout));
}

#[test]
fn the_second_example_is_a_file_and_two_mounts() {
    let said = example("03-mixed-contexts.yaml", &["kubetask_image.yaml"]);
    let objects = objects_of(&said.stdout);
    assert_eq!(file(&objects, "workspace-task.md"), Some("Deploy the service to production.\n"));
    assert_eq!(file(&objects, "home-agent-.claude-CLAUDE.md"), Some("Deploy on weekdays only.\n"));
    insta::assert_snapshot!(without_digests(&said.stdout));
}

#[test]
fn the_third_example_is_a_batch_with_defaults() {
    let said = example("04-batch-with-defaults.yaml", &[]);
    let objects = objects_of(&said.stdout);
    assert_eq!(
        file(&objects, "workspace-task.md"),
        Some("Write tests first.\n\n---\n\nUpdate dependencies and create PR.\n")
    );
    assert_eq!(file(&objects, "home-agent-.claude-CLAUDE.md"), Some("Answer in English.\n"));
    assert_eq!(file(&objects, "workspace-repo-config.json"), Some("{\"repo\": \"service-a\"}\n"));
    assert_eq!(pod(&said)["metadata"]["name"], "update-all-repos-task-0-kt-pod");
    insta::assert_snapshot!(without_digests(&said.stdout));
}

#[test]
fn an_image_of_the_users_runs_as_it_is() {
    let said = example("03-mixed-contexts.yaml", &["kubetask_image.yaml"]);
    let pod = pod(&said);
    let spec = &pod["spec"];
    assert_eq!(spec.get("initContainers"), None, "all is mounted");
    assert_eq!(spec["serviceAccountName"], "default");
    let [agent] = spec["containers"].as_array().unwrap().as_slice() else { panic!("{spec}") };
    for field in ["command", "args", "workingDir", "envFrom"] {
        assert_eq!(agent.get(field), None, "{field}");
    }
    let env = json!([{"name": "TASK_NAME", "value": "deploy-service"}, {"name": "TASK_NAMESPACE", "value": "default"}]);
    assert_eq!(agent["env"], env);
    let mounts = agent["volumeMounts"].as_array().unwrap();
    let paths: Vec<_> = mounts.iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/workspace/task.md", "/home/agent/.claude/CLAUDE.md", "/etc/deploy/config.yaml"]);
    for mount in mounts {
        assert!(mount["readOnly"] == true && mount["subPath"].is_string(), "{mount}");
    }
    let labels = &pod["metadata"]["labels"];
    assert_eq!((&labels["app"], &labels["kubetask.io/task"]), (&json!("kubetask"), &json!("deploy-service")));
    assert!(labels.as_object().unwrap().keys().all(|key| !key.starts_with("kubeopencode.io/")), "{labels}");
}

#[test]
fn every_set_of_a_batch_is_a_task() {
    let sets = ["[{type: File, file: {name: a, source: {inline: a}}}]"; 12].join(", ");
    let batch = format!(
        "apiVersion: kubetask.io/v1alpha1\nkind: Batch\nmetadata: {{name: many}}\nspec: {{variableContexts: [{sets}]}}\n"
    );
    let said = render(&["-f", "-"], &batch);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let pods = objects_of(&said.stdout).into_iter().filter(|object| object["kind"] == "Pod");
    let names: Vec<_> = pods.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..12).map(|i| format!("many-task-{i}-kt-pod")).collect();
    assert_eq!(names, expected);
}

#[test]
fn a_big_context_is_put_together_in_the_pod_and_mounted() {
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{k: \"{}\"}}\n",
        "0123456789abcdef".repeat(60_000)
    );
    let task = "---\napiVersion: kubetask.io/v1alpha1\nkind: Task\nmetadata: {name: fix}\nspec: {contexts: [\
                {type: File, file: {name: a, source: {configMapKeyRef: {name: big, key: k}}, mountPath: /etc/big}}]}\n";
    let said = render(&["-f", "kubetask_image.yaml", "-"], &[&map, task].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let pod = pod(&said);
    let [init] = pod["spec"]["initContainers"].as_array().unwrap().as_slice() else { panic!("{pod}") };
    assert_eq!(init["name"], "context-init");
    let env = init["env"].as_array().unwrap();
    assert!(env.iter().all(|variable| variable["name"] != "WORKSPACE_DIR"), "there is no such volume");
    let mount = &pod["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(
        *mount,
        json!({"name": "tools", "mountPath": "/etc/big", "subPath": ".files/0", "readOnly": true})
    );
}

#[test]
fn refusals() {
    let cases = std::fs::read_to_string(fixtures().join("kubetask_refusals.yaml")).unwrap();
    let mut seen = String::new();
    for case in cases.split("\n# ").skip(1) {
        let (title, yaml) = case.split_once('\n').unwrap();
        let said = render(&["-f", "-"], yaml);
        let pods = said.stdout.lines().filter(|line| *line == "kind: Pod").count();
        writeln!(seen, "{title}: exit code {}, {pods} Pods", said.code).unwrap();
        said.stderr.lines().for_each(|line| writeln!(seen, "    {line}").unwrap());
    }
    insta::assert_snapshot!(seen);
}
