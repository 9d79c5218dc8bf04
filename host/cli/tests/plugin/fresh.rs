//! A component that is older than its sources: said of every verb that reads it.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::{greeting, in_folder, project};

const CASES: &str = "name: a\nitem: {type: Greeting}\nexpect: {plan: {actions: [{inline: hello}]}}\n";

/// Lets a file be so many seconds newer than the component.
fn newer(folder: &Path, path: &str, seconds: u64) {
    let built = fs::metadata(folder.join("greeting.wasm")).unwrap().modified().unwrap();
    fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
    File::create(folder.join(path)).unwrap().set_modified(built + Duration::from_secs(seconds)).unwrap();
}

#[test]
fn a_component_that_is_older_than_its_sources_is_named_with_the_newest_of_them() {
    let folder = project("stale", &greeting(""), CASES);
    fs::write(folder.join("item.yaml"), "type: Greeting\n").unwrap();
    let words =
        "kubeopencode: warning: src/lib.rs is newer than greeting.wasm: run `kubeopencode plugin build`\n";
    let verbs: [&[&str]; 6] = [
        &["test"],
        &["eval", "-f", "item.yaml"],
        &["check"],
        &["pack"],
        &["explain"],
        &["bench", "--runs", "1"],
    ];
    for path in
        ["tests/more/a.md", "README.md", "target/a.rs", "node_modules/a.js", ".venv/a.py", "item.yaml"]
    {
        newer(&folder, path, 20);
    }
    fs::write(folder.join("item.yaml"), "type: Greeting\n").unwrap();
    for verb in verbs {
        let said = in_folder(&folder, verb);
        assert_eq!((said.code, said.stderr.contains("warning")), (0, false), "{verb:?}: {}", said.stderr);
    }
    newer(&folder, "schema.json", 5);
    newer(&folder, "src/lib.rs", 10);
    for verb in verbs {
        let said = in_folder(&folder, verb);
        assert_eq!((said.code, said.stderr.matches(words).count()), (0, 1), "{verb:?}: {}", said.stderr);
    }
    // from elsewhere: the same, with the folder
    let said = in_folder(folder.parent().unwrap(), &["test", "stale"]);
    let words = "kubeopencode: warning: stale/src/lib.rs is newer than stale/greeting.wasm: run `kubeopencode plugin build stale`\n";
    assert_eq!((said.code, said.stderr.as_str()), (0, words));
    // a component that is named by itself has no sources
    let said = in_folder(&folder, &["explain", "greeting.wasm"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
}

/// As cargo does with a file that no source includes.
#[test]
fn a_build_that_has_nothing_to_do_makes_it_new() {
    let folder = project("stale-built", &greeting(""), CASES);
    let hour = Duration::from_secs(3600);
    let component = File::open(folder.join("greeting.wasm")).unwrap();
    component.set_modified(SystemTime::now() - 2 * hour).unwrap();
    newer(&folder, "notes.txt", 3600);
    let toml = File::open(folder.join("plugin.toml")).unwrap();
    toml.set_modified(SystemTime::now() - 3 * hour).unwrap();
    let words =
        "kubeopencode: warning: notes.txt is newer than greeting.wasm: run `kubeopencode plugin build`\n";
    assert_eq!(in_folder(&folder, &["test"]).stderr, words);
    let said = in_folder(&folder, &["build"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, "+ true\n"));
    assert_eq!(in_folder(&folder, &["test"]).stderr, "");
}
