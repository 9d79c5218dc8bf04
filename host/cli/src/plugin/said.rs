//! What plugins log in their calls, for their author: the lines that the operator would write into its own log.
//!
//! May touch: the one subscriber of this process's `tracing`. Must not touch: how much a plugin may log, which the plugin host
//! says.

use std::fmt::{self, Debug};
use std::mem;

use parking_lot::Mutex;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What the plugin host's lines of plugins are told by.
const TARGET: &str = "plugin";

/// The lines since somebody took them: a subscriber is one for the whole process.
static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    level: String,
    message: String,
}

/// A line, and whose it is. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Logged {
    /// Place and name of the item; none: the command builder.
    pub(super) item: Option<String>,
    /// Type of the item; none: the command builder.
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
    /// In which of its calls, from 1.
    pub(super) call: usize,
    /// `debug`, `info`, `warn` or `error`; of a stream `info` or `warn`.
    pub(super) level: String,
    pub(super) message: String,
}

impl Logged {
    pub(super) fn new(item: Option<&str>, type_: Option<&str>, call: usize, line: &Line) -> Self {
        let Line { level, message } = line.clone();
        Self { item: item.map(str::to_owned), type_: type_.map(str::to_owned), call, level, message }
    }
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.type_.as_deref().unwrap_or("the command builder");
        write!(f, "{who}, call {}: {}: {}", self.call, self.level, self.message)
    }
}

/// The lines for people: what is said again and again stands there once.
pub(super) fn shown(log: &[Logged]) -> Vec<String> {
    let same = log.chunk_by(|one, next| one == next);
    let line = |same: &[Logged]| match same {
        [] => String::new(),
        [one] => one.to_string(),
        [one, ..] => format!("{one} ({} times)", same.len()),
    };
    same.map(line).collect()
}

/// From now on lines are kept.
pub(super) fn listen() {
    // set before: it listens already
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Ear));
}

/// What was logged since this was called last.
pub(super) fn take() -> Vec<Line> {
    mem::take(&mut LINES.lock())
}

struct Ear;

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == TARGET {
            let level = event.metadata().level().as_str().to_lowercase();
            let mut line = Line { level, message: String::new() };
            event.record(&mut line);
            LINES.lock().push(line);
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message.insert_str(0, &format!("{value:?}")),
            "dropped" => self.message += &format!(": {value:?} lines are left out"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_stands_there_once() {
        let line = |call, message: &str| {
            let line = Line { level: "info".to_owned(), message: message.to_owned() };
            Logged::new(Some("an item"), Some("Jira"), call, &line)
        };
        let log = [line(1, "a"), line(1, "a"), line(2, "a"), line(2, "b")];
        assert_eq!(
            shown(&log),
            ["Jira, call 1: info: a (2 times)", "Jira, call 2: info: a", "Jira, call 2: info: b"]
        );
        let builder = Logged::new(None, None, 1, &Line { level: "warn".to_owned(), message: "c".to_owned() });
        assert_eq!(builder.to_string(), "the command builder, call 1: warn: c");
    }
}
