//! `plugin build`: the command of plugin.toml, printed and run.
//!
//! May touch: a shell, in the folder of plugin.toml.

use std::path::Path;
use std::process::{Command, ExitCode};

use super::project::Manifest;
use super::report::Bytes;
use crate::error::CliError;

/// Builds the component of a folder.
///
/// # Errors
/// There is no plugin.toml, no shell, or after the build no component.
pub(super) fn build(folder: &Path) -> Result<ExitCode, CliError> {
    let manifest = Manifest::read(folder)?;
    for line in manifest.build.trim().lines() {
        eprintln!("+ {line}");
    }
    let done = Command::new("sh").args(["-euc", &manifest.build]).current_dir(folder).status()?;
    if !done.success() {
        let how = done
            .code()
            .map_or_else(|| "was ended by a signal".to_owned(), |code| format!("ended with {code}"));
        eprintln!("kubeopencode: build of {}: the command {how}: see above", manifest.name);
        return Ok(ExitCode::FAILURE);
    }
    let component = folder.join(&manifest.component);
    let size = std::fs::metadata(&component).map_err(|error| {
        let problem = format!("{error}: the build does not make it; mend component in plugin.toml");
        CliError::Usage(format!("{}: {problem}", component.display()))
    })?;
    let bytes = Bytes(usize::try_from(size.len()).unwrap_or(usize::MAX));
    println!("{} ({bytes}): look at it with `kubeopencode plugin check`", component.display());
    Ok(ExitCode::SUCCESS)
}
