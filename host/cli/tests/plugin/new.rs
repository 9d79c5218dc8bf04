//! `plugin new`: a folder that builds and whose golden cases pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    // as the one of `plugin build`, with what cargo needs to know of this machine
    let toml = fs::read_to_string(own.join("plugin.toml")).unwrap();
    let build =
        toml.lines().find_map(|line| line.strip_prefix("build = ")).unwrap().trim_matches('"').to_owned();
    let mut words = build.split(' ').skip(1);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(words.by_ref()).arg("--quiet").current_dir(&own);
    // the toolchain that has the target, whichever is this machine's default
    cargo.env("RUSTC", Path::new(env!("CARGO")).with_file_name("rustc"));
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "RUSTC_WRAPPER"] {
        cargo.env_remove(name);
    }
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

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
    let thrown =
        said_when_broken(&own, "plugin.js", "const to = config.to.trim();", "const to = config.whom.trim();");
    assert!(thrown.contains("TypeError: cannot read property 'trim' of undefined"), "{thrown}");
    assert!(thrown.contains("at evaluate"), "{thrown}");
    let thrown = said_when_broken(&own, "plugin.js", "evaluate(config", "async evaluate(config");
    assert!(thrown.contains("evaluate is async, and nobody waits for a promise here"), "{thrown}");
    let missing = said_when_broken(&own, "plugin.js", "export const contextType", "const contextType");
    assert!(
        missing.contains("the module exports no contextType: write `export const contextType = "),
        "{missing}"
    );
    assert!(!missing.contains("panicked"), "{missing}");
}

#[test]
fn a_plugin_in_go_builds_and_its_cases_pass() {
    let own = built("go", "main.go");
    let said = said_when_broken(
        &own,
        "main.go",
        "to := strings.TrimSpace(config.To)",
        "to := strings.Fields(config.To)[7]",
    );
    assert!(said.contains("panic: runtime error: index out of range [7] with length 1"), "{said}");
    assert!(said.contains("main.go:"), "{said}");
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
}

#[test]
fn what_the_build_lacks_is_named() {
    let own = begun("rust");
    let toml = fs::read_to_string(own.join("plugin.toml")).unwrap();
    let toml = toml.replace("cargo build", "no-such-program build");
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

/// What `plugin eval` says of the first golden case, once this is in the source instead of that.
fn said_when_broken(own: &Path, source: &str, is: &str, becomes: &str) -> String {
    let path = own.join(source);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(is), "{text}");
    fs::write(&path, text.replace(is, becomes)).unwrap();
    built_in(own);
    fs::write(&path, text).unwrap();
    let said = in_folder(own, &["eval", "--filename", "tests/first.yaml"]);
    said.stdout + &said.stderr
}
