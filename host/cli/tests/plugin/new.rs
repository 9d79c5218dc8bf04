//! `plugin new`: a folder that builds and whose golden cases pass.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::replaced;
use crate::{built_in, folder, in_folder};

#[test]
fn a_plugin_in_rust_builds_and_its_cases_pass() {
    let parent = folder("new");
    let _ = fs::remove_dir_all(&parent);
    fs::create_dir_all(&parent).unwrap();
    let said = in_folder(&parent, &["new", "team-rules", "--language", "rust"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    assert!(
        said.stdout.ends_with("next: cd ./team-rules, kubeopencode plugin build, kubeopencode plugin test\n"),
        "{}",
        said.stdout
    );

    let own = parent.join("team-rules");
    cargo_built(&own);
    let said = in_folder(&own, &["test"]);
    assert!(said.stdout.ends_with("\n2 cases ok\n"), "{}{}", said.stdout, said.stderr);
    let said = in_folder(&own, &["check"]);
    assert!(
        said.stdout.starts_with("TeamRules 0.1.0   target/wasm32-wasip2/release/team_rules.wasm   sha256:"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.ends_with("\nok\n"), "{}", said.stdout);
    let said = in_folder(&own, &["pack"]);
    assert!(said.stderr.starts_with("ConfigMap team-rules ("), "{}", said.stderr);
    let said = in_folder(&own, &["explain"]);
    for words in ["\n  to   string, required, maxLength 100   Who is greeted\n", "\n      to: everybody\n"] {
        assert!(said.stdout.contains(words), "{}", said.stdout);
    }

    // a field that is added is in the schema, and a panic is told with its place
    let source = own.join("src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    let changed = text
        .replace(
            "    to: String,\n",
            "    to: String,\n    /// How often\n    #[serde(default)]\n    times: u8,\n    /// How it sounds\n    voice: Option<Voice>,\n",
        )
        .replace("impl ContextType for", &format!("{VOICE}\nimpl ContextType for"))
        .replace("config.to.trim()", "config.to.get(99 + usize::from(config.times)..).unwrap()");
    assert!(changed.contains("times: u8") && changed.contains("unwrap()"), "{text}");
    fs::write(&source, changed).unwrap();
    cargo_built(&own);
    let said = in_folder(&own, &["explain"]);
    for words in [
        "times integer, minimum 0, maximum 255, default 0 How often",
        "voice {kind: \"plain\"} or {kind: \"loud\", …} or null How it sounds",
        "voice.kind \"plain\" or \"loud\", required \"plain\": As it is",
        "voice.marks integer, required, with kind \"loud\", minimum 0, maximum 255",
    ] {
        let is_it = |line: &str| line.split_whitespace().eq(words.split(' '));
        assert!(said.stdout.lines().any(is_it), "{words}: {}", said.stdout);
    }
    let said = in_folder(&own, &["eval", "--filename", "tests/first.yaml"]);
    for words in ["panicked at src/lib.rs:", ": called `Option::unwrap()` on a `None` value"] {
        assert!(said.stdout.contains(words), "{}", said.stdout);
    }

    // what nothing exports builds too, and the macro that does so is named
    fs::write(&source, replaced(&text, "context_type!(Plugin);", "")).unwrap();
    cargo_built(&own);
    let said = in_folder(&own, &["check"]);
    let [begins, ends] =
        ["PROBLEM: it exports no plugin: ", "; in Rust, context_type! or command_builder! exports it\n"];
    assert!(said.stdout.contains(begins) && said.stdout.contains(ends), "{}", said.stdout);

    let said = in_folder(&parent, &["new", "team-rules", "--language", "rust"]);
    assert_eq!(
        (said.code, said.stderr.as_str()),
        (2, "kubeopencode: ./team-rules is there already: take another name, or remove it\n")
    );
    let said = in_folder(&parent, &["new", "TeamRules", "--language", "rust"]);
    assert!(
        said.stderr.starts_with("kubeopencode: \"TeamRules\" is no name of a plugin: use a-z, 0-9 and -"),
        "{}",
        said.stderr
    );
}

/// An enum whose variants hold data.
const VOICE: &str = "#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = \"camelCase\", tag = \"kind\")]
pub enum Voice {
    /// As it is
    Plain,
    Loud { marks: u8 },
}
";

#[test]
fn what_is_made_is_said_with_what_has_to_be_there() {
    let parent = folder("new-said");
    let _ = fs::remove_dir_all(&parent);
    fs::create_dir_all(&parent).unwrap();
    for (language, files, needs) in [
        (
            "rust",
            "src/lib.rs, Cargo.toml, Cargo.lock, kubeopencode/",
            "Rust 1.95 or newer with the target wasm32-wasip2: `rustup target add wasm32-wasip2`",
        ),
        (
            "javascript",
            "plugin.js, schema.json, package.json, package-lock.json, build.mjs, kubeopencode.js, kubeopencode.d.ts",
            "Node 18 or newer with npm; `plugin build` fetches componentize-qjs and esbuild from it, as package-lock.json names them",
        ),
        (
            "python",
            "app.py, kubeopencode.py, requirements.txt",
            "Python 3.10 or newer with venv; `plugin build` fetches componentize-py from PyPI, as requirements.txt names it",
        ),
        ("go", "main.go, schema.json, go.mod, go.sum, kubeopencode/", "Go 1.26 or newer"),
    ] {
        let name = format!("in-{language}");
        let said = in_folder(&parent, &["new", &name, "--language", language]);
        let words = format!(
            "./{name}: {files}, plugin.toml, tests/first.yaml, README.md, wit/plugin.wit, .gitignore\n\
             to build it, there must be {needs}\n\
             next: cd ./{name}, kubeopencode plugin build, kubeopencode plugin test\n"
        );
        assert_eq!((said.stdout, said.stderr.as_str(), said.code), (words, "", 0));
    }
    let said = in_folder(&parent, &["new", "for-programs", "--language", "python", "-o", "json"]);
    let begun: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&begun["folder"], &begun["files"][0]), (&"./for-programs".into(), &"app.py".into()));
    let needs = begun["needs"].as_str().unwrap();
    assert!(needs.starts_with("Python 3.10 or newer") && !needs.ends_with('\n'), "{needs}");
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
}

#[test]
fn a_type_that_comes_with_the_program_is_not_begun() {
    let parent = folder("new-built-in");
    let _ = fs::remove_dir_all(&parent);
    fs::create_dir_all(&parent).unwrap();
    for (name, type_) in [
        ("text", "Text"),
        ("config-map", "ConfigMap"),
        ("configmap", "Configmap"),
        ("git", "Git"),
        ("url", "Url"),
        ("runtime", "Runtime"),
        ("file", "File"),
    ] {
        let said = in_folder(&parent, &["new", name, "--language", "go"]);
        let words = format!(
            "kubeopencode: {name}: its type would be {type_}, and Text, ConfigMap, Git, URL, Runtime and File come with \
             KubeOpenCode: take another name, as in team-{name}\n"
        );
        assert_eq!((said.stderr, said.code), (words, 2));
        assert!(!parent.join(name).exists());
    }
}

#[test]
fn a_folder_is_made_in_one_that_is_there() {
    let parent = folder("new-parent");
    let _ = fs::remove_dir_all(&parent);
    fs::create_dir_all(&parent).unwrap();
    fs::write(parent.join("file"), "").unwrap();
    for place in ["no/such", "file"] {
        let said = in_folder(&parent, &["new", "a", "--language", "rust", "--parent", place]);
        let words = format!(
            "kubeopencode: --parent {place}: there is no such folder: make it, or name another one\n"
        );
        assert_eq!((said.stderr, said.code), (words, 2));
        assert!(!parent.join("no").exists());
    }
}

/// Golden cases pass in each language, and what the author breaks is told in words, with the place.
#[test]
fn a_plugin_in_javascript_builds_and_its_cases_pass() {
    let own = built("javascript", "plugin.js");
    for (is, becomes, words) in [
        (
            "config.to.trim()",
            "config.whom.trim()",
            "TypeError: cannot read property 'trim' of undefined\n                    at evaluate (plugin.js:13)\n",
        ),
        // what swallows a read is run again once it was made
        (
            "const to = config.to.trim();",
            "let to = config.to.trim();\n    try { to = request.configMap(\"words\").to; } catch {}",
            "ConfigMap words: is not there\n",
        ),
        (
            "evaluate(config",
            "async evaluate(config",
            "evaluate is async, and nobody waits for a promise here",
        ),
        (
            "config.to.trim()",
            "fetch(config.to)",
            "ReferenceError: fetch is not defined (a plugin has no network: ",
        ),
        (
            "export const contextType =",
            "export const contextTyp =",
            "plugin.js exports no contextType: there is contextTyp; write: export const contextType = ",
        ),
        (
            "defineContextTypes({",
            "({",
            "plugin.js: the export contextType was not made by defineContextTypes; write: export const contextType = defineContextTypes({ … });\n",
        ),
        ("version: \"0.1.0\", ", "", "InJavascript: version is missing: it has to be of type string"),
        (
            "import schema",
            "import \"node:fs\";\nimport schema",
            "~~\n\n  A plugin runs in QuickJS, without Node: no files, ",
        ),
        (
            "import schema",
            "import { a } from \"@acme/words/more\";\nimport schema",
            "~~\n\n  There is no such package in node_modules: npm install @acme/words\n",
        ),
    ] {
        let said = said_when_broken(&own, "plugin.js", &[(is, becomes)]);
        assert!(said.contains(words), "{said}");
    }

    // the same in TypeScript
    let text = fs::read_to_string(own.join("plugin.js")).unwrap();
    let typed = text
        .replace("import { defineContextTypes,", "import { type Request, defineContextTypes,")
        .replace("evaluate(config, request)", "evaluate(config: { to: string }, request: Request)");
    assert!(typed.contains("config: {") && typed.contains("type Request"), "{typed}");
    fs::write(own.join("plugin.ts"), typed).unwrap();
    fs::remove_file(own.join("plugin.js")).unwrap();
    let toml = fs::read_to_string(own.join("plugin.toml")).unwrap();
    fs::write(own.join("plugin.toml"), replaced(&toml, "plugin.js", "plugin.ts")).unwrap();
    built_in(&own);
    let said = in_folder(&own, &["test"]);
    assert!(said.stdout.ends_with("\n2 cases ok\n"), "{}{}", said.stdout, said.stderr);
}

/// Whoever writes TypeScript finds what there is, and nothing else.
#[test]
fn the_types_of_the_sdk_in_javascript_are_of_what_it_exports() {
    let exported = |text: &str| {
        let name = |line: &str| {
            let rest = ["function ", "class ", "const "].iter().find_map(|word| line.strip_prefix(word))?;
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            Some(rest[..end].to_owned())
        };
        text.lines().filter_map(|line| line.strip_prefix("export ")).filter_map(name).collect::<BTreeSet<_>>()
    };
    let types = exported(include_str!("../../../../plugins/sdk-js/kubeopencode.d.ts"));
    let values = exported(include_str!("../../../../plugins/sdk-js/kubeopencode.js"));
    assert_eq!(types, values);
    assert!(types.contains("defineContextTypes") && types.contains("PluginError"), "{types:?}");
}

#[test]
fn a_plugin_in_go_builds_and_its_cases_pass() {
    let own = built("go", "main.go");
    let said_when_broken = |changes: &[(&str, &str)]| said_when_broken(&own, "main.go", changes);
    let said = said_when_broken(&[("strings.TrimSpace(config.To)", "strings.Fields(config.To)[7]")]);
    assert!(said.contains("panic: runtime error: index out of range [7] with length 1"), "{said}");
    assert!(said.contains("main.go:"), "{said}");

    let said = said_when_broken(&[("json:\"to\"", "json:\"too\"")]);
    for words in [
        "in-go.wasm: InGo: main.Config has the field To with the tag json:\"too\", and the schema has no \"too\"; ",
        "; the schema has \"to\", and main.Config no field with the tag json:\"to\": mend the tags `json:\"…\"` or the schema\n",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let said = said_when_broken(&[
        ("\"strings\"", "\"strings\"\n\t\"time\""),
        ("to := strings", "time.Sleep(time.Second)\n\tto := strings"),
    ]);
    assert!(said.contains("the clock of a plugin stands, so there is no time.Sleep"), "{said}");

    // what swallows a read is run again once it was made
    for reading in [
        "if words, err := request.ConfigMap(\"words\"); err == nil {\n\t\tto = string(words[\"to\"])\n\t}",
        "if _, err := request.ConfigMap(\"words\"); err != nil && err != plugin.ErrMissing {\n\t\tpanic(err)\n\t}",
    ] {
        let reading = format!("strings.TrimSpace(config.To)\n\t{reading}");
        let said = said_when_broken(&[("strings.TrimSpace(config.To)", reading.as_str())]);
        assert!(said.contains("ConfigMap words: is not there\n"), "{said}");
    }

    // a package that needs a network is named before the size that it makes
    let get =
        "if answer, err := http.Get(config.To); err == nil {\n\t\tanswer.Body.Close()\n\t}\n\tto := strings";
    let said = said_when_broken(&[("\"strings\"", "\"net/http\"\n\t\"strings\""), ("to := strings", get)]);
    assert!(said.contains("; leave out net/http: a plugin has no network\n"), "{said}");
    let said = in_folder(&own, &["check"]);
    let lines: Vec<_> = said.stdout.lines().collect();
    let [.., warning, size, last] = lines.as_slice() else { panic!("{}{}", said.stdout, said.stderr) };
    let begins =
        "  imports     WARNING: Go's package net/http is in it, and a plugin has no network: leave it out";
    assert!(warning.starts_with(begins), "{}", said.stdout);
    assert!(
        size.starts_with("  size        PROBLEM: the component has ")
            && size.ends_with(" of limits class default; leave out net/http: a plugin has no network"),
        "{}",
        said.stdout
    );
    assert_eq!((said.code, *last), (1, "1 problem"));
}

/// Without a build: componentize-py takes as long as all the others together, and an example has it built.
#[test]
fn a_plugin_in_python_has_what_it_is_built_of() {
    let own = begun("python");
    let toml = fs::read_to_string(own.join("plugin.toml")).unwrap();
    assert!(toml.contains("class = \"large\""), "{toml}");
    let said = in_folder(&own, &["test"]);
    assert!(said.stderr.ends_with(": build it with `kubeopencode plugin build`\n"), "{}", said.stderr);
    assert_eq!(said.code, 2);

    // with stand-ins for what componentize-py makes
    let python = |script: &str| {
        let mut python = Command::new("python3");
        python.args(["-B", "-c", &format!("{PYTHON}{script}")]).current_dir(&own).stdin(Stdio::null());
        let said = python.output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr)
    };
    let schema = || python(SCHEMA);
    let app = fs::read_to_string(own.join("app.py")).unwrap();
    let last = "examples=[\"everybody\"])\n";
    fs::write(own.join("app.py"), replaced(&app, last, &format!("{last}    loud: bool = False\n"))).unwrap();
    let said = schema();
    assert!(said.contains("\"loud\": {\"type\": \"boolean\", \"default\": false}"), "{said}");
    assert!(said.contains("\na plugin has no network: "), "{said}");
    fs::write(own.join("app.py"), replaced(&app, "@context_type(", "print(")).unwrap();
    let said = schema();
    assert!(said.contains("TypeError: app.py has no type: write @context_type("), "{said}");

    fs::write(own.join("app.py"), format!("import no_such_package\n{app}")).unwrap();
    let said = schema();
    let words = "No module named 'no_such_package': name its package in requirements.txt, with its hash; ";
    assert!(said.contains(words), "{said}");

    // an exception is an error of the plugin with the author's line, and what was not read yet is asked for
    fs::write(own.join("app.py"), replaced(&app, "config.to.strip()", "config.whom.strip()")).unwrap();
    let said = python(CALL);
    for words in ["Traceback (most recent call last):", "app.py\", line ", "has no attribute 'whom'"] {
        assert!(said.contains(words), "{said}");
    }
    let reading = replaced(&app, "config.to.strip()", "request.config_map('rules', 'a.md')['a.md']");
    fs::write(own.join("app.py"), reading).unwrap();
    let said = python(CALL);
    assert!(said.starts_with("needs config-map/rules/a.md\n"), "{said}");
    // also where the author catches all that is thrown
    let found = app.lines().find(|line| line.contains("config.to.strip()")).unwrap();
    let indent = &found[..found.len() - found.trim_start().len()];
    for instead in ["pass", "raise ValueError('there are no rules')"] {
        let caught = format!("{indent}try: request.config_map('rules')\n{indent}except: {instead}\n{found}");
        fs::write(own.join("app.py"), app.replace(found, &caught)).unwrap();
        let said = python(CALL);
        assert!(said.starts_with("needs config-map/rules\n"), "{said}");
    }
}

/// What an app.py imports.
const PYTHON: &str = "
import json, sys
from types import SimpleNamespace
from unittest.mock import MagicMock
for name in ('componentize_py_types', 'wit_world', 'wit_world.exports', 'wit_world.imports', 'wit_world.imports.log'):
    sys.modules[name] = MagicMock()
class Err(Exception):
    pass
sys.modules['componentize_py_types'].Err = Err
sys.modules['wit_world.exports'].context_type.Required = lambda id, what: id
sys.modules['wit_world.exports'].context_type.Outcome_Needs = lambda needs: 'needs ' + ' '.join(needs)
sys.modules['wit_world.imports'].types.PluginError = lambda kind, message, field: message
sys.path.insert(0, '.')
import kubeopencode, app
";

/// Prints what the first call of a type comes to.
const CALL: &str = "
asked = SimpleNamespace(type_name='InPython', payload='{\"to\": \"everybody\"}', settings='{}', inputs=[])
try:
    print(kubeopencode.ContextType().evaluate(asked))
except Err as error:
    print(error)
";

/// Prints the schema, and what a connection comes to.
const SCHEMA: &str = "
print(json.dumps(kubeopencode.schema_of(app.Config)))
try:
    sys.modules['socket'].create_connection(('127.0.0.1', 1))
except OSError as error:
    print(error)
";

#[test]
fn what_the_build_lacks_is_named() {
    let own = begun("rust");
    let toml = fs::read_to_string(own.join("plugin.toml")).unwrap();
    let toml = replaced(&toml, "cargo build", "no-such-program build");
    fs::write(own.join("plugin.toml"), toml).unwrap();
    let said = in_folder(&own, &["build"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("no-such-program: "), "{}", said.stderr);
    assert!(
        said.stderr.ends_with("names a program that is not here: see above for its name, and README.md for where it comes from\n"),
        "{}",
        said.stderr
    );
}

/// Builds as `plugin build` does, with what cargo needs to know of this machine.
fn cargo_built(own: &Path) {
    let toml = fs::read_to_string(own.join("plugin.toml")).unwrap();
    let build =
        toml.lines().find_map(|line| line.strip_prefix("build = ")).unwrap().trim_matches('"').to_owned();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(build.split(' ').skip(1)).arg("--quiet").current_dir(own);
    // the toolchain that has the target, whichever is this machine's default
    cargo.env("RUSTC", Path::new(env!("CARGO")).with_file_name("rustc"));
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "RUSTC_WRAPPER"] {
        cargo.env_remove(name);
    }
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// The folder of a plugin in this language, as `plugin new` makes it.
fn begun(language: &str) -> PathBuf {
    let parent = folder(&format!("new-{language}-{:?}", std::thread::current().id()));
    let _ = fs::remove_dir_all(&parent);
    fs::create_dir_all(&parent).unwrap();
    let name = format!("in-{language}");
    let said = in_folder(&parent, &["new", &name, "--language", language]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{language}");
    let own = parent.join(name);
    let read = |path: &str| fs::read_to_string(own.join(path)).unwrap();
    assert_eq!(read("wit/plugin.wit"), include_str!("../../../../wit/plugin.wit"));
    for path in ["tests/first.yaml", "README.md", "plugin.toml"] {
        let text = read(path);
        assert!(
            !text.contains("@NAME@") && !text.contains("@TYPE@") && !text.contains("@SDK@"),
            "{path}: {text}"
        );
    }
    own
}

/// The same, built, with its cases tested and the component checked.
fn built(language: &str, source: &str) -> PathBuf {
    let own = begun(language);
    assert!(own.join(source).exists());
    built_in(&own);
    let said = in_folder(&own, &["test"]);
    assert!(said.stdout.ends_with("\n2 cases ok\n"), "{}{}", said.stdout, said.stderr);
    let said = in_folder(&own, &["check"]);
    assert!(said.stdout.ends_with("\nok\n"), "{}", said.stdout);
    own
}

/// With other words in the source: what `plugin build` says where it fails, else `plugin eval` of the first golden case.
fn said_when_broken(own: &Path, source: &str, changes: &[(&str, &str)]) -> String {
    let path = own.join(source);
    let text = fs::read_to_string(&path).unwrap();
    let changed = changes.iter().fold(text.clone(), |text, (is, becomes)| replaced(&text, is, becomes));
    fs::write(&path, changed).unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_kubeopencode"));
    let built = build.args(["plugin", "build"]).current_dir(own).stdin(Stdio::null()).output().unwrap();
    fs::write(&path, text).unwrap();
    if !built.status.success() {
        return String::from_utf8_lossy(&built.stderr).into_owned();
    }
    let said = in_folder(own, &["eval", "--filename", "tests/first.yaml"]);
    said.stdout + &said.stderr
}
