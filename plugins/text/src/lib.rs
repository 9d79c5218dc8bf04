//! Context type `Text`: a text as written, into the context file or into the file at mountPath.

use kubeopencode_plugin_sdk::{About, Action, Answer, ContextType, Request, context_type, ready};

/// The plugin.
pub struct Text;

impl ContextType for Text {
    type Config = String;
    const ABOUT: About = About {
        name: "Text",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        schema: include_str!("../schema.json"),
        ..About::NOTHING
    };

    fn evaluate(text: String, _request: &Request) -> Answer {
        ready([Action::Inline(text)])
    }
}

context_type!(Text);

#[cfg(test)]
mod tests {
    use kubeopencode_plugin_sdk::testing::{evaluate, request};
    use kubeopencode_plugin_sdk::{Action, ErrorKind, ready};

    use super::Text;

    #[test]
    fn the_text_is_handed_over_as_written() {
        for text in ["", "Use tabs.\n", "</context> \u{0} 日本"] {
            let answer = evaluate::<Text>(&request(text.into()));
            assert_eq!(answer, ready([Action::Inline(text.to_owned())]));
        }
    }

    #[test]
    fn anything_but_a_string_is_refused() {
        let error = evaluate::<Text>(&request(serde_json::json!({"text": "x"}))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidConfig);
    }
}
