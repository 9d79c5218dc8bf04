//! What `plugin check` found out about a component, as data, and as text for people. Pure.

mod facts;

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use kubeopencode_api::plugin::{Capability, Kind, LimitClass, MountPathRule};
use serde::Serialize;
use serde_json::Value;

/// What was found out about a component. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// As it was named.
    pub(crate) file: String,
    /// `sha256:` and the SHA-256 of the decoded component in hex.
    pub(crate) digest: String,
    /// Nothing is wrong.
    pub(crate) ok: bool,
    pub(crate) kind: Option<Kind>,
    /// As in `kubeopencode:plugin@1.0.0`.
    pub(crate) interface: Option<String>,
    /// A command builder whose agent can run as a server.
    pub(crate) server: bool,
    pub(crate) types: Vec<Type>,
    pub(crate) imports: Vec<Imported>,
    pub(crate) size: Size,
    pub(crate) class: LimitClass,
    pub(crate) compile: Option<Compile>,
    /// Whether it describes itself a second time in the same words; none, where it does not once.
    pub(crate) same_twice: Option<bool>,
    /// Its golden cases, each of which was run twice.
    pub(crate) repeated: Option<Repeated>,
    pub(crate) problems: Vec<Problem>,
    /// What its author may not have meant, and keeps it from nothing.
    pub(crate) warnings: Vec<Problem>,
}

/// One of its types.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) mount_path: MountPathRule,
    pub(crate) capabilities: Vec<Capability>,
    /// Where its payload names Secrets: RFC 6901 pointers, with `*` for what is there more than once.
    pub(crate) secrets: Vec<String>,
    pub(crate) config_schema: Value,
    /// Nothing is wrong with that schema.
    pub(crate) schema_ok: bool,
    pub(crate) settings_schema: Option<Value>,
}

/// Something that it imports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Imported {
    pub(crate) name: String,
    pub(crate) state: ImportState,
    /// Why it is not there.
    pub(crate) why: Option<&'static str>,
}

/// What it gets for an import. What nobody has is a problem, and not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ImportState {
    /// Something of KubeOpenCode.
    Offered,
    /// WASI, with nothing behind it.
    Empty,
    /// WASI that is not there: a call of it ends the plugin's call.
    Absent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Size {
    pub(crate) bytes: usize,
    /// As `plugin pack` packs it.
    pub(crate) zstd_bytes: usize,
    /// How many it takes; none: more than there may be.
    pub(crate) config_maps: Option<usize>,
    /// Where it may lie, as `spec.source` of a Plugin has it.
    pub(crate) sources: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Compile {
    /// Processor time.
    pub(crate) millis: u64,
    pub(crate) limit_seconds: u64,
    /// Address space; none, where nobody says how much.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) limit_memory_bytes: u64,
}

/// Golden cases that were run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Repeated {
    pub(crate) cases: usize,
    /// Those in which the component was called; of others its schema decides alone, or the API server's.
    pub(crate) reached: usize,
    /// Those that do not come to what they expect.
    pub(crate) failed: usize,
    /// What its calls used in all of them together.
    pub(crate) fuel: u64,
}

/// What keeps a component from being installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    pub(crate) part: Part,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// What a line of the report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Part {
    File,
    Interface,
    Types,
    Imports,
    Size,
    Compile,
    Schema,
    Settings,
    SameTwice,
    Cases,
}

impl Part {
    const fn label(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Interface => "interface",
            Self::Types => "types",
            Self::Imports => "imports",
            Self::Size => "size",
            Self::Compile => "compile",
            Self::Schema => "schema",
            Self::Settings => "settings",
            Self::SameTwice => "same twice",
            Self::Cases => "cases",
        }
    }
}

impl Report {
    /// What all its types together ask for.
    pub(crate) fn capabilities(&self) -> BTreeSet<Capability> {
        self.types.iter().flat_map(|type_| type_.capabilities.iter().copied()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title())?;
        let warnings = self.warnings.iter().map(|problem| ("WARNING", problem));
        let problems = self.problems.iter().map(|problem| ("PROBLEM", problem));
        let found = warnings.chain(problems);
        let found =
            found.map(|(word, Problem { part, message })| (part.label(), format!("{word}: {message}")));
        for (label, words) in self.facts().into_iter().chain(found) {
            // the last words of a plugin are several lines
            let words = words.replace('\n', "\n              ");
            writeln!(f, "  {label:<12}{words}")?;
        }
        match self.problems.len() {
            0 => f.write_str("ok"),
            1 => f.write_str("1 problem"),
            number => write!(f, "{number} problems"),
        }
    }
}

fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

/// A number of bytes for people: of 1,000, rounded up.
pub(crate) struct Bytes(pub(crate) usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 0..1000 => write!(f, "{bytes} bytes"),
            bytes @ 1000..999_001 => write!(f, "{} KB", bytes.div_ceil(1000)),
            bytes => {
                let tenths = bytes.div_ceil(100_000);
                write!(f, "{}.{} MB", tenths / 10, tenths % 10)
            }
        }
    }
}

/// The report as JSON, for scripts.
///
/// # Errors
/// A defect of the report's type.
pub(crate) fn json(report: &impl Serialize) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(report)?;
    let _ = writeln!(text);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_up() {
        for (bytes, words) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1 KB"),
            (1001, "2 KB"),
            (999_000, "999 KB"),
            (999_001, "1.0 MB"),
            (3_600_000, "3.6 MB"),
            (18_540_001, "18.6 MB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), words);
        }
    }

    #[test]
    fn a_report_names_what_is_known_and_then_what_is_wrong() {
        let problem = |part, message: &str| Problem { part, message: message.to_owned() };
        let report = Report {
            file: "a.wasm".to_owned(),
            digest: "sha256:1".to_owned(),
            ok: false,
            kind: None,
            interface: None,
            server: false,
            types: Vec::new(),
            imports: Vec::new(),
            size: Size {
                bytes: 18_500_000,
                zstd_bytes: 4_500_000,
                config_maps: None,
                sources: vec!["oci", "https", "directory"],
            },
            class: LimitClass::Large,
            compile: Some(Compile {
                millis: 7094,
                limit_seconds: 60,
                memory_bytes: Some(588 << 20),
                limit_memory_bytes: 768 << 20,
            }),
            same_twice: Some(false),
            repeated: None,
            warnings: vec![problem(Part::Schema, "odd")],
            problems: vec![
                problem(Part::Imports, "too much"),
                problem(Part::SameTwice, "once so\nand once so"),
            ],
        };
        assert_eq!(
            report.to_string(),
            "\
a.wasm   sha256:1
  imports     nothing
  size        18.5 MB, 4.5 MB as zstd: too much for ConfigMaps, which hold 3.6 MB; fits oci, https and directory
  compile     7.09 s of 60 s, 588.0 MiB of 768.0 MiB (class large)
  schema      WARNING: odd
  imports     PROBLEM: too much
  same twice  PROBLEM: once so
              and once so
2 problems"
        );
    }
}
