//! Which Agent a Task runs with: `spec.agentRef`, a name or an object.
//!
//! May touch: the Task. Must not touch: the Agent, which is not read yet.

use kubeopencode_api::literals::DEFAULT_NAME;
use kubeopencode_api::names::AgentKey;
use kubeopencode_api::task::Task;
use serde_json::Value;

use crate::Refusal;
use crate::object_name::{is_namespace_name, is_object_name};

/// The Agent that the Task's spec names; without `agentRef`, the Agent `default` in the Task's namespace.
///
/// The schema cannot see into a field that is a string or an object, so this is where a misspelt key is found: a
/// silently dropped `namspace` would run another namespace's Agent.
///
/// # Errors
/// [`InvalidConfig`](kubeopencode_api::condition::Reason::InvalidConfig), naming the key and the remedy.
pub fn spec_agent(task: &Task) -> Result<AgentKey, Refusal> {
    let own = task.metadata.namespace.as_deref().unwrap_or_default();
    let (name, namespace) = match &task.spec.agent_ref {
        None | Some(Value::Null) => (DEFAULT_NAME, own),
        Some(Value::String(name)) => (name.as_str(), own),
        Some(Value::Object(object)) => {
            if let Some(key) = object.keys().find(|key| !matches!(key.as_str(), "name" | "namespace")) {
                return refuse(format!("unknown key \"{key}\": only name and namespace are known"));
            }
            let text = |key: &str| match object.get(key) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.as_str())),
                Some(_) => Err(format!("{key} is not a text: write it as \"{key}: my-{key}\"")),
            };
            let name = match text("name") {
                Ok(Some(name)) => name,
                Ok(None) => return refuse("name is missing: add the name of the Agent".to_owned()),
                Err(problem) => return refuse(problem),
            };
            match text("namespace") {
                Ok(namespace) => (name, namespace.unwrap_or(own)),
                Err(problem) => return refuse(problem),
            }
        }
        Some(_) => {
            return refuse("write the name of an Agent, or an object with name and namespace".to_owned());
        }
    };
    if !is_object_name(name) {
        return refuse(format!("\"{name}\" cannot be the name of an Agent: use a-z, 0-9, - and ."));
    }
    if !is_namespace_name(namespace) {
        return refuse(format!("\"{namespace}\" cannot be the name of a namespace: use a-z, 0-9 and -"));
    }
    Ok(AgentKey::new(namespace, name))
}

fn refuse<T>(problem: String) -> Result<T, Refusal> {
    Err(Refusal::invalid_config(format!("spec.agentRef: {problem}")))
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::task::TaskSpec;
    use serde_json::json;

    use super::*;

    fn key(agent_ref: Value) -> Result<String, String> {
        let mut task = Task::new("fix", TaskSpec { agent_ref: Some(agent_ref), ..TaskSpec::default() });
        task.metadata.namespace = Some("team".into());
        spec_agent(&task).map(|key| key.to_string()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn a_name_or_an_object_names_the_agent() {
        assert_eq!(key(Value::Null), Ok("team/default".into()));
        assert_eq!(key(json!("helper")), Ok("team/helper".into()));
        assert_eq!(key(json!({"name": "helper"})), Ok("team/helper".into()));
        assert_eq!(key(json!({"name": "helper", "namespace": "platform"})), Ok("platform/helper".into()));
    }

    #[test]
    fn what_the_schema_lets_pass_is_refused_here() {
        for (agent_ref, words) in [
            (json!({"name": "helper", "namspace": "platform"}), "spec.agentRef: unknown key \"namspace\""),
            (json!({"namespace": "platform"}), "spec.agentRef: name is missing"),
            (json!({"name": 5}), "spec.agentRef: name is not a text"),
            (json!(true), "spec.agentRef: write the name of an Agent"),
            (json!("../nodes"), "\"../nodes\" cannot be the name of an Agent"),
            (json!({"name": "a", "namespace": "b/c"}), "\"b/c\" cannot be the name of a namespace"),
        ] {
            let message = key(agent_ref).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
