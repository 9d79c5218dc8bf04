//! From the program's output lines to what is printed and to the report. Pure: the heart of `agent-run`.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use kubeopencode_api::report::{
    AgentReport, MAX_COUNT, Outcome, ReaderSettings, Rule, SUMMARY_BYTES, SessionReader, Usage,
    UsagePointers, cut,
};
use serde_json::{Value, json};

use super::cost::Cost;
use super::lines::{Line, MAX_LINE};
use super::tail::Tail;

/// Most bytes printed of an event that no rule knows.
pub(super) const UNKNOWN_EVENT_BYTES: usize = 240;
const NAMELESS_ERROR: &str = "the agent reported an error without a message";
const SESSION_LOST: &str = "the server of the Agent was replaced, or ended, while the agent worked in it";

/// What the log gets for a line.
#[derive(Debug, PartialEq)]
pub(super) enum Printed<'a> {
    /// The program's own bytes.
    AsIs(&'a [u8]),
    /// This and a newline.
    Text(String),
    Nothing,
}

/// What has been read so far.
pub(super) struct Reading<'s> {
    rules: &'s [Rule],
    session: Option<&'s SessionReader>,
    /// identities of what the program printed of its session
    seen: HashSet<String>,
    /// errors in records come from our own abort
    aborted: bool,
    keep_summary: bool,
    summary: Option<String>,
    error: Option<String>,
    /// why its server does not know the session any more
    lost: Option<String>,
    usage: Usage,
    cost: Option<Cost>,
    /// the end of what the program printed that is no event
    log: Tail,
}

impl<'s> Reading<'s> {
    pub(super) fn new(settings: &'s ReaderSettings) -> Self {
        Reading {
            rules: settings.reader.as_ref().map_or(&[], |reader| &reader.rules),
            session: settings.reader.as_ref().and_then(|reader| reader.session.as_ref()),
            seen: HashSet::new(),
            aborted: false,
            keep_summary: settings.summary,
            summary: None,
            error: None,
            lost: None,
            usage: Usage::default(),
            cost: None,
            log: Tail::default(),
        }
    }

    /// Takes in one line. Lines that are no JSON objects stay as they are; events that no rule knows are cut short.
    pub(super) fn line<'a>(&mut self, line: Line<'a>) -> Printed<'a> {
        let (bytes, length) = match line {
            Line::Whole(bytes) => (bytes, bytes.trim_ascii().len()),
            Line::Piece(bytes) => return self.as_it_is(bytes),
            Line::Shrunk { event, bytes } => (event, bytes),
        };
        let event = match event(bytes) {
            Some(event) => event,
            None if length > MAX_LINE => return Printed::Text(shortened(bytes, length)),
            None => return self.as_it_is(bytes),
        };
        if let Some(identity) = self.session.and_then(|session| identity(session, &event)) {
            self.seen.insert(identity);
        }
        match self.event(&event) {
            None => Printed::Text(shortened(bytes, length)),
            Some(texts) if texts.is_empty() => Printed::Nothing,
            Some(texts) => Printed::Text(texts.join("\n")),
        }
    }

    /// What is no event is the program's own log.
    fn as_it_is<'a>(&mut self, bytes: &'a [u8]) -> Printed<'a> {
        self.log.push(bytes);
        Printed::AsIs(bytes)
    }

    /// Takes in a record of the session; gives what the log lacks of it. Of a record only what a rule knows matters.
    pub(super) fn record(&mut self, record: &Value) -> Vec<String> {
        let Some(session) = self.session.filter(|session| all_hold(&session.when, record)) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for event in events(session, record) {
            if identity(session, &event).is_none_or(|identity| self.seen.insert(identity)) {
                texts.extend(self.event(&event).unwrap_or_default());
            } else {
                // what comes last in the session is its summary, whoever told it
                let rules = self.rules.iter().filter(|rule| all_hold(&rule.when, &event));
                rules.for_each(|rule| self.take_summary(rule, &event));
            }
        }
        texts
    }

    /// The session was aborted: that it says so is no error of the agent.
    pub(super) fn aborted(&mut self) {
        self.aborted = true;
    }

    /// The server does not know the session any more, for this reason: a program that did not end well knows no better than
    /// that something went wrong.
    pub(super) fn session_lost(&mut self, reason: &str) {
        self.lost = Some(format!("{SESSION_LOST} ({reason})"));
    }

    /// What is to be printed; none where no rule knows the event.
    fn event(&mut self, event: &Value) -> Option<Vec<String>> {
        let mut texts = None;
        for rule in self.rules.iter().filter(|rule| all_hold(&rule.when, event)) {
            self.apply(rule, event, texts.get_or_insert_default());
        }
        texts
    }

    fn apply(&mut self, rule: &Rule, event: &Value, texts: &mut Vec<String>) {
        let text_at = |pointer: &Option<String>| text(event.pointer(pointer.as_ref()?)?);
        texts.extend(text_at(&rule.print));
        self.take_summary(rule, event);
        if !rule.error.is_empty() && !self.aborted {
            let message = rule.error.iter().find_map(|pointer| text(event.pointer(pointer)?));
            let message = message.unwrap_or_else(|| NAMELESS_ERROR.to_owned());
            texts.push(format!("error: {message}"));
            self.error.get_or_insert_with(|| cut(&message, SUMMARY_BYTES).to_owned());
        }
        if let Some(pointers) = &rule.usage {
            self.add_usage(pointers, event);
        }
    }

    fn take_summary(&mut self, rule: &Rule, event: &Value) {
        let words = rule.summary.as_ref().and_then(|pointer| text(event.pointer(pointer)?));
        if let Some(words) = words.filter(|_| self.keep_summary) {
            self.summary = Some(cut(&words, SUMMARY_BYTES).to_owned());
        }
    }

    fn add_usage(&mut self, pointers: &UsagePointers, event: &Value) {
        let number = |pointer: &Option<String>| event.pointer(pointer.as_ref()?);
        for (total, pointer) in [
            (&mut self.usage.input_tokens, &pointers.input_tokens),
            (&mut self.usage.output_tokens, &pointers.output_tokens),
            (&mut self.usage.reasoning_tokens, &pointers.reasoning_tokens),
            (&mut self.usage.cache_read_tokens, &pointers.cache_read_tokens),
        ] {
            if let Some(count) = number(pointer).and_then(Value::as_u64) {
                *total = Some(total.unwrap_or(0).saturating_add(count).min(MAX_COUNT));
            }
        }
        if let Some(more) = number(&pointers.cost_usd).and_then(Value::as_f64).and_then(Cost::of) {
            self.cost.get_or_insert_default().add(more);
        }
    }

    /// The report, and the container's exit code, once the program ended with `code`. `stderr`: what it printed there.
    pub(super) fn report(mut self, code: u8, stderr: &Tail) -> (AgentReport, u8) {
        let outcome = match (&self.error, code) {
            (Some(_), _) => Outcome::AgentError,
            (None, 0) => Outcome::Completed,
            (None, _) => Outcome::Failed,
        };
        if let Some(lost) = self.lost.take().filter(|_| outcome != Outcome::Completed) {
            self.error = Some(match self.error.take() {
                Some(error) if error != NAMELESS_ERROR => {
                    cut(&format!("{error}; {lost}"), SUMMARY_BYTES).to_owned()
                }
                _ => lost,
            });
        }
        let code = if code == 0 && outcome == Outcome::AgentError { 1 } else { code };
        (self.ended(outcome, stderr), code)
    }

    /// The same when the program was ended because it printed nothing for so long.
    pub(super) fn idle(mut self, limit: Duration, stderr: &Tail) -> (AgentReport, u8) {
        let silent = format!("it printed nothing for {} s", limit.as_secs());
        self.error = Some(match self.error.take() {
            None => silent,
            Some(error) => cut(&format!("{silent}, after the error: {error}"), SUMMARY_BYTES).to_owned(),
        });
        (self.ended(Outcome::IdleTimeout, stderr), 1)
    }

    /// The same when the program was not started.
    pub(super) fn not_run(mut self, problem: String, code: u8, stderr: &Tail) -> (AgentReport, u8) {
        self.error = Some(match self.lost.take() {
            None => problem,
            Some(lost) => cut(&format!("{problem}; {lost}"), SUMMARY_BYTES).to_owned(),
        });
        (self.ended(Outcome::Failed, stderr), code)
    }

    fn ended(self, outcome: Outcome, stderr: &Tail) -> AgentReport {
        let usage = Usage { cost_usd: self.cost.map(|cost| cost.to_string()), ..self.usage };
        // a program that writes to stderr says there why
        let log = stderr.text().or_else(|| self.log.text());
        AgentReport {
            outcome,
            signal: None,
            usage: (usage != Usage::default()).then_some(usage),
            error: self.error,
            log: log.filter(|_| self.keep_summary && outcome != Outcome::Completed),
            summary: self.summary,
        }
    }
}

fn event(line: &[u8]) -> Option<Value> {
    let is_object = line.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(line).ok())?
}

pub(super) fn all_hold(conditions: &BTreeMap<String, Value>, value: &Value) -> bool {
    conditions.iter().all(|(pointer, expected)| value.pointer(pointer) == Some(expected))
}

/// The events that a record holds, in the order of their names.
pub(super) fn events(session: &SessionReader, record: &Value) -> impl Iterator<Item = Value> {
    session.events.iter().flat_map(|(name, pointer)| {
        let values = match record.pointer(pointer) {
            Some(Value::Array(values)) => &values[..],
            Some(Value::Null) | None => &[],
            Some(value) => std::slice::from_ref(value),
        };
        values.iter().map(move |value| json!({"type": name, name: value}))
    })
}

fn identity(session: &SessionReader, event: &Value) -> Option<String> {
    session.identity.iter().find_map(|pointer| event.pointer(pointer)).map(Value::to_string)
}

/// Strings as they are, other values as JSON; nothing for an absent or blank one.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.trim_end().to_owned(),
        other => other.to_string(),
    };
    (!text.trim_start().is_empty()).then_some(text)
}

/// The beginning of a line of this length.
fn shortened(line: &[u8], length: usize) -> String {
    let line = String::from_utf8_lossy(line.trim_ascii());
    match cut(&line, UNKNOWN_EVENT_BYTES) {
        short if short.len() == length => short.to_owned(),
        short => format!("{short}… ({length} bytes)"),
    }
}

#[cfg(test)]
mod tests;
