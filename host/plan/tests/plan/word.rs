//! The Agent's word: what a Task brings along changes nothing of it.

use kubeopencode_api::plugin::EnvVar;
use serde_json::json;

use crate::build::Given;
use crate::guests;
use crate::stable::{container, given};

#[test]
fn an_agents_variable_wins_over_its_builders() {
    let mut given = given(json!([]));
    given.builder = |request| {
        let mut command = guests::opencode(request);
        command.env.push(EnvVar::value("OPENCODE_DISABLE_PROJECT_CONFIG", "1"));
        command
    };
    let values = |given: &Given| {
        let plan = given.plan().unwrap();
        let env = container(&plan, "agent").env.clone().unwrap();
        let own = env.into_iter().filter(|variable| variable.name == "OPENCODE_DISABLE_PROJECT_CONFIG");
        own.map(|variable| variable.value.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(values(&given), ["1"]);
    let own = json!({"env": [{"name": "OPENCODE_DISABLE_PROJECT_CONFIG", "value": "0"}]});
    given.agent.spec.pod_spec = Some(serde_json::from_value(own).unwrap());
    assert_eq!(values(&given), ["0"], "once, and the Agent's");
}

#[test]
fn the_pods_programs_are_told_what_they_may_reach() {
    let clone = json!([{"type": "Git", "mountPath": "r", "fileMode": 384, "git": {"repository": "https://git.example.com/r"}}]);
    let mut given = given(clone.clone());
    let variable = |given: &Given, name: &str| {
        let plan = given.plan().unwrap();
        let env = container(&plan, "git-init-0").env.clone().unwrap();
        env.into_iter().find(|variable| variable.name == name).and_then(|variable| variable.value)
    };
    assert_eq!(variable(&given, "GIT_NETWORK"), None, "nothing was said");
    assert_eq!(variable(&given, "GIT_FILE_MODE").as_deref(), Some("416"), "0640");

    let config = json!({
        "metadata": {"namespace": "kubeopencode-system", "name": "default"},
        "spec": {"taskNetwork": {"allow": ["*.example.com", "169.254.20.10"], "deny": ["10.0.0.0/8"]}},
    });
    given.configs.insert("kubeopencode-system".to_owned(), serde_json::from_value(config).unwrap());
    assert_eq!(
        variable(&given, "GIT_NETWORK").as_deref(),
        Some(
            r#"{"open":["169.254.20.10"],"allOf":[{"allow":["*.example.com","169.254.20.10"],"deny":["10.0.0.0/8"]}]}"#
        )
    );
    given.task.spec.contexts[0].git.as_mut().unwrap().repository = "https://10.1.2.3/r".to_owned();
    let refusal = given.plan().unwrap_err();
    assert_eq!(refusal.reason.as_str(), "ContextError");
    assert!(
        refusal
            .message
            .starts_with("spec.contexts[0] of Task team/hello: contexts are not fetched from 10.1.2.3: "),
        "{refusal}"
    );

    // the Agent's own are its word
    given.agent.spec.contexts = std::mem::take(&mut given.task.spec.contexts);
    assert_eq!(variable(&given, "GIT_NETWORK").as_deref(), Some(r#"{"open":["169.254.20.10"]}"#));
}

#[test]
fn a_clone_is_told_what_is_mounted_in_it() {
    let git = |path: &str| json!({"type": "Git", "mountPath": path, "git": {"repository": "https://git.example.com/r"}});
    let mut given = given(json!([git("."), git("door/bin"), git("/opt/other")]));
    let own = json!({"volumes": [{"name": "cache", "emptyDir": {}}], "volumeMounts": [{"name": "cache", "mountPath": "/workspace/cache/"}]});
    given.agent.spec.pod_spec = Some(serde_json::from_value(own).unwrap());
    let plan = given.plan().unwrap();
    let told = |container_name: &str| {
        let env = container(&plan, container_name).env.clone().unwrap();
        env.into_iter().find(|variable| variable.name == "GIT_MOUNTS").and_then(|variable| variable.value)
    };
    assert_eq!(told("git-init-0").as_deref(), Some(r#"["door/bin","cache"]"#));
    assert_eq!((told("git-init-1"), told("git-init-2")), (None, None));
}
