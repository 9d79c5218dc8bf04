//! `llms.txt`, a list of the pages with a line each for people's own agents, and `llms-full.txt`, what users read in one file.
//! See <https://llmstxt.org>.
//!
//! May touch: text. Must not touch: files.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::book::{Book, Entry, made};

const ABOUT: &str = "A Kubernetes operator that runs coding agents: an Agent says how, each Task runs one Pod, at most once. \
    Each page here is Markdown; its YAML and its commands run in tests.";

/// Why it is built as it is: a list calls optional what an agent may leave out, and the file with all leaves it out.
fn is_optional(entry: &Entry) -> bool {
    entry.path.ends_with("/README.md")
}

/// The list.
pub(crate) fn list(book: &Book, version: &str) -> String {
    let mut text = format!("# KubeOpenCode {version}\n\n> {ABOUT}\n");
    for section in &book.sections {
        let _ = write!(text, "\n## {}\n\n", section.title.as_deref().unwrap_or("Documentation"));
        for entry in section.entries.iter().filter(|entry| !is_optional(entry)) {
            line(entry, &mut text);
            entry.children.iter().for_each(|child| line(child, &mut text));
        }
    }
    text.push_str("\n## Optional\n\n");
    for entry in book.sections.iter().flat_map(|section| &section.entries).filter(|entry| is_optional(entry))
    {
        line(entry, &mut text);
    }
    text
}

fn line(entry: &Entry, text: &mut String) {
    let _ = write!(text, "- [{}]({})", entry.title, made(&entry.path));
    // a line has no links of its own, which would lead from elsewhere
    let words = if entry.line.contains("](") { "" } else { &entry.line };
    let _ = if words.is_empty() { writeln!(text) } else { writeln!(text, ": {words}") };
}

/// All pages but the optional ones; what was made is found by its path.
pub(crate) fn full(book: &Book, made_pages: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let entries =
        book.sections.iter().flat_map(|section| &section.entries).filter(|entry| !is_optional(entry));
    for entry in entries.flat_map(|entry| std::iter::once(entry).chain(&entry.children)) {
        let path = made(&entry.path);
        let page = made_pages.get(&path).map(String::as_str).unwrap_or_default();
        let _ = write!(text, "<!-- {path} -->\n\n{}\n\n", page.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Section;

    fn entry(title: &str, path: &str, line: &str, children: Vec<Entry>) -> Entry {
        Entry { title: title.to_owned(), path: path.to_owned(), line: line.to_owned(), children }
    }

    #[test]
    fn the_list_has_a_line_for_each_page_and_the_file_has_their_text() {
        let kind = entry("Agent (a.io/v1)", "reference/a.io/agent.md", "How.", Vec::new());
        let decision = entry("1. A", "decisions/0001-a.md", "", Vec::new());
        let first = vec![
            entry("Reference", "reference.md", "every field", vec![kind]),
            entry("Decisions", "decisions/README.md", "why", vec![decision]),
        ];
        let how_to = vec![entry("Night", "how-to/night.md", "see [there](x.md)", Vec::new())];
        let book = Book {
            sections: vec![
                Section { title: None, entries: first },
                Section { title: Some("How to".to_owned()), entries: how_to },
            ],
        };
        assert_eq!(
            list(&book, "1.2.3"),
            format!(
                "# KubeOpenCode 1.2.3\n\n> {ABOUT}\n\n## Documentation\n\n- [Reference](reference.md): every field\n\
                 - [Agent (a.io/v1)](reference/a.io/agent.md): How.\n\n## How to\n\n- [Night](how-to/night.md)\n\n\
                 ## Optional\n\n- [Decisions](decisions/index.md): why\n"
            )
        );
        let pages =
            [("reference.md", "# R\n"), ("how-to/night.md", "# N\n"), ("decisions/index.md", "# D\n")];
        let pages = pages.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
        assert_eq!(
            full(&book, &pages),
            "<!-- reference.md -->\n\n# R\n\n<!-- reference/a.io/agent.md -->\n\n\n\n<!-- how-to/night.md -->\n\n# N\n\n"
        );
    }
}
