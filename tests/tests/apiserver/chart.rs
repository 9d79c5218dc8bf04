//! The chart as an API server reads it: with each set of values of deploy/chart/tests, so that no field is misspelt and no value
//! is refused for the first time where somebody sets it. Nothing is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use kubeopencode_tests::cluster::FIELD_MANAGER;
use kubeopencode_tests::objects::documents;
use kubeopencode_tests::pages::{entries, repository};
use serde_json::Value;

use crate::scenario;

/// Every cluster has it.
const NAMESPACE: &str = "default";

/// Nobody installed the Prometheus Operator's definitions, and a Pod wants a ServiceAccount: the one of `helm test` has what the
/// Job's Pods have.
const LEFT_OUT: [&str; 3] = ["ServiceMonitor", "PrometheusRule", "Pod"];

fn helm() -> PathBuf {
    let tools = Command::new(repository().join("deploy/local/tools.sh")).arg("clients").output().unwrap();
    assert!(tools.status.success(), "{}", String::from_utf8_lossy(&tools.stderr));
    Path::new(String::from_utf8(tools.stdout).unwrap().trim()).join("helm")
}

/// What a set of values becomes; nothing of one that helm refuses, as deploy/chart/test.sh sees.
fn rendered(helm: &Path, case: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(repository().join(case)).unwrap();
    let said = |key: &str| {
        let key = format!("# {key}: ");
        text.lines().find_map(|line| line.strip_prefix(key.as_str()))
    };
    if said("refuse").is_some() {
        return Vec::new();
    }
    let output = Command::new(helm)
        .args(["template", said("release").unwrap_or("kubeopencode"), "deploy/chart"])
        .args(["--namespace", NAMESPACE, "--values"])
        .arg(case)
        // those that these tests run on: most of what would be read
        .args(["--set", "crds.enabled=false"])
        .args(said("helm").unwrap_or_default().split_whitespace())
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}: {}", case.display(), String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8(output.stdout).unwrap())
}

/// Where it is tried: in a namespace that there is, unless it has none.
fn placed(mut object: Value) -> Value {
    let kind = object["kind"].as_str().unwrap_or_default();
    let has_none = ["Cluster", "ValidatingAdmission", "PriorityClass"];
    if !has_none.iter().any(|begin| kind.starts_with(begin)) {
        object["metadata"]["namespace"] = NAMESPACE.into();
    }
    object
}

async fn refusal(client: &Client, object: &Value) -> Option<String> {
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let kind = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply(FIELD_MANAGER).force().dry_run().validation_strict();
    let tried = api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await;
    tried.err().map(|error| format!("{} {}: {error}", kind.kind, object.name_any()))
}

#[tokio::test]
async fn whatever_the_chart_renders_is_taken() {
    let helm = helm();
    // most objects are the same in most cases
    let mut objects = BTreeMap::new();
    for case in entries("deploy/chart/tests") {
        if case.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        for object in rendered(&helm, &case).into_iter().map(placed) {
            if !LEFT_OUT.iter().any(|kind| object["kind"] == *kind) {
                objects.entry(object.to_string()).or_insert((case.clone(), object));
            }
        }
    }
    assert!(objects.len() > 50, "only {} objects were rendered", objects.len());
    scenario(async |ns| {
        let mut wrong = Vec::new();
        for (case, object) in objects.values() {
            let said = refusal(&ns.client, object).await;
            wrong.extend(said.map(|said| format!("{}: {said}", case.display())));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}
