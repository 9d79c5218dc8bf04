//! `url-fetch`: downloads a file, or lays out an archive.
//!
//! `settings` reads the environment (pure), `download` gets the bytes, `archive` checks and lays out; the crate's
//! `root` writes, never through a symbolic link and never over something else. It may run twice: what it fetched has a
//! mark and is kept. A failure leaves nothing.
//!
//! Credentials and the Task's own headers go to the address's own origin only, never where it redirects to, nor to
//! where that redirects to.

mod archive;
mod download;
#[cfg(any(test, debug_assertions))]
pub mod fuzzing;
mod settings;

use std::process::ExitCode;

use crate::environment::Environment;
use crate::exit;
use crate::rooted_dir::RootedDir;
use crate::{Error, redact};
use settings::Settings;

/// Of a single file, as everywhere.
const FILE_MODE: u32 = 0o644;

/// Runs `url-fetch` with the environment of docs/contract.md, section 4.
pub fn main() -> ExitCode {
    let environment = Environment::of_process();
    exit::of("url-fetch", environment.flag("URL_OPTIONAL"), || run(&environment))
}

fn run(environment: &Environment) -> Result<(), Error> {
    let settings = Settings::of(environment)?;
    let root = RootedDir::filesystem(true)?;
    let done = place(&settings, &root);
    if done.is_err() {
        root.undo(0);
        if settings.placeholder && environment.flag("URL_OPTIONAL")? {
            root.draft(&settings.target)?.replace(FILE_MODE)?;
        }
    }
    done
}

fn place(settings: &Settings, root: &RootedDir) -> Result<(), Error> {
    let (target, mark) = (&settings.target, settings.mark());
    // what a page says may have changed meanwhile, and another container may have written into an archive's directory
    if root.has_mark(target, &mark) {
        eprintln!("url-fetch: /{} is there already", target.display());
        return Ok(());
    }
    if settings.unpack {
        let mut file = root.scratch(target)?;
        download::to(settings, &mut file)?;
        let layout = archive::Layout { root, target, file_mode: settings.file_mode };
        layout.unpack(&mut file).map_err(|e| e.at(redact::shown(&settings.source)))?;
        root.mark(target, &mark);
        return Ok(());
    }
    let mut draft = root.draft(target)?;
    download::to(settings, &mut draft.file)?;
    draft.mark(&mark);
    let mode = settings.file_mode.unwrap_or(FILE_MODE);
    if settings.placeholder { draft.replace(mode) } else { draft.place(mode) }
}
