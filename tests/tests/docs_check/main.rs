//! What of the documents can be checked without a cluster: blocks, links, a word on every condition reason, what decisions
//! are made of, what the documents of the example plugins show, the skills' front matter, the values that `--set` names, and the tests that
//! `tests/document.md` names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is tests: a failure is a panic")]

mod values;

use std::path::{Path, PathBuf};

use kubeopencode_api::condition::Reason;
use kubeopencode_tests::docs::{Document, Use, promises, tests_in};
use kubeopencode_tests::pages::{entries, pages, repository, skills};

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages, and the documents of the example plugins, by their paths.
fn documents() -> Vec<(PathBuf, Document)> {
    let mut paths = [pages(), examples()].concat();
    paths.sort();
    assert!(!paths.is_empty(), "no document in docs/");
    paths.into_iter().map(|path| (path.clone(), Document::parse(&read(path)))).collect()
}

/// What is read and never run: ARCHITECTURE.md and the others of its folder, and the decisions.
fn records() -> Vec<(PathBuf, Document)> {
    let is_record = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "md") && path != Path::new("README.md")
    };
    let paths = ["", "docs/decisions"].into_iter().flat_map(entries).filter(is_record);
    paths.map(|path| (path.clone(), Document::parse(&read(path)))).collect()
}

/// The documents of the example plugins.
fn examples() -> Vec<PathBuf> {
    let folder = Path::new("examples/plugins");
    let of_each = entries("examples/plugins").into_iter().map(|path| path.join("README.md"));
    let paths = of_each.chain([folder.join("README.md")]);
    paths.filter(|path| repository().join(path).exists()).collect()
}

/// All that is wrong at once, for whoever has to mend it.
fn nothing_is_wrong(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_block_runs_in_a_test() {
    let mut found = Vec::new();
    for (path, document) in documents() {
        for block in document.blocks {
            let place = format!("{}:{}", path.display(), block.line);
            if !block.ends {
                found.push(format!("{place}: the block never ends"));
            } else if block.used_as().is_none() {
                let info = &block.info;
                found.push(format!(
                    "{place}: a block \"{info}\" runs in no test: tests/src/docs.rs has a table of those that do"
                ));
            }
            if let (Some(Use::DryRun), Err((line, words))) = (block.used_as(), block.dry_runs()) {
                found.push(format!(
                    "{}:{line}: no dry run is known of this, so that it runs in no test: {words}",
                    path.display()
                ));
            }
            for command in block.commands().into_iter().filter(|_| block.info == "console") {
                if command.command.is_empty() {
                    found.push(format!("{place}: a console begins with \"$ \" and a command"));
                }
            }
        }
    }
    nothing_is_wrong(&found);
}

/// Tests and the demo apply those files.
#[test]
fn what_an_example_plugin_shows_is_the_file_beside_it() {
    let (mut found, mut shown) = (Vec::new(), 0);
    for path in examples() {
        for block in Document::parse(&read(&path)).blocks {
            let Some(Use::File(name)) = block.used_as() else { continue };
            shown += 1;
            if block.text != read(path.with_file_name(name)) {
                found.push(format!("{}:{}: {name} is another one", path.display(), block.line));
            }
        }
    }
    nothing_is_wrong(&found);
    assert!(shown > 3, "the example plugins show {shown} files");
}

/// Agents choose a skill by these two, and refuse one whose name is not its folder's.
#[test]
fn a_skill_has_the_name_of_its_folder_and_says_what_it_is_for() {
    for path in skills() {
        let text = read(&path);
        let front = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).unwrap().0;
        let value = |key: &str| front.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        let folder = path.parent().and_then(Path::file_name).unwrap().to_str();
        assert_eq!(Some(value("name: ")), folder, "{}", path.display());
        let description = value("description: ");
        assert!((1..=1024).contains(&description.chars().count()), "{}: its description", path.display());
        assert!(!description.contains(": "), "{}: its description is no YAML without quotes", path.display());
    }
}

/// Also where they are written as the repository's address, as those of a skill are: it is copied to where there are no docs.
#[test]
fn links_lead_to_a_file_and_to_a_heading_of_it() {
    let mut found = Vec::new();
    let here = format!("{}/blob/main/", env!("CARGO_PKG_REPOSITORY"));
    for (path, document) in documents().into_iter().chain(records()) {
        let is_copied = path.starts_with("skills");
        for (line, link) in &document.links {
            let place = format!("{}:{line}", path.display());
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if let Some(file) = file.strip_prefix(&here) {
                PathBuf::from(file)
            } else if has_scheme(link) {
                continue;
            } else if file.is_empty() {
                path.clone()
            } else if is_copied {
                found.push(format!(
                    "{place}: the link {link} leads nowhere once the skill is copied: write {here}…"
                ));
                continue;
            } else {
                path.parent().unwrap().join(file)
            };
            if !repository().join(&target).exists() {
                found.push(format!("{place}: the link {link} leads nowhere"));
            } else if !anchor.is_empty() && !Document::parse(&read(&target)).anchors().contains(anchor) {
                found.push(format!("{place}: {} has no heading #{anchor}", target.display()));
            }
        }
    }
    nothing_is_wrong(&found);
}

#[test]
fn every_decision_says_what_it_costs_and_is_in_the_list() {
    let list = read("docs/decisions/README.md");
    let mut found = Vec::new();
    let decisions = records().into_iter().filter(|(path, _)| path.starts_with("docs/decisions"));
    for (path, document) in decisions.filter(|(path, _)| !path.ends_with("README.md")) {
        let parts: Vec<_> = document.headings.iter().skip(1).map(|heading| heading.text.as_str()).collect();
        if parts != ["Context", "Decision", "What it costs"] {
            found.push(format!("{}: context, decision and what it costs, and not {parts:?}", path.display()));
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        if !list.contains(&format!("]({name})")) {
            found.push(format!("docs/decisions/README.md: {name} is missing"));
        }
    }
    nothing_is_wrong(&found);
}

/// As in `https://example.com` and `mailto:somebody`.
fn has_scheme(link: &str) -> bool {
    link.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_lowercase()))
}

#[test]
fn every_reason_of_a_condition_has_a_heading_in_troubleshooting() {
    let document = Document::parse(&read("docs/troubleshooting.md"));
    let is_explained = |reason: &&Reason| {
        document.headings.iter().any(|heading| heading.is_code && heading.text == reason.as_str())
    };
    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !is_explained(reason)).collect();
    let missing: Vec<_> =
        missing.iter().map(|reason| format!("docs/troubleshooting.md: no heading `{reason}`")).collect();
    nothing_is_wrong(&missing);
}

/// Whoever is on call follows it.
#[test]
fn every_alert_leads_to_its_part_of_the_documents() {
    let page = "docs/operations.md";
    let anchors = Document::parse(&read(page)).anchors();
    let alerts: serde_json::Value = serde_norway::from_str(&read("deploy/chart/files/alerts.yaml")).unwrap();
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 3, "{alerts}");
    let mut found = Vec::new();
    for rule in rules {
        let alert = rule["alert"].as_str().unwrap();
        let anchor = alert.to_lowercase();
        let leads = format!("{}/blob/main/{page}#{anchor}", env!("CARGO_PKG_REPOSITORY"));
        if rule["annotations"]["runbook_url"].as_str() != Some(leads.as_str()) {
            found.push(format!("deploy/chart/files/alerts.yaml: the runbook_url of {alert} is not {leads}"));
        }
        if !anchors.contains(&anchor) {
            found.push(format!("{page}: no heading `{alert}`"));
        }
    }
    nothing_is_wrong(&found);
}

/// Whoever begins at the README gets what the guide installs.
#[test]
fn the_readme_and_the_guide_install_the_same_chart() {
    let [readme, guide] = ["README.md", "docs/getting-started.md"].map(|page| {
        let text = read(page);
        text.lines().filter(|line| line.starts_with("helm ")).map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(readme, guide);
    let [line] = readme.as_slice() else { panic!("the guide installs {guide:?}") };
    assert!(line.contains(" oci://") && line.contains("/charts/kubeopencode --version "), "{line}");
}

/// Whoever looks for a provider finds each example.
#[test]
fn every_example_of_a_provider_has_a_row() {
    let page = "docs/how-to/providers.md";
    let text = read(page);
    let has_row = |example: &PathBuf| {
        let link = format!("](../../{})", example.display());
        text.lines().any(|line| line.starts_with("| ") && line.contains(&link))
    };
    let missing = entries("examples/providers").into_iter().filter(|example| !has_row(example));
    let missing: Vec<_> =
        missing.map(|example| format!("{page}: no row leads to {}", example.display())).collect();
    nothing_is_wrong(&missing);
}

/// What is pinned elsewhere, and asked for by who reads.
#[test]
fn versions_are_those_that_are_built_and_tried() {
    let (images, modules) = (read("deploy/images/build.sh"), read("deploy/local/tools/kubernetes/go.mod"));
    let pinned = |text: &str, key: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::to_owned).collect()
    };
    let opencode = pinned(&images, "opencode_version=");
    let [amd64, arm64] = opencode.as_slice() else { panic!("build.sh pins OpenCode for {opencode:?}") };
    let kubernetes = pinned(&modules, "k8s.io/kubernetes v");
    let minor: Vec<_> = kubernetes[0].split('.').take(2).collect();
    for (page, words) in [
        ("docs/agent.md", format!("OpenCode {amd64}, on arm64 {arm64}.")),
        ("docs/operations.md", format!("it is tried with {}.", minor.join("."))),
    ] {
        assert!(read(page).contains(&words), "{page} does not say: {words}");
    }
}

#[test]
fn every_section_of_the_documents_has_a_row() {
    let rows = promises(&read("tests/document.md"));
    let mut without = Vec::new();
    for (document, prefix) in [("architecture.md", ""), ("agent-context.md", "kubetask.io: ")] {
        let document = Document::parse(&read(Path::new("docs/spec").join(document)));
        // the first one is the title
        for heading in document.headings.iter().skip(1).filter(|heading| heading.text != "Table of Contents")
        {
            let section = format!("{prefix}{}", heading.text);
            if rows.iter().all(|row| row.section != section) {
                without.push(format!("tests/document.md: no row for the section \"{section}\""));
            }
        }
    }
    nothing_is_wrong(&without);
}

#[test]
fn every_promise_has_tests_that_are_there() {
    let rows = promises(&read("tests/document.md"));
    assert!(!rows.is_empty(), "tests/document.md has no table");
    let mut found = Vec::new();
    for row in rows {
        let place = format!("tests/document.md: {}: {}", row.section, row.promise);
        if let Some(missing) = row.missing {
            found.push(format!("{place}: no test: {missing}"));
        } else if row.tests.is_empty() {
            found.push(format!("{place}: no test"));
        }
        for test in row.tests {
            found.extend(what_is_wrong_with(&test).map(|wrong| format!("{place}: {wrong}")));
        }
    }
    nothing_is_wrong(&found);
}

/// What is wrong with `file::name`, a test in Rust or Go, or `file`, which runs as a whole.
fn what_is_wrong_with(test: &str) -> Option<String> {
    let (file, name) = test.split_once("::").map_or((test, None), |(file, name)| (file, Some(name)));
    let paths = paths_of(file);
    if paths.is_empty() {
        return Some(format!("{file} does not exist"));
    }
    let name = name?;
    (!paths.iter().any(|path| has_test(path, name))).then(|| format!("{file} has no test {name}"))
}

fn has_test(path: &Path, name: &str) -> bool {
    let source = read(path);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("rs") => {
            tests_in(&source).unwrap_or_else(|error| panic!("{}: {error}", path.display())).contains(name)
        }
        Some("go") => source.lines().any(|line| line.starts_with(&format!("func {name}("))),
        _ => false,
    }
}

/// The files that a short name may mean, as tests/document.md explains them.
fn paths_of(file: &str) -> Vec<PathBuf> {
    let (suite, module) = file.split_once('/').unwrap_or((file, ""));
    let path: PathBuf = match suite {
        _ if file.contains('.') => file.into(),
        "apiserver" | "e2e" | "faults" => format!("tests/tests/{suite}/{module}.rs").into(),
        "plan" => format!("host/plan/tests/plan/{module}.rs").into(),
        "render" | "migrate" => format!("host/cli/tests/{suite}/{module}.rs").into(),
        "docs" => format!("docs/{module}.md").into(),
        "operator" => {
            let mut found = Vec::new();
            below(Path::new("host/operator/src"), Path::new(&format!("{module}.rs")), &mut found);
            return found;
        }
        _ => return Vec::new(),
    };
    if repository().join(&path).exists() { vec![path] } else { Vec::new() }
}

/// The files below a folder whose paths end so.
fn below(folder: &Path, ending: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
        let path = folder.join(entry.unwrap().file_name());
        if repository().join(&path).is_dir() {
            below(&path, ending, found);
        } else if path.ends_with(ending) {
            found.push(path);
        }
    }
}
