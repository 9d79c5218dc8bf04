//! What `plugin check` found out about a component, as data, and as text for people. Pure.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use kubeopencode_api::plugin::{Capability, Kind, LimitClass, MountPathRule};
use serde::Serialize;
use serde_json::Value;

use super::readable::{count, counted};
use super::versions::since;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Size {
    pub(crate) bytes: usize,
    /// As `plugin pack` packs it.
    pub(crate) zstd_bytes: usize,
    /// How many it takes; none: more than there may be.
    pub(crate) config_maps: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Compile {
    /// Processor time.
    pub(crate) millis: u64,
    pub(crate) limit_seconds: u64,
}

/// Golden cases that were run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Repeated {
    pub(crate) cases: usize,
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
        }
    }
}

impl Report {
    /// What all its types together ask for.
    pub(crate) fn capabilities(&self) -> BTreeSet<Capability> {
        self.types.iter().flat_map(|type_| type_.capabilities.iter().copied()).collect()
    }

    fn title(&self) -> String {
        let named = self.types.first().map(|type_| format!("{} {}   ", type_.name, type_.version));
        format!("{}{}   {}", named.unwrap_or_default(), self.file, self.digest)
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let (Some(interface), Some(kind)) = (&self.interface, self.kind) {
            let server = if self.server { ", also as a server" } else { "" };
            let since =
                since(interface).map(|since| format!("; KubeOpenCode {since} and newer")).unwrap_or_default();
            facts.push((Part::Interface.label(), format!("{interface}, {kind}{server}{since}")));
        }
        if !self.types.is_empty() {
            facts.push((Part::Types.label(), list(self.types.iter().map(|type_| type_.name.as_str()))));
        }
        // before it is compiled nobody knows
        if self.compile.is_some() {
            facts.extend(self.imports());
        }
        facts.push((Part::Size.label(), self.size()));
        if let Some(Compile { millis, limit_seconds }) = self.compile {
            let seconds = millis / 1000;
            let hundredths = millis % 1000 / 10;
            let class = self.class.as_str();
            let words = format!("{seconds}.{hundredths:02} s of {limit_seconds} s (class {class})");
            facts.push((Part::Compile.label(), words));
        }
        if !self.types.is_empty() {
            facts.push((Part::Schema.label(), self.schema()));
            let takes = |type_: &&Type| type_.settings_schema.is_some();
            let with: Vec<_> = self.types.iter().filter(takes).map(|type_| type_.name.as_str()).collect();
            if !with.is_empty() {
                facts
                    .push((Part::Settings.label(), format!("spec.config of the Plugin, for {}", list(with))));
            }
            facts.push(("asks for", self.asks_for()));
        }
        if self.same_twice == Some(true)
            && self.problems.iter().all(|problem| problem.part != Part::SameTwice)
        {
            let cases = self.repeated.map(|Repeated { cases, fuel }| {
                format!(": {}, {} fuel, same bytes", counted(cases, "golden case"), count(fuel))
            });
            facts.push((Part::SameTwice.label(), format!("yes{}", cases.unwrap_or_default())));
        }
        facts
    }

    fn imports(&self) -> Vec<(&'static str, String)> {
        let of = |state| self.imports.iter().filter(move |import| import.state == state);
        // `log` of `kubeopencode:plugin/log@1.0.0`, `cli` of `wasi:cli/stdout@0.2.6`
        let interface = |import: &Imported| {
            let name = import.name.rsplit('/').next().unwrap_or_default();
            name.split('@').next().unwrap_or_default().to_owned()
        };
        let package = |import: &Imported| {
            let name = import.name.split('/').next().unwrap_or_default();
            name.trim_start_matches("wasi:").to_owned()
        };
        let ours: BTreeSet<_> =
            of(ImportState::Offered).map(interface).filter(|name| name != "types").collect();
        let wasi: BTreeSet<_> = of(ImportState::Empty).map(package).collect();
        let mut words = Vec::new();
        if !ours.is_empty() {
            words.push(list(ours.iter().map(String::as_str)));
        }
        if !wasi.is_empty() {
            words.push(format!("WASI (empty here): {}", list(wasi.iter().map(String::as_str))));
        }
        if words.is_empty() {
            words.push("nothing".to_owned());
        }
        let mut facts = vec![(Part::Imports.label(), words.join("; "))];
        let reasons: BTreeSet<_> = of(ImportState::Absent).filter_map(|import| import.why).collect();
        for reason in reasons {
            let names: Vec<_> = of(ImportState::Absent)
                .filter(|import| import.why == Some(reason))
                .map(|import| import.name.split('@').next().unwrap_or_default())
                .collect();
            facts.push((
                "not here",
                format!("{}: {reason}; a call of it ends the plugin's call", list(names)),
            ));
        }
        facts
    }

    fn size(&self) -> String {
        let Size { bytes, zstd_bytes, config_maps } = self.size;
        let fits = match config_maps {
            Some(1) => ": fits one ConfigMap".to_owned(),
            Some(parts) => format!(": fits {parts} ConfigMaps"),
            None => String::new(),
        };
        format!("{}, {} as zstd{fits}", Bytes(bytes), Bytes(zstd_bytes))
    }

    fn schema(&self) -> String {
        let number = self.types.len();
        let secrets = self.types.iter().flat_map(|type_| {
            type_.secrets.iter().map(move |place| {
                if number == 1 { place.clone() } else { format!("{place} of {}", type_.name) }
            })
        });
        let secrets: Vec<_> = secrets.collect();
        match secrets.is_empty() {
            true => format!("{number} of {number} good"),
            false => {
                format!("{number} of {number} good; Secrets at {}", list(secrets.iter().map(String::as_str)))
            }
        }
    }

    fn asks_for(&self) -> String {
        let capabilities = self.capabilities();
        if capabilities.is_empty() {
            return "nothing: needs no grants".to_owned();
        }
        let grants: Vec<_> = capabilities
            .iter()
            .map(|capability| match capability {
                Capability::Env => "--grant env=NAME".to_owned(),
                Capability::InitContainer => "--grant image=IMAGE".to_owned(),
                other => format!("--grant {}", other.as_str()),
            })
            .collect();
        let names = list(capabilities.iter().map(|capability| capability.as_str()));
        format!("{names}: needs grants (kubeopencode plugin pack {})", grants.join(" "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title())?;
        let problems = self
            .problems
            .iter()
            .map(|problem| (problem.part.label(), format!("PROBLEM: {}", problem.message)));
        for (label, words) in self.facts().into_iter().chain(problems) {
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
            size: Size { bytes: 18_500_000, zstd_bytes: 4_500_000, config_maps: None },
            class: LimitClass::Large,
            compile: Some(Compile { millis: 7094, limit_seconds: 20 }),
            same_twice: Some(false),
            repeated: None,
            problems: vec![problem(Part::Size, "too much"), problem(Part::SameTwice, "once so\nand once so")],
        };
        assert_eq!(
            report.to_string(),
            "\
a.wasm   sha256:1
  imports     nothing
  size        18.5 MB, 4.5 MB as zstd
  compile     7.09 s of 20 s (class large)
  size        PROBLEM: too much
  same twice  PROBLEM: once so
              and once so
2 problems"
        );
    }
}
