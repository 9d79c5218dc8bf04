//! `plugin build`: the command of plugin.toml, printed and run. What it leaves as a module, as Go does, is made a component.
//!
//! May touch: a shell, in the folder of plugin.toml, and the file that it makes.

mod module;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::SystemTime;

use kubeopencode_plugin_host::Kind;
use serde::Serialize;

use super::project::Manifest;
use super::report::{Bytes, json};
use crate::args::{BuildPlugin, Output};
use crate::error::CliError;

/// What was built. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Debug, Serialize)]
struct Built {
    /// Its file.
    component: String,
    bytes: usize,
}

/// What a shell ends with when it finds no program of a name.
const NO_SUCH_PROGRAM: i32 = 127;

/// What makes components of Python. Tracebacks of its own come before and after what matters, and none of its words helps while it
/// works: they wait for its end.
const PYTHON: &str = "componentize-py";
/// What it calls every failure.
const ANY_FAILURE: &str = "AssertionError";

/// Builds the component of a folder.
///
/// # Errors
/// There is no plugin.toml, no shell, or after the build no component.
pub(super) fn build(flags: &BuildPlugin) -> Result<ExitCode, CliError> {
    let BuildPlugin { folder, output } = flags;
    let manifest = Manifest::read(folder)?;
    for line in manifest.build.trim().lines() {
        eprintln!("+ {line}");
    }
    let begun = SystemTime::now();
    let mut shell = Command::new("sh");
    if *output == Output::Json {
        shell.stdout(std::io::stderr());
    }
    // toolchains that are written in Rust would put a backtrace of their own below the words that matter
    shell.args(["-euc", &manifest.build]).current_dir(folder).env("RUST_BACKTRACE", "0");
    let done = if manifest.build.contains(PYTHON) {
        cause_first(&manifest.name, &mut shell)?
    } else {
        shell.status()?
    };
    if !done.success() {
        let how = match done.code() {
            Some(NO_SUCH_PROGRAM) => {
                "names a program that is not here: see above for its name, and README.md for where it comes from"
                    .to_owned()
            }
            Some(code) => format!("ended with {code}: see above"),
            None => "was ended by a signal: see above".to_owned(),
        };
        eprintln!("kubeopencode: build of {}: the command {how}", manifest.name);
        return Ok(ExitCode::FAILURE);
    }
    let component = folder.join(&manifest.component);
    let made = fs::read(&component).map_err(|error| {
        let problem = format!("{error}: the build does not make it; mend component in plugin.toml");
        CliError::Usage(format!("{}: {problem}", component.display()))
    })?;
    if made.is_empty() {
        let problem =
            "the build leaves an empty file: look at what it printed, and at component in plugin.toml";
        return Err(CliError::Usage(format!("{}: {problem}", component.display())));
    }
    date(&component, begun);
    let size = match module::is_module(&made) {
        false => made.len(),
        true => {
            let kind = manifest.kind.unwrap_or(Kind::ContextType);
            let whole = module::to_component(&made, kind).map_err(|problem| {
                let what = format!("a module that is no {}", kind.as_str());
                CliError::Usage(format!("{}: {what}: {problem}", component.display()))
            })?;
            fs::write(&component, &whole)
                .map_err(|error| CliError::File { path: component.clone(), error })?;
            whole.len()
        }
    };
    let component = component.display().to_string();
    let text = match output {
        Output::Text => {
            format!("{component} ({}): look at it with `kubeopencode plugin check`\n", Bytes(size))
        }
        Output::Json => json(&Built { component, bytes: size })?,
    };
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Runs the commands, and says why they failed before all that they say.
fn cause_first(name: &str, shell: &mut Command) -> Result<ExitStatus, CliError> {
    let done = shell.stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    if let Some(cause) = cause(&said).filter(|_| !done.status.success()) {
        eprintln!("kubeopencode: build of {name}: {cause}");
    }
    eprint!("{said}");
    Ok(done.status)
}

/// The last exception of Python's that says something.
fn cause(said: &str) -> Option<&str> {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c));
    let says_why = |line: &&str| {
        let Some((name, _)) = line.split_once(": ") else { return false };
        name.ends_with("Error") && name != "Error" && name != ANY_FAILURE && is_name(name)
    };
    said.lines().map(str::trim).rfind(says_why)
}

/// A component that the build found as it had to be keeps its old time, and would be taken for older than its sources for ever.
fn date(component: &Path, begun: SystemTime) {
    let Ok(file) = File::open(component) else { return };
    let is_old = file.metadata().and_then(|file| file.modified()).is_ok_and(|time| time < begun);
    if is_old {
        // where that cannot be, all that is lost is a warning too much
        let _ = file.set_modified(begun);
    }
}
