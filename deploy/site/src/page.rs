//! A page of docs/ as mdBook gets it: links that leave docs/ lead to the repository, and a block's title stands above it.
//!
//! May touch: text. Must not touch: files.

use std::collections::BTreeMap;
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag};

use crate::book::made;
use crate::reference::{self, Reference};

/// What is at a path of the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
}

/// What links may lead to.
pub(crate) struct Targets<'a> {
    /// The pages, by their paths from docs/.
    pub(crate) pages: &'a BTreeMap<String, String>,
    pub(crate) reference: &'a Reference,
    /// What the repository has at a path.
    pub(crate) at: &'a dyn Fn(&str) -> Option<Kind>,
    /// The repository's address.
    pub(crate) repository: &'a str,
    /// The branch or tag that the pages are from.
    pub(crate) revision: &'a str,
}

/// The page at a path from docs/, changed.
///
/// # Errors
/// Each link that leads nowhere.
pub(crate) fn page(path: &str, markdown: &str, targets: &Targets<'_>) -> Result<String, Vec<String>> {
    let mut edits = Vec::<(Range<usize>, String)>::new();
    let mut problems = Vec::new();
    let options = Options::ENABLE_TABLES;
    for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
        let source = markdown.get(range.clone()).unwrap_or_default();
        match event {
            Event::Start(Tag::Link { link_type, dest_url, .. } | Tag::Image { link_type, dest_url, .. }) => {
                let change = match targets.link(path, &dest_url) {
                    Ok(Some(target)) if link_type == LinkType::Inline => source
                        .rfind(&format!("]({dest_url}"))
                        .map(|at| (range.start + at + 2, target))
                        .ok_or_else(|| "is written in a way that the site does not know".to_owned()),
                    Ok(Some(_)) => Err("is not written as [words](link)".to_owned()),
                    Ok(None) => continue,
                    Err(problem) => Err(problem),
                };
                match change {
                    Ok((at, target)) => edits.push((at..at + dest_url.len(), target)),
                    Err(problem) => {
                        let line = 1 + markdown.get(..range.start).unwrap_or_default().matches('\n').count();
                        problems.push(format!("docs/{path}:{line}: the link {dest_url} {problem}"));
                    }
                }
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                edits.extend(fence(markdown, range.start, &info));
            }
            _ => {}
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut text = markdown.to_owned();
    for (range, new) in edits.into_iter().rev() {
        text.replace_range(range, &new);
    }
    Ok(text)
}

/// A language alone stands behind the fence, and the title of the block above it.
fn fence(markdown: &str, start: usize, info: &str) -> Vec<(Range<usize>, String)> {
    let Some((language, more)) = info.split_once(' ') else { return Vec::new() };
    let Some(at) = markdown.get(start..).and_then(|rest| rest.find(info)).map(|at| start + at) else {
        return Vec::new();
    };
    let mut edits = vec![(at..at + info.len(), language.to_owned())];
    if let Some(title) = more.strip_prefix("title=\"").and_then(|rest| rest.strip_suffix('"')) {
        let line = markdown.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let indent: String =
            markdown.get(line..).unwrap_or_default().chars().take_while(|c| *c == ' ').collect();
        edits.insert(0, (line..line, format!("{indent}<p class=\"file-name\">{title}</p>\n\n")));
    }
    edits
}

impl Targets<'_> {
    /// Where a link of a page leads in the site; `None`: it stays as it is.
    fn link(&self, page: &str, link: &str) -> Result<Option<String>, String> {
        if link.starts_with('#') || has_scheme(link) {
            return Ok(None);
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let folder = page.rsplit_once('/').map_or("docs".to_owned(), |(folder, _)| format!("docs/{folder}"));
        let target = resolve(&folder, file).ok_or("leads out of the repository")?;
        let behind = if anchor.is_empty() { String::new() } else { format!("#{anchor}") };
        if let Some(path) = target.strip_prefix("docs/").filter(|path| self.pages.contains_key(*path)) {
            let up = "../".repeat(page.matches('/').count());
            if let Some(kind) = self.reference.kind_of(anchor).filter(|_| path == reference::PAGE) {
                return Ok(Some(format!("{up}{}", kind.path)));
            }
            return Ok(Some(format!("{up}{}{behind}", made(path))));
        }
        let word = match (self.at)(&target).ok_or("leads nowhere")? {
            Kind::File => "blob",
            Kind::Folder => "tree",
        };
        Ok(Some(format!("{}/{word}/{}/{target}{behind}", self.repository, self.revision)))
    }
}

/// As in `https://example.com` and `mailto:somebody`.
pub(crate) fn has_scheme(link: &str) -> bool {
    link.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_lowercase()))
}

/// The path that a link of a folder leads to, both from the repository; `None` where it leads out of it.
pub(crate) fn resolve(folder: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(path: &str, markdown: &str) -> Result<String, Vec<String>> {
        let pages = ["README.md", "task.md", "reference.md", "decisions/README.md", "how-to/nightly.md"];
        let pages = pages.into_iter().map(|path| (path.to_owned(), String::new())).collect();
        let reference = Reference::split("# Reference\n\n## Task (a.io/v1)\n\nOne run.\n");
        let at = |path: &str| match path {
            "examples/cron.yaml" => Some(Kind::File),
            "examples" => Some(Kind::Folder),
            _ => None,
        };
        let targets = Targets {
            pages: &pages,
            reference: &reference,
            at: &at,
            repository: "https://code.example/a/b",
            revision: "v1.2.3",
        };
        page(path, markdown, &targets)
    }

    #[test]
    fn links_lead_to_pages_of_the_site_or_to_the_repository() {
        for (link, target) in [
            ("../task.md#a-b", "../task.md#a-b"),
            ("nightly.md", "../how-to/nightly.md"),
            ("../decisions/README.md", "../decisions/index.md"),
            ("../reference.md", "../reference.md"),
            ("../reference.md#task-aiov1", "../reference/a.io/task.md"),
            ("#here", "#here"),
            ("https://example.com/a.md", "https://example.com/a.md"),
            ("../../examples/cron.yaml", "https://code.example/a/b/blob/v1.2.3/examples/cron.yaml"),
            ("../../examples/", "https://code.example/a/b/tree/v1.2.3/examples"),
        ] {
            let text =
                |link: &str| format!("| [a]({link}) | `[b]({link})` |\n|---|---|\n\n*[`c`]({link})*\n");
            let expected = text(target).replacen(&format!("`[b]({target})`"), &format!("`[b]({link})`"), 1);
            assert_eq!(changed("how-to/nightly.md", &text(link)), Ok(expected), "{link}");
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_all_named() {
        assert_eq!(
            changed("task.md", "[a](gone.md)\n\n[b](../../x)\n[c][d]\n\n[d]: README.md\n").unwrap_err(),
            [
                "docs/task.md:1: the link gone.md leads nowhere",
                "docs/task.md:3: the link ../../x leads out of the repository",
                "docs/task.md:4: the link README.md is not written as [words](link)",
            ]
        );
    }

    #[test]
    fn the_title_of_a_block_stands_above_it() {
        assert_eq!(
            changed("task.md", "1. a\n\n   ```yaml title=\"a.yaml\"\n   a: 1\n   ```\n\n```yaml fragment=Task\n```\n```text\n```\n"),
            Ok("1. a\n\n   <p class=\"file-name\">a.yaml</p>\n\n   ```yaml\n   a: 1\n   ```\n\n```yaml\n```\n```text\n```\n"
                .to_owned())
        );
    }
}
