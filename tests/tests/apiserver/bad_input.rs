//! No input of a user stops the operator, blocks another Task or is retried for ever: the Task ends, or waits, with a
//! condition that names object, field and remedy.

use std::collections::BTreeSet;

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{Objects, agent, config, config_map, status, task};
use serde_json::{Value, json};

use crate::scenario;

/// One bad Task (or Agent) in a namespace of its own: how it ends, and that the next Task runs.
async fn fails(what: &str, objects: impl Objects, reason: &str, words: &str) {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 1")).await;
        let _operator = ns.operator();
        ns.apply(objects).await;
        let bad = ns.phase("bad", Phase::Failed).await;
        assert_eq!(status(&bad).reason.as_deref(), Some(reason), "{what}: {:?}", status(&bad).message);
        let message = status(&bad).message.as_deref().unwrap();
        assert!(message.contains(words), "{what}: {message}");
        runs(ns).await;
    })
    .await;
}

async fn runs(ns: &TestNamespace) {
    ns.apply(task("good")).await;
    ns.phase("good", Phase::Completed).await;
}

/// A Task with this Agent, of which the `spec` is given whole.
fn with_agent(spec: &str) -> Vec<Value> {
    let odd = agent("odd").without("/spec/serviceAccountName").spec(spec);
    vec![odd.json(), task("bad").agent("odd").json()]
}

#[tokio::test]
async fn references_that_are_none() {
    fails(
        "a misspelt key",
        task("bad").spec("agentRef: {name: default, namspace: other}"),
        "InvalidConfig",
        "namspace",
    )
    .await;
    fails("a boolean", task("bad").spec("agentRef: true"), "InvalidConfig", "agentRef").await;
}

#[tokio::test]
async fn nothing_to_do() {
    fails("no description", task("bad").without("/spec/description"), "InvalidConfig", "spec.description")
        .await;
}

#[tokio::test]
async fn contexts_that_cannot_be() {
    for (what, spec, reason, words) in [
        (
            "equal paths",
            "{contexts: [{type: Text, text: a, mountPath: x.md}, {type: Text, text: b, mountPath: ./x.md}]}",
            "ContextError",
            "mount path conflict: \"/workspace/x.md\" is used by both",
        ),
        (
            "Git without a path",
            "{contexts: [{type: Git, git: {repository: 'https://x/y'}}]}",
            "ContextError",
            "git context requires mountPath to be specified",
        ),
        (
            "a path of the system",
            "{contexts: [{type: Text, text: a, mountPath: /proc/x}]}",
            "ContextError",
            "spec.contexts[0]",
        ),
        (
            "a path that climbs out",
            "{contexts: [{type: Text, text: a, mountPath: ../../etc/passwd}]}",
            "ContextError",
            "spec.contexts[0]",
        ),
        (
            "an unknown type",
            "{contexts: [{type: Jira, config: {a: [1, {b: null}]}}]}",
            "PluginError",
            "no plugin for context type \"Jira\"",
        ),
    ] {
        fails(what, task("bad").spec(spec), reason, words).await;
    }
}

#[tokio::test]
async fn agents_that_make_no_sense() {
    for (what, spec, reason, words) in [
        (
            "broken config",
            "{serviceAccountName: kubeopencode-agent, config: '{\"model\": '}",
            "InvalidConfig",
            "invalid JSON in Agent config:",
        ),
        (
            "config of another kind",
            "{serviceAccountName: kubeopencode-agent, config: [1, 2]}",
            "InvalidConfig",
            "config",
        ),
        (
            "a credential with a key and no place",
            "{serviceAccountName: kubeopencode-agent, credentials: [{name: c, secretRef: {name: s, key: k}}]}",
            "InvalidConfig",
            "credentials",
        ),
        (
            "a volume mount without its volume",
            "{serviceAccountName: kubeopencode-agent, podSpec: {volumeMounts: [{name: none, mountPath: /data}]}}",
            "InvalidConfig",
            "spec.podSpec.volumeMounts[0] of Agent",
        ),
        (
            "an image that is none",
            "{serviceAccountName: kubeopencode-agent, executorImage: ' '}",
            "PodCreationError",
            "image",
        ),
        (
            "a command builder that nobody knows",
            "{serviceAccountName: kubeopencode-agent, commandBuilder: none}",
            "PluginError",
            "none",
        ),
    ] {
        fails(what, with_agent(spec), reason, words).await;
    }
}

#[tokio::test]
async fn numbers_that_fit_no_machine_are_refused_by_the_api_server() {
    // the schema of an integer has no bounds of its own, and an object that cannot be read can be told nothing
    scenario(async |ns| {
        let git = "{contexts: [{type: Git, mountPath: src, git: {repository: 'https://x/y', depth: 5000000000}}]}";
        for (objects, field) in [
            (vec![task("bad").spec(git).json()], "spec.contexts[0].git.depth"),
            (with_agent("{serviceAccountName: s, maxConcurrentTasks: 5000000000}"), "spec.maxConcurrentTasks"),
            (with_agent("{serviceAccountName: s, podSpec: {volumes: [{name: v, secret: {defaultMode: 5000000000}}]}}"), "defaultMode"),
        ] {
            let refused = ns.try_apply(objects).await.expect_err(field).to_string();
            assert!(refused.contains(field), "{refused}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_ref_that_yaml_takes_for_a_number_is_refused_by_the_api_server() {
    scenario(async |ns| {
        let tasks = Api::<DynamicObject>::namespaced_with(
            ns.client.clone(),
            &ns.name,
            &ApiResource::erase::<Task>(&()),
        );
        for number in [json!(1.1), json!(1_234_567)] {
            let git = json!({"repository": "https://git.example.com/a", "ref": number});
            let item = json!([{"type": "Git", "mountPath": "src", "git": git}]);
            let bad = serde_json::from_value(task("bad").set("/spec/contexts", item).json()).unwrap();
            let refused = tasks.create(&PostParams::default(), &bad).await.unwrap_err().to_string();
            assert!(refused.contains("spec.contexts[0].git.ref"), "{refused}");
            assert!(refused.contains("must be of type string"), "{refused}");
        }
    })
    .await;
}

#[tokio::test]
async fn quantities_may_be_numbers_as_in_a_pod() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let pod_spec = "{resources: {limits: {cpu: 2}}, volumes: [{name: scratch, emptyDir: {sizeLimit: 1000000}}], volumeMounts: [{name: scratch, mountPath: /scratch}]}";
        ns.apply(with_agent(&format!("{{serviceAccountName: kubeopencode-agent, podSpec: {pod_spec}}}"))).await;
        ns.phase("bad", Phase::Completed).await;
    })
    .await;
}

#[tokio::test]
async fn a_prompt_of_a_megabyte_runs() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("bad").description(&"x".repeat(1_000_000))).await;
        let task = ns.phase("bad", Phase::Completed).await;
        assert!(status(&task).pod_name.is_some());
        runs(ns).await;
    })
    .await;
}

#[tokio::test]
async fn more_text_than_a_task_may_have_is_refused_by_size() {
    // each ConfigMap takes a megabyte, the Task names five of them
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let text = "y".repeat(950_000);
        for i in 0..5 {
            ns.apply(config_map(&format!("big-{i}"), &[("a", &text)])).await;
        }
        let items: Vec<_> =
            (0..5).map(|i| format!("{{type: ConfigMap, configMap: {{name: big-{i}}}}}")).collect();
        ns.apply(task("bad").spec(&format!("contexts: [{}]", items.join(", ")))).await;
        let bad = ns.phase("bad", Phase::Failed).await;
        assert_eq!(status(&bad).reason.as_deref(), Some("ContextError"), "{:?}", status(&bad).message);
        runs(ns).await;
    })
    .await;
}

#[tokio::test]
async fn more_text_than_an_object_has_room_for_is_refused_by_the_api_server() {
    scenario(async |ns| {
        let text = |name: &str, items: usize, description: usize| {
            let inline = "i".repeat(250_000);
            let file = format!("{{type: File, file: {{name: f, source: {{inline: {inline}}}}}}}");
            let text = format!("{{type: Text, text: {}}}", "t".repeat(250_000));
            let contexts = [vec![text; items], vec![file; items]].concat().join(", ");
            task(name).description(&"d".repeat(description)).spec(&format!("contexts: [{contexts}]")).json()
        };
        ns.apply(text("fits", 2, 48_576)).await;
        let error = ns.try_apply(text("more", 2, 48_577)).await.unwrap_err().to_string();
        assert!(error.contains("more than 1048576 characters together: put text into ConfigMaps"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn names_as_long_as_they_may_be() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let name = "n".repeat(253);
        ns.apply(task(&name)).await;
        let task = ns.phase(&name, Phase::Completed).await;
        let pod = status(&task).pod_name.clone().unwrap();
        assert!(pod.len() <= 253 && pod.ends_with("-pod"), "{pod}");
    })
    .await;
}

#[tokio::test]
async fn names_of_digits_and_with_dots_run_and_two_long_ones_stay_apart() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        // 253 characters, as an object's name may have
        let dotted = |end: &str| format!("{}{end}", format!("{}.", "n".repeat(49)).repeat(5));
        let long_agent = dotted("abc");
        ns.apply(agent(&long_agent)).await;
        let _operator = ns.operator();
        let names =
            ["1234".to_owned(), "release-1.2.3".to_owned(), "n".repeat(64), dotted("one"), dotted("two")];
        for name in &names {
            ns.apply(task(name).agent(&long_agent)).await;
        }
        let mut pods = BTreeSet::new();
        for name in &names {
            let task = ns.phase(name, Phase::Completed).await;
            pods.insert(status(&task).pod_name.clone().unwrap());
        }
        assert_eq!(pods.len(), names.len(), "{pods:?}");
    })
    .await;
}
