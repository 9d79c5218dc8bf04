//! `plugin check`: a good component in a few lines, and each kind of bad one with what to do.

use serde_json::{Value, json};

use crate::{Said, asking, component, file, greeting, in_folder, plugin, project};

const SCHEMA: &str = r#"{"type": "object", "properties": {"secret": {"type": "object", "properties": {"name": {"type": "string", "x-kubeopencode-secret": true}}}}}"#;
const SETTINGS: &str = r#"{"required": ["baseUrl"]}"#;

/// What a golden case expects of `Greeting`.
const GREETS: &str = "expect: {plan: {actions: [{inline: hello}]}}\n";

/// The lines of a report, without what compiling took.
fn lines(said: &Said) -> Vec<String> {
    let (took, lines): (Vec<_>, Vec<_>) =
        said.stdout.lines().map(str::to_owned).partition(|line| line.starts_with("  compile     "));
    for line in took.iter().filter(|line| !line.contains("PROBLEM")) {
        assert!(line.contains(" s of 20 s, "), "{line}");
        assert!(line.ends_with(" MiB of 256.0 MiB (class default)"), "{line}");
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
            "  same twice  yes: what it says of itself; no golden case was run",
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
        ("javascript", "default", "wasi:filesystem/types: a plugin has no files; opening one is an error\n"),
        ("go", "default", "wasi:filesystem/types: a plugin has no files; opening one is an error\n"),
    ] {
        let path = format!("1.0.0/{language}.wasm.zst");
        let said = plugin(&["check", &path, "--kind", "context-type", "--class", class], &[]);
        assert!(said.stdout.contains(files), "{language}: {}", said.stdout);
        assert!(
            said.stdout
                .ends_with("\n  same twice  yes: what it says of itself; no golden case was run\nok\n"),
            "{language}: {}",
            said.stdout
        );
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
    let memory = report["compile"]["memoryBytes"].take();
    assert!((1 << 20..256 << 20).contains(&memory.as_u64().unwrap()), "{memory}");
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
                "secrets": ["/secret/name"], "configSchema": null, "schemaOk": true, "settingsSchema": null,
            }],
            "imports": [
                import("kubeopencode:plugin/log@1.0.0", "offered"),
                import("wasi:io/streams@0.2.6", "empty"),
                import("wasi:cli/stdout@0.2.6", "empty"),
                import("kubeopencode:plugin/types@1.0.0", "offered"),
            ],
            "size": null,
            "class": "default",
            "compile": {"millis": null, "limitSeconds": 20, "memoryBytes": null, "limitMemoryBytes": 268_435_456},
            "sameTwice": true,
            "repeated": null,
            "problems": [],
            "warnings": [],
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
        ("empty.wasm.zst", Vec::new(), &["file        PROBLEM: the component is empty; build it anew"]),
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
            &[
                "interface   PROBLEM: it exports no plugin: build it for the world context-type-plugin or command-builder-plugin of \
                 kubeopencode:plugin (wit/plugin.wit); in Rust, context_type! or command_builder! exports it",
            ],
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
        (
            &["missing"],
            "missing: No such file or directory (os error 2): name a component, or a folder with a plugin.toml",
        ),
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
    let case = |name: &str| format!("name: {name}\nitem: {{type: Greeting}}\n{GREETS}");
    let folder = project("twice", &greeting(""), &[case("a"), case("b")].join("---\n"));
    let said = in_folder(&folder, &["check", "--host", "0.2.0"]);
    let line = said.stdout.lines().find(|line| line.starts_with("  same twice")).unwrap();
    assert!(
        line.starts_with("  same twice  yes: 2 golden cases, ") && line.ends_with(" fuel, same bytes"),
        "{line}"
    );
    assert!(said.stdout.ends_with("\n  cases       2 golden cases ok\nok\n"), "{}", said.stdout);
    assert_eq!(said.code, 0);

    let said = in_folder(&folder, &["check", "--host", "0.0.9"]);
    let words = "  interface   PROBLEM: KubeOpenCode 0.0.9 does not have kubeopencode:plugin@1.0.0, which came with 0.1.0: build it \
                 against an older interface, or upgrade";
    assert!(said.stdout.lines().any(|line| line == words), "{}", said.stdout);
    assert_eq!(said.code, 1);
}

#[test]
fn a_name_that_nobody_else_may_have_is_a_problem_before_it_is_installed() {
    let text = greeting("(data (i32.const 132) \"\\04\\00\\00\\00\") (data (i32.const 256) \"Text\")");
    let folder = project("taken", &text, "name: a\nitem: {type: Text, text: a}\nexpect: {plan: {}}\n");
    let said = in_folder(&folder, &["check"]);
    let words = "  types       PROBLEM: Text is the name of a context-type that comes with KubeOpenCode, and no other serves it: give yours another one";
    assert!(said.stdout.lines().any(|line| line == words), "{}", said.stdout);
    assert_eq!((said.code, said.stdout.lines().last()), (1, Some("1 problem")));
    let said = in_folder(&folder, &["pack"]);
    assert!(
        said.stderr.contains("PROBLEM: Text is the name") && said.stderr.ends_with("nothing is packed\n"),
        "{}",
        said.stderr
    );
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    // as the operator says it in the status of its Plugin
    let said = in_folder(&folder, &["test"]);
    assert!(said.stdout.contains("kind: NameTaken"), "{}", said.stdout);
}

#[test]
fn a_schema_that_does_not_say_what_it_should_is_a_problem() {
    for (name, schema, settings, expected) in [
        (
            "lint-keyword",
            r#"{"propertys": {}, "properties": {"n": {"max_lenght": 5}}}"#,
            "",
            &[
                "schema      PROBLEM: Greeting: \"max_lenght\" at /properties/n/max_lenght is no keyword of JSON Schema, and says nothing: write \"maxLength\"",
                "schema      PROBLEM: Greeting: \"propertys\" at /propertys is no keyword of JSON Schema, and says nothing: write \"properties\"",
            ][..],
        ),
        (
            "lint-default",
            "{}",
            r#"{"properties": {"n": {"type": "integer", "default": "5"}}}"#,
            &[
                "settings    PROBLEM: Greeting: /properties/n/default is nothing that its own schema takes: \"5\" is not of type \"integer\"",
            ],
        ),
        (
            "lint-type",
            r#"{"properties": {"n": {"type": "int"}}}"#,
            "",
            &[
                "schema      PROBLEM: the plugin's config-schema is not usable: at \"/properties/n/type\": \"int\" is no type; there are array, boolean, integer, null, number, object, string",
            ],
        ),
    ] {
        let path = component(&format!("{name}.wasm"), &greeting(&asking(schema, settings)));
        let said = plugin(&["check", path.to_str().unwrap()], &[]);
        for words in expected {
            assert!(said.stdout.lines().any(|line| line.trim_start() == *words), "{words}\n{}", said.stdout);
        }
        let problems = said.stdout.matches("PROBLEM").count();
        assert_eq!((said.code, problems), (1, expected.len()), "{}", said.stdout);
        // no schema that has a problem is called good
        let good = match name {
            "lint-keyword" => Some("  schema      0 of 1 good"),
            "lint-default" => Some("  schema      1 of 1 good"),
            _ => None,
        };
        assert_eq!(said.stdout.lines().find(|line| line.ends_with(" good")), good, "{name}");
    }
    let path = component("lint-odd.wasm", &greeting(&asking(r#"{"nullable": true}"#, "")));
    let said = plugin(&["check", path.to_str().unwrap()], &[]);
    let words = "  schema      WARNING: Greeting: \"nullable\" at /nullable is no keyword of JSON Schema, and says nothing: remove it, or begin it with \"x-\"";
    assert!(said.stdout.lines().any(|line| line == words), "{}", said.stdout);
    assert_eq!((said.code, said.stdout.lines().last()), (0, Some("ok")));
}

#[test]
fn cases_that_do_not_reach_the_component_say_nothing_of_it() {
    let schema = asking(r#"{"required": ["to"]}"#, "");
    let refused = "name: a\nitem: {type: Greeting, config: {}}\nexpect: {error: {kind: invalid-config}}\n";
    let taken = format!("name: b\nitem: {{type: Greeting, config: {{to: a}}}}\n{GREETS}");
    let said = in_folder(&project("reached-none", &greeting(&schema), refused), &["check"]);
    for words in [
        "  same twice  yes: 1 golden case, 0 of them reach it, 0 fuel, same bytes",
        "  same twice  WARNING: no golden case reaches the component, schemas alone decide all of them: write one of an item that it takes",
    ] {
        assert!(said.stdout.lines().any(|line| line == words), "{words}\n{}", said.stdout);
    }
    assert_eq!(said.code, 0);
    let both = format!("{refused}---\n{taken}");
    let said = in_folder(&project("reached-one", &greeting(&schema), &both), &["check"]);
    assert!(
        said.stdout.contains("  same twice  yes: 2 golden cases, 1 of them reach it, "),
        "{}",
        said.stdout
    );
    assert_eq!((said.code, said.stdout.contains("WARNING")), (0, false), "{}", said.stdout);
}

/// A component with a section that says nothing: its name, and then whatever it holds.
fn with_section(component: &str, section: &[u8]) -> Vec<u8> {
    let mut bytes = [wat::parse_str(component).unwrap(), vec![0]].concat();
    let mut length = section.len();
    while length >= 128 {
        bytes.push((length % 128) as u8 | 128);
        length /= 128;
    }
    bytes.push(length as u8);
    bytes.extend(section);
    bytes
}

#[test]
fn what_needs_a_network_is_named_before_its_size() {
    // what Go's net/http leaves in a component, whose size alone would lead to --class large
    let methods = b"\x02go\0net.(*Dialer).DialContext\0net/http.(*Client).do\0";
    let go = [&methods[..], &vec![1_u8; 5 << 20]].concat();
    let path = file("go-network.wasm", with_section(&greeting(""), &go));
    let path = path.to_str().unwrap();
    let warning = "  imports     WARNING: Go's package net/http is in it, and a plugin has no network: leave it out, and whatever module \
                   brings it; what is to be read is asked of request, what the agent is to have is an action";
    let said = plugin(&["check", path], &[]);
    let lines: Vec<_> = said.stdout.lines().collect();
    let [.., first, second, last] = lines.as_slice() else { panic!("{}", said.stdout) };
    assert_eq!(*first, warning);
    assert!(
        second.starts_with("  size        PROBLEM: the component has 52")
            && second.ends_with(" bytes, more than the 4194304 of limits class default; leave out net/http: a plugin has no network"),
        "{second}"
    );
    assert_eq!((said.code, *last), (1, "1 problem"));
    let explained = plugin(&["explain", path], &[]);
    assert!(
        explained.stderr.contains("; leave out net/http: a plugin has no network\n"),
        "{}",
        explained.stderr
    );
    let said = plugin(&["check", path, "--class", "large"], &[]);
    assert!(said.stdout.lines().any(|line| line == warning), "{}", said.stdout);
    assert_eq!((said.code, said.stdout.lines().last()), (0, Some("ok")));

    // what imports WASI's own says so, whether it can be compiled or not
    let imports = r#"(component (import "wasi:sockets/tcp@0.2.6" (instance (export "go" (func)))) (import "wasi:http/types@0.2.6" (instance (export "go" (func)))))"#;
    let path =
        file("wasi-network.wasm", with_section(imports, &[&b"\x05noise"[..], &vec![1_u8; 5 << 20]].concat()));
    let said = plugin(&["check", path.to_str().unwrap()], &[]);
    let words = "\n  not here    wasi:sockets/tcp, wasi:http/types: a plugin has no network; a call of it ends the plugin's call\n  size        ";
    assert!(said.stdout.contains(words), "{}", said.stdout);
    assert_eq!((said.code, said.stdout.lines().last()), (1, Some("1 problem")));
}

#[test]
fn golden_cases_that_fail_are_a_problem() {
    let wrong = "expect: {plan: {}}\n";
    let cases = [GREETS, wrong, ""]
        .map(|expect| format!("name: a\nitem: {{type: Greeting}}\n{expect}"))
        .join("---\n");
    let folder = project("failing", &greeting(""), &cases);
    let said = in_folder(&folder, &["check"]);
    let words = "\n  cases       PROBLEM: 2 of 3 golden cases failed, tests/cases.yaml:5 first: see `kubeopencode plugin test`\n1 problem\n";
    assert!(said.stdout.ends_with(words), "{}", said.stdout);
    assert_eq!((said.code, said.stderr.as_str()), (1, ""));
    let said = in_folder(&folder, &["check", "-o", "json"]);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (&report["ok"], &report["repeated"]["cases"], &report["repeated"]["failed"]),
        (&false.into(), &3.into(), &2.into())
    );
    // it is as good a component as before
    assert_eq!(in_folder(&folder, &["pack"]).code, 0);
}

/// As those in Python: no ConfigMap holds them, and every other source does.
#[test]
fn what_no_config_map_holds_is_well_where_another_source_does() {
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    let noise: Vec<u8> = b"\x05noise".iter().copied().chain(noise.take(3_700_000)).collect();
    let path = file("noise.wasm", with_section(&greeting(""), &noise));
    let path = path.to_str().unwrap();
    let said = plugin(&["check", path], &[]);
    let words =
        "3.8 MB, 3.8 MB as zstd: too much for ConfigMaps, which hold 3.6 MB; fits oci, https and directory";
    assert!(said.stdout.contains(words), "{}", said.stdout);
    assert_eq!((said.code, said.stdout.lines().last()), (0, Some("ok")));
    for (verb, done) in [("pack", "packed"), ("install", "installed")] {
        let said = plugin(&[verb, path], &[]);
        let words = format!(
            "{path}: 3.8 MB as zstd are more than the 3.6 MB that the ConfigMaps of one component hold; nothing is {done}: put it into a registry with `kubeopencode plugin push`"
        );
        assert!(said.stderr.contains(&words), "{}", said.stderr);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    }
}
