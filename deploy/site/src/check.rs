//! Whether every link of the finished site leads to a file of it, and to an anchor there.
//!
//! May touch: text. Must not touch: files, the network: links with a scheme are not followed.

use std::collections::{BTreeMap, BTreeSet};

use html5gum::{DefaultEmitter, Token, Tokenizer};
use pulldown_cmark::{Event, Options, Parser, Tag};

use crate::page::{has_scheme, resolve};

/// What a page has for links to lead to, and where its own lead.
#[derive(Debug, Default)]
struct Page {
    anchors: BTreeSet<String>,
    twice: BTreeSet<String>,
    links: BTreeSet<String>,
}

/// What is wrong with these pages, HTML or Markdown, by their paths from the site's root; the files are all that the site has.
pub(crate) fn problems(pages: &BTreeMap<String, String>, files: &BTreeSet<String>) -> Vec<String> {
    let read = |(path, text): (&String, &String)| {
        let page = if path.ends_with(".html") { html(text) } else { markdown(text) };
        (path.clone(), page)
    };
    let read: BTreeMap<_, _> = pages.iter().map(read).collect();
    let mut problems = Vec::new();
    for (path, page) in &read {
        problems
            .extend(page.twice.iter().map(|anchor| format!("{path}: the anchor #{anchor} is there twice")));
        for link in page.links.iter().filter(|link| !has_scheme(link)) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = if file.is_empty() { Some(path.clone()) } else { resolve(folder, file) };
            let Some(target) = target.filter(|target| files.contains(target)) else {
                problems.push(format!("{path}: the link {link} leads nowhere"));
                continue;
            };
            // a page of Markdown has the headings of the one of HTML beside it, which is looked at
            let is_there = |page: &Page| anchor.is_empty() || page.anchors.contains(anchor);
            if target.ends_with(".html") && !read.get(&target).is_none_or(is_there) {
                problems.push(format!("{path}: {target} has no anchor #{anchor}"));
            }
        }
    }
    problems
}

fn html(text: &str) -> Page {
    let mut page = Page::default();
    let mut emitter = DefaultEmitter::<()>::default();
    // what looks like a tag in a script is none
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(text, emitter) {
        let Ok(Token::StartTag(tag)) = token else { continue };
        let value = |name: &str| {
            let value = tag.attributes.get(name.as_bytes());
            value.map(|value| String::from_utf8_lossy(value).into_owned())
        };
        if let Some(anchor) = value("id")
            && !page.anchors.insert(anchor.clone())
        {
            page.twice.insert(anchor);
        }
        page.links.extend(value("href").into_iter().chain(value("src")));
    }
    page
}

fn markdown(text: &str) -> Page {
    let links = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
        _ => None,
    });
    Page { links: links.collect(), ..Page::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pages: &[(&str, &str)]) -> Vec<String> {
        let pages: BTreeMap<_, _> =
            pages.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let files = pages.keys().cloned().chain(["main/book.js".to_owned()]).collect();
        problems(&pages, &files)
    }

    #[test]
    fn links_within_the_site_are_followed_to_their_anchors() {
        let page = "<p id=a><a href=\"task.html#b\">x</a> <a href='#a'>y</a> <a href=\"https://example.com/z\">z</a>\
            <a href=\"../versions.html\">v</a><script src=book.js></script><script>\"<a href='gone.html'>\"</script>";
        let whole = [
            ("main/index.html", page),
            ("main/task.html", "<h2 id=\"b\">B</h2>"),
            ("versions.html", ""),
            ("main/llms.txt", "- [a](task.md#x)\n"),
            ("main/task.md", ""),
        ];
        assert_eq!(of(&whole), Vec::<String>::new());
    }

    #[test]
    fn all_that_lead_nowhere_are_named() {
        let page = "<a href=gone.html>x</a><a href=task.html#c>y</a><a href=#d>z</a><a href=../../out>o</a><img src=a.png>";
        assert_eq!(
            of(&[
                ("main/index.html", page),
                ("main/task.html", "<b id=e></b><b id=e></b>"),
                ("main/llms.txt", "[a](gone.md)"),
            ]),
            [
                "main/index.html: main/index.html has no anchor #d",
                "main/index.html: the link ../../out leads nowhere",
                "main/index.html: the link a.png leads nowhere",
                "main/index.html: the link gone.html leads nowhere",
                "main/index.html: main/task.html has no anchor #c",
                "main/llms.txt: the link gone.md leads nowhere",
                "main/task.html: the anchor #e is there twice",
            ]
        );
    }
}
