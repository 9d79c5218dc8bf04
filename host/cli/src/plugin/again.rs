//! Golden cases, each twice: a plugin is a function of what it is given, so that bytes and fuel are the same.
//!
//! May touch: files of cases. Must not touch: whether what comes is right, which `plugin test` says.

use kubeopencode_plugin_host::Kind;

use super::cases::{FOLDER, found, none_yet};
use super::explain;
use super::golden::Came;
use super::project::Project;
use super::report::{Part, Repeated, Report};
use super::session::Session;
use crate::error::CliError;

/// Runs the cases of a project, and adds to the report what is not the same again, or that there are none yet.
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
    let (mut fuel, mut reached) = (0, 0);
    for placed in &cases {
        let (first, second) =
            (runtime.block_on(placed.run(&session))?, runtime.block_on(placed.run(&session))?);
        let cost = first.cost(&session);
        fuel += cost.fuel;
        reached += usize::from(cost.rounds > 0);
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
    report.repeated = Some(Repeated { cases: cases.len(), reached, fuel });
    Ok(())
}

/// What is not the same.
fn other(first: &Came, second: &Came) -> Option<&'static str> {
    let used = |came: &Came| {
        let rounds = came.asked.iter().flat_map(|asked| &asked.rounds);
        rounds.map(|round| (round.fuel, round.memory_bytes)).collect::<Vec<_>>()
    };
    let is_same = first.plan == second.plan && first.failure == second.failure && first.seen == second.seen;
    match (is_same, used(first) == used(second)) {
        (false, _) => Some("it answers otherwise"),
        (true, false) => Some("it uses other fuel"),
        (true, true) => None,
    }
}
