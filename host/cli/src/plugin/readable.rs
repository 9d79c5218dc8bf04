//! Answers of plugins as people read and write them: what says nothing is left out, text is text. Pure.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// An answer as it stands in golden cases.
pub(super) fn readable(answer: &impl Serialize) -> Value {
    // an answer is text, numbers and lists, which can always be written
    pruned(&serde_json::to_value(answer).unwrap_or_default())
}

/// The same without what says nothing: null, false, and empty lists.
pub(super) fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(key, member)| (key.clone(), member_of(key, member)));
            // which of several it is, as in {initContainer: null}, says something alone
            let is_choice = members.len() == 1;
            Value::Object(
                members
                    .filter(|(_, member)| (is_choice && member.is_null()) || !says_nothing(member))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => items.iter().map(pruned).collect(),
        value => value.clone(),
    }
}

fn member_of(key: &str, member: &Value) -> Value {
    match (key, member) {
        ("content", Value::Array(items))
            if items.iter().all(|item| item.as_u64().is_some_and(|n| n < 256)) =>
        {
            let bytes: Vec<u8> = items.iter().filter_map(|item| u8::try_from(item.as_u64()?).ok()).collect();
            text(bytes)
        }
        // JSON text, in which everything says something
        ("resultReader", Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| member.clone())
        }
        ("resultReader", reader) => reader.clone(),
        _ => pruned(member),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Bytes of a file.
pub(super) fn text(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => Value::String(text),
        Err(error) => json!({"bytes": error.as_bytes().len()}),
    }
}

/// A number for people: in thousands, and in millions from one on.
pub(super) fn count(n: u64) -> String {
    if n >= 1_000_000 {
        return format!("{}.{} M", n / 1_000_000, n % 1_000_000 / 100_000);
    }
    match n / 1000 {
        0 => n.to_string(),
        thousands => format!("{thousands},{:03}", n % 1000),
    }
}

/// A time for people.
pub(super) fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

/// Bytes of memory for people.
pub(super) fn mebibytes(bytes: usize) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// As in `1 round`, `2 rounds`.
pub(super) fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("{n} {what}") } else { format!("{n} {what}s") }
}

/// Each line so far to the right; what is empty stays so.
pub(super) fn indented(text: &str, by: usize) -> String {
    let lines = text.lines().map(|line| format!("{:by$}{line}", "").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::plugin::{Action, File, Plan};

    use super::*;

    #[test]
    fn a_plan_is_what_it_says() {
        let file = File { path: "a".into(), content: b"text".to_vec(), mode: None };
        let odd = File { path: "b".into(), content: b"\xff".to_vec(), mode: Some(0o600) };
        let plan = Plan {
            actions: vec![Action::Inline(String::new()), Action::WriteFile(file), Action::WriteFile(odd)],
            ..Plan::default()
        };
        assert_eq!(
            readable(&plan),
            json!({"actions": [
                {"inline": ""},
                {"writeFile": {"path": "a", "content": "text"}},
                {"writeFile": {"path": "b", "content": {"bytes": 1}, "mode": 384}},
            ]})
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0, 999, 14_445, 999_999, 1_000_000, 7_390_000].map(count).join(" "),
            "0 999 14,445 999,999 1.0 M 7.3 M"
        );
        assert_eq!((millis(2040), mebibytes(2_000_000)), ("2.0 ms".to_owned(), "1.9 MiB".to_owned()));
    }
}
