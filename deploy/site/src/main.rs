//! `kubeopencode-site MDBOOK VERSION FOLDER`: the documents as a site, in `FOLDER/VERSION`, by the program mdBook.
//!
//! What is decided is in the other modules, from text to text. Here files are read and written, and mdBook runs.

mod agents;
mod book;
mod check;
mod page;
mod reference;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use book::Book;
use page::{Kind, Targets};
use reference::Reference;

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// All that is wrong, a line each.
type Problems = Vec<String>;

/// Texts by their paths.
type Texts = BTreeMap<String, String>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [mdbook, version, folder] = arguments.as_slice() else {
        eprintln!("usage: kubeopencode-site MDBOOK VERSION FOLDER");
        return ExitCode::from(2);
    };
    match build(mdbook, version, Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            for problem in problems {
                eprintln!("kubeopencode-site: {problem}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build(mdbook: &str, version: &str, site: &Path) -> Result<(), Problems> {
    if !versions::is_version(version) {
        return Err(vec![format!(
            "\"{version}\" is no version: write {}, or that of a release, as in 1.2.3",
            versions::UNRELEASED
        )]);
    }
    let sources = Sources::of(&repository(), version)?;
    let folder = tempfile::tempdir().map_err(|error| vec![format!("no folder for the sources: {error}")])?;
    write(&folder.path().join("book.toml"), &book_toml(version))?;
    write(&folder.path().join("site.css"), include_str!("site.css"))?;
    write(&folder.path().join("src/SUMMARY.md"), &sources.summary)?;
    for (path, text) in &sources.pages {
        write(&folder.path().join("src").join(path), text)?;
    }
    let book = site.join(version);
    if book.exists() {
        fs::remove_dir_all(&book).map_err(at(&book))?;
    }
    fs::create_dir_all(site).map_err(at(site))?;
    run(mdbook, folder.path(), &fs::canonicalize(site).map_err(at(site))?.join(version))?;
    for (path, text) in sources.pages.iter().chain(&sources.for_agents) {
        write(&book.join(path), text)?;
    }
    let found =
        versions::sorted(entries(site)?.iter().filter(|path| path.is_dir()).filter_map(|path| name(path)));
    write(&site.join("versions.html"), &versions::list(&found))?;
    write(&site.join("index.html"), &versions::root(&found))?;
    check(site, version)
}

fn run(mdbook: &str, sources: &Path, to: &Path) -> Result<(), Problems> {
    let mut command = Command::new(mdbook);
    let done = command.arg("build").arg(sources).arg("--dest-dir").arg(to).output();
    let done = done.map_err(|error| vec![format!("{mdbook}: {error}")])?;
    if done.status.success() {
        return Ok(());
    }
    Err(vec![format!("{mdbook}: {}", String::from_utf8_lossy(&done.stderr).trim_end())])
}

/// What mdBook gets, and what stands beside its pages.
#[derive(Debug)]
struct Sources {
    summary: String,
    pages: Texts,
    for_agents: Texts,
}

impl Sources {
    fn of(repository: &Path, version: &str) -> Result<Self, Problems> {
        let pages = read(&repository.join("docs"))?;
        let split = Reference::split(pages.get(reference::PAGE).map(String::as_str).unwrap_or_default());
        let book = Book::read(&pages, &split)?;
        let at = |path: &str| {
            let metadata = fs::metadata(repository.join(path)).ok()?;
            Some(if metadata.is_dir() { Kind::Folder } else { Kind::File })
        };
        let revision = versions::revision(version);
        let targets = Targets {
            pages: &pages,
            reference: &split,
            at: &at,
            repository: REPOSITORY,
            revision: &revision,
        };
        let (mut made, mut problems) = (Texts::new(), Problems::new());
        for (path, markdown) in pages.iter().filter(|(path, _)| *path != reference::PAGE) {
            match page::page(path, markdown, &targets) {
                Ok(page) => drop(made.insert(book::made(path), page)),
                Err(wrong) => problems.extend(wrong),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        made.insert(reference::PAGE.to_owned(), split.index());
        made.extend(split.kinds.iter().map(|kind| (kind.path.clone(), split.page(kind))));
        let versions = format!(
            "# Versions\n\nThis is the documentation of KubeOpenCode {version}, from [{revision}]({REPOSITORY}/tree/{revision}).\n\n\
             [All versions](../versions.html) of this site. For agents: [llms.txt](llms.txt) is a list of its pages in Markdown, \
             [llms-full.txt](llms-full.txt) has their text.\n"
        );
        made.insert("versions.md".to_owned(), versions);
        let full = agents::full(&book, &made);
        let for_agents = [("llms.txt", agents::list(&book, version)), ("llms-full.txt", full)];
        let for_agents = for_agents.map(|(path, text)| (path.to_owned(), text)).into();
        Ok(Self { summary: book.summary(), pages: made, for_agents })
    }
}

fn book_toml(version: &str) -> String {
    let revision = versions::revision(version);
    format!(
        r#"[book]
title = "KubeOpenCode {version}"
language = "en"

# what looks like a command of mdBook in a page is none
[build]
use-default-preprocessors = false
create-missing = false

[output.html]
smart-punctuation = false
no-section-label = true
git-repository-url = "{REPOSITORY}/tree/{revision}"
additional-css = ["site.css"]
input-404 = ""

[output.html.fold]
enable = true

[output.html.print]
enable = false

# who searches wants to use it
[output.html.search.chapter]
"decisions" = {{ enable = false }}
"spec" = {{ enable = false }}
"#
    )
}

/// Follows the links of this version, and of the pages at the root.
fn check(site: &Path, version: &str) -> Result<(), Problems> {
    let mut files = BTreeSet::new();
    list(site, "", &mut files)?;
    let mut pages = Texts::new();
    // all pages in one file would be their links a second time, from elsewhere
    let is_page = |path: &&String| [".html", ".md", "/llms.txt"].iter().any(|ending| path.ends_with(ending));
    let is_of_it = |path: &&String| !path.contains('/') || path.starts_with(&format!("{version}/"));
    for path in files.iter().filter(is_page).filter(is_of_it) {
        let file = site.join(path);
        pages.insert(path.clone(), fs::read_to_string(&file).map_err(at(&file))?);
    }
    let problems = check::problems(&pages, &files);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages of a folder, by their paths from there.
fn read(folder: &Path) -> Result<Texts, Problems> {
    let (mut files, mut pages) = (BTreeSet::new(), Texts::new());
    list(folder, "", &mut files)?;
    for path in files.into_iter().filter(|path| path.ends_with(".md")) {
        let file = folder.join(&path);
        pages.insert(path, fs::read_to_string(&file).map_err(at(&file))?);
    }
    Ok(pages)
}

/// The files of a folder, by their paths from there.
fn list(folder: &Path, below: &str, files: &mut BTreeSet<String>) -> Result<(), Problems> {
    for entry in entries(&folder.join(below))? {
        let Some(name) = name(&entry) else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.is_dir() {
            list(folder, &path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Problems> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    entries.map(|entry| Ok(entry.map_err(at(folder))?.path())).collect()
}

fn name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), Problems> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(at(folder))?;
    fs::write(path, text).map_err(at(path))
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> Problems {
    move |error| vec![format!("{}: {error}", path.display())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_of_this_repository_become_pages() {
        let sources = Sources::of(&repository(), "1.2.3")
            .unwrap_or_else(|problems| panic!("\n{}\n", problems.join("\n")));
        for page in [
            "index.md",
            "task.md",
            "how-to/nightly.md",
            "reference/kubeopencode.io/agent.md",
            "decisions/index.md",
        ] {
            assert!(sources.pages.contains_key(page), "{page}");
        }
        let agent = &sources.pages["reference/kubeopencode.io/agent.md"];
        assert!(agent.contains("id=\"spec.contexts.git.ref\""), "{agent}");
        assert!(sources.pages["security.md"].contains(&format!("({REPOSITORY}/blob/v1.2.3/SECURITY.md)")));
        assert!(sources.for_agents["llms.txt"].contains("](how-to/nightly.md): "));
        assert!(sources.for_agents["llms-full.txt"].contains("# Troubleshooting"));
    }

    #[test]
    fn what_is_no_version_makes_no_folder() {
        let site = tempfile::tempdir().unwrap();
        for wrong in ["..", "v1.2.3", "", "1.2"] {
            let problems = build("mdbook", wrong, site.path()).unwrap_err();
            assert!(
                problems[0].ends_with("is no version: write main, or that of a release, as in 1.2.3"),
                "{wrong}"
            );
        }
        assert!(entries(site.path()).unwrap().is_empty());
    }
}
