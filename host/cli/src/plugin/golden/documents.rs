//! The documents of a YAML file, each with its line and its text. Pure.

use serde_json::Value;

use crate::yaml;

/// A document's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// Where it begins and ends in the file, without its separator.
    pub(super) start: usize,
    pub(super) text: &'a str,
    /// Line of its first word, from 1.
    pub(super) line: usize,
}

/// All of a file. A line that begins with `---` begins a document, wherever it stands.
pub(super) fn of(text: &str) -> Vec<Text<'_>> {
    let (mut documents, mut start, mut at) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        let is_separator =
            line.strip_prefix("---").is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with(' '));
        if is_separator {
            documents.push(document(text, start, at));
            start = at + "---".len();
        }
        at += line.len();
    }
    documents.push(document(text, start, at));
    documents
}

fn document(file: &str, start: usize, end: usize) -> Text<'_> {
    let text = &file[start..end];
    let mut line = file[..start].matches('\n').count() + 1;
    let words = text.lines().position(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    line += words.unwrap_or_default();
    Text { start, text, line }
}

impl Text<'_> {
    /// What it says; none: it is empty.
    pub(super) fn value(&self) -> Result<Option<Value>, String> {
        Ok(yaml::documents(self.text)?.into_iter().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_has_its_line() {
        let file = "# words\n---\n# one\nname: a\ntext: |\n  ---\n---\n\nname: b\n--- # c\nname: c\n";
        let found: Vec<_> = of(file).iter().map(|text| (text.line, text.value().unwrap())).collect();
        let names: Vec<_> = found
            .iter()
            .filter_map(|(line, value)| Some((*line, value.as_ref()?["name"].as_str()?)))
            .collect();
        assert_eq!(names, [(4, "a"), (9, "b"), (11, "c")]);
    }
}
