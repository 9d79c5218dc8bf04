//! The examples of the two documents in docs/spec (tests/fixtures/spec has them verbatim): the API server takes each
//! as it is written, and no field is lost, neither there nor in our types.

use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::kubetask;
use kubeopencode_api::task::Task;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{documents, replaced};
use kubeopencode_tests::verbatim::{Verbatim, fixtures};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::scenario;

#[tokio::test]
async fn every_example_of_architecture_md_is_taken_whole() {
    examples_are_taken_whole("spec/architecture", 22).await;
}

#[tokio::test]
async fn every_example_of_agent_context_md_is_taken_whole() {
    examples_are_taken_whole("spec/agent-context", 5).await;
}

async fn examples_are_taken_whole(folder: &str, objects: usize) {
    scenario(async |ns| {
        // the status in the document counts every start under one UID
        ns.tolerate("I10: Agent example counts a start of Task");
        let mut seen = 0;
        for (name, text) in fixtures(folder) {
            // a document that holds nothing but a comment is none
            for document in text.split("\n---\n").filter(|document| !documents(document).is_empty()) {
                let example = Verbatim::new(&whole(document, &ns.name), &ns.name);
                is_taken_whole(ns, &format!("{name}: {}", example.yaml), &example).await;
                seen += 1;
            }
        }
        assert_eq!(seen, objects, "{folder}");
    })
    .await;
}

async fn is_taken_whole(ns: &TestNamespace, what: &str, example: &Verbatim) {
    let client = &ns.client;
    for applied in [false, true] {
        let sent = if applied { example.apply(client).await } else { example.create(client).await };
        sent.unwrap_or_else(|refusal| panic!("{}\n{what}", refusal.message));
        let stored = example.get(client).await.unwrap();
        assert_eq!(stored["spec"], example.object["spec"], "{what}");
        assert_eq!(stored["metadata"]["name"], example.object["metadata"]["name"], "{what}");
        assert_eq!(read_and_written(&stored)["spec"], example.object["spec"], "our types: {what}");
        if let Some(status) = example.object.get("status") {
            keeps_status(ns, what, example, with_required(status)).await;
        }
        example.delete(client).await.unwrap();
    }
}

/// The status that an example shows belongs to the operator; written as the operator does it, it is kept too.
async fn keeps_status(ns: &TestNamespace, what: &str, example: &Verbatim, status: Value) {
    let stored = example.set_status(&ns.client, &status).await;
    let stored = stored.unwrap_or_else(|refusal| panic!("{}\n{what}", refusal.message));
    assert_eq!(stored["status"], status, "{what}");
    let ours = &read_and_written(&stored)["status"];
    for (field, value) in status.as_object().unwrap() {
        match field.as_str() {
            // the example leaves an entry's UID out
            "taskStartHistory" => {
                assert_eq!(ours[field].as_array().map(Vec::len), value.as_array().map(Vec::len))
            }
            _ => assert_eq!(&ours[field], value, "our types: {what}"),
        }
    }
}

/// An example as an object in the namespace of the test; a fragment gets what is around it.
fn whole(document: &str, namespace: &str) -> String {
    let parsed = documents(document).remove(0);
    let own = |group: &str, kind: &str| {
        format!("apiVersion: {group}/v1alpha1\nkind: {kind}\nmetadata: {{name: example}}\n")
    };
    let agent = "spec: {serviceAccountName: runner}\n";
    let has = |field: &str| parsed.get(field).is_some();
    if has("spec") {
        let Some(written) = parsed["metadata"]["namespace"].as_str() else { return document.to_owned() };
        let [from, to] = [written, namespace].map(|name| format!("\n  namespace: {name}\n"));
        return replaced(document, &from, &to);
    }
    if has("kind") {
        let spec = if parsed["kind"] == "Agent" { agent } else { "spec: {}\n" };
        return format!("{document}\nmetadata: {{name: example}}\n{spec}");
    }
    if has("contexts") {
        return format!("{}spec:\n{}", own("kubeopencode.io", "Task"), indented(document, 2));
    }
    if has("status") {
        return format!("{}{agent}{document}", own("kubeopencode.io", "Agent"));
    }
    assert!(has("type"), "no object and no fragment that this test knows:\n{document}");
    format!("{}spec:\n  contexts:\n  -\n{}", own("kubetask.io", "Task"), indented(document, 4))
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}

/// The examples shorten conditions to what one reads.
fn with_required(status: &Value) -> Value {
    let mut status = status.clone();
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        condition["message"] = json!("");
        condition["lastTransitionTime"] = json!("2025-01-18T10:00:00Z");
    }
    status
}

/// What our types make of an object.
fn read_and_written(object: &Value) -> Value {
    fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
        serde_json::to_value(serde_json::from_value::<T>(object.clone()).unwrap()).unwrap()
    }
    match (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()) {
        ("kubeopencode.io/v1alpha1", "Task") => through::<Task>(object),
        ("kubeopencode.io/v1alpha1", "Agent") => through::<Agent>(object),
        ("kubeopencode.io/v1alpha1", "KubeOpenCodeConfig") => through::<KubeOpenCodeConfig>(object),
        ("kubetask.io/v1alpha1", "Task") => through::<kubetask::task::Task>(object),
        ("kubetask.io/v1alpha1", "Batch") => through::<kubetask::batch::Batch>(object),
        ("kubetask.io/v1alpha1", "WorkspaceConfig") => {
            through::<kubetask::workspace_config::WorkspaceConfig>(object)
        }
        other => panic!("the documents have no {other:?}"),
    }
}
