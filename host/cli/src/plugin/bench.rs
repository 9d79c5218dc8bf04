//! `plugin bench`: golden cases again and again, and what their calls take of the limits.
//!
//! May touch: files of cases, stdout; stderr, where somebody looks at it. Must not touch: how a case is evaluated (`golden`).

use std::fmt::Write;
use std::io::{IsTerminal, stderr};

use kubeopencode_plugin_host::Limits;
use serde::Serialize;

use super::cases::cases;
use super::golden::Cost;
use super::project::Project;
use super::readable::{count, counted, mebibytes};
use super::report::json;
use crate::args::{BenchPlugin, Output};
use crate::error::CliError;

/// How often it is told how far a case is.
const PARTS: u32 = 100;

/// What a case takes. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    /// Of the plugin, for one evaluation.
    calls: usize,
    /// Of all calls of one evaluation together.
    p50_micros: u64,
    p99_micros: u64,
    /// Of all calls of one evaluation together; it is the same every time, or the plugin depends on something.
    fuel: u64,
    same_fuel: bool,
    memory_bytes: usize,
}

/// Runs each case so often; what is to be printed.
///
/// # Errors
/// The component does not load, or a case makes no sense.
pub(super) fn bench(flags: &BenchPlugin) -> Result<String, CliError> {
    let project = Project::of(&flags.component)?;
    let (cases, session) = cases(&project, flags.cases.as_deref())?;
    let runtime = crate::runtime()?;
    let told = Told { is_watched: stderr().is_terminal() };
    let mut rows = Vec::with_capacity(cases.len());
    for (at, placed) in cases.iter().enumerate() {
        // the first one of a process brings the code into memory
        let first = runtime.block_on(placed.run(&session))?.cost(&session);
        let mut costs = Vec::new();
        for run in 0..flags.runs {
            if run.is_multiple_of((flags.runs / PARTS).max(1)) {
                told.is(&progress(at, cases.len(), run, flags.runs));
            }
            costs.push(runtime.block_on(placed.run(&session))?.cost(&session));
        }
        rows.push(row(placed.case.name.clone(), first, &costs));
    }
    drop(told);
    match flags.output {
        Output::Text => Ok(text(&rows, flags.runs, Limits::of(session.plugin.class()))),
        Output::Json => Ok(json(&rows)?),
    }
}

/// A line on a terminal, which is there for as long as it is of use.
struct Told {
    is_watched: bool,
}

impl Told {
    /// In place of what stood there.
    fn is(&self, words: &str) {
        if self.is_watched {
            eprint!("\r{words}\x1b[K");
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.is("");
    }
}

/// How far it is.
fn progress(case: usize, cases: usize, run: u32, runs: u32) -> String {
    format!("case {} of {cases}: {run} of {runs} runs", case + 1)
}

fn row(name: String, first: Cost, costs: &[Cost]) -> Row {
    let mut times: Vec<_> = costs.iter().map(|cost| cost.micros).collect();
    times.sort_unstable();
    let part = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    Row {
        name,
        calls: first.rounds,
        p50_micros: part(50).copied().unwrap_or_default(),
        p99_micros: part(99).copied().unwrap_or_default(),
        fuel: first.fuel,
        same_fuel: costs.iter().all(|cost| cost.fuel == first.fuel),
        memory_bytes: costs.iter().map(|cost| cost.memory_bytes).max().unwrap_or_default(),
    }
}

fn text(rows: &[Row], runs: u32, limits: Limits) -> String {
    let mut text = format!(
        "each case {runs} times; a call may use {} fuel, {} and {} s\n",
        count(limits.fuel),
        mebibytes(limits.memory),
        limits.time.as_secs()
    );
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
    for row in rows {
        let fuel = if row.same_fuel { "" } else { ", not the same every time: it depends on something" };
        let _ = writeln!(
            text,
            "  {:<width$}   {:<8}   p50 {:>7} µs   p99 {:>7} µs   {:>9} fuel   {:>8}{fuel}",
            row.name,
            counted(row.calls, "call"),
            row.p50_micros,
            row.p99_micros,
            count(row.fuel),
            mebibytes(row.memory_bytes)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use kubeopencode_plugin_host::LimitClass;

    use super::*;

    fn cost(micros: u64, fuel: u64) -> Cost {
        Cost { rounds: 2, fuel, micros, memory_bytes: 1 << 20 }
    }

    #[test]
    fn whoever_waits_reads_how_far_it_is() {
        assert_eq!(progress(0, 3, 0, 100), "case 1 of 3: 0 of 100 runs");
        assert_eq!(progress(2, 3, 99, 100), "case 3 of 3: 99 of 100 runs");
    }

    #[test]
    fn a_case_is_a_line_with_its_middle_and_its_tail() {
        let steady: Vec<_> = (1..=100).rev().map(|micros| cost(micros, 12_345)).collect();
        let wavering = [cost(1500, 7), cost(900, 8)];
        let rows = [
            row("steady".to_owned(), cost(5000, 12_345), &steady),
            row("wavering".to_owned(), cost(5000, 7), &wavering),
        ];
        assert_eq!(
            text(&rows, 100, Limits::of(LimitClass::Default)),
            "\
each case 100 times; a call may use 200.0 M fuel, 32.0 MiB and 2 s
  steady     2 calls    p50      51 µs   p99     100 µs      12,345 fuel    1.0 MiB
  wavering   2 calls    p50    1500 µs   p99    1500 µs           7 fuel    1.0 MiB, not the same every time: it depends on something
"
        );
    }
}
