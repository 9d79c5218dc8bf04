//! What an Agent says of itself, and what it decides for its Tasks.

use kubeopencode_api::task::Phase;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::{agent, config, config_map, task, words};
use kubeopencode_tests::record::Kind;

use crate::scenario;

/// Waits until the condition `Accepted` of an Agent is so; gives its message.
async fn accepted(ns: &TestNamespace, name: &str, is: &str, reason: &str) -> String {
    ns.until(&format!("Agent {name} says Accepted={is}, {reason}"), |history| {
        let agent = history.get(Kind::Agent, name)?;
        let conditions = agent.list("/status/conditions");
        let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted")?;
        let is_so = accepted["status"] == is && accepted["reason"] == reason;
        is_so.then(|| accepted["message"].as_str().unwrap().to_owned())
    })
    .await
}

#[tokio::test]
async fn an_agent_says_whether_it_is_accepted_before_there_is_a_task() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let message = accepted(ns, "default", "True", "ModelNotSet").await;
        assert!(message.contains("set model in spec.config of the Agent"), "{message}");
        ns.apply(config("defaults: {config: {model: a/b}}")).await;
        accepted(ns, "default", "True", "Resolved").await;
        ns.apply(agent("builder").spec("commandBuilder: nobody")).await;
        let message = accepted(ns, "builder", "False", "PluginError").await;
        assert!(message.contains("\"nobody\""), "{message}");
        ns.apply(agent("config").spec("config: '{broken'")).await;
        let message = accepted(ns, "config", "False", "InvalidConfig").await;
        assert!(message.contains("invalid JSON in Agent config"), "{message}");
        let guide = "contexts: [{name: guide, type: ConfigMap, configMap: {name: guide}}]";
        ns.apply(agent("contexts").spec(guide)).await;
        let message = accepted(ns, "contexts", "False", "ContextError").await;
        assert!(message.contains("ConfigMap guide not found"), "{message}");
        ns.apply(config_map("guide", &[("a.md", "text")])).await;
        accepted(ns, "contexts", "True", "Resolved").await;
        assert_eq!(ns.record.history().all(Kind::Pod).count(), 0, "nothing was made to find that out");
    })
    .await;
}

#[tokio::test]
async fn settings_that_change_before_the_tasks_are_listed_hold_for_agents() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let no_tasks = Faults::always(("WATCH", "/tasks"), Fault::Held);
        let _operator = ns.operator_with(&no_tasks);
        accepted(ns, "default", "True", "ModelNotSet").await;
        ns.apply(config("defaults: {config: {model: a/b}}")).await;
        accepted(ns, "default", "True", "Resolved").await;
    })
    .await;
}

#[tokio::test]
async fn a_task_without_a_timeout_has_that_of_its_agent_else_that_of_the_settings() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("defaults: {timeout: 1s}")).await;
        ns.apply(agent("quick").spec("timeout: 2s")).await;
        ns.apply(agent("patient").spec("timeout: 1h")).await;
        let _operator = ns.operator();
        ns.apply(task("own").agent("patient").does("run-on").spec("timeout: 3s")).await;
        ns.apply(task("agents").agent("quick").does("run-on")).await;
        ns.apply(task("settings").does("run-on")).await;
        ns.apply(task("later").agent("patient").does("run-on")).await;
        let of_agent =
            |timeout: &str, agent: &str| format!("spec.timeout of Agent \"{}/{agent}\" ({timeout})", ns.name);
        let ends = async |name: &str, words_of_it: &str| {
            let task = ns.phase(name, Phase::Failed).await;
            let expected = format!("the Task ran longer than {words_of_it}");
            assert_eq!(words(&task, "Succeeded"), ("False", "Timeout", expected.as_str()));
        };
        ends("own", "spec.timeout (3s)").await;
        ends("agents", &of_agent("2s", "quick")).await;
        ends("settings", "spec.defaults.timeout of KubeOpenCodeConfig (1s)").await;
        ns.agent_runs("later-pod").await;
        ns.apply(agent("patient").spec("timeout: 1s")).await;
        ends("later", &of_agent("1s", "patient")).await;
    })
    .await;
}
