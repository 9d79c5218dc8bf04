//! Which pages there are, in which order and under which titles: what the tables of docs/README.md say.
//!
//! May touch: text. Must not touch: files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::page::resolve;
use crate::reference::Reference;

/// The page that lists all others.
pub(crate) const LIST: &str = "README.md";

/// The pages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) sections: Vec<Section>,
}

/// A table of docs/README.md.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// What stands above the table.
    pub(crate) title: Option<String>,
    pub(crate) entries: Vec<Entry>,
}

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) title: String,
    /// From docs/, as it is there; for a page of the reference, as it will be.
    pub(crate) path: String,
    /// What the table says of it.
    pub(crate) line: String,
    /// The pages of its folder, where it is the README of one, or those of the reference.
    pub(crate) children: Vec<Entry>,
}

impl Book {
    /// Reads the tables; the pages are those of docs/, by their paths from there.
    ///
    /// # Errors
    /// Rows without a page, and pages without a row.
    pub(crate) fn read(pages: &BTreeMap<String, String>, reference: &Reference) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut listed = BTreeSet::from([LIST.to_owned()]);
        let mut sections = tables(pages.get(LIST).map(String::as_str).unwrap_or_default());
        for section in &mut sections {
            // a page that stands in two tables belongs to the first one
            section.entries.retain(|entry| listed.insert(entry.path.clone()));
            for entry in &mut section.entries {
                match pages.get(&entry.path) {
                    Some(markdown) => entry.title = in_menu(&entry.title, markdown),
                    None => problems.push(format!("docs/{LIST}: there is no page {}", entry.path)),
                }
                entry.children = children(&entry.path, pages, reference);
                listed.extend(entry.children.iter().map(|child| child.path.clone()));
            }
        }
        let forgotten = pages.keys().filter(|path| !listed.contains(*path));
        problems.extend(forgotten.map(|path| format!("docs/{path}: docs/{LIST} has no row of it")));
        if problems.is_empty() { Ok(Self { sections }) } else { Err(problems) }
    }

    /// The list of chapters, as mdBook reads it.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!("# Summary\n\n[Documentation]({})\n", made(LIST));
        for section in &self.sections {
            if let Some(title) = &section.title {
                let _ = write!(text, "\n# {}\n", escaped(title));
            }
            text.push('\n');
            for entry in &section.entries {
                let _ = writeln!(text, "- [{}]({})", escaped(&entry.title), made(&entry.path));
                for child in &entry.children {
                    let _ = writeln!(text, "  - [{}]({})", escaped(&child.title), made(&child.path));
                }
            }
        }
        text + "\n---\n\n[Versions](versions.md)\n"
    }
}

/// Where a page stands in the site: the README of a folder is its first page.
pub(crate) fn made(path: &str) -> String {
    match path.strip_suffix(LIST) {
        Some(folder) if folder.is_empty() || folder.ends_with('/') => format!("{folder}index.md"),
        _ => path.to_owned(),
    }
}

/// The words of a page's first heading.
pub(crate) fn title(markdown: &str) -> String {
    let mut title = String::new();
    let mut events =
        Parser::new(markdown).skip_while(|event| !matches!(event, Event::Start(Tag::Heading { .. })));
    for event in events.by_ref().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_)))) {
        if let Event::Text(text) | Event::Code(text) = event {
            title.push_str(&text);
        }
    }
    title
}

fn children(path: &str, pages: &BTreeMap<String, String>, reference: &Reference) -> Vec<Entry> {
    if path == crate::reference::PAGE {
        let kinds = reference.kinds.iter().map(|kind| Entry {
            title: kind.title.clone(),
            path: kind.path.clone(),
            line: kind.line.clone(),
            children: Vec::new(),
        });
        return kinds.collect();
    }
    let Some(folder) = path.strip_suffix(LIST) else { return Vec::new() };
    let beside = pages.iter().filter(|(other, _)| {
        other.strip_prefix(folder).is_some_and(|name| name != LIST && !name.contains('/'))
    });
    let entries = beside.map(|(path, markdown)| Entry {
        title: title(markdown),
        path: path.clone(),
        line: String::new(),
        children: Vec::new(),
    });
    entries.collect()
}

/// The tables, each row with the links of its first cell and the words of its second.
fn tables(markdown: &str) -> Vec<Section> {
    let mut sections = Vec::<Section>::new();
    let (mut above, mut links) = (String::new(), Vec::<(String, String)>::new());
    let (mut cell, mut in_link, mut in_table) = (0, false, false);
    for (event, range) in Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Paragraph) => above.clear(),
            Event::Start(Tag::Table(_)) => {
                let title = above.trim().strip_suffix(':').map(str::to_owned);
                sections.push(Section { title, entries: Vec::new() });
                in_table = true;
            }
            Event::End(TagEnd::Table) => in_table = false,
            Event::Start(Tag::TableHead | Tag::TableRow) => (cell, links) = (0, Vec::new()),
            Event::Start(Tag::TableCell) => cell += 1,
            Event::Start(Tag::Link { dest_url, .. }) if in_table && cell == 1 => {
                links.push((String::new(), dest_url.to_string()));
                in_link = true;
            }
            Event::End(TagEnd::Link) => in_link = false,
            Event::Text(text) | Event::Code(text) if in_table => {
                if let Some((title, _)) = links.last_mut().filter(|_| in_link) {
                    title.push_str(&text);
                }
            }
            Event::Text(text) => above.push_str(&text),
            Event::End(TagEnd::TableCell) if cell == 2 => {
                let line = markdown.get(range).unwrap_or_default().trim_matches(['|', ' ']);
                let pages = std::mem::take(&mut links).into_iter().filter_map(|(title, link)| {
                    let path = resolve("docs", &link)?.strip_prefix("docs/")?.to_owned();
                    Some(Entry { title, path, line: line.to_owned(), children: Vec::new() })
                });
                if let Some(section) = sections.last_mut() {
                    section.entries.extend(pages);
                }
            }
            _ => {}
        }
    }
    sections
}

/// What the menu calls a page: what its link does; where that goes on a sentence, or is a name in small letters, what the page does.
fn in_menu(link: &str, markdown: &str) -> String {
    if !link.starts_with(char::is_lowercase) {
        return link.to_owned();
    }
    let own = title(markdown);
    if own.is_empty() { capital(link) } else { own }
}

fn capital(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A text in which nothing is Markdown.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if letter.is_ascii_punctuation() && !matches!(letter, '.' | ',' | ':' | '\'' | '-' | '(' | ')') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# Documentation\n\nAll of it.\n\n| | |\n|---|---|\n| [Task](task.md) | write a `Task` |\n\
        | [Reference](reference.md) | fields |\n| [Decisions](decisions/README.md), [contract](contract.md) | why |\n\n\
        [A skill](../skills/SKILL.md).\n\nHow to:\n\n| | |\n|---|---|\n| [Every `night`](how-to/nightly.md) | a CronJob |\n\
        | [Tasks](task.md) | again |\n";

    fn pages(more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let all = [
            (LIST, README),
            ("task.md", "# Task\n"),
            (
                "reference.md",
                "# Reference\n\nEvery field. **Bold** is required.\n\n## Task (a.io/v1)\n\nOne run.\n",
            ),
            ("contract.md", ""),
            ("decisions/README.md", ""),
            ("decisions/0001-a.md", "text\n\n# 1. `a_b` is [not] c\n\n## Why\n"),
            ("how-to/nightly.md", ""),
        ];
        all.iter().chain(more).map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    fn read(pages: &BTreeMap<String, String>) -> Result<Book, Vec<String>> {
        Book::read(pages, &Reference::split(&pages["reference.md"]))
    }

    #[test]
    fn the_tables_are_the_chapters() {
        let book = read(&pages(&[])).unwrap();
        assert_eq!(
            book.summary(),
            "# Summary\n\n[Documentation](index.md)\n\n- [Task](task.md)\n- [Reference](reference.md)\n  \
             - [Task (a.io\\/v1)](reference/a.io/task.md)\n- [Decisions](decisions/index.md)\n  \
             - [1. a\\_b is \\[not\\] c](decisions/0001-a.md)\n- [Contract](contract.md)\n\n# How to\n\n\
             - [Every night](how-to/nightly.md)\n\n---\n\n[Versions](versions.md)\n"
        );
        assert_eq!(book.sections[0].entries[0].line, "write a `Task`");
    }

    #[test]
    fn the_menu_takes_the_pages_own_title_for_a_link_in_small_letters() {
        for (page, title) in
            [("# A `b` in C\n", "A b in C"), ("# kubetask.io\n", "kubetask.io"), ("", "Contract")]
        {
            let book = read(&pages(&[("contract.md", page)])).unwrap();
            assert_eq!(book.sections[0].entries[3].title, title);
        }
    }

    #[test]
    fn no_page_is_forgotten_and_none_is_listed_that_is_not_there() {
        let mut pages = pages(&[("how-to/new.md", ""), ("spec/README.md", "")]);
        pages.remove("contract.md");
        assert_eq!(
            read(&pages).unwrap_err(),
            [
                "docs/README.md: there is no page contract.md",
                "docs/how-to/new.md: docs/README.md has no row of it",
                "docs/spec/README.md: docs/README.md has no row of it",
            ]
        );
    }
}
