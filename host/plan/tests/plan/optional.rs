//! What an optional context is left out for that only shows once all contexts are together.

use kubeopencode_api::condition::Reason;
use kubeopencode_api::plugin::{Action, Capability, EnvVar, Plan};
use kubeopencode_plan::Granted;
use serde_json::{Value, json};

use crate::build::Given;

fn given(contexts: Value) -> Given {
    let mut given = Given::yaml(include_str!("fixtures/task.yaml"));
    given.agent.spec.contexts.clear();
    given.task.spec.contexts = serde_json::from_value(contexts).unwrap();
    given
}

/// The words of what was left out.
fn left_out(given: &Given) -> Vec<String> {
    let notices = given.plan().unwrap().notices.into_iter();
    notices.filter(|(reason, _)| *reason == Reason::OptionalSkipped).map(|(_, message)| message).collect()
}

/// Sets `NAME`, as its payload says it.
fn with_env(contexts: Value) -> Given {
    let mut given = given(contexts);
    let granted = Granted { capabilities: vec![Capability::Env], env: vec!["*".into()], ..Granted::none() };
    given.plugin = Some((
        |item| {
            let variable = EnvVar::value(item.payload["set"].as_str().unwrap(), "x");
            Plan { actions: vec![Action::SetEnv(variable)], ..Plan::default() }
        },
        granted,
    ));
    given
}

#[test]
fn a_path_that_is_taken() {
    let text = |optional: bool, path: &str| json!({"type": "Text", "text": "x", "mountPath": path, "optional": optional});
    let all = [text(true, "a"), text(false, "a"), text(true, "b"), text(true, "b/c"), text(true, "task.md")];
    let left_out = left_out(&given(Value::from(all.to_vec())));
    let words = "mount path conflict: \"/workspace/";
    assert_eq!(left_out.len(), 3, "{left_out:?}");
    for (message, place) in left_out.iter().zip(["0", "3", "4"]) {
        let start = format!("spec.contexts[{place}] of Task team/hello: {words}");
        assert!(message.starts_with(&start), "{message}");
    }
    let both_needed = given(json!([text(false, "a"), text(false, "a"), text(true, "b")]));
    assert!(both_needed.plan().unwrap_err().message.starts_with(words));
}

#[test]
fn more_than_a_task_may_have() {
    // four of them and the prompt are just below the limit
    let big = "x".repeat((1 << 20) - 1000);
    let item = |optional: bool, i: usize| json!({"type": "Text", "text": big, "mountPath": format!("f{i}"), "optional": optional});
    let left_out = left_out(&given((0..5).map(|i| item(i % 2 == 1, i)).collect()));
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(
        left_out[0].starts_with("spec.contexts[3] of Task team/hello: Task team/hello has "),
        "{left_out:?}"
    );
}

#[test]
fn a_variable_that_is_set() {
    let item =
        |optional: bool, name: &str| json!({"type": "Custom", "config": {"set": name}, "optional": optional});
    let mut given = with_env(json!([item(true, "A"), item(false, "A"), item(true, "B"), item(true, "C")]));
    given.agent.spec.pod_spec =
        Some(serde_json::from_value(json!({"env": [{"name": "B", "value": "own"}]})).unwrap());
    let left_out = left_out(&given);
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    assert!(left_out[0].contains("environment variable A is set by both"), "{left_out:?}");
    assert!(left_out[1].contains("environment variable B is set by the Agent already"), "{left_out:?}");
}
