//! `plugin new`: a folder that builds, with a first golden case. The sources are those files of `new/` that end in `.txt`.
//!
//! May touch: a folder that is not there yet.

use std::fs;
use std::path::{Path, PathBuf};

use kubeopencode_api::context::BuiltInType;
use kubeopencode_api::plugin::BUILT_IN_TYPES;
use serde::Serialize;

use super::project::MANIFEST;
use super::report::json;
use crate::args::{Language, NewPlugin, Output};
use crate::error::CliError;

/// The interface that it is built for.
const WIT: &str = include_str!("../../../../wit/plugin.wit");
const SCHEMA: &str = include_str!("new/schema.json.txt");
const FIRST: &str = include_str!("new/first.yaml.txt");
/// Where most say what users may write.
const SCHEMA_FILE: &str = "`schema.json`";
const README: &str = include_str!("new/README.md.txt");
/// Longest name: that of an object, and of the types in it.
const MAX_NAME: usize = 63;

/// The SDK in Go, as a module beside the plugin, by its place in the folder.
macro_rules! go_sdk {
    ($($path:literal),* $(,)?) => {
        &[
            ("schema.json", SCHEMA),
            ("go.mod", include_str!("new/go/go.mod.txt")),
            ("go.sum", include_str!("../../../../plugins/sdk-go/go.sum")),
            $((concat!("kubeopencode/", $path), include_str!(concat!("../../../../plugins/sdk-go/", $path)))),*
        ]
    };
}

/// The SDK in Rust, as a crate beside the plugin. It looks for the interface two folders above its own, as in the repository.
macro_rules! rust_sdk {
    ($($file:literal),* $(,)?) => {
        &[
            ("Cargo.toml", include_str!("new/rust/Cargo.toml.txt")),
            // the versions that KubeOpenCode's own plugins are tested with
            ("Cargo.lock", include_str!("../../../../plugins/Cargo.lock")),
            ("kubeopencode/sdk/Cargo.toml", include_str!("new/rust/sdk.toml.txt")),
            $((
                concat!("kubeopencode/sdk/src/", $file),
                include_str!(concat!("../../../../plugins/sdk/src/", $file)),
            )),*
        ]
    };
}

/// What differs from language to language.
struct Template {
    /// Its file with the type, by its place in the folder.
    source: (&'static str, &'static str),
    others: &'static [(&'static str, &'static str)],
    /// Where it says what users may write, in Markdown.
    config: &'static str,
    /// What it is written with.
    sdk: &'static str,
    manifest: &'static str,
    /// What is needed to build it, in words.
    needs: &'static str,
    /// What a build leaves behind.
    ignored: &'static str,
}

const fn template(language: Language) -> Template {
    match language {
        Language::Rust => Template {
            source: ("src/lib.rs", include_str!("new/rust/src/lib.rs.txt")),
            others: rust_sdk![
                "about.rs",
                "bindings.rs",
                "builder.rs",
                "config_map.rs",
                "content.rs",
                "context.rs",
                "errors.rs",
                "lib.rs",
                "logging.rs",
                "reads.rs",
                "schema.rs",
                "secret_ref.rs",
                "settings.rs",
                "shell.rs",
                "testing.rs",
            ],
            config: "`Config` in `src/lib.rs`",
            sdk: "kubeopencode/",
            manifest: include_str!("new/rust/plugin.toml.txt"),
            needs: include_str!("new/rust/needs.txt"),
            ignored: "/target\n",
        },
        Language::Javascript => Template {
            source: ("plugin.js", include_str!("new/javascript/plugin.js.txt")),
            others: &[
                ("schema.json", SCHEMA),
                ("package.json", include_str!("new/javascript/package.json.txt")),
                ("package-lock.json", include_str!("new/javascript/package-lock.json.txt")),
                ("build.mjs", include_str!("../../../../plugins/sdk-js/build.mjs")),
                ("kubeopencode.js", include_str!("../../../../plugins/sdk-js/kubeopencode.js")),
                ("kubeopencode.d.ts", include_str!("../../../../plugins/sdk-js/kubeopencode.d.ts")),
            ],
            config: SCHEMA_FILE,
            sdk: "kubeopencode.js",
            manifest: include_str!("new/javascript/plugin.toml.txt"),
            needs: include_str!("new/javascript/needs.txt"),
            ignored: "/build\n/node_modules\n",
        },
        Language::Python => Template {
            source: ("app.py", include_str!("new/python/app.py.txt")),
            others: &[
                ("kubeopencode.py", include_str!("../../../../plugins/sdk-python/kubeopencode.py")),
                ("requirements.txt", include_str!("../../../../plugins/sdk-python/requirements.txt")),
            ],
            config: "`Config` in `app.py`",
            sdk: "kubeopencode.py",
            manifest: include_str!("new/python/plugin.toml.txt"),
            needs: include_str!("new/python/needs.txt"),
            ignored: "*.wasm\n/.venv\n__pycache__\n",
        },
        Language::Go => Template {
            source: ("main.go", include_str!("new/go/main.go.txt")),
            others: go_sdk![
                "go.mod",
                "plugin.go",
                "schema.go",
                "wit/exports/export_kubeopencode_plugin_context_type/context_type.go",
                "wit/exports/wit_exports/wit_exports.go",
                "wit/imports/kubeopencode_plugin_context_type/empty.s",
                "wit/imports/kubeopencode_plugin_context_type/wit_bindings.go",
                "wit/imports/kubeopencode_plugin_log/empty.s",
                "wit/imports/kubeopencode_plugin_log/wit_bindings.go",
                "wit/imports/kubeopencode_plugin_types/empty.s",
                "wit/imports/kubeopencode_plugin_types/wit_bindings.go",
            ],
            config: SCHEMA_FILE,
            sdk: "kubeopencode/",
            manifest: include_str!("new/go/plugin.toml.txt"),
            needs: include_str!("new/go/needs.txt"),
            ignored: "*.wasm\n",
        },
    }
}

/// What was begun. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Debug, Serialize)]
struct Begun {
    folder: String,
    /// By their places in it; the folder of the SDK is one of them.
    files: Vec<&'static str>,
    /// What has to be there to build it, in words.
    needs: &'static str,
}

/// Makes the folder; what is to be printed.
///
/// # Errors
/// A name that no plugin can have, a folder that is there, a file that cannot be written.
pub(super) fn new(flags: &NewPlugin) -> Result<String, CliError> {
    let NewPlugin { name, language, parent, output } = flags;
    if !is_name(name) {
        return Err(CliError::Usage(format!(
            "\"{name}\" is no name of a plugin: use a-z, 0-9 and -, beginning with a letter, as in team-rules"
        )));
    }
    let type_ = type_name(name);
    // users would take Url for URL
    if BuiltInType::ALL.iter().any(|built_in| built_in.name.eq_ignore_ascii_case(&type_)) {
        return Err(CliError::Usage(format!(
            "{name}: its type would be {type_}, and {BUILT_IN_TYPES} come with KubeOpenCode: take another name, as in team-{name}"
        )));
    }
    if !parent.is_dir() {
        let place = parent.display();
        return Err(CliError::Usage(format!(
            "--parent {place}: there is no such folder: make it, or name another one"
        )));
    }
    let folder = parent.join(name);
    if folder.exists() {
        let place = folder.display();
        return Err(CliError::Usage(format!("{place} is there already: take another name, or remove it")));
    }
    let Template { source, others, config, sdk, manifest, needs, ignored } = template(*language);
    let filled = |text: &str| {
        text.replace("@NEEDS@", needs)
            .replace("@CONFIG@", config)
            .replace("@SDK@", sdk)
            .replace("@SOURCE@", source.0)
            .replace("@NAME@", name)
            .replace("@MODULE@", &name.replace('-', "_"))
            .replace("@TYPE@", &type_)
    };
    let common = [
        (MANIFEST, manifest),
        ("tests/first.yaml", FIRST),
        ("README.md", README),
        ("wit/plugin.wit", WIT),
        (".gitignore", ignored),
    ];
    let mut files = Vec::new();
    for (path, text) in [source].iter().chain(others).chain(&common) {
        write(&folder.join(path), &filled(text))?;
        // one name for all of the SDK
        let shown = if path.starts_with(sdk) { sdk } else { *path };
        if files.last() != Some(&shown) {
            files.push(shown);
        }
    }
    let place = folder.display();
    match output {
        Output::Text => Ok(format!(
            "{place}: {}\nto build it, there must be {needs}next: cd {place}, kubeopencode plugin build, kubeopencode plugin test\n",
            files.join(", ")
        )),
        Output::Json => Ok(json(&Begun { folder: place.to_string(), files, needs: needs.trim_end() })?),
    }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let parent = path.parent().map(PathBuf::from).unwrap_or_default();
    let done = fs::create_dir_all(parent).and_then(|()| fs::write(path, text));
    done.map_err(|error| CliError::File { path: path.to_owned(), error })
}

/// Whether objects, crates and, in another form, types may be called so.
fn is_name(name: &str) -> bool {
    let is_in = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= MAX_NAME
        && name.chars().all(is_in)
        && !name.ends_with('-')
}

/// `TeamRules` of `team-rules`.
fn type_name(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_objects_and_types_those_of_types() {
        for (name, type_) in
            [("team-rules", "TeamRules"), ("jira", "Jira"), ("s3-object", "S3Object"), ("a--b", "AB")]
        {
            assert!(is_name(name));
            assert_eq!(type_name(name), type_);
        }
        for name in ["", "Jira", "-a", "a-", "a_b", "1a", "a/b", "..", &"a".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn the_sdk_in_an_authors_folder_depends_on_what_it_is_tested_with() {
        let read = |text: &str| toml::from_str::<serde_json::Value>(text).unwrap();
        let ours = read(include_str!("../../../../plugins/Cargo.toml"));
        let sdk = read(include_str!("new/rust/sdk.toml.txt"));
        let mut theirs = sdk["dependencies"].clone();
        theirs["schemars"].as_object_mut().unwrap().remove("optional");
        for (name, wanted) in theirs.as_object().unwrap() {
            assert_eq!(*wanted, ours["workspace"]["dependencies"][name], "{name}");
        }
        for field in ["version", "edition", "rust-version", "license"] {
            assert_eq!(sdk["package"][field], ours["workspace"]["package"][field], "{field}");
        }
        let oldest = sdk["package"]["rust-version"].as_str().unwrap();
        let needs = include_str!("new/rust/needs.txt");
        assert!(needs.starts_with(&format!("Rust {oldest} or newer with the target ")), "{needs}");
    }
}
