//! `kubeopencode render`: the objects that the operator would create for the Tasks and servers in files, without a cluster.
//!
//! The way is the operator's own: the real plugins (with the ConfigMaps of the files) and the plan. Only what is read and
//! where it goes differ. All or nothing: while one Task is refused, nothing is printed.
//!
//! May touch: files, stdout, stderr. Must not touch: a cluster.

mod component;
pub(crate) mod input;
mod kubetask;
pub(crate) mod objects;
pub(crate) mod offline;
mod schema;

use std::io::Write;

use crate::args::Render;
use crate::error::CliError;
use crate::plugin_host;
use objects::Objects;
use offline::Offline;

/// Prints what becomes of the Tasks.
///
/// # Errors
/// Everything that is wrong with the files, their objects or the plugins, and each refused Task in the words of its
/// condition.
pub(crate) fn main(flags: &Render) -> Result<(), CliError> {
    let objects = Objects::read(&input::documents(&flags.filename)?, &flags.namespace)?;
    let (host, catalog) = plugin_host::with_built_in()?;
    for file in &flags.plugin {
        component::install(&host, &catalog, file)?;
    }
    let offline = Offline {
        snapshot: catalog.snapshot(),
        objects: &objects,
        operator_namespace: &flags.operator_namespace,
        cluster_domain: &flags.cluster_domain,
    };
    let rendered = crate::runtime()?.block_on(offline.render())?;
    for warning in &rendered.warnings {
        eprintln!("warning: {warning}");
    }
    let mut out = std::io::stdout().lock();
    for document in &rendered.documents {
        writeln!(out, "---\n{document}")?;
    }
    Ok(())
}
