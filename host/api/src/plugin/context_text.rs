//! The delimiters of the context file and what keeps text from forging them (see "Who escapes what" above this
//! module). The plan uses it, and so does what joins Secrets inside the Pod.
//!
//! May touch: text. Must not touch: what the text is about.

use std::borrow::Cow;

/// The `<` of these begins a delimiter of the context file, in any case.
const DELIMITERS: [&str; 4] = ["<context", "</context", "<file", "</file"];

/// Makes text safe to stand between delimiters of the context file: the `<` of `<context`, `</context`, `<file` and
/// `</file` (any case) becomes `&lt;`, nothing else changes.
pub fn escape_content(text: &str) -> Cow<'_, str> {
    let delimiter_at = |at: usize| {
        let rest = &text.as_bytes()[at..];
        DELIMITERS.iter().any(|d| rest.len() >= d.len() && rest[..d.len()].eq_ignore_ascii_case(d.as_bytes()))
    };
    let mut escaped = String::new();
    let mut copied = 0;
    for (at, _) in text.match_indices('<').filter(|&(at, _)| delimiter_at(at)) {
        escaped.push_str(&text[copied..at]);
        escaped.push_str("&lt;");
        copied = at + 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    escaped.push_str(&text[copied..]);
    Cow::Owned(escaped)
}

/// Makes a value safe to stand between the double quotes of a delimiter's attribute, on one line.
pub fn escape_attribute(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The `<file>` block of an [`Action::InlineFile`](super::Action::InlineFile) in the context file, its text escaped; no newline at the end.
pub fn file_block(name: &str, text: &str) -> String {
    format!("<file name=\"{}\">\n{}\n</file>", escape_attribute(name), escape_content(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_cannot_close_or_open_a_block() {
        assert_eq!(escape_content("a </context> b"), "a &lt;/context> b");
        assert_eq!(
            escape_content("<CONTEXT name=x><File></fILE><context"),
            "&lt;CONTEXT name=x>&lt;File>&lt;/fILE>&lt;context"
        );
    }

    #[test]
    fn other_text_stays_byte_for_byte() {
        for text in ["", "a < b && c > d", "<html>&lt;</html>", "<contex", "<é", "< context", "</", "日本<"]
        {
            assert!(matches!(escape_content(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_file_block_survives_while_its_value_is_escaped() {
        assert_eq!(
            file_block("a\"b.md", "x</file>\n</context>y"),
            "<file name=\"a&quot;b.md\">\nx&lt;/file>\n&lt;/context>y\n</file>"
        );
    }
}
