//! What a plugin says in one call: lines for the operator's log, and the last words for the user when the call breaks.
//!
//! May touch: text. Must not touch: where it came from.

use std::collections::VecDeque;
use std::mem;

use crate::bindings::log::Level;
use crate::limits::{LOG_BYTES, LOG_LINES};

/// Most bytes and lines of the last words, which become part of a condition's message.
const LAST_WORDS: usize = 1024;
const LAST_LINES: usize = 10;

/// What Rust's standard library adds to each panic, and the runtimes of JavaScript and Python are written in Rust: nobody
/// who reads a Task can follow it.
const ADVICE: &str = "note: run with `RUST_BACKTRACE=";

/// Where the runtimes of other languages have their own sources: that they panicked there says nothing of the plugin, the line
/// after it does.
const RUNTIMES: [&str; 2] = [" panicked at crates/", " panicked at runtime/"];

/// Whether a line is of use to whoever wrote the plugin.
fn is_of_use(line: &str) -> bool {
    let is_of_a_runtime = line.starts_with("thread '") && RUNTIMES.iter().any(|place| line.contains(place));
    !line.starts_with(ADVICE) && !is_of_a_runtime
}

/// The lines of one call, within the limits of the log.
#[derive(Debug, Default)]
pub(super) struct Lines {
    kept: Vec<(Level, String)>,
    bytes: usize,
    number: usize,
    /// The last ones that tell of trouble, whether the log had room for them or not.
    last: VecDeque<String>,
    last_bytes: usize,
    /// What was written to the streams since their last line end.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Lines {
    /// How many there were, dropped ones included.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Takes one line; what is beyond the limits is dropped.
    pub(super) fn push(&mut self, level: Level, mut line: String) {
        self.number += 1;
        if matches!(level, Level::Warn | Level::Error) && is_of_use(&line) {
            self.remember(&line);
        }
        let left = LOG_BYTES - self.bytes;
        if self.kept.len() < LOG_LINES && left > 0 {
            line.truncate(line.floor_char_boundary(left));
            self.bytes += line.len();
            self.kept.push((level, line));
        }
    }

    /// Takes what was written to a stream, line by line.
    pub(super) fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.pending(stream).extend_from_slice(&bytes[..end]);
            self.end_line(stream);
            bytes = &bytes[end + 1..];
        }
        self.pending(stream).extend_from_slice(bytes);
        if self.pending(stream).len() > LOG_BYTES {
            self.end_line(stream);
        }
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.pending(stream).is_empty() {
                self.end_line(stream);
            }
        }
    }

    /// Passes the lines on.
    pub(super) fn report(&self, plugin: &str) {
        for (level, line) in &self.kept {
            match level {
                Level::Debug => tracing::debug!(target: "plugin", plugin, "{line}"),
                Level::Info => tracing::info!(target: "plugin", plugin, "{line}"),
                Level::Warn => tracing::warn!(target: "plugin", plugin, "{line}"),
                Level::Error => tracing::error!(target: "plugin", plugin, "{line}"),
            }
        }
        if self.number > self.kept.len() {
            let dropped = self.number - self.kept.len();
            tracing::warn!(target: "plugin", plugin, dropped, "the plugin logged too much");
        }
    }

    /// The end of what it said on standard error and as a warning or an error.
    pub(super) fn last_words(self) -> Option<String> {
        let words = Vec::from(self.last).join("\n");
        let words = words.trim();
        (!words.is_empty()).then(|| words.to_owned())
    }

    fn pending(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn end_line(&mut self, stream: Stream) {
        let bytes = mem::take(self.pending(stream));
        let level = match stream {
            Stream::Stdout => Level::Info,
            Stream::Stderr => Level::Warn,
        };
        self.push(level, String::from_utf8_lossy(&bytes).trim_end().to_owned());
    }

    fn remember(&mut self, line: &str) {
        let line = &line[line.ceil_char_boundary(line.len().saturating_sub(LAST_WORDS))..];
        self.last_bytes += line.len() + 1;
        self.last.push_back(line.to_owned());
        while (self.last_bytes > LAST_WORDS + 1 || self.last.len() > LAST_LINES)
            && let Some(first) = self.last.pop_front()
        {
            self.last_bytes -= first.len() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_becomes_lines() {
        let mut lines = Lines::default();
        lines.write(Stream::Stdout, b"one\ntw");
        lines.write(Stream::Stderr, b"trouble\r\n");
        lines.write(Stream::Stdout, b"o\n\xff");
        lines.finish();
        let said: Vec<_> =
            lines.kept.iter().map(|(level, line)| (format!("{level:?}"), line.as_str())).collect();
        let expected = [("Info", "one"), ("Warn", "trouble"), ("Info", "two"), ("Info", "\u{fffd}")]
            .map(|(level, line)| (format!("Level::{level}"), line));
        assert_eq!(said, expected);
        assert_eq!(lines.last_words().as_deref(), Some("trouble"));
    }

    #[test]
    fn the_log_is_bounded_and_the_last_words_are_the_last_ones() {
        let mut lines = Lines::default();
        for i in 0..1000 {
            lines.write(Stream::Stdout, b"x".repeat(100).as_slice());
            lines.write(Stream::Stderr, format!("line {i}\n").as_bytes());
        }
        lines.push(Level::Error, "ä".repeat(300));
        assert!(lines.kept.len() <= LOG_LINES && lines.bytes <= LOG_BYTES);
        assert!(lines.stdout.len() <= LOG_BYTES);
        let words = lines.last_words().unwrap();
        assert!(words.len() <= LAST_WORDS, "{}", words.len());
        assert!(words.starts_with("line 991\n") && words.contains("line 999\nä"), "{words}");
        let mut lines = Lines::default();
        lines.write(
            Stream::Stderr,
            b"thread '<unnamed>' (1) panicked at crates/runtime/src/call.rs:163:38:\nexpected array\n",
        );
        assert_eq!(lines.last_words().unwrap(), "expected array");
        let mut lines = Lines::default();
        lines.write(Stream::Stderr, b"thread '<unnamed>' (1) panicked at src/lib.rs:1:2:\nit cannot be\n");
        assert_eq!(
            lines.last_words().unwrap(),
            "thread '<unnamed>' (1) panicked at src/lib.rs:1:2:\nit cannot be",
            "the author's own place"
        );
        let mut lines = Lines::default();
        lines.push(Level::Error, "ä".repeat(5000));
        lines.push(Level::Error, format!("{ADVICE}1` environment variable to display a backtrace"));
        assert_eq!(lines.last_words().unwrap(), "ä".repeat(512));
    }
}
