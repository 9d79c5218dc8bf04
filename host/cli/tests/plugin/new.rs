//! `plugin new`: a folder that builds and whose golden cases pass.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{folder, in_folder};

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
fn other_languages_have_the_same_files() {
    let parent = folder("new-others");
    let _ = fs::remove_dir_all(&parent);
    fs::create_dir_all(&parent).unwrap();
    for (language, source, class) in [
        ("javascript", "plugin.js", None),
        ("python", "app.py", Some("class = \"large\"")),
        ("go", "export_kubeopencode_plugin_context_type/context_type.go", None),
    ] {
        let name = format!("in-{language}");
        let said = in_folder(&parent, &["new", &name, "--language", language]);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{language}");
        let own = parent.join(&name);
        let read = |path: &str| fs::read_to_string(own.join(path)).unwrap();
        assert_eq!(read("wit/plugin.wit"), include_str!("../../../../wit/plugin.wit"));
        for path in [source, "tests/first.yaml", "README.md", "plugin.toml"] {
            let text = read(path);
            assert!(
                !text.contains("@NAME@") && !text.contains("@TYPE@") && !text.contains("@SCHEMA@"),
                "{path}: {text}"
            );
        }
        assert_eq!(read("plugin.toml").lines().find(|line| line.starts_with("class")), class, "{language}");
        let said = in_folder(&own, &["test"]);
        assert!(said.stderr.ends_with(": build it with `kubeopencode plugin build`\n"), "{}", said.stderr);
        assert_eq!(said.code, 2);
    }
}
