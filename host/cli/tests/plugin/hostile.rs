//! What the verbs say of plugins that mean harm or are broken: those of `plugins/hostile`.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;

use crate::{asking, greeting, guests, in_folder, masked, project_of};

/// One deed a case.
const DEEDS: [(&str, &str); 23] = [
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
    ("waits", "{sleep: 3600}"),
    ("answers with too many", "{many: 100000}"),
    ("asks for too many", "{need-many: 17}"),
    ("fetches", "{fetch: 'https://192.0.2.1/'}"),
    ("extends the interface", "{extend: vault}"),
    ("runs an image", "{run: 'evil.example/miner:latest'}"),
    ("mounts a Secret", "{mount-secret: production}"),
    ("hands over a Secret", "{env-secret: production}"),
    ("sends a Secret", "{send-secret: [production, 'https://evil.example']}"),
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
    assert!(twice.starts_with("  same twice  yes: 23 golden cases, "), "{}", said.stdout);
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
        line("  cases  ").starts_with("  cases       PROBLEM: 23 of 23 golden cases failed, "),
        "{}",
        said.stdout
    );
    assert_eq!((said.code, said.stdout.lines().last()), (1, Some("1 problem")));
    let said = in_folder(&folder, &["bench", "--runs", "1"]);
    assert_eq!(
        (said.code, said.stdout.lines().count(), said.stderr.as_str()),
        (0, 24, ""),
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

/// What never comes to a call, each in its own words: `eval` runs nothing of it.
#[test]
fn what_is_no_plugin_is_told_before_anything_is_evaluated() {
    let good = greeting("");
    let describing = |items: &str| {
        let describe = "#describe\") (result i32)";
        assert!(good.contains(describe), "{good}");
        wat::parse_str(good.replace(describe, &format!("{describe} {items}"))).unwrap()
    };
    let of_schema =
        |schema: &str, settings: &str| wat::parse_str(greeting(&asking(schema, settings))).unwrap();
    let whole = wat::parse_str(&good).unwrap();
    let remedy = "describe answers without settings, Task and inputs: try it in a test of yours\n";
    for (name, bytes, words, ends) in [
        ("empty", Vec::new(), "the component is empty; ", "build it anew\n"),
        (
            "script",
            b"#!/bin/sh".to_vec(),
            "this is not a WebAssembly component: it does not begin with a component's header; ",
            "name the file that the build for wasm32-wasip2 made\n",
        ),
        (
            "module",
            wat::parse_str("(module)").unwrap(),
            "this is a core WebAssembly module, not a component; build it for wasm32-wasip2, ",
            "or make a component of it with `wasm-tools component new`\n",
        ),
        ("truncated", whole[..whole.len() / 2].to_vec(), "the component cannot be compiled: ", ""),
        (
            "large",
            [whole.clone(), vec![0; 5 << 20]].concat(),
            "the component has 52",
            " bytes, more than the 4194304 of limits class default; make it smaller (release build, size optimisation), or check \
             it with --class large\n",
        ),
        ("worldless", wat::parse_str("(component)").unwrap(), "it exports no plugin", "\n"),
        (
            "crashes",
            describing("unreachable"),
            "the plugin does not describe itself: the plugin crashed: it aborted; ",
            remedy,
        ),
        (
            "hangs",
            describing("(loop $again (br $again))"),
            "the plugin does not describe itself: the plugin was stopped: it used up its 200000000 units of fuel; ",
            remedy,
        ),
        (
            "remote-schema",
            of_schema(r#"{"$ref": "https://evil.example/schema.json"}"#, ""),
            "the plugin's config-schema is not usable: ",
            "\"$ref\" at /$ref is not allowed: references and definitions are not; write the schema out\n",
        ),
        (
            "settings",
            of_schema("{}", "{"),
            "the plugin's settings-schema is not usable: it is not JSON",
            "\n",
        ),
    ] {
        let folder = project_of(&format!("hostile-{name}"), &bytes, "");
        fs::write(folder.join("item.yaml"), "type: Greeting\n").unwrap();
        let said = in_folder(&folder, &["eval", "-f", "item.yaml"]);
        // a loop has two limits, and on a busy machine the clock's comes first
        let late = "the plugin does not describe itself: the plugin was stopped: it ran for more than 2 s; ";
        let is_late = name == "hangs" && said.stderr.contains(late);
        let begins = format!("kubeopencode: greeting.wasm: {}", if is_late { late } else { words });
        let ends = format!("{ends}`kubeopencode plugin check` says all that is wrong with it\n");
        assert!(said.stderr.starts_with(&begins) && said.stderr.ends_with(&ends), "{name}: {}", said.stderr);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{name}");
    }
}
