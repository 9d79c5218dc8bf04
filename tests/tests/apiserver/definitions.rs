//! What the API server itself takes and refuses, with no operator about.

use kube::api::{Patch, PatchParams};
use kube::core::Status;
use serde_json::json;

use crate::scenario;

fn task(spec: &str) -> String {
    format!("apiVersion: kubeopencode.io/v1alpha1\nkind: Task\nmetadata: {{name: t}}\nspec: {spec}\n")
}

fn agent(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: kubeopencode.io/v1alpha1\nkind: Agent\nmetadata: {{name: {name}}}\nspec: {{serviceAccountName: s, {spec}}}\n"
    )
}

fn refusal(error: kube::Error) -> Box<Status> {
    match error {
        kube::Error::Api(status) => status,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn kubectl_get_shows_the_columns_of_the_contract() {
    scenario(async |stage| {
        let path = format!("/apis/kubeopencode.io/v1alpha1/namespaces/{}/tasks", stage.namespace);
        let request =
            http::Request::get(path).header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        let table: serde_json::Value = stage.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
        let columns = table["columnDefinitions"].as_array().unwrap();
        let named = |wide: bool| -> Vec<&str> {
            let shown = columns.iter().filter(|column| (column["priority"] != 0) == wide);
            shown.map(|column| column["name"].as_str().unwrap()).collect()
        };
        assert_eq!(named(false), ["Name", "Phase", "Agent-NS", "Agent", "Pod", "Pod-NS", "Age"]);
        assert_eq!(named(true), ["Reason", "Queue", "Duration"]);
    })
    .await;
}

#[tokio::test]
async fn agent_ref_is_a_name_or_an_object_with_a_name() {
    scenario(async |stage| {
        for good in ["default", "{name: default}", "{name: default, namespace: team}"] {
            stage.apply(&task(&format!("{{description: d, agentRef: {good}}}"))).await;
            stage.delete_task("t").await;
        }
        let long = "x".repeat(254);
        for bad in [
            "\"\"",
            "5",
            "[default]",
            "[]",
            "{}",
            "{namespace: team}",
            "{name: \"\"}",
            "{name: a, namespace: b, extra: c}",
            &long,
        ] {
            let error =
                stage.try_apply(&task(&format!("{{description: d, agentRef: {bad}}}"))).await.expect_err(bad);
            let error = refusal(error);
            assert_eq!(error.code, 422, "{bad}: {}", error.message);
            assert!(error.message.contains("spec.agentRef"), "{bad}: {}", error.message);
        }
    })
    .await;
}

#[tokio::test]
async fn a_context_has_the_payload_of_its_type_and_no_other() {
    scenario(async |stage| {
        for (context, words) in [
            ("{type: Text}", "text is required for type Text"),
            ("{type: ConfigMap, text: a}", "configMap is required for type ConfigMap"),
            (
                "{type: Text, text: a, git: {repository: https://x/y}}",
                "git is required for type Git and belongs to no other type",
            ),
            ("{type: Git}", "git is required for type Git"),
            ("{type: URL, url: {source: 'ftp://x'}}", "spec.contexts[0].url.source"),
            ("{type: File, file: {name: f, source: {}}}", "spec.contexts[0].file.source"),
            (
                "{type: File, file: {name: f, source: {inline: a, secretKeyRef: {name: s, key: k}}}}",
                "spec.contexts[0].file.source",
            ),
            ("{type: Text, text: a, fileMode: 512}", "spec.contexts[0].fileMode"),
            ("{type: 'no such', text: a}", "spec.contexts[0].type"),
            ("{type: ConfigMap, configMap: {}}", "spec.contexts[0].configMap.name"),
            ("{text: a}", "spec.contexts[0].type"),
        ] {
            let error = stage
                .try_apply(&task(&format!("{{description: d, contexts: [{context}]}}")))
                .await
                .expect_err(context);
            let error = refusal(error);
            assert_eq!(error.code, 422, "{context}: {}", error.message);
            assert!(error.message.contains(words), "{context}: {}", error.message);
        }
        for good in [
            "{type: Text, text: ''}",
            "{type: Runtime}",
            "{type: Runtime, runtime: {}}",
            "{type: JiraIssue, config: {key: A-1}}",
        ] {
            stage.apply(&task(&format!("{{description: d, contexts: [{good}]}}"))).await;
        }
    })
    .await;
}

#[tokio::test]
async fn values_out_of_their_range_are_refused_by_field() {
    scenario(async |stage| {
        for (yaml, field) in [
            (task("{description: d, timeout: 0s}"), "spec.timeout"),
            (task("{description: d, timeout: soon}"), "spec.timeout"),
            (agent("a", "maxConcurrentTasks: -1"), "spec.maxConcurrentTasks"),
            (agent("a", "quota: {maxTaskStarts: 0, windowSeconds: 60}"), "spec.quota.maxTaskStarts"),
            (agent("a", "quota: {maxTaskStarts: 1, windowSeconds: 59}"), "spec.quota.windowSeconds"),
            (agent("a", "serverConfig: {port: 65536}"), "spec.serverConfig.port"),
            (agent("a", "workspaceDir: /tools"), "spec.workspaceDir"),
            (agent("a", "workspaceDir: relative"), "spec.workspaceDir"),
            (agent("a.b", "serverConfig: {}"), "gives its name to a Service"),
        ] {
            let error = refusal(stage.try_apply(&yaml).await.expect_err(&yaml));
            assert!(error.code == 422 && error.message.contains(field), "{yaml}: {}", error.message);
        }
        for good in ["timeout: 90s", "timeout: 2h30m", "timeout: 1s"] {
            stage.apply(&task(&format!("{{description: d, {good}}}"))).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_api_server_keeps_what_must_not_change() {
    scenario(async |stage| {
        stage.apply(&task("{description: d}")).await;
        let tasks = stage.tasks();
        let status = async |status: serde_json::Value| {
            tasks.patch_status("t", &PatchParams::default(), &Patch::Merge(&json!({"status": status}))).await
        };
        let spec = async |spec: serde_json::Value| {
            tasks.patch("t", &PatchParams::default(), &Patch::Merge(&json!({"spec": spec}))).await
        };
        spec(json!({"description": "before the launch it may change"})).await.unwrap();
        status(json!({"phase": "Running", "podUID": "a"})).await.unwrap();

        let error = refusal(spec(json!({"description": "e"})).await.unwrap_err());
        assert!(
            error.message.contains("spec cannot change once the Task has been launched or is over"),
            "{}",
            error.message
        );
        for other in [json!("b"), json!(null)] {
            let error = refusal(status(json!({"podUID": other})).await.unwrap_err());
            assert!(
                error.message.contains("status.podUID never changes once it is set"),
                "{}",
                error.message
            );
        }

        status(json!({"phase": "Failed"})).await.unwrap();
        for phase in [json!("Running"), json!("Completed"), json!(null)] {
            let error = refusal(status(json!({"phase": phase})).await.unwrap_err());
            assert!(error.message.contains("a Task that is over stays as it is"), "{}", error.message);
        }
        // annotations and labels pass
        stage.annotate("t", "note", "x").await;
    })
    .await;
}
