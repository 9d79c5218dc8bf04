//! Runs the agent's program as a child: forwards signals, reaps orphans, hands its output on.
//!
//! In its container this process has the id 1, with two duties: the kernel gives it every orphan to reap, and
//! ignores signals for which it has no handler.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const FORWARDED: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];
const READ_BYTES: usize = 64 << 10;

/// How the program ended.
#[derive(Debug, PartialEq)]
pub(super) struct Ended {
    /// Its exit code, or 128 + n when signal n killed it.
    pub(super) code: u8,
    /// It was ended because nothing came out of it for as long as [`Idle::limit`].
    pub(super) idle: bool,
    /// The first signal that asked it to end.
    pub(super) signal: Option<u8>,
}

/// Takes output in the order it comes.
pub(super) type Sink<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// Where the program's output goes.
pub(super) struct Sinks<'a> {
    pub(super) stdout: Sink<'a>,
    pub(super) stderr: Sink<'a>,
}

/// When a program that prints nothing is ended.
#[derive(Clone, Copy)]
pub(super) struct Idle {
    pub(super) limit: Duration,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
}

/// When output came last.
struct Activity(Mutex<Instant>);

impl Activity {
    fn now(&self) {
        if let Ok(mut last) = self.0.lock() {
            *last = Instant::now();
        }
    }

    /// Waits until the program has ended, or has printed nothing for too long: then it ends it, and says so.
    fn watch(&self, program: &Program, idle: Idle) -> bool {
        loop {
            let silent = self.0.lock().map(|last| last.elapsed()).unwrap_or_default();
            let Some(left) = idle.limit.checked_sub(silent).filter(|left| !left.is_zero()) else {
                program.end(idle.grace);
                return true;
            };
            if program.ends_within(left) {
                return false;
            }
        }
    }
}

/// The running program, for whoever looks after it.
pub(super) struct Program {
    pid: Pid,
    ended: Receiver<()>,
}

impl Program {
    /// Whether it ends within this time.
    pub(super) fn ends_within(&self, time: Duration) -> bool {
        !matches!(self.ended.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    /// Asks it to end, and after `grace` does not ask.
    pub(super) fn end(&self, grace: Duration) {
        // it may have ended just now
        kill_process(self.pid, Signal::TERM).ok();
        if !self.ends_within(grace) {
            kill_process(self.pid, Signal::KILL).ok();
        }
    }
}

/// What looks after the program in a thread of its own, until it has ended.
pub(super) type Beside<'a> = &'a (dyn Fn(&Program) + Sync);

/// The signals that matter, from now on. To be asked for before the program can start, or its end could be missed.
pub(super) fn signals() -> io::Result<Signals> {
    Signals::new(FORWARDED.iter().chain([&SIGCHLD]))
}

/// The signal that ends the container, if one came before the program was started.
pub(super) fn ended_by(signals: &mut Signals) -> Option<u8> {
    let signal = signals.pending().find(|signal| FORWARDED.contains(signal))?;
    u8::try_from(signal).ok()
}

/// Runs `command` to its end. Output that was written before the end is complete; children of the program that live on and
/// hold its output open are not waited for.
pub(super) fn run(
    command: &mut Command,
    signals: &mut Signals,
    sinks: Sinks,
    beside: Option<Beside>,
    idle: Option<Idle>,
) -> io::Result<Ended> {
    let (out_has_ended, ends) = io::pipe()?;
    let err_has_ended = out_has_ended.try_clone()?;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = Pid::from_child(&child);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let activity = Activity(Mutex::new(Instant::now()));
    let activity = &activity;
    thread::scope(|scope| {
        if let (Some(out), Some(err)) = (out, err) {
            scope.spawn(move || pass_on(out, out_has_ended, activity, sinks.stdout));
            scope.spawn(move || pass_on(err, err_has_ended, activity, sinks.stderr));
        }
        let (beside_ends, ended) = channel();
        if let Some(beside) = beside {
            scope.spawn(move || beside(&Program { pid, ended }));
        }
        let (watch_ends, ended) = channel();
        let watch = idle.map(|idle| scope.spawn(move || activity.watch(&Program { pid, ended }, idle)));
        let ended = supervise(pid, signals);
        drop((ends, beside_ends, watch_ends));
        let idle = watch.is_some_and(|watch| watch.join().unwrap_or(false));
        ended.map(|(code, signal)| Ended { code, idle, signal })
    })
}

/// The program's code, and the first signal that was forwarded to it.
fn supervise(pid: Pid, signals: &mut Signals) -> io::Result<(u8, Option<u8>)> {
    let mut forwarded = None;
    loop {
        for signal in signals.wait() {
            if signal == SIGCHLD {
                if let Some(code) = reap(pid)? {
                    return Ok((code, forwarded));
                }
            } else if let Some(named) = Signal::from_named_raw(signal) {
                // it may have ended just now, which the next round sees
                kill_process(pid, named).ok();
                forwarded = forwarded.or_else(|| u8::try_from(signal).ok());
            }
        }
    }
}

/// Reaps every child that has ended, orphans too; says the program's code when it is among them.
fn reap(program: Pid) -> io::Result<Option<u8>> {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => ended = Some(code(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(ended),
            Err(e) => return Err(e.into()),
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Reads until the output ends, or, once the program has ended, until all that it can have left in the pipe is read.
fn pass_on(mut output: impl Read + AsFd, has_ended: PipeReader, activity: &Activity, sink: Sink) {
    let mut buffer = vec![0; READ_BYTES];
    let mut left: Option<usize> = None;
    while left != Some(0) {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&output, PollFlags::IN), PollFd::new(&has_ended, PollFlags::IN)];
        match poll(&mut fds, left.map(|_| &now)) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        let (readable, ended) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if ended && left.is_none() {
            left = Some(rustix::pipe::fcntl_getpipe_size(&output).unwrap_or(READ_BYTES));
            continue;
        }
        if !readable {
            // poll says this only once the program has ended
            return;
        }
        match output.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                activity.now();
                sink(&buffer[..read]);
                left = left.map(|left| left.saturating_sub(read));
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
