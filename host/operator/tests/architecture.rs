//! What ARCHITECTURE.md says of this crate's folders, read from their sources.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is tests: a failure is a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom: from top to bottom, and never back.
const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("controller", &["batch", "task", "server", "admission", "frontend", "cache", "runtime"]),
    ("batch", &["frontend", "cache", "runtime"]),
    ("task", &["admission", "frontend", "cache", "runtime"]),
    ("server", &["frontend", "cache", "runtime"]),
    ("plugins", &["cache", "runtime"]),
    ("admission", &["frontend", "cache", "runtime"]),
    ("frontend", &["cache"]),
    ("cache", &[]),
    ("runtime", &[]),
];

/// From data to data: they know no client.
const PURE: [&str; 27] = [
    "batch/decide.rs",
    "batch/status.rs",
    "task/decide.rs",
    "task/decide/launched.rs",
    "task/pod_outcome.rs",
    "task/start_problem.rs",
    "task/status.rs",
    "task/launch_order.rs",
    "admission/ledger.rs",
    "admission/namespace_gate.rs",
    "admission/queue.rs",
    "server/status.rs",
    "plugins/decode.rs",
    "plugins/desired.rs",
    "plugins/events.rs",
    "plugins/pack.rs",
    "plugins/publication.rs",
    "plugins/source/artifact.rs",
    "plugins/source/asker.rs",
    "plugins/source/image.rs",
    "plugins/source/manifest.rs",
    "plugins/status.rs",
    "plugins/trust/bundle.rs",
    "runtime/api_error.rs",
    "runtime/health/state.rs",
    "runtime/lease/election.rs",
    "runtime/merged_watch/round.rs",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A source without its comments, which may name what they like.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The crate's own modules that a source names.
fn imports(text: &str) -> BTreeSet<&str> {
    let word = |rest: &str| rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    text.split("crate::").skip(1).map(|rest| &rest[..word(rest)]).filter(|name| !name.is_empty()).collect()
}

#[test]
fn folders_import_in_one_direction() {
    for (folder, allowed) in MAY_IMPORT {
        let mut files = sources(&src().join(folder));
        files.push(src().join(folder).with_extension("rs"));
        for file in files {
            let text = code(&file);
            assert!(!text.contains("use crate::{"), "{}: one folder in one `use`", file.display());
            for (other, _) in MAY_IMPORT {
                let by_the_way = format!("super::{other}::");
                assert!(!text.contains(&by_the_way), "{}: write crate::{other}", file.display());
            }
            for name in imports(&text) {
                let known = MAY_IMPORT.iter().any(|(folder, _)| *folder == name);
                let may = name == folder || allowed.contains(&name);
                assert!(!known || may, "{}: {folder} must not import {name}", file.display());
            }
        }
    }
}

#[test]
fn every_folder_has_its_place_in_the_order() {
    let folders: BTreeSet<_> = fs::read_dir(src())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && !sources(path).is_empty())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let known: BTreeSet<_> = MAY_IMPORT.iter().map(|(folder, _)| (*folder).to_owned()).collect();
    assert_eq!(folders, known);
}

#[test]
fn what_decides_knows_no_client() {
    for file in PURE {
        let text = code(&src().join(file));
        for word in ["Client", "Api<", "Api::", "async fn", ".await"] {
            assert!(!text.contains(word), "{file} is pure, and names {word}");
        }
    }
}

fn repository() -> PathBuf {
    src().join("../../..")
}

/// What ARCHITECTURE.md has in backticks; `a/{b,c}` is two.
fn named() -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let mut all = BTreeSet::new();
    for word in text.split('`').skip(1).step_by(2) {
        let parts = word.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
        match parts {
            None => {
                all.insert(word.to_owned());
            }
            Some((before, (names, after))) => {
                all.extend(names.split(',').map(|name| format!("{before}{name}{after}")));
            }
        }
    }
    all
}

#[test]
fn every_file_that_the_document_names_is_there() {
    let mut found = 0;
    for file in named() {
        // alone, a name says nothing of its folder
        let Some((first, rest)) = file.split_once('/').filter(|_| file.ends_with(".rs")) else { continue };
        let short = [
            file.clone(),
            format!("host/{first}/src/{rest}"),
            format!("host/{first}/{rest}"),
            format!("host/operator/src/{file}"),
            format!("host/plugin-host/{file}"),
            format!("tests/tests/{file}"),
        ];
        let is_there = short.iter().any(|path| repository().join(path).is_file());
        assert!(is_there, "ARCHITECTURE.md names {file}, which is in none of {short:?}");
        found += 1;
    }
    assert!(found > 50, "{found} files: the document is read wrongly");
}

#[test]
fn what_decides_is_named_where_people_and_cargo_mutants_read_it() {
    let document = named();
    let mutants = fs::read_to_string(repository().join(".cargo/mutants.toml")).unwrap();
    for file in PURE {
        assert!(document.contains(file.trim_end_matches(".rs")), "ARCHITECTURE.md does not call {file} pure");
        assert!(
            mutants.contains(&format!("\"host/operator/src/{file}\"")),
            "`make mutants` leaves {file} out"
        );
    }
}

/// The first group came first, and what is shared is written with its words in mind: of the second one it knows nothing.
#[test]
fn no_stage_between_a_frontend_and_the_pod_knows_the_second_group() {
    let host = src().join("../..");
    // the caches and the wiring name kinds, and a Batch is the business of its own controller
    let may =
        ["/plan/src/frontend/", "/operator/src/frontend/", "/operator/src/cache", "/operator/src/controller"];
    let may = [&may[..], &["/operator/src/batch"]].concat();
    let mut named = 0;
    for folder in ["operator/src", "evaluate/src", "plan/src"] {
        for file in sources(&host.join(folder)) {
            let place = file.to_str().unwrap();
            let names_one = code(&file).contains("kubeopencode_api::kubetask");
            assert!(
                !names_one || may.iter().any(|part| place.contains(part)),
                "{place} names a type of kubetask"
            );
            named += usize::from(names_one);
        }
    }
    assert!(named > 0, "the module is called otherwise");
}

#[test]
fn only_the_frontends_know_what_users_wrote() {
    let host = src().join("../..");
    let may =
        ["/plan/src/frontend", "/operator/src/frontend/", "/operator/src/admission", "/operator/src/server"];
    for folder in ["operator/src", "evaluate/src", "plan/src"] {
        for file in sources(&host.join(folder)) {
            let place = file.to_str().unwrap();
            if may.iter().any(|part| place.contains(part)) {
                continue;
            }
            let text = code(&file);
            for word in
                ["TaskSpec", "AgentSpec", "BatchSpec", "WorkspaceConfigSpec", "task.spec", "object.spec"]
            {
                assert!(!text.contains(word), "{place} names {word}: only a frontend reads what users wrote");
            }
        }
    }
}
