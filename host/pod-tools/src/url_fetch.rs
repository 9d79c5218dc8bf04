//! `url-fetch`: downloads a file, or lays out an archive.
//!
//! `settings` reads the environment (pure), `download` gets the bytes, `archive` checks and lays out; the crate's
//! `root` writes, never through a symbolic link and never over something else. It may run twice.
//!
//! Credentials and the Task's own headers go to the address's own origin only, never where it redirects to.

mod archive;
mod download;
mod settings;

use std::process::ExitCode;

use crate::environment::Environment;
use crate::exit;
use crate::root::Root;
use crate::{Error, redact};
use settings::Settings;

/// Whatever uid the executor runs as, it edits what lies in its workspace.
const FILE_MODE: u32 = 0o666;
const PROGRAM_MODE: u32 = 0o777;

/// Runs `url-fetch` with the environment of contract.md section 4.
pub fn main() -> ExitCode {
    let environment = Environment::of_process();
    exit::of("url-fetch", environment.flag("URL_OPTIONAL"), || run(&environment))
}

fn run(environment: &Environment) -> Result<(), Error> {
    let settings = Settings::of(environment)?;
    let done = place(&settings);
    if done.is_err() && settings.placeholder && environment.flag("URL_OPTIONAL")? {
        Root::filesystem(true)?.draft(&settings.target)?.place(FILE_MODE)?;
    }
    done
}

fn place(settings: &Settings) -> Result<(), Error> {
    let root = Root::filesystem(true)?;
    let mode = settings.file_mode;
    if settings.unpack {
        let mut file = root.scratch(&settings.target)?;
        download::to(settings, &mut file)?;
        let layout = archive::Layout { root: &root, target: &settings.target, file_mode: mode };
        return layout.unpack(&mut file).map_err(|e| e.at(redact::shown(&settings.source)));
    }
    let mut draft = root.draft(&settings.target)?;
    download::to(settings, &mut draft.file)?;
    draft.place(mode.unwrap_or(FILE_MODE))
}
