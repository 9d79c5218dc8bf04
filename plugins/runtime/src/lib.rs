//! Context type `Runtime`: tells the agent what KubeOpenCode is and what it finds around itself.
//!
//! The text is the same for every Task: what differs between them, the agent reads from its environment.

use kubeopencode_plugin_sdk::{About, Action, Answer, ContextType, MountPath, Request, context_type, ready};
use serde::Deserialize;

/// The plugin.
pub struct Runtime;

/// The item's `runtime`: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl ContextType for Runtime {
    type Config = Config;
    const ABOUT: About = About {
        name: "Runtime",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        mount_path: MountPath::Ignored,
        default_name: Some("runtime"),
        ..About::NOTHING
    };

    fn evaluate(_: Config, _: &Request) -> Answer {
        ready([Action::Inline(include_str!("runtime.md").trim_end().to_owned())])
    }
}

context_type!(Runtime);

#[cfg(test)]
mod tests {
    use kubeopencode_plugin_sdk::testing::{evaluate, request};
    use kubeopencode_plugin_sdk::{Action, Outcome};
    use serde_json::json;

    use super::Runtime;

    #[test]
    fn an_agent_learns_where_it_is_and_how_to_look_at_its_task() {
        let Outcome::Ready(plan) = evaluate::<Runtime>(&request(json!({}))).unwrap() else { panic!() };
        let [Action::Inline(text)] = &plan.actions[..] else { panic!("{:?}", plan.actions) };
        for words in [
            "KubeOpenCode Runtime Context",
            "TASK_NAME",
            "TASK_NAMESPACE",
            "WORKSPACE_DIR",
            "kubectl get task",
        ] {
            assert!(text.contains(words), "{words}");
        }
        assert_eq!(text.trim(), text);
    }

    #[test]
    fn it_takes_no_fields() {
        assert!(evaluate::<Runtime>(&request(json!({"verbose": true}))).is_err());
    }
}
