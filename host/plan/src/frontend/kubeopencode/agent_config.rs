//! `Agent.spec.config`: an object or JSON text, as the text that the agent gets, merged over that of the settings.
//!
//! May touch: these values. Must not touch: what it means, which is the agent's business.

use serde_json::Value;

use crate::Refusal;

/// The configuration's JSON text: an object as compact JSON; a text byte for byte once it is known to be JSON, unless
/// there is something to merge it over.
pub(super) fn read(
    config: Option<&Value>,
    default: Option<&Value>,
    holder: &str,
) -> Result<Option<String>, Refusal> {
    let refuse = |problem: String| {
        Err(Refusal::invalid_config(format!(
            "invalid JSON in Agent config: {problem} ({holder}, spec.config: write an object, or its JSON text)"
        )))
    };
    let own = match config {
        None | Some(Value::Null) => return Ok(default.map(Value::to_string)),
        Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(_)) if default.is_none() => return Ok(Some(text.clone())),
            Ok(value) => value,
            Err(e) => return refuse(e.to_string()),
        },
        Some(value) => value.clone(),
    };
    if !own.is_object() {
        return refuse("it is no object".to_owned());
    }
    let Some(default) = default else { return Ok(Some(own.to_string())) };
    let mut merged = default.clone();
    json_patch::merge(&mut merged, &own);
    Ok(Some(merged.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_becomes_compact_and_a_text_stays() {
        assert_eq!(read(None, None, "Agent team/a").unwrap(), None);
        assert_eq!(
            read(Some(&json!({"model": "a/b", "b": [1, 2]})), None, "Agent team/a").unwrap().unwrap(),
            r#"{"b":[1,2],"model":"a/b"}"#
        );
        let text = "{ \"model\":\n\"a/b\" }\n";
        assert_eq!(read(Some(&json!(text)), None, "Agent team/a").unwrap().unwrap(), text);
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for config in [json!("{"), json!("# comment"), json!(""), json!("[]"), json!(true), json!([1])] {
            let message = read(Some(&config), None, "Agent team/a").unwrap_err().message;
            assert!(message.starts_with("invalid JSON in Agent config: "), "{message}");
            assert!(message.contains("Agent team/a, spec.config"), "{message}");
        }
    }

    #[test]
    fn an_agents_configuration_is_merged_over_that_of_the_settings() {
        let default =
            json!({"model": "a/b", "provider": {"a": {"options": {"baseURL": "http://a"}}}, "share": "auto"});
        let merged = |config: Value| read(Some(&config), Some(&default), "Agent team/a").unwrap().unwrap();
        assert_eq!(read(None, Some(&default), "Agent team/a").unwrap().unwrap(), default.to_string());
        let own = json!({"model": "c/d", "provider": {"a": {"models": {"m": {"x": null}}}}, "share": null});
        let expected = json!({
            "model": "c/d", "provider": {"a": {"options": {"baseURL": "http://a"}, "models": {"m": {}}}},
        });
        assert_eq!(merged(own.clone()), expected.to_string());
        assert_eq!(merged(json!(own.to_string())), expected.to_string(), "a text is merged too");
        assert_eq!(
            merged(json!({"provider": 5})),
            json!({"model": "a/b", "provider": 5, "share": "auto"}).to_string()
        );
    }
}
