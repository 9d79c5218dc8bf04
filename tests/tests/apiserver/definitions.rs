//! What the API server itself takes and refuses, with no operator about.

use kube::api::{ListParams, Patch, PatchParams};
use kube::core::Status;
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{agent, config, replaced, task};
use kubeopencode_tests::verbatim::Verbatim;
use serde_json::{Value, json};

use crate::scenario;

fn refusal(error: kube::Error) -> Box<Status> {
    match error {
        kube::Error::Api(status) => status,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn kubectl_get_shows_the_columns_of_the_contract() {
    scenario(async |ns| {
        let team = format!("namespaces/{}/", ns.name);
        for (kind, always, wide) in [
            (
                format!("kubeopencode.io/v1alpha1/{team}tasks"),
                "Name Phase Reason Agent Pod Age",
                "Agent-NS Pod-NS Queue Duration",
            ),
            (
                format!("kubeopencode.io/v1alpha1/{team}agents"),
                "Name Accepted Running Limit Server Age",
                "Image ServiceAccount Quota Suspended",
            ),
            (
                format!("kubeopencode.io/v1alpha1/{team}kubeopencodeconfigs"),
                "Name TTL Retained StopPolicy SecretRefs Age",
                "Image",
            ),
            (
                "kubeopencode.io/v1alpha1/plugins".to_owned(),
                "Name Types Version Source Ready Reason Age",
                "Digest Wanted Kind",
            ),
            (format!("kubetask.io/v1alpha1/{team}tasks"), "Name Phase Pod Age", "Reason Duration"),
            (
                format!("kubetask.io/v1alpha1/{team}batches"),
                "Name Phase Total Completed Failed Age",
                "Running Pending",
            ),
            (format!("kubetask.io/v1alpha1/{team}workspaceconfigs"), "Name Image ServiceAccount Age", ""),
        ] {
            let table = table(ns, &kind).await;
            let columns = table["columnDefinitions"].as_array().unwrap();
            let named = |is_wide: bool| {
                let shown = columns.iter().filter(|column| (column["priority"] != 0) == is_wide);
                shown.map(|column| column["name"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
            };
            assert_eq!((named(false).as_str(), named(true).as_str()), (always, wide), "{kind}");
        }
    })
    .await;
}

#[tokio::test]
async fn kubectl_get_shows_what_an_agent_and_a_config_say() {
    scenario(async |ns| {
        ns.apply(agent("a").spec("{suspend: true, quota: {maxTaskStarts: 5, windowSeconds: 60}}")).await;
        ns.apply(config(
            "{cleanup: {ttlSecondsAfterFinished: 60, maxRetainedTasks: 9}, stopPolicy: KeepPod, \
             taskSecretRefs: Deny, systemImage: {image: 'a:1'}}",
        ))
        .await;
        for (object, column, shown) in [
            ("agents/a", "Quota", json!(5)),
            ("agents/a", "Suspended", json!(true)),
            ("kubeopencodeconfigs/default", "TTL", json!(60)),
            ("kubeopencodeconfigs/default", "Retained", json!(9)),
            ("kubeopencodeconfigs/default", "StopPolicy", json!("KeepPod")),
            ("kubeopencodeconfigs/default", "SecretRefs", json!("Deny")),
            ("kubeopencodeconfigs/default", "Image", json!("a:1")),
        ] {
            let path = format!("kubeopencode.io/v1alpha1/namespaces/{}/{object}", ns.name);
            let table = table(ns, &path).await;
            let columns = table["columnDefinitions"].as_array().unwrap();
            let at = columns.iter().position(|known| known["name"] == column).unwrap();
            assert_eq!(table["rows"][0]["cells"][at], shown, "{object}: {column}");
        }
    })
    .await;
}

#[tokio::test]
async fn each_kind_has_the_short_name_and_category_of_the_contract() {
    scenario(async |ns| {
        let request = http::Request::get("/apis/kubeopencode.io/v1alpha1");
        let known: Value = ns.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
        let known = known["resources"].as_array().unwrap();
        for (plural, short) in
            [("tasks", "tk"), ("agents", "ag"), ("kubeopencodeconfigs", "ktc"), ("plugins", "plug")]
        {
            let kind = known.iter().find(|kind| kind["name"] == plural).unwrap();
            assert_eq!(kind["shortNames"], json!([short]), "{plural}");
            assert_eq!(kind["categories"], json!(["kubeopencode"]), "{plural}");
        }
    })
    .await;
}

#[tokio::test]
async fn tasks_are_selected_by_their_phase() {
    scenario(async |ns| {
        for (name, phase) in [("good", "Completed"), ("bad", "Failed")] {
            ns.apply(task(name)).await;
            let status = Patch::Merge(json!({"status": {"phase": phase}}));
            ns.tasks().patch_status(name, &PatchParams::default(), &status).await.unwrap();
        }
        ns.apply(task("new")).await;
        let failed = ListParams::default().fields("status.phase=Failed");
        let failed = ns.tasks().list(&failed).await.unwrap();
        let names: Vec<_> = failed.items.iter().filter_map(|task| task.metadata.name.as_deref()).collect();
        assert_eq!(names, ["bad"]);
    })
    .await;
}

#[tokio::test]
async fn kubectl_get_plugins_shows_where_each_comes_from() {
    scenario(async |ns| {
        let zeros = "0".repeat(64);
        let digest = format!("registry.example/jira@sha256:{zeros}");
        let sources = [
            ("{configMap: {name: jira}}", "jira"),
            (&format!("{{oci: {{image: '{digest}'}}}}"), &digest),
            (
                &format!("{{https: {{url: 'https://plugins.example/jira.wasm'}}}}, sha256: '{zeros}'"),
                "https://plugins.example/jira.wasm",
            ),
            ("{directory: {path: /plugins/jira.wasm}}", "/plugins/jira.wasm"),
        ];
        for (source, shown) in sources {
            // cluster-scoped: the name must be this test's own
            let name = format!("{}-shown", ns.name);
            let plugin = format!(
                "apiVersion: kubeopencode.io/v1alpha1\nkind: Plugin\nmetadata: {{name: {name}}}\nspec: {{kind: context-type, source: {source}}}\n"
            );
            let plugin = Verbatim::new(&plugin, &ns.name);
            plugin.create(&ns.client).await.unwrap();
            let table = table(ns, &format!("kubeopencode.io/v1alpha1/plugins/{name}")).await;
            plugin.delete(&ns.client).await.unwrap();
            assert_eq!(table["rows"][0]["cells"][3], shown);
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_web_server_gives_is_taken_by_digest() {
    scenario(async |ns| {
        let spec = "{kind: context-type, source: {https: {url: 'https://plugins.example/jira.wasm'}}}";
        let plugin = format!(
            "apiVersion: kubeopencode.io/v1alpha1\nkind: Plugin\nmetadata: {{name: {}-web}}\nspec: {spec}\n",
            ns.name
        );
        let refusal = Verbatim::new(&plugin, &ns.name).try_out(&ns.client).await.unwrap_err();
        assert!(
            refusal.message.contains("what a web server gives may change: add sha256"),
            "{}",
            refusal.message
        );
    })
    .await;
}

#[tokio::test]
async fn one_signature_is_in_the_plugin_or_that_in_the_registry_counts() {
    scenario(async |ns| {
        let web = "https: {url: 'https://plugins.example/jira.wasm'}";
        let registry = format!("oci: {{image: 'registry.example/jira@sha256:{}'}}", "0".repeat(64));
        for (source, signature, is_taken) in [
            (web, ", value: MEUC", true),
            (web, ", bundle: '{}'", true),
            (web, ", value: MEUC, bundle: '{}'", false),
            (web, "", false),
            (&registry, "", true),
            (&registry, ", value: MEUC", true),
            (&registry, ", bundle: '{}'", true),
            (&registry, ", value: MEUC, bundle: '{}'", false),
        ] {
            let plugin = format!(
                "apiVersion: kubeopencode.io/v1alpha1\nkind: Plugin\nmetadata: {{name: {}-signed}}\nspec: {{kind: context-type, \
                 sha256: '{}', source: {{{source}}}, signature: {{key: acme{signature}}}}}\n",
                ns.name,
                "0".repeat(64),
            );
            let tried = Verbatim::new(&plugin, &ns.name).try_out(&ns.client).await;
            let words = "needs one of signature.bundle and signature.value";
            match tried {
                Ok(_) => assert!(is_taken, "{plugin}"),
                Err(refusal) => assert!(!is_taken && refusal.message.contains(words), "{plugin}{refusal:?}"),
            }
        }
    })
    .await;
}

/// What `kubectl get` asks for.
async fn table(ns: &TestNamespace, path: &str) -> Value {
    let request = http::Request::get(format!("/apis/{path}"))
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    ns.client.request(request.body(Vec::new()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn agent_ref_is_a_name_or_an_object() {
    scenario(async |ns| {
        for good in ["default", "{name: default}", "{name: default, namespace: team}"] {
            ns.apply(task("t").spec(&format!("agentRef: {good}"))).await;
            ns.delete_task("t").await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_may_be_left_out_may_be_left_out() {
    scenario(async |ns| {
        for good in [
            "{}",
            "{contexts: [{type: Text, text: ''}]}",
            "{contexts: [{type: Runtime}]}",
            "{contexts: [{type: Runtime, runtime: {}}]}",
            "{contexts: [{type: JiraIssue}]}",
            "{contexts: [{type: Git, git: {repository: 'git@host:path'}}]}",
            "{timeout: 1s}",
            "{timeout: 90s}",
            "{timeout: 2h30m}",
        ] {
            ns.apply(task("t").without("/spec/description").spec(good)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_config_that_nobody_would_read_is_refused() {
    scenario(async |ns| {
        ns.apply(config("stopPolicy: KeepPod")).await;
        let other = config("stopPolicy: KeepPod").change("/metadata/name", "defaults");
        let error = refusal(ns.try_apply(other).await.unwrap_err());
        assert!(error.message.contains("a KubeOpenCodeConfig has the name \"default\""), "{}", error.message);
    })
    .await;
}

#[tokio::test]
async fn an_agent_with_a_server_has_the_name_of_a_service() {
    scenario(async |ns| {
        let long = "x".repeat(64);
        for name in ["a.b", "1a", &long] {
            ns.apply(agent(name)).await;
            let error = refusal(ns.try_apply(agent(name).spec("serverConfig: {}")).await.expect_err(name));
            assert!(error.message.contains("gives its name to a Service"), "{name}: {}", error.message);
        }
        ns.apply(agent(&long[1..]).spec("serverConfig: {}")).await;
    })
    .await;
}

#[tokio::test]
async fn the_api_server_keeps_what_must_not_change() {
    scenario(async |ns| {
        ns.apply(task("t")).await;
        let tasks = ns.tasks();
        let status = async |status: Value| {
            tasks.patch_status("t", &PatchParams::default(), &Patch::Merge(&json!({"status": status}))).await
        };
        let spec = async |spec: Value| {
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
        ns.annotate("t", "note", "x").await;
    })
    .await;
}

#[tokio::test]
async fn so_it_does_in_kubetask_io() {
    scenario(async |ns| {
        let task = "apiVersion: kubetask.io/v1alpha1\nkind: Task\nmetadata: {name: t}\nspec: {workspaceConfigRef: WHICH}\n";
        let batch = "apiVersion: kubetask.io/v1alpha1\nkind: Batch\nmetadata: {name: b}\nspec: {variableContexts: [[]], workspaceConfigRef: WHICH}\n";
        for (yaml, launched, frozen, over) in [
            (
                task,
                json!({"podUID": "a", "phase": "Running"}),
                "spec cannot change once the Task has been launched or is over",
                "a Task that is over stays as it is",
            ),
            (
                batch,
                json!({"startTime": "2026-01-01T00:00:00Z", "phase": "Running"}),
                "spec cannot change once the Batch has started",
                "a Batch that is over stays as it is",
            ),
        ] {
            let with = |config: &str| Verbatim::new(&replaced(yaml, "WHICH", config), &ns.name);
            let client = &ns.client;
            with("a").apply(client).await.unwrap();
            with("b").apply(client).await.unwrap();
            with("b").set_status(client, &launched).await.unwrap();
            let refused = with("c").apply(client).await.unwrap_err();
            assert!(refused.message.contains(frozen), "{}", refused.message);
            with("b").set_status(client, &json!({"phase": "Failed"})).await.unwrap();
            let refused = with("b").set_status(client, &json!({"phase": "Running"})).await.unwrap_err();
            assert!(refused.message.contains(over), "{}", refused.message);
        }
        let other = Verbatim::new(&replaced(&replaced(batch, "WHICH", "a"), "name: b", "name: c"), &ns.name);
        other.apply(&ns.client).await.unwrap();
        let made = |made: Value| json!({"made": made, "completedIndexes": "0-11,13"});
        other.set_status(&ns.client, &made(json!(2))).await.unwrap();
        for less in [json!(1), json!(null)] {
            let refused = other.set_status(&ns.client, &made(less)).await.unwrap_err();
            assert!(refused.message.contains("status.made never goes back"), "{}", refused.message);
        }
    })
    .await;
}
