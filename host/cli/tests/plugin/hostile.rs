//! What the verbs say of plugins that mean harm or are broken: those of `plugins/hostile`.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;

use crate::{guests, in_folder, masked, project_of};

/// One deed a case.
const DEEDS: [(&str, &str); 14] = [
    ("behaves", "behave"),
    ("panics", "panic"),
    ("complains and panics", "{complain: [first, last]}"),
    ("exits", "{exit: 3}"),
    ("connects", "{connect: '192.0.2.1:80'}"),
    ("loops", "loop"),
    ("recurses", "recurse"),
    ("grows", "grow"),
    ("floods the log", "flood"),
    ("answers with too much", "{huge: 2000000}"),
    ("asks for ever", "need-for-ever"),
    ("asks for others", "need-others"),
    ("writes where it must not", "{write: /etc/passwd}"),
    ("wants a variable", "{set-env: PATH}"),
];

#[test]
fn each_harm_has_its_words() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let built = guests::build(&plugins, &target, &["hostile"]).unwrap();
    let cases = DEEDS.map(|(name, deed)| format!("name: {name}\nitem: {{type: Hostile, config: {deed}}}\n"));
    let component = fs::read(built.join("hostile.wasm")).unwrap();
    let folder = project_of("hostile", &component, &cases.join("---\n"));
    let said = in_folder(&folder, &["test"]);
    assert_snapshot!("hostile_test", masked(&said.stdout));
    assert_eq!(said.code, 1);

    let said = in_folder(&folder, &["eval", "-f", "tests/cases.yaml"]);
    assert_snapshot!("hostile_eval", masked(&said.stdout));
    assert_eq!(said.code, 1);
    // what it logs stands beside that, each line with its call
    for line in [
        "log  Hostile, call 1: warn: first\n",
        "log  Hostile, call 1: error: panicked at hostile/src/lib.rs:",
    ] {
        assert!(said.stderr.contains(line), "{}", said.stderr);
    }

    // whatever it does, it does again in the same way
    let said = in_folder(&folder, &["check"]);
    let line = |label: &str| said.stdout.lines().find(|line| line.starts_with(label)).unwrap_or_default();
    let twice = line("  same twice");
    assert!(twice.starts_with("  same twice  yes: 14 golden cases, "), "{}", said.stdout);
    assert!(twice.ends_with(" fuel, same bytes"), "{twice}");
    assert!(
        said.stdout.contains(": a plugin has no network; a call of it ends the plugin's call\n"),
        "{}",
        said.stdout
    );
    assert!(
        line("  asks for").starts_with("  asks for    env, git, url, secret, init-container: needs grants (")
    );
    // nobody wrote what is to come of them
    assert!(
        line("  cases  ").starts_with("  cases       PROBLEM: 14 of 14 golden cases failed, "),
        "{}",
        said.stdout
    );
    assert_eq!((said.code, said.stdout.lines().last()), (1, Some("1 problem")));
    let said = in_folder(&folder, &["bench", "--runs", "1"]);
    assert_eq!(
        (said.code, said.stdout.lines().count(), said.stderr.as_str()),
        (0, 15, ""),
        "{}",
        said.stdout
    );

    let said = in_folder(&folder, &["explain"]);
    let digest = |line: &&str| !line.trim_start().starts_with("sha256: ");
    assert_snapshot!("hostile_explain", said.stdout.lines().filter(digest).collect::<Vec<_>>().join("\n"));
    assert_eq!(said.code, 0);

    // nobody runs it by packing it, and what it may not do is said
    let said = in_folder(&folder, &["pack"]);
    let words = "it asks for more than is granted: a Task that needs env or git or url or secret or init-container fails";
    let second = said.stderr.lines().nth(1).unwrap_or_default();
    assert_eq!((said.code, second), (0, words), "{}", said.stderr);
    assert!(said.stdout.contains("kind: ConfigMap\n") && !said.stdout.contains("kind: Plugin\n"));
}
