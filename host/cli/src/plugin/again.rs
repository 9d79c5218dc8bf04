//! Golden cases, each twice: a plugin is a function of what it is given, so that bytes and fuel are the same. Whether what comes is
//! what they expect is said in one line; how it differs, `plugin test` shows.
//!
//! May touch: files of cases. Must not touch: how a case is evaluated and compared (`golden`).

use kubeopencode_plugin_host::Kind;

use super::cases::{FOLDER, found, none_yet};
use super::explain;
use super::golden::{Came, compare};
use super::project::Project;
use super::readable::counted;
use super::report::{Part, Repeated, Report};
use super::session::Session;
use super::transcript::Round;
use crate::error::CliError;

/// Runs the cases of a project, and adds to the report what is not the same again or not as expected, or that there are none yet.
///
/// # Errors
/// A case makes no sense.
pub(super) fn twice(project: &Project, report: &mut Report) -> Result<(), CliError> {
    if project.name.is_none() {
        return Ok(());
    }
    let cases = found(project, None)?;
    if cases.is_empty() {
        let type_ = report.types.first().filter(|_| report.kind == Some(Kind::ContextType));
        let item = type_.map(|type_| explain::item(&type_.name, &type_.config_schema, type_.mount_path));
        report.warning(Part::SameTwice, none_yet(&project.folder.join(FOLDER), item)?);
        return Ok(());
    }
    let session = Session::of(project)?;
    let runtime = crate::runtime()?;
    let (mut fuel, mut reached, mut failed) = (0, 0, Vec::new());
    for placed in &cases {
        let (first, second) =
            (runtime.block_on(placed.run(&session))?, runtime.block_on(placed.run(&session))?);
        let cost = first.cost(&session);
        fuel += cost.fuel;
        reached += usize::from(cost.rounds > 0);
        if !compare(placed, &first)?.is_empty() {
            failed.push(format!("{}:{}", placed.file.display(), placed.line));
        }
        if let Some(other) = other(&first, &second) {
            let name = &placed.case.name;
            let words = format!(
                "case \"{name}\": {other} the second time: a plugin must not depend on anything but what it is given"
            );
            report.problem(Part::SameTwice, words);
        }
    }
    if reached == 0 {
        let words = "no golden case reaches the component, schemas alone decide all of them: write one of an item that it takes";
        report.warning(Part::SameTwice, words.to_owned());
    }
    if let Some(first) = failed.first() {
        let words = format!(
            "{} of {} failed, {first} first: see `kubeopencode plugin test`",
            failed.len(),
            counted(cases.len(), "golden case")
        );
        report.problem(Part::Cases, words);
    }
    report.repeated = Some(Repeated { cases: cases.len(), reached, failed: failed.len(), fuel });
    Ok(())
}

/// What is not the same.
fn other(first: &Came, second: &Came) -> Option<&'static str> {
    fn rounds(came: &Came) -> impl Iterator<Item = &Round> {
        came.asked.iter().flat_map(|asked| &asked.rounds)
    }
    let fuel = |came: &Came| rounds(came).map(|round| round.fuel).collect::<Vec<_>>();
    let memory = |came: &Came| rounds(came).map(|round| round.memory_bytes).collect::<Vec<_>>();
    if first.plan != second.plan || first.failure != second.failure || first.seen != second.seen {
        return Some("it answers otherwise");
    }
    if fuel(first) != fuel(second) {
        return Some("it uses other fuel");
    }
    (memory(first) != memory(second)).then_some("it uses other memory")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::transcript::Asked;

    fn came(text: &str, fuel: u64, memory_bytes: usize) -> Came {
        let round = Round { fuel, memory_bytes, ..Round::default() };
        let asked = Asked { item: None, type_: None, rounds: vec![round], plan: None, error: None };
        Came { asked: vec![asked], plan: json!({"actions": [{"inline": text}]}), ..Came::default() }
    }

    #[test]
    fn what_depends_on_something_else_answers_otherwise_or_uses_other_fuel() {
        let first = came("a", 1000, 65536);
        assert_eq!(other(&first, &came("a", 1000, 65536)), None);
        assert_eq!(other(&first, &came("b", 1000, 65536)), Some("it answers otherwise"));
        assert_eq!(other(&first, &came("a", 1001, 65536)), Some("it uses other fuel"));
        assert_eq!(other(&first, &came("a", 1000, 131_072)), Some("it uses other memory"));
    }
}
