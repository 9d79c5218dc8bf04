//! Where words go, and how they look there: colours and progress on a terminal and nowhere else.
//!
//! May touch: stdout, stderr. Must not touch: what is said.

use std::io::{IsTerminal, Write};

use crate::error::Failure;

/// What a piece of text is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Nothing in particular.
    Plain,
    /// It went well.
    Good,
    /// Something is at work.
    Busy,
    /// Something waits, or wants a look.
    Warn,
    /// It went wrong.
    Bad,
}

impl Paint {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Busy => Some("36"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether it is.
    pub(crate) colours: bool,
}

impl Style {
    /// Of stdout: on a terminal, unless `NO_COLOR` or a dumb terminal says otherwise.
    pub(crate) fn of_stdout() -> Self {
        Self::on(std::io::stdout().is_terminal(), |name| std::env::var(name).ok())
    }

    fn on(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: is_terminal && !is_unwanted && !is_dumb(variable) }
    }

    /// A text in the colour of what it is about.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        match paint.code() {
            Some(code) if self.colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }
}

/// Whether the terminal prints whatever it is sent.
fn is_dumb(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("TERM").is_some_and(|term| term == "dumb")
}

/// Prints to stdout.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_ref())?;
    Ok(out.flush()?)
}

/// Says something on stderr. That nobody hears it is no reason to end.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What is waited for, in one line of a terminal that changes.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    said: String,
}

impl Progress {
    /// On stderr, where that is a terminal whose line can change.
    pub(crate) fn new() -> Self {
        Self::on(std::io::stderr().is_terminal(), |name| std::env::var(name).ok())
    }

    fn on(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        Self { is_shown: is_terminal && !is_dumb(variable), said: String::new() }
    }

    /// Nowhere: another one has the line.
    pub(crate) fn silent() -> Self {
        Self { is_shown: false, said: String::new() }
    }

    /// In place of what was said before.
    pub(crate) fn say(&mut self, text: &str) {
        if self.is_shown && self.said != text {
            text.clone_into(&mut self.said);
            let _ = write!(std::io::stderr(), "{}", in_place(text));
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if !self.said.is_empty() {
            self.said.clear();
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// A text in place of the line of the cursor. The terminal cuts it at its edge: of what wraps, all but the last line would stay.
fn in_place(text: &str) -> String {
    format!("\r\u{1b}[K\u{1b}[?7l{}\u{1b}[?7h", text.replace('\n', " "))
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_there_only_where_they_are_wanted() {
        for (is_terminal, name, value, colours) in [
            (true, "TERM", "xterm-256color", true),
            (true, "NO_COLOR", "", true),
            (true, "NO_COLOR", "1", false),
            (true, "TERM", "dumb", false),
            (false, "TERM", "xterm-256color", false),
        ] {
            let variable = |asked: &str| (asked == name).then(|| value.to_owned());
            assert_eq!(Style::on(is_terminal, variable).colours, colours, "{is_terminal} {name}={value}");
        }
        let [plain, coloured] = [false, true].map(|colours| Style { colours });
        assert_eq!(plain.paint(Paint::Bad, "Failed"), "Failed");
        assert_eq!(coloured.paint(Paint::Bad, "Failed"), "\u{1b}[31mFailed\u{1b}[0m");
        assert_eq!(coloured.paint(Paint::Plain, "Pending"), "Pending");
    }

    #[test]
    fn a_line_that_changes_is_there_only_where_it_can() {
        for (is_terminal, term, is_shown) in
            [(true, "xterm-256color", true), (true, "dumb", false), (false, "xterm-256color", false)]
        {
            let variable = |asked: &str| (asked == "TERM").then(|| term.to_owned());
            assert_eq!(Progress::on(is_terminal, variable).is_shown, is_shown, "{is_terminal} {term}");
        }
    }

    #[test]
    fn what_is_waited_for_is_one_line() {
        assert_eq!(in_place("2 lines:\nno key"), "\r\u{1b}[K\u{1b}[?7l2 lines: no key\u{1b}[?7h");
    }
}
