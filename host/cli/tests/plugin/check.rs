//! `plugin check`: a good component in a few lines, and each kind of bad one with what to do.

use serde_json::{Value, json};

use crate::{Said, asking, component, file, greeting, in_folder, plugin, project};

const SCHEMA: &str = r#"{"type": "object", "properties": {"secret": {"type": "object", "properties": {"name": {"type": "string", "x-kubeopencode-secret": true}}}}}"#;
const SETTINGS: &str = r#"{"required": ["baseUrl"]}"#;

/// The lines of a report, without how long compiling took.
fn lines(said: &Said) -> Vec<String> {
    let (took, lines): (Vec<_>, Vec<_>) =
        said.stdout.lines().map(str::to_owned).partition(|line| line.starts_with("  compile     "));
    for line in took.iter().filter(|line| !line.contains("PROBLEM")) {
        assert!(line.ends_with(" s of 20 s (class default)"), "{line}");
    }
    lines.into_iter().chain(took.into_iter().filter(|line| line.contains("PROBLEM"))).collect()
}

#[test]
fn a_good_component_is_described_in_a_few_lines() {
    let said = plugin(&["check", "1.0.0/rust.wasm.zst", "--kind", "context-type"], &[]);
    assert_eq!(
        lines(&said),
        [
            "Fixture 1.0.0   1.0.0/rust.wasm.zst   sha256:dd1081fe95af8a1433dd2e713253eaf752f84f5867ba33085fa1e7dbce5a970c",
            "  interface   kubeopencode:plugin@1.0.0, context-type; KubeOpenCode 0.1.0 and newer",
            "  types       Fixture, FixtureSettings",
            "  imports     log; WASI (empty here): cli, clocks, io, random",
            "  size        213 KB, 72 KB as zstd: fits one ConfigMap",
            "  schema      2 of 2 good",
            "  settings    spec.config of the Plugin, for FixtureSettings",
            "  asks for    nothing: needs no grants",
            "  same twice  yes",
            "ok",
        ]
    );
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
}

#[test]
fn what_a_component_asks_for_is_what_is_to_be_granted() {
    let file = component("asking.wasm", &greeting(&asking(SCHEMA, SETTINGS)));
    let said = plugin(&["check", file.to_str().unwrap()], &[]);
    for line in [
        "  interface   kubeopencode:plugin@1.0.0, context-type; KubeOpenCode 0.1.0 and newer",
        "  schema      1 of 1 good; Secrets at /secret/name",
        "  settings    spec.config of the Plugin, for Greeting",
        "  asks for    url, secret: needs grants (kubeopencode plugin pack --grant url --grant secret)",
        "ok",
    ] {
        assert!(said.stdout.lines().any(|found| found == line), "{line}\n{}", said.stdout);
    }
    assert_eq!(said.code, 0);
}

#[test]
fn components_of_other_languages_are_described() {
    for (language, class, files) in [
        ("javascript", "default", "wasi:filesystem/types: a plugin has no files"),
        ("go", "default", "wasi:filesystem/types: a plugin has no files"),
    ] {
        let path = format!("1.0.0/{language}.wasm.zst");
        let said = plugin(&["check", &path, "--kind", "context-type", "--class", class], &[]);
        assert!(said.stdout.contains(files), "{language}: {}", said.stdout);
        assert!(said.stdout.ends_with("\n  same twice  yes\nok\n"), "{language}: {}", said.stdout);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{language}");
    }
}

#[test]
fn for_programs_there_is_json() {
    let file = component("asking-json.wasm", &greeting(&asking(SCHEMA, "")));
    let said = plugin(&["check", "-o", "json", file.to_str().unwrap()], &[]);
    let mut report: Value = serde_json::from_str(&said.stdout).unwrap();
    let millis = report["compile"]["millis"].take();
    assert!(millis.is_u64(), "{millis}");
    assert!(report["digest"].take().as_str().unwrap().starts_with("sha256:"));
    assert!(report["size"].take()["zstdBytes"].is_u64());
    assert!(report["types"][0]["configSchema"].take().is_object());
    let import = |name: &str, state: &str| json!({"name": name, "state": state, "why": null});
    assert_eq!(
        report,
        json!({
            "file": file,
            "digest": null,
            "ok": true,
            "kind": "context-type",
            "interface": "kubeopencode:plugin@1.0.0",
            "server": false,
            "types": [{
                "name": "Greeting", "version": "1", "description": "1", "mountPath": "optional", "capabilities": ["url", "secret"],
                "secrets": ["/secret/name"], "configSchema": null, "settingsSchema": null,
            }],
            "imports": [
                import("kubeopencode:plugin/log@1.0.0", "offered"),
                import("wasi:io/streams@0.2.6", "empty"),
                import("wasi:cli/stdout@0.2.6", "empty"),
                import("kubeopencode:plugin/types@1.0.0", "offered"),
            ],
            "size": null,
            "class": "default",
            "compile": {"millis": null, "limitSeconds": 20},
            "sameTwice": true,
            "repeated": null,
            "problems": [],
        })
    );
}

#[test]
fn each_problem_says_what_to_do() {
    let good = greeting("");
    // at the end, so that what is counted before keeps its number
    let importing = |import: &str| format!("{} {import})", good.trim_end().strip_suffix(')').unwrap());
    let crashing = good.replace("#describe\") (result i32)", "#describe\") (result i32) unreachable");
    let instance = r#"(instance (export "go" (func)))"#;
    for (name, bytes, expected) in [
        ("empty.wasm", Vec::new(), &["file        PROBLEM: the component is empty; build it anew"][..]),
        (
            "text.wasm",
            b"hello".to_vec(),
            &["file        PROBLEM: this is not a WebAssembly component: it does not begin with a component's header; name the file that the build for wasm32-wasip2 made"],
        ),
        (
            "core.wasm",
            wat::parse_str("(module)").unwrap(),
            &["file        PROBLEM: this is a core WebAssembly module, not a component; build it for wasm32-wasip2"],
        ),
        (
            "large.wasm",
            [b"\0asm\x0d\0\x01\0".to_vec(), vec![0; 5 << 20]].concat(),
            &["size        PROBLEM: the component has 5242888 bytes, more than the 4194304 of limits class default; make it smaller"],
        ),
        (
            "broken.wasm",
            b"\0asm\x0d\0\x01\0\xff".to_vec(),
            &["compile     PROBLEM: the component cannot be compiled: "],
        ),
        (
            "nothing.wasm",
            wat::parse_str("(component)").unwrap(),
            &["interface   PROBLEM: it exports no plugin: build it for the world context-type-plugin or command-builder-plugin"],
        ),
        (
            "two.wasm",
            wat::parse_str(good.replace("@1.0.0", "@2.0.0")).unwrap(),
            &[
                "imports     PROBLEM: the component was built for kubeopencode:plugin@2.0.0, and this KubeOpenCode has kubeopencode:plugin@1.0.0",
            ],
        ),
        (
            "newer.wasm",
            wat::parse_str(importing(&format!("(import \"kubeopencode:plugin/clock@1.1.0\" {instance})"))).unwrap(),
            &["imports     PROBLEM: the component was built for a newer KubeOpenCode: it imports kubeopencode:plugin/clock@1.1.0"],
        ),
        (
            "strange.wasm",
            wat::parse_str(importing(&format!(
                "(import \"acme:db/store\" {instance}) (import \"wasi:sockets/tcp@0.3.0\" {instance}) (import \"wasi:http/types@0.2.0\" {instance})"
            )))
            .unwrap(),
            &[
                "not here    wasi:http/types: a plugin has no network; a call of it ends the plugin's call",
                "imports     PROBLEM: acme:db/store: nobody has it; a plugin imports kubeopencode:plugin and WASI 0.2, leave out the rest",
                "imports     PROBLEM: wasi:sockets/tcp@0.3.0: a plugin has WASI 0.2; build it for that",
            ],
        ),
        (
            "crashing.wasm",
            wat::parse_str(crashing).unwrap(),
            &["types       PROBLEM: the plugin does not describe itself: the plugin crashed: it aborted; describe answers without"],
        ),
        (
            "schema.wasm",
            wat::parse_str(greeting(&asking(r##"{"properties": {"query": {"$ref": "#"}}}"##, ""))).unwrap(),
            &[
                "schema      PROBLEM: the plugin's config-schema is not usable: \"$ref\" at /properties/query/$ref is not allowed: references and definitions are not; write the schema out",
            ],
        ),
        (
            "settings.wasm",
            wat::parse_str(greeting(&asking("{}", "{"))).unwrap(),
            &["settings    PROBLEM: the plugin's settings-schema is not usable: it is not JSON"],
        ),
    ] {
        let path = file(name, bytes);
        let said = plugin(&["check", path.to_str().unwrap()], &[]);
        for words in expected {
            let is_there = said.stdout.lines().any(|line| line.trim_start().starts_with(words));
            assert!(is_there, "{name}: {words}\n{}", said.stdout);
        }
        let problems = expected.iter().filter(|words| words.contains("PROBLEM")).count();
        let last = if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") };
        assert_eq!(said.stdout.lines().last(), Some(last.as_str()), "{name}: {}", said.stdout);
        assert_eq!((said.code, said.stderr.as_str()), (1, ""), "{name}");
    }
}

#[test]
fn a_wrong_kind_is_named_with_what_is_there_instead() {
    let path = component("kind.wasm", &greeting(""));
    let said = plugin(&["check", "--kind", "command-builder", path.to_str().unwrap()], &[]);
    assert!(
        said.stdout.contains("PROBLEM: the component does not export the interface of a command-builder: "),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("it exports kubeopencode:plugin/context-type@1.0.0"), "{}", said.stdout);
    assert_eq!(said.code, 1);
}

#[test]
fn a_call_that_makes_no_sense_ends_with_two() {
    let both = "1.0.0/rust.wasm.zst: it is context-type and command-builder: say with --kind as which it is installed";
    for (args, words) in [
        (&["1.0.0/rust.wasm.zst"][..], both),
        (&["missing.wasm"], "missing.wasm: No such file or directory"),
        (&["a.wasm", "--kind", "context"], "write context-type or command-builder"),
        (&["a.wasm", "--class", "huge"], "write default or large"),
        (
            &[],
            "plugin.toml: No such file or directory (os error 2): name a component, or a folder with a plugin.toml",
        ),
    ] {
        let said = plugin(&[&["check"], args].concat(), &[]);
        assert!(said.stderr.contains(words), "{}", said.stderr);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{args:?}");
    }
}

#[test]
fn golden_cases_come_to_the_same_twice_and_an_older_operator_is_named() {
    let cases = "name: a\nitem: {type: Greeting}\n---\nname: b\nitem: {type: Greeting}\n";
    let folder = project("twice", &greeting(""), cases);
    let said = in_folder(&folder, &["check", "--host", "0.2.0"]);
    let line = said.stdout.lines().find(|line| line.starts_with("  same twice")).unwrap();
    assert!(
        line.starts_with("  same twice  yes: 2 golden cases, ") && line.ends_with(" fuel, same bytes"),
        "{line}"
    );
    assert_eq!(said.code, 0);

    let said = in_folder(&folder, &["check", "--host", "0.0.9"]);
    let words = "  interface   PROBLEM: KubeOpenCode 0.0.9 does not have kubeopencode:plugin@1.0.0, which came with 0.1.0: build it \
                 against an older interface, or upgrade";
    assert!(said.stdout.lines().any(|line| line == words), "{}", said.stdout);
    assert_eq!(said.code, 1);
}
