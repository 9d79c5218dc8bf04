//! The example plugins: their golden cases, and the page that lists them, which is made of their descriptors.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::built::built;
use crate::common::{example, examples};
use crate::{PROGRAM, in_folder};

/// Each with the language that it is written in and the number of its golden cases.
const EXAMPLES: [(&str, &str, usize); 8] = [
    ("claude-code", RUST, 4),
    ("codex", RUST, 4),
    ("csv-table", "Python", 10),
    ("openapi-digest", "JavaScript", 4),
    ("prompt-library", RUST, 5),
    ("pull-request", RUST, 4),
    ("s3-object", "Go", 4),
    ("team-rules", RUST, 4),
];
/// Those in it are built together, by a script.
const RUST: &str = "Rust";
const GALLERY: &str = "docs/plugins-gallery.md";

#[test]
fn the_golden_cases_of_the_examples_pass_and_the_gallery_has_their_words() {
    let mut gallery = "# Gallery of plugins\n\n\
        Examples, each with its source, its golden cases and a README. They are no part of the product: build what you want, as its README \
        says, or [begin one of your own](plugins-authors.md).\n"
        .to_owned();
    let (program, temporary) = (Path::new(PROGRAM), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let repository = examples().join("../..");
    for (name, language, cases) in EXAMPLES {
        let folder = match language {
            RUST => examples().join(name),
            _ => built(program, &repository, name, temporary),
        };
        let component = (language == RUST).then(|| example(name));
        let call = |args: &[&str]| {
            let component = component.iter().filter_map(|path| path.to_str());
            in_folder(&folder, &args.iter().copied().chain(component).collect::<Vec<_>>())
        };
        let said = call(&["test"]);
        assert!(
            said.stdout.ends_with(&format!("\n{cases} cases ok\n")),
            "{name}: {}{}",
            said.stdout,
            said.stderr
        );
        let said = call(&["explain", "--output", "json"]);
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        for type_ in serde_json::from_str::<Vec<Value>>(&said.stdout).unwrap() {
            gallery += &entry(name, language, &type_);
        }
    }
    let page = repository.join(GALLERY);
    if std::env::var_os("KUBEOPENCODE_WRITE_GALLERY").is_some() {
        fs::write(&page, &gallery).unwrap();
    }
    let there = fs::read_to_string(&page).unwrap_or_default();
    assert!(there == gallery, "{GALLERY} is not what the examples say: make gallery\n{gallery}");
}

/// What the page says of a type.
fn entry(folder: &str, language: &str, type_: &Value) -> String {
    let text = |key: &str| type_[key].as_str().unwrap();
    let mut entry = format!("\n## {}\n\n{}.\n\n", text("name"), text("description"));
    let mut row = |what: &str, words: &str| writeln!(entry, "* {what}: {words}").unwrap();
    row("source", &format!("[examples/plugins/{folder}](../examples/plugins/{folder}), in {language}"));
    row("kind", &text("kind").replace('-', " "));
    for (key, what) in [("config", "fields of `config`"), ("settings", "settings of the installer")] {
        let fields = type_[key].as_array().unwrap();
        let fields: Vec<_> =
            fields.iter().map(|field| format!("`{}`", field["path"].as_str().unwrap())).collect();
        row(what, &if fields.is_empty() { "none".to_owned() } else { fields.join(", ") });
    }
    let capabilities = type_["capabilities"].as_array().unwrap();
    let capabilities: Vec<_> =
        capabilities.iter().map(|one| format!("`{}`", one.as_str().unwrap())).collect();
    row("asks for", &if capabilities.is_empty() { "nothing".to_owned() } else { capabilities.join(", ") });
    entry
}
