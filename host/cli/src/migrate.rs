//! `kubeopencode migrate`: the objects of `kubetask.io` in files as objects of `kubeopencode.io`, without a cluster.
//!
//! What has no equivalent is said, a warning each, with the object, the field and the remedy. All or nothing: while one
//! object is refused, nothing is printed and no chart is written.
//!
//! May touch: files, stdout, stderr. Must not touch: a cluster.

mod agent;
mod batch;
mod chart;
mod contexts;
mod layers;
mod metadata;
mod objects;
mod run;
mod task;
mod warnings;

use std::io::Write;

use crate::args::Migrate;
use crate::error::CliError;
use crate::render::input;
use objects::Objects;
use run::Migration;

/// Prints what the objects become.
///
/// # Errors
/// Everything that is wrong with the files and their objects; a chart that there is no one Batch for, or no place.
pub(crate) fn main(flags: &Migrate) -> Result<(), CliError> {
    let objects = Objects::read(input::documents(&flags.filename)?, &flags.namespace)?;
    if let Some(folder) = &flags.helm {
        chart::check(folder, &objects)?;
    }
    let migrated = Migration::of(&objects, flags.helm.is_some())?;
    let mut documents = Vec::with_capacity(migrated.documents.len());
    for object in &migrated.documents {
        documents.push(crate::yaml::document(object)?);
    }
    if let (Some(folder), Some(chart)) = (&flags.helm, &migrated.chart) {
        chart.write(folder)?;
    }
    for warning in migrated.warnings.all() {
        eprintln!("warning: {warning}");
    }
    let mut out = std::io::stdout().lock();
    for document in &documents {
        writeln!(out, "---\n{document}")?;
    }
    Ok(())
}
