//! Given these YAML files, these objects are made.

use kubeopencode_plan::ExecutionPlan;
use serde_json::json;

use crate::build::Given;

/// What a cluster gets, without the digest, which changes with every byte of it.
fn seen(plan: &ExecutionPlan) -> String {
    let notices: Vec<String> =
        plan.notices.iter().map(|(reason, message)| format!("{reason}: {message}")).collect();
    let mut text = String::new();
    for map in &plan.config_maps {
        text.push_str(&serde_norway::to_string(map).unwrap());
        text.push_str("---\n");
    }
    text.push_str(&serde_norway::to_string(&plan.pod).unwrap());
    text.push_str("---\n");
    text.push_str(&serde_norway::to_string(&json!({ "notices": notices })).unwrap());
    text.replace(&plan.digest, "<digest>")
}

macro_rules! pods {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            let given = Given::yaml(include_str!(concat!("fixtures/", stringify!($name), ".yaml")));
            let plan = given.plan().unwrap_or_else(|refusal| panic!("{refusal}"));
            insta::assert_snapshot!(seen(&plan));
        }
    )+};
}

pods![
    quickstart,
    files_and_directories,
    another_namespace,
    credentials,
    pod_options,
    own_command,
    optional_contexts,
    git_and_url,
    workspace_is_a_clone,
];
