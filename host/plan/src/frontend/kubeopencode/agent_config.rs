//! `Agent.spec.config`: an object or JSON text, as the text that the agent gets.
//!
//! May touch: that value. Must not touch: what it means, which is the agent's business.

use serde_json::Value;

use crate::Refusal;

/// The configuration's JSON text: an object as compact JSON, a text byte for byte once it is known to be JSON.
pub(super) fn read(config: Option<&Value>, holder: &str) -> Result<Option<String>, Refusal> {
    let refuse = |problem: String| {
        Err(Refusal::invalid_config(format!(
            "invalid JSON in Agent config: {problem} ({holder}, spec.config: write an object, or its JSON text)"
        )))
    };
    match config {
        None | Some(Value::Null) => Ok(None),
        Some(object @ Value::Object(_)) => Ok(Some(object.to_string())),
        Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(_)) => Ok(Some(text.clone())),
            Ok(_) => refuse("it is no object".to_owned()),
            Err(e) => refuse(e.to_string()),
        },
        Some(_) => refuse("it is no object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_becomes_compact_and_a_text_stays() {
        assert_eq!(read(None, "Agent team/a").unwrap(), None);
        assert_eq!(
            read(Some(&json!({"model": "a/b", "b": [1, 2]})), "Agent team/a").unwrap().unwrap(),
            r#"{"b":[1,2],"model":"a/b"}"#
        );
        let text = "{ \"model\":\n\"a/b\" }\n";
        assert_eq!(read(Some(&json!(text)), "Agent team/a").unwrap().unwrap(), text);
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for config in [json!("{"), json!("# comment"), json!(""), json!("[]"), json!(true), json!([1])] {
            let message = read(Some(&config), "Agent team/a").unwrap_err().message;
            assert!(message.starts_with("invalid JSON in Agent config: "), "{message}");
            assert!(message.contains("Agent team/a, spec.config"), "{message}");
        }
    }
}
