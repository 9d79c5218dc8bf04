//! YAML as kubectl reads it: `0400` is octal, `yes` is true, and a key stands once. What is written is read the same by
//! readers of YAML 1.1 and 1.2.
//!
//! May touch: text. Must not touch: what an object means.

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, SingleQuoted, options, ser_options};

use crate::error::CliError;

/// The documents of a file; empty ones are left out.
///
/// # Errors
/// The first place that is no YAML.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let options = options! {
        budget: None,
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
        strict_booleans: false,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| error.to_string())
}

/// An object as YAML, without a newline at its end.
///
/// # Errors
/// A defect of the object's type.
pub(crate) fn document(object: &impl Serialize) -> Result<String, CliError> {
    // a long line stays one: it is easier to find, and to compare
    let options = ser_options! { folded_wrap_chars: usize::MAX };
    let object = serde_json::to_value(object)?;
    let text = serde_saphyr::to_string_with_options(&Readable(&object), options);
    let mut text = text.map_err(|error| CliError::Yaml(error.to_string()))?;
    // one alone: further ones are the end of a text
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// JSON in a text is full of double quotes, and stays readable between single ones.
struct Readable<'a>(&'a Value);

impl Serialize for Readable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                serializer.collect_map(members.iter().map(|(key, member)| (key, Readable(member))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Readable)),
            Value::String(text) if text.contains('"') && !text.contains(char::is_control) => {
                SingleQuoted(text).serialize(serializer)
            }
            value => value.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn only(text: &str) -> Value {
        let mut all = documents(text).unwrap();
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[test]
    fn scalars_are_those_of_kubectl() {
        for (written, read) in [
            ("0400", json!(256)),
            ("0o400", json!(256)),
            ("0x10", json!(16)),
            ("1_000", json!(1000)),
            ("\"0400\"", json!("0400")),
            ("'yes'", json!("yes")),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("~", json!(null)),
            ("1.5", json!(1.5)),
            ("500m", json!("500m")),
            ("2024-01-15T10:00:00Z", json!("2024-01-15T10:00:00Z")),
            ("12:30", json!("12:30")),
            ("1e3", json!(1000.0)),
            ("0800", json!(800.0)),
            ("|\n  a\n  b\n", json!("a\nb\n")),
        ] {
            assert_eq!(only(&format!("a: {written}"))["a"], read, "{written}");
        }
    }

    #[test]
    fn documents_are_separated_and_empty_ones_left_out() {
        let all = documents("# a comment\n---\na: 1\n---\n---\nb: &x {c: 1}\nd: {<<: *x}\n").unwrap();
        assert_eq!(all, [json!({"a": 1}), json!({"b": {"c": 1}, "d": {"c": 1}})]);
        assert_eq!(only("{\"a\": [1, \"b\"]}"), json!({"a": [1, "b"]}));
    }

    #[test]
    fn what_is_written_is_read_back() {
        // words that YAML readers of one kind or another take for something else
        let words = [
            "yes",
            "No",
            "on",
            "y",
            "~",
            "null",
            "0400",
            "0o17",
            "1_000",
            "0x1F",
            "1e3",
            ".5",
            "+1",
            "12:30",
            "=",
            "<<",
            "2024-01-15",
            "- a",
            "a: b",
            "#",
            "",
            " a",
            "a\nb",
            "a\n\n",
            "\ttab",
            "é\u{85}",
            "'",
            "{",
            "true",
            ".inf",
            "0b1",
            "-0400",
            "1,000",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            r#"{"a": ["it's"]}"#,
            "\"\n",
        ];
        let value = json!({ "words": words.to_vec() });
        let text = document(&value).unwrap();
        assert_eq!(only(&text), value, "{text}");
        for word in words {
            let value = json!({ "last": word });
            let text = document(&value).unwrap() + "\n";
            assert_eq!(only(&text), value, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, words) in [("a: 1\na: 2\n", "duplicate"), ("a: [", "line"), ("a: b: c", "line")] {
            let error = documents(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
