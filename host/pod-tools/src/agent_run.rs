//! `agent-run`: the agent container's process. Runs the agent's program once, keeps its log readable, reads outcome,
//! last words and usage out of its output, and leaves them as the container's termination message.
//!
//! It stands in the tools directory, beside its settings (`result-reader.json`) and the mark of its first start
//! (`.started`): kubelet may start a container a second time where it lost its own record, and an agent runs at
//! most once.
//!
//! The exit code is the program's (128 + n for signal n), or 1 where the program exited 0 although it reported an
//! error, or was ended because it printed nothing. `reading` holds all that is decided, `lines` cuts output into lines and
//! `shrink` makes the longest of them short, `tail` remembers the end of the log, `child` deals with processes, `session`
//! with the server that a program may be a client of.
//!
//! A command of the Agent's own runs in here too, for the start guard, the end of its log and `idleTimeout`: its output
//! passes as it is, and its exit code alone counts.

mod child;
mod cost;
#[cfg(any(test, debug_assertions))]
pub mod fuzzing;
mod lines;
mod reading;
mod session;
mod shrink;
mod tail;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use kubeopencode_api::report::{AgentReport, MESSAGE_BYTES, Outcome, ReaderSettings, SessionReader};
use signal_hook::iterator::Signals;

use crate::error::io_reason;
use crate::{Error, termination};
use child::{Ended, Idle, Program, Sinks};
use lines::Lines;
use reading::{Printed, Reading};
use session::{Left, Session};
use tail::Tail;

const SETTINGS: &str = "result-reader.json";
const STARTED: &str = ".started";
/// For how long a server is asked for a session.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);
/// Starts of a program that says nothing to its session: its connection was lost without a word, mostly.
const MAX_STARTS: u32 = 3;
/// Between SIGTERM and SIGKILL for a program that has nothing more to do.
const END_GRACE: Duration = Duration::from_secs(5);
const OPEN_PAUSE: Duration = Duration::from_secs(1);

/// Runs the program named by `args`, the arguments after `agent-run`: `-- PROGRAM [ARGUMENT…]`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut limit = MESSAGE_BYTES;
    let Ran { report, code, is_read } =
        tools_dir().and_then(|dir| once(&dir, args, &mut limit)).unwrap_or_else(|e| {
            eprintln!("agent-run: {e}");
            let report = AgentReport { error: Some(e.to_string()), ..AgentReport::new(Outcome::Failed) };
            Ran { report, code: 1, is_read: true }
        });
    // a command of the Agent's own may have left a message, which says more than its exit code
    let knows_more = is_read || !matches!(report.outcome, Outcome::Completed | Outcome::Failed);
    if !knows_more && termination::is_written() {
        return ExitCode::from(code);
    }
    if let Err(e) = termination::leave(&report.to_message(limit)) {
        // the exit code still tells success from failure
        eprintln!("agent-run: {e}");
    }
    ExitCode::from(code)
}

/// The directory that this program was copied to.
fn tools_dir() -> Result<PathBuf, Error> {
    let program = env::current_exe().map_err(|e| Error::Failed(format!("cannot find myself: {e}")))?;
    Ok(program.parent().unwrap_or(Path::new("/")).to_owned())
}

fn once(dir: &Path, args: impl IntoIterator<Item = OsString>, limit: &mut usize) -> Result<Ran, Error> {
    if !mark_start(&dir.join(STARTED))? {
        eprintln!(
            "agent-run: this container was started a second time; an agent runs at most once, so nothing ran"
        );
        return Ok(Ran { report: AgentReport::new(Outcome::Restarted), code: 1, is_read: true });
    }
    let settings = settings(&dir.join(SETTINGS))?;
    *limit = settings.message_bytes;
    let mut args = args.into_iter().skip_while(|arg| arg == "--");
    let program = args
        .next()
        .ok_or_else(|| Error::Failed("nothing to run; usage: agent-run -- PROGRAM [ARGUMENT...]".into()))?;
    let mut command = Command::new(program);
    command.args(args);
    let (report, code) = run(command, &settings);
    Ok(Ran { report, code, is_read: settings.reader.is_some() })
}

/// What is left to say.
struct Ran {
    report: AgentReport,
    /// the container's exit code
    code: u8,
    /// rules were applied to the program's output
    is_read: bool,
}

/// True for the first start. The mark is on disk before anything runs, so that it outlives a crash of the node.
fn mark_start(path: &Path) -> Result<bool, Error> {
    match File::create_new(path) {
        Ok(file) => file.sync_all().map(|()| true).map_err(|e| Error::write(path, io_reason(&e))),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Error::write(path, io_reason(&e))),
    }
}

fn settings(path: &Path) -> Result<ReaderSettings, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let broken = |e: String| Error::Failed(format!("{}: {e}", path.display()));
    let settings: ReaderSettings = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
    if let Some(reader) = &settings.reader {
        reader.check().map_err(|e| broken(e.to_string()))?;
    }
    Ok(settings)
}

fn run(mut command: Command, settings: &ReaderSettings) -> (AgentReport, u8) {
    let (mut reading, mut stderr) = (Reading::new(settings), Tail::default());
    match supervised(&mut command, settings, &mut reading, &mut stderr) {
        Ok(Ended { idle: true, .. }) => {
            let limit = idle_limit(settings).unwrap_or_default();
            eprintln!("agent-run: the program printed nothing for {limit:?} (idleTimeout), and was ended");
            reading.idle(limit, &stderr)
        }
        Ok(Ended { code, signal, .. }) => {
            let (report, code) = reading.report(code, &stderr);
            (AgentReport { signal, ..report }, code)
        }
        Err(NotRun { problem, code, signal }) => {
            eprintln!("agent-run: {problem}");
            let (report, code) = reading.not_run(problem, code, &stderr);
            (AgentReport { signal, ..report }, code)
        }
    }
}

fn idle_limit(settings: &ReaderSettings) -> Option<Duration> {
    settings.idle_seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

/// The program was not started, or what became of it cannot be known.
struct NotRun {
    problem: String,
    code: u8,
    /// What ended it before it ran.
    signal: Option<u8>,
}

impl NotRun {
    /// Exit codes as of a shell.
    fn program(command: &Command, e: &io::Error) -> Self {
        let problem = format!("cannot run {}: {}", command.get_program().display(), io_reason(e));
        NotRun { problem, code: if e.kind() == io::ErrorKind::NotFound { 127 } else { 126 }, signal: None }
    }
}

fn supervised(
    command: &mut Command,
    settings: &ReaderSettings,
    reading: &mut Reading,
    stderr: &mut Tail,
) -> Result<Ended, NotRun> {
    let mut signals = child::signals().map_err(|e| NotRun::program(command, &e))?;
    let idle = idle_limit(settings).map(|limit| Idle { limit, grace: END_GRACE });
    let mut err = |bytes: &[u8]| {
        io::stderr().write_all(bytes).ok();
        stderr.push(bytes);
    };
    let mut out = Output(io::stdout());
    let Some(reader) = &settings.reader else {
        let mut as_it_is = |bytes: &[u8]| out.line(reading, lines::Line::Piece(bytes));
        let sinks = Sinks { stdout: &mut as_it_is, stderr: &mut err };
        return child::run(command, &mut signals, sinks, None, idle)
            .map_err(|e| NotRun::program(command, &e));
    };
    command.args(&reader.args);
    let session = reader.session.as_ref().zip(settings.server.as_deref());
    let session = session.map(|(session, server)| open(session, server, &mut signals)).transpose()?;
    command.args(session.iter().flat_map(Session::args));
    let mut lines = Lines::default();
    let mut starts = 0;
    let ended = loop {
        starts += 1;
        let left = OnceLock::new();
        let look_after = |program: &Program| {
            if let Some(found) = session.as_ref().and_then(|session| session.look_after(program)) {
                left.set(found).ok();
                program.end(END_GRACE);
            }
        };
        let mut read = |bytes: &[u8]| lines.push(bytes, |line| out.line(reading, line));
        let sinks = Sinks { stdout: &mut read, stderr: &mut err };
        let ended = child::run(command, &mut signals, sinks, Some(&look_after), idle);
        match left.get() {
            None => break ended.map_err(|e| NotRun::program(command, &e)),
            Some(Left::Done) => {
                eprintln!("agent-run: the program did not end, and its session is done: it was ended");
                break Ok(Ended { code: 0, idle: false, signal: None });
            }
            // the server knows of nothing that it asked for, so nothing is done twice
            Some(Left::NotBegun)
                if starts < MAX_STARTS && session.as_ref().is_some_and(Session::is_untouched) =>
            {
                eprintln!("agent-run: the program said nothing to its session: it is started again");
            }
            Some(Left::NotBegun) => {
                let problem = "the program said nothing to its session, and was ended".into();
                break Err(NotRun { problem, code: 1, signal: None });
            }
            Some(Left::Lost) => {
                let problem = "the program did not notice that its session is gone, and was ended".into();
                break Err(NotRun { problem, code: 1, signal: None });
            }
        }
    };
    lines.finish(|line| out.line(reading, line));
    if let Some(session) = session {
        let went_well = matches!(ended, Ok(Ended { code: 0, idle: false, .. }));
        if !went_well {
            told(session.abort());
            reading.aborted();
        }
        let read = session.records(!went_well, &mut |record| out.texts(&reading.record(record)));
        if let Err(failed) = &read
            && failed.is_of_another_server()
        {
            reading.session_lost(&failed.reason);
        }
        told(read.map_err(|failed| failed.reason));
    }
    ended
}

/// Opens the program's session. Nothing has run yet, so a server that starts, or is replaced just now, is waited for.
fn open<'s>(reader: &'s SessionReader, server: &str, signals: &mut Signals) -> Result<Session<'s>, NotRun> {
    let (start, mut said) = (Instant::now(), String::new());
    loop {
        let opened = Session::open(reader, server);
        if let Some(signal) = child::ended_by(signals) {
            let problem = "ended before its session was open; nothing ran".into();
            return Err(NotRun { problem, code: 128 + signal, signal: Some(signal) });
        }
        let problem = match opened {
            Ok(session) => return Ok(session),
            Err(failed) if failed.is_transient && start.elapsed() < OPEN_PATIENCE => failed.reason,
            Err(failed) => {
                let problem = format!("no session, so nothing ran: {}", failed.reason);
                return Err(NotRun { problem, code: 1, signal: None });
            }
        };
        if problem != said {
            eprintln!("agent-run: waiting for a session: {problem}");
            said = problem;
        }
        thread::sleep(OPEN_PAUSE);
    }
}

/// What goes wrong with a session afterwards costs words of the log and numbers of the report, and not the Task.
fn told(result: Result<(), String>) {
    if let Err(problem) = result {
        eprintln!("agent-run: session: {problem}");
    }
}

/// The container's log. When nobody takes it any more the program still runs to its end.
struct Output(io::Stdout);

impl Output {
    fn line(&mut self, reading: &mut Reading, line: lines::Line) {
        let mut log = self.0.lock();
        match reading.line(line) {
            Printed::AsIs(bytes) => log.write_all(bytes),
            Printed::Text(text) => writeln!(log, "{text}"),
            Printed::Nothing => Ok(()),
        }
        .ok();
    }

    fn texts(&mut self, texts: &[String]) {
        let mut log = self.0.lock();
        texts.iter().try_for_each(|text| writeln!(log, "{text}")).ok();
    }
}
