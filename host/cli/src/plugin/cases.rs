//! `plugin test`: golden cases, one after the other, and what of them is not as expected.
//!
//! May touch: files of cases, stdout. Must not touch: how a case is evaluated and compared (`golden`).

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kubeopencode_plugin_host::PluginType;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;
use serde_json::{Value, json};

use super::golden::{Came, Cost, Difference, Placed, compare, update};
use super::project::Project;
use super::readable::{count, counted, indented, millis};
use super::said::{Logged, shown as shown_log};
use super::session::Session;
use super::transcript::logged;
use super::{explain, report};
use crate::args::{TestOutput, TestPlugin};
use crate::error::CliError;
use crate::yaml;

/// Where cases are, beside plugin.toml.
pub(super) const FOLDER: &str = "tests";
/// Where a difference stands under the name of its case, and what follows its label.
const INDENT: &str = "        ";
const LABEL: usize = 14;

/// A case and what came of it. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    name: String,
    file: String,
    line: usize,
    ok: bool,
    /// What came was written as what is expected.
    updated: bool,
    rounds: usize,
    fuel: u64,
    memory_bytes: usize,
    micros: u64,
    differences: Vec<Difference>,
    /// What was logged in its calls.
    log: Vec<Logged>,
}

/// The cases of a project, or those that are named; nothing where nobody has written one yet.
///
/// # Errors
/// See [`Placed::all`].
pub(super) fn found(project: &Project, named: Option<&Path>) -> Result<Vec<Placed>, CliError> {
    let place = place(project, named);
    if named.is_none() && !place.exists() { Ok(Vec::new()) } else { Placed::all(&place) }
}

/// The same, with what they are run by.
///
/// # Errors
/// See [`found`]; there are none, or the component does not load.
pub(super) fn cases(project: &Project, named: Option<&Path>) -> Result<(Vec<Placed>, Session), CliError> {
    let cases = found(project, named)?;
    let session = Session::of(project)?;
    if cases.is_empty() {
        let type_ = session.plugin.types().first().map(PluginType::descriptor);
        let item = type_
            .filter(|_| session.builder().is_none())
            .map(|type_| explain::item(&type_.name, &type_.config_schema, type_.mount_path));
        return Err(CliError::NoCase(none_yet(&place(project, named), item)?));
    }
    Ok((cases, session))
}

fn place(project: &Project, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| project.folder.join(FOLDER), Path::to_owned)
}

/// That nobody has written a case yet, and how the first one is written; a command builder needs no item.
///
/// # Errors
/// A defect of YAML.
pub(super) fn none_yet(place: &Path, item: Option<Value>) -> Result<String, CliError> {
    let mut case = json!({"name": "the first one"});
    if let Some(item) = item {
        case["item"] = item;
    }
    let file = if place.is_file() { place.to_owned() } else { place.join("first.yaml") };
    Ok(format!(
        "{}: there is no golden case yet: write one into {}, and `kubeopencode plugin test --update` adds what comes of it:\n{}",
        place.display(),
        file.display(),
        indented(&yaml::document(&case)?, 2)
    ))
}

/// Runs the cases; what is to be printed, and whether all is well.
///
/// # Errors
/// The component does not load, or a case makes no sense.
pub(super) fn test(flags: &TestPlugin) -> Result<(String, bool), CliError> {
    let project = Project::of(&flags.component)?;
    let (cases, session) = cases(&project, flags.cases.as_deref())?;
    let mut verdicts = Vec::with_capacity(cases.len());
    let mut came = Vec::with_capacity(cases.len());
    let runtime = crate::runtime()?;
    for placed in &cases {
        let now = runtime.block_on(placed.run(&session))?;
        verdicts.push(Verdict::of(placed, &now, now.cost(&session), compare(placed, &now)?));
        came.push(now);
    }
    if flags.update {
        write(&cases, &came, &mut verdicts)?;
    }
    let ok = verdicts.iter().all(|verdict| verdict.ok);
    let text = match flags.output {
        TestOutput::Text => text(&verdicts),
        TestOutput::Json => report::json(&verdicts)?,
        TestOutput::Junit => junit(&session.name, &verdicts)?,
    };
    Ok((text, ok))
}

/// Writes what came of the cases that are not as expected, file by file.
fn write(cases: &[Placed], came: &[Came], verdicts: &mut [Verdict]) -> Result<(), CliError> {
    let mut files: Vec<&Path> = cases.iter().map(|placed| placed.file.as_path()).collect();
    files.dedup();
    for file in files {
        let changed = cases.iter().zip(came).zip(&*verdicts);
        let changed = changed.filter(|((placed, _), verdict)| placed.file == file && !verdict.ok);
        let changed: Vec<_> = changed.map(|(of, _)| of).collect();
        if !changed.is_empty() {
            update(file, &changed)?;
        }
    }
    for verdict in verdicts.iter_mut().filter(|verdict| !verdict.ok) {
        (verdict.ok, verdict.updated) = (true, true);
    }
    Ok(())
}

impl Verdict {
    fn of(placed: &Placed, came: &Came, cost: Cost, differences: Vec<Difference>) -> Self {
        let Cost { rounds, fuel, micros, memory_bytes } = cost;
        Self {
            name: placed.case.name.clone(),
            file: placed.file.display().to_string(),
            line: placed.line,
            ok: differences.is_empty(),
            updated: false,
            rounds,
            fuel,
            memory_bytes,
            micros,
            differences,
            log: logged(&came.asked),
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

fn text(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    let width = verdicts.iter().map(|verdict| verdict.name.chars().count()).max().unwrap_or_default();
    for verdict in verdicts {
        let word = match (verdict.updated, verdict.ok) {
            (true, _) => "NEW ",
            (_, true) => "ok  ",
            (_, false) => "FAIL",
        };
        let cost = format!(
            "{:<9}   {:>9} fuel   {:>9}",
            counted(verdict.rounds, "call"),
            count(verdict.fuel),
            millis(verdict.micros)
        );
        let _ = writeln!(text, "  {word}  {:<width$}   {cost}", verdict.name);
        if !verdict.ok {
            text.push_str(&shown(&verdict.differences));
            text.push_str(&said(&verdict.log));
        }
    }
    let failed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.ok).map(Verdict::place).collect();
    let updated = verdicts.iter().filter(|verdict| verdict.updated).count();
    let all = verdicts.len();
    let _ = match (failed.len(), updated) {
        (0, 0) => writeln!(text, "{} ok", counted(all, "case")),
        (0, updated) => {
            writeln!(text, "{} written; look at what changed before you commit it", counted(updated, "case"))
        }
        (number, _) => {
            writeln!(text, "{number} of {all} failed ({}); --update takes what came", failed.join(", "))
        }
    };
    text
}

/// Differences below their case: a label, and beside it the lines.
fn shown(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        let is_long = difference.what.len() >= LABEL;
        let mut label = difference.what.as_str();
        if is_long {
            let _ = writeln!(text, "{INDENT}{label}");
            label = "";
        }
        for line in difference.lines() {
            let _ = writeln!(text, "{}", format!("{INDENT}{label:<LABEL$}{line}").trim_end());
            label = "";
        }
    }
    text
}

/// What the plugin logged, below what differs.
fn said(log: &[Logged]) -> String {
    let lines = shown_log(log).join("\n");
    let mut text = String::new();
    for (line, label) in lines.lines().zip(std::iter::once("log").chain(std::iter::repeat(""))) {
        let _ = writeln!(text, "{}", format!("{INDENT}{label:<LABEL$}  {line}").trim_end());
    }
    text
}

fn junit(plugin: &str, verdicts: &[Verdict]) -> Result<String, CliError> {
    let mut suite = TestSuite::new(plugin);
    for verdict in verdicts {
        let status = match verdict.ok {
            true => TestCaseStatus::success(),
            false => {
                let what: Vec<_> = verdict.differences.iter().map(|found| found.what.as_str()).collect();
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(format!("{} is not as expected", what.join(", "))).set_description(
                    format!("{}\n{}{}", verdict.place(), shown(&verdict.differences), said(&verdict.log)),
                );
                status
            }
        };
        let mut case = TestCase::new(verdict.name.as_str(), status);
        case.set_classname(verdict.file.as_str()).set_time(Duration::from_micros(verdict.micros));
        suite.add_test_case(case);
    }
    let mut report = Report::new("kubeopencode plugin test");
    report.add_test_suite(suite);
    report.to_string().map_err(|error| CliError::Yaml(error.to_string()))
}
