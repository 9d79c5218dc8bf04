//! `run`: a Task from a line, and what became of it.
//!
//! May touch: the files that the line names, stdin, one new Task. Must not touch: other objects.

mod plan;

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::args;
use crate::cluster::Cluster;
use crate::error::Failure;
use crate::verbs::then;

/// Makes the Task, and waits for its end where that is wanted.
///
/// # Errors
/// When it is refused, or did not do its work.
pub(crate) async fn main(flags: args::Run, place: &args::Place) -> Result<(), Failure> {
    let then = flags.then;
    let input = input(flags).map_err(Failure::Refused)?;
    let task = plan::task(input).map_err(Failure::Refused)?;
    let cluster = Cluster::connect(place).await?;
    let made = cluster.make(&task).await?;
    then::main(&cluster, made, then).await
}

fn input(flags: args::Run) -> Result<plan::Input, String> {
    let prompt = match (flags.prompt, flags.filename, flags.stdin) {
        (Some(prompt), ..) => prompt,
        (None, Some(file), _) if file != Path::new("-") => {
            text(&file.display().to_string(), fs::read(&file))?
        }
        _ => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            text("stdin", read.map(|_| bytes))?
        }
    };
    let files = flags.file.iter().map(|file| local(file)).collect::<Result<_, _>>()?;
    Ok(plan::Input { prompt, agent: flags.agent, git: flags.git, files, timeout: flags.timeout })
}

fn text(name: &str, bytes: std::io::Result<Vec<u8>>) -> Result<String, String> {
    let bytes = bytes.map_err(|error| format!("{name}: {error}: name a file that you may read"))?;
    String::from_utf8(bytes).map_err(|_| format!("{name}: the prompt is no UTF-8 text: write it as UTF-8"))
}

fn local(flag: &str) -> Result<plan::Local, String> {
    let (local, path) = plan::local_and_path(flag)?;
    let read = || Ok::<_, std::io::Error>((fs::read(local)?, is_program(local)?));
    let (bytes, is_program) =
        read().map_err(|error| format!("--file {local}: {error}: name a file that you may read"))?;
    Ok(plan::Local { local: local.to_owned(), path: path.to_owned(), bytes, is_program })
}

#[cfg(unix)]
fn is_program(file: &str) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(file)?.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
fn is_program(_: &str) -> std::io::Result<bool> {
    Ok(false)
}
