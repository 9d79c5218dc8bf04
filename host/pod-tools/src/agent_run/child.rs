//! Runs the agent's program as a child: forwards signals, reaps orphans, hands its output on.
//!
//! In its container this process has the id 1, with two duties: the kernel gives it every orphan to reap, and
//! ignores signals for which it has no handler.

use std::io::{self, PipeReader, Read};
use std::process::{ChildStdout, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

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
}

/// Takes output in the order it comes.
pub(super) type Sink<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

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
    u8::try_from(128 + signal).ok()
}

/// Runs `command` to its end; `sink` gets what comes out of its standard output, if that is piped. Output that was
/// written before the end is complete; children of the program that live on and hold its output open are not
/// waited for.
pub(super) fn run(
    command: &mut Command,
    signals: &mut Signals,
    sink: Option<Sink>,
    beside: Option<Beside>,
) -> io::Result<Ended> {
    let (has_ended, ends) = io::pipe()?;
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let output = child.stdout.take();
    thread::scope(|scope| {
        if let (Some(output), Some(sink)) = (output, sink) {
            scope.spawn(move || pass_on(output, has_ended, sink));
        }
        let (has_ended, ended) = channel();
        if let Some(beside) = beside {
            scope.spawn(move || beside(&Program { pid, ended }));
        }
        let ended = supervise(pid, signals);
        drop((ends, has_ended));
        ended
    })
}

fn supervise(pid: Pid, signals: &mut Signals) -> io::Result<Ended> {
    loop {
        for signal in signals.wait() {
            if signal == SIGCHLD {
                if let Some(ended) = reap(pid)? {
                    return Ok(ended);
                }
            } else if let Some(signal) = Signal::from_named_raw(signal) {
                // it may have ended just now, which the next round sees
                kill_process(pid, signal).ok();
            }
        }
    }
}

/// Reaps every child that has ended, orphans too; says so when the program is among them.
fn reap(program: Pid) -> io::Result<Option<Ended>> {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => ended = Some(Ended { code: code(status) }),
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
fn pass_on(mut output: ChildStdout, has_ended: PipeReader, sink: Sink) {
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
                sink(&buffer[..read]);
                left = left.map(|left| left.saturating_sub(read));
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
