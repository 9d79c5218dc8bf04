//! `plugin test`: golden cases, as an author reads what became of them.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;

use crate::{Said, asking, greeting, in_folder, logging, masked, project};

const CASES: &str = r#"# what Greeting says
name: it greets
item: {type: Greeting}
expect:
  contextFile: |
    <context name="context" namespace="default" type="Greeting">
    hello
    </context>
---
name: it greets otherwise
item: {type: Greeting, name: words}
expect:
  contextFile: |
    <context name="words" namespace="default" type="Greeting">
    good morning
    </context>
---
name: it fails   # it does not
item: {type: Greeting}
expect:
  error: {kind: invalid-config, field: /to}
---
name: its plan is more
item: {type: Greeting}
expect:
  plan:
    actions: [{inline: hello}, {inline: again}]
---
name: it is a file
item: {type: Greeting, mountPath: a.md}
expect: {files: {/workspace/b.md: file:expected/a.md}}
"#;

fn test(name: &str, args: &[&str]) -> Said {
    let folder = project(name, &greeting(""), CASES);
    fs::create_dir_all(folder.join("tests/expected")).unwrap();
    fs::write(folder.join("tests/expected/a.md"), "old\n").unwrap();
    in_folder(&folder, &[&["test"], args].concat())
}

#[test]
fn what_is_not_as_expected_is_shown_with_what_came() {
    let said = test("golden", &[]);
    assert_snapshot!(masked(&said.stdout));
    assert_eq!((said.code, said.stderr.as_str()), (1, ""));
}

#[test]
fn what_came_is_written_and_all_else_stays() {
    let said = test("golden-update", &["--update"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    assert!(
        said.stdout.ends_with("4 cases written; look at what changed before you commit it\n"),
        "{}",
        said.stdout
    );
    let folder = crate::folder("golden-update");
    assert_snapshot!(fs::read_to_string(folder.join("tests/cases.yaml")).unwrap());
    let again = in_folder(&folder, &["test"]);
    assert!(again.stdout.ends_with("\n5 cases ok\n"), "{}", again.stdout);
    assert_eq!(again.code, 0);
}

#[test]
fn programs_read_json_or_what_junit_writes() {
    let said = test("golden-json", &["-o", "json"]);
    let verdicts: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    let ok: Vec<_> = verdicts.iter().map(|verdict| verdict["ok"] == true).collect();
    assert_eq!((ok, said.code), (vec![true, false, false, false, false], 1));
    assert_eq!((&verdicts[1]["file"], &verdicts[1]["line"]), (&"tests/cases.yaml".into(), &10.into()));
    assert_eq!(verdicts[1]["differences"][0]["what"], "contextFile");
    assert!(verdicts[1]["fuel"].as_u64() > Some(0) && verdicts[1]["memoryBytes"] == 65536, "{}", verdicts[1]);

    let said = test("golden-junit", &["-o", "junit"]);
    for words in [
        "<testsuite name=\"greeting\" tests=\"5\"",
        "failures=\"4\"",
        "<testcase name=\"it greets otherwise\" classname=\"tests/cases.yaml\"",
        "<failure message=\"contextFile is not as expected\">tests/cases.yaml:10\n",
        "- good morning\n",
    ] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    assert_eq!(said.code, 1);
}

#[test]
fn a_case_that_makes_no_sense_ends_with_two_and_says_what_does() {
    for (name, cases, words) in [
        (
            "itm",
            "name: a\nitm: {}\n",
            "tests/cases.yaml:1: itm: unknown field `itm`, expected one of `name`, `item`, ",
        ),
        ("named", "name: a\n", "no.yaml: No such file or directory (os error 2): write golden cases there, "),
        (
            "both",
            "name: a\nitem: {type: Greeting}\ntask: {}\n",
            "tests/cases.yaml:1: write one of item, task and server",
        ),
        ("yaml", "name: a\n---\nname: [\n", "tests/cases.yaml:3: "),
        (
            "responses",
            "name: a\nitem: {type: Greeting}\ngiven: {responses: []}\n",
            "tests/cases.yaml:1: given.responses: it belongs to the feature fetch, which this version does not have: leave it out",
        ),
        (
            "file",
            "name: a\nitem: {type: Greeting}\nexpect: {contextFile: file:no.md}\n",
            "tests/cases.yaml:1: tests/no.md: No such file or directory",
        ),
    ] {
        let folder = project(&format!("golden-{name}"), &greeting(""), cases);
        let args = if name == "named" { &["test", "--cases", "no.yaml"][..] } else { &["test"] };
        let said = in_folder(&folder, args);
        assert!(said.stderr.starts_with(&format!("kubeopencode: {words}")), "{name}: {}", said.stderr);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{name}");
    }
}

#[test]
fn where_nobody_has_written_a_case_yet_the_first_one_is_shown() {
    let none_yet = "tests: there is no golden case yet: write one into tests/first.yaml, and `kubeopencode plugin test --update` adds what comes of it:";
    let case = "item:\n  config: {}\n  type: Greeting\nname: the first one\n";
    let shown =
        |indent: usize| case.lines().map(|line| format!("{:indent$}{line}\n", "")).collect::<String>();
    let folder = project("golden-none", &greeting(""), "# nothing\n");
    for what in ["an empty file", "an empty folder", "no folder"] {
        for args in [&["test"][..], &["test", "-o", "json"], &["bench"]] {
            let said = in_folder(&folder, args);
            assert_eq!(said.stderr, format!("kubeopencode: {none_yet}\n{}", shown(2)), "{what}: {args:?}");
            assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{what}: {args:?}");
        }
        // a component is as good without
        let said = in_folder(&folder, &["check"]);
        let lines = format!("\n  same twice  WARNING: {none_yet}\n{}ok\n", shown(16));
        assert!(said.stdout.ends_with(&lines), "{what}: {}", said.stdout);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{what}");
        match what {
            "an empty file" => fs::remove_file(folder.join("tests/cases.yaml")).unwrap(),
            _ => drop(fs::remove_dir(folder.join("tests"))),
        }
    }
    // and it is one
    fs::create_dir(folder.join("tests")).unwrap();
    fs::write(folder.join("tests/first.yaml"), case).unwrap();
    let said = in_folder(&folder, &["test", "--update"]);
    assert!(
        said.stdout.ends_with("1 case written; look at what changed before you commit it\n"),
        "{}",
        said.stdout
    );
    let said = in_folder(&folder, &["test"]);
    assert!(said.stdout.ends_with("\n1 case ok\n"), "{}{}", said.stdout, said.stderr);
}

#[test]
fn what_the_api_server_would_refuse_is_an_error_of_the_case() {
    let cases = "name: a\nitem: {type: Greeting, txt: a}\n---\nname: b\nitem: {type: Greeting}\ngrants: {capabilities: [root]}\n---\nname: c\nitem: {type: Greeting}\nsettings: {a: 1}\n---\nname: d\nitem: {type: Greting}\n";
    let folder = project("golden-refused", &greeting(""), cases);
    let said = in_folder(&folder, &["test"]);
    assert_snapshot!(masked(&said.stdout));
    assert_eq!((said.code, said.stderr.as_str()), (1, ""));
}

#[test]
fn plugin_toml_is_read_strictly() {
    for (name, toml, words) in [
        (
            "key",
            "name = \"greeting\"\nbuild = \"true\"\ncomponent = \"greeting.wasm\"\nlimits = \"large\"\n",
            "plugin.toml: line 4: unknown field `limits`, expected one of `name`, `build`, `component`, `class`, `kind`\n",
        ),
        (
            "missing",
            "name = \"greeting\"\nbuild = \"true\"\ncomponent = \"out/no.wasm\"\n",
            "out/no.wasm: No such file or directory (os error 2): build it with `kubeopencode plugin build`\n",
        ),
    ] {
        let folder = project(&format!("toml-{name}"), &greeting(""), CASES);
        fs::write(folder.join("plugin.toml"), toml).unwrap();
        for verb in ["test", "check", "pack", "explain"] {
            let said = in_folder(&folder, &[verb]);
            assert_eq!(said.stderr, format!("kubeopencode: {words}"), "{verb}");
            assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{verb}");
        }
    }
    let folder = project("toml-none", &greeting(""), CASES.split("---").next().unwrap());
    fs::remove_file(folder.join("plugin.toml")).unwrap();
    let said = in_folder(&folder, &["test"]);
    let words = "kubeopencode: plugin.toml: No such file or directory (os error 2): name a component, or a folder with a \
                 plugin.toml; `kubeopencode plugin new` makes one\n";
    assert_eq!((said.stderr.as_str(), said.code), (words, 2));
    // one that is named needs none, and neither does its folder
    let said = in_folder(&folder, &["test", "greeting.wasm", "--cases", "tests/cases.yaml"]);
    assert!(said.stdout.contains("  ok    it greets "), "{}{}", said.stdout, said.stderr);
}

#[test]
fn an_error_that_is_another_one_is_shown_whole() {
    let schema = asking(r#"{"required": ["to"]}"#, "");
    let item = "item: {type: Greeting, config: {}}";
    let cases = [
        format!("name: a\n{item}\nexpect: {{error: {{kind: unsatisfied}}}}\n"),
        format!("name: b\n{item}\nexpect: {{error: {{message: nobody is named}}}}\n"),
        format!("name: c\n{item}\nexpect: {{error: {{kind: invalid-config, field: ''}}}}\n"),
    ];
    let folder = project("golden-error", &greeting(&schema), &cases.join("---\n"));
    let said = in_folder(&folder, &["test"]);
    for words in [
        "\n        error         - kind: unsatisfied\n                      + kind: invalid-config\n                        message: '",
        "\n        error           kind: invalid-config\n                      - message: nobody is named\n                      + message: '",
    ] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    assert_eq!(said.stdout.matches("\"to\" is a required property").count(), 2, "{}", said.stdout);
    assert!(said.stdout.contains("\n  ok    c "), "{}", said.stdout);
    assert_eq!(said.code, 1);
}

/// What Go does where a package of it begins something of its own, which then runs while the host hands over what is asked.
#[test]
fn a_call_at_the_wrong_time_is_told_in_words() {
    let realloc = "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)";
    let text = greeting("");
    assert!(text.contains(realloc));
    let call = "(call 0 (i32.const 2) (i32.const 2048) (i32.const 5))";
    let text = text.replace(realloc, &format!("{realloc} {call}"));
    let folder = project("golden-called-out", &text, "name: a\nitem: {type: Greeting}\n");
    let said = in_folder(&folder, &["test", "-o", "json"]);
    let verdicts: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    let came = verdicts[0]["differences"][0]["came"].as_str().unwrap();
    let words = "the plugin crashed: it called the host while it made room for what it is given, when no component may call anything; \
                 in Go packages do so that begin something of their own, as net/http: leave them out";
    assert!(came.contains("kind: trap") && came.contains(words), "{came}");
    assert_eq!(said.code, 1);
}

#[test]
fn what_it_logs_stands_below_a_case_that_fails() {
    let cases = "name: good\nitem: {type: Greeting}\nexpect: {plan: {actions: [{inline: hello}]}}\n---\nname: bad\nitem: {type: Greeting}\nexpect: {plan: {}}\n";
    let folder = project("golden-log", &logging(), cases);
    let said = in_folder(&folder, &["test"]);
    let lines: Vec<_> = said.stdout.lines().filter(|line| line.contains("warn")).collect();
    assert_eq!(lines, ["        log             Greeting, call 1: warn: hello"], "{}", said.stdout);
    assert_eq!((said.code, said.stderr.as_str()), (1, ""));
    let said = in_folder(&folder, &["test", "-o", "json"]);
    let verdicts: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(verdicts[1]["log"][0]["message"], "hello");
    let said = in_folder(&folder, &["test", "-o", "junit"]);
    assert!(said.stdout.contains("Greeting, call 1: warn: hello"), "{}", said.stdout);
}
