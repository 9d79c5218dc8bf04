//! From the program's output lines to what is printed and to the report. Pure: the heart of `agent-run`.

use std::collections::{BTreeMap, HashSet};

use kubeopencode_api::report::{
    AgentReport, MAX_COUNT, Outcome, ReaderSettings, Rule, SUMMARY_BYTES, SessionReader, Usage,
    UsagePointers, cut,
};
use serde_json::{Value, json};

use super::cost::Cost;
use super::lines::Line;

/// Most bytes printed of an event that no rule knows.
pub(super) const UNKNOWN_EVENT_BYTES: usize = 240;
const NAMELESS_ERROR: &str = "the agent reported an error without a message";

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
    usage: Usage,
    cost: Option<Cost>,
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
            usage: Usage::default(),
            cost: None,
        }
    }

    /// Takes in one line. Lines that are no JSON objects stay as they are; events that no rule knows are cut short.
    pub(super) fn line<'a>(&mut self, line: Line<'a>) -> Printed<'a> {
        let bytes = match line {
            Line::Whole(bytes) => bytes,
            Line::Piece(bytes) => return Printed::AsIs(bytes),
        };
        let Some(event) = event(bytes) else { return Printed::AsIs(bytes) };
        if let Some(identity) = self.session.and_then(|session| identity(session, &event)) {
            self.seen.insert(identity);
        }
        match self.event(&event) {
            None => Printed::Text(shortened(bytes)),
            Some(texts) if texts.is_empty() => Printed::Nothing,
            Some(texts) => Printed::Text(texts.join("\n")),
        }
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

    /// The report, and the container's exit code, once the program ended with `code`.
    pub(super) fn report(self, code: u8) -> (AgentReport, u8) {
        let outcome = match (&self.error, code) {
            (Some(_), _) => Outcome::AgentError,
            (None, 0) => Outcome::Completed,
            (None, _) => Outcome::Failed,
        };
        let usage = Usage { cost_usd: self.cost.map(|cost| cost.to_string()), ..self.usage };
        let report = AgentReport {
            outcome,
            usage: (usage != Usage::default()).then_some(usage),
            error: self.error,
            summary: self.summary,
        };
        let code = if code == 0 && outcome == Outcome::AgentError { 1 } else { code };
        (report, code)
    }

    /// The same when the program was not started.
    pub(super) fn not_run(self, problem: String, code: u8) -> (AgentReport, u8) {
        (AgentReport { error: Some(problem), ..AgentReport::new(Outcome::Failed) }, code)
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

fn shortened(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line.trim_ascii());
    match cut(&line, UNKNOWN_EVENT_BYTES) {
        short if short.len() == line.len() => short.to_owned(),
        short => format!("{short}… ({} bytes)", line.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(rules: Value, summary: bool) -> ReaderSettings {
        serde_json::from_value(
            json!({"reader": {"format": "json-lines", "rules": rules}, "summary": summary}),
        )
        .unwrap()
    }

    fn opencode() -> ReaderSettings {
        settings(
            json!([
                {"when": {"/part/type": "step-start"}},
                {"when": {"/part/type": "text"}, "print": "/part/text", "summary": "/part/text"},
                {"when": {"/type": "error"}, "error": ["/error/data/message", "/error/name"]},
                {"when": {"/part/type": "step-finish"}, "usage": {
                    "inputTokens": "/part/tokens/input", "outputTokens": "/part/tokens/output",
                    "reasoningTokens": "/part/tokens/reasoning", "cacheReadTokens": "/part/tokens/cache/read",
                    "costUSD": "/part/cost"}}
            ]),
            true,
        )
    }

    /// What the log shows for this output, and what is reported when the program then exits with `code`.
    fn read(settings: &ReaderSettings, output: &[u8], code: u8) -> (String, AgentReport, u8) {
        let mut reading = Reading::new(settings);
        let mut log = Vec::new();
        for line in output.split_inclusive(|byte| *byte == b'\n') {
            match reading.line(Line::Whole(line)) {
                Printed::AsIs(bytes) => log.extend_from_slice(bytes),
                Printed::Text(text) => log.extend_from_slice(format!("{text}\n").as_bytes()),
                Printed::Nothing => {}
            }
        }
        let (report, code) = reading.report(code);
        (String::from_utf8_lossy(&log).into_owned(), report, code)
    }

    #[test]
    fn a_run_of_opencode_reads_like_a_conversation_and_adds_up() {
        let output = include_bytes!("../../tests/data/opencode-tool.jsonl");
        let (log, report, code) = read(&opencode(), output, 0);
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[0], "I will look.");
        assert!(
            lines[1].starts_with(r#"{"type":"tool_use","#) && lines[1].ends_with(" bytes)"),
            "{}",
            lines[1]
        );
        assert_eq!(lines[2..], ["Hello from", "the stub."]);
        let usage = Usage {
            input_tokens: Some(1134),
            output_tokens: Some(69),
            reasoning_tokens: Some(7),
            cache_read_tokens: Some(200),
            cost_usd: Some("0.0004602".into()),
        };
        let expected = AgentReport {
            usage: Some(usage),
            summary: Some("Hello from\nthe stub.".into()),
            ..AgentReport::new(Outcome::Completed)
        };
        assert_eq!((report, code), (expected, 0));
    }

    #[test]
    fn an_error_event_fails_the_container_even_after_exit_0() {
        let output = include_bytes!("../../tests/data/opencode-401.jsonl");
        let (log, report, code) = read(&opencode(), output, 0);
        assert_eq!(log, "error: stub says 401\n");
        let expected =
            AgentReport { error: Some("stub says 401".into()), ..AgentReport::new(Outcome::AgentError) };
        assert_eq!((&report, code), (&expected, 1));
        assert_eq!(read(&opencode(), output, 3).2, 3, "the program's own code stays");
    }

    #[test]
    fn the_first_error_counts_and_all_are_printed() {
        let output = br#"{"type":"error","error":{"name":"First","data":{"message":""}}}
{"type":"error","error":{"name":"Second"}}
{"type":"error"}
"#;
        let (log, report, _) = read(&opencode(), output, 0);
        assert_eq!(log, format!("error: First\nerror: Second\nerror: {NAMELESS_ERROR}\n"));
        assert_eq!(report.error.unwrap(), "First");
    }

    #[test]
    fn what_is_no_event_passes_as_it_is() {
        let output = b"plain words\n\xff\xfe\x00 bytes\n[1,2]\n{broken\n\n{\"half\":";
        let mut reading = opencode();
        reading.summary = false;
        let (log, report, code) = read(&reading, output, 0);
        assert_eq!(log, String::from_utf8_lossy(output));
        assert_eq!((report, code), (AgentReport::new(Outcome::Completed), 0));
    }

    #[test]
    fn an_unknown_event_is_cut_short_and_a_hidden_one_is_not_printed() {
        let long = json!({"type": "tool_use", "output": "é".repeat(500)}).to_string();
        let output = format!("{{\"part\":{{\"type\":\"step-start\"}}}}\n{{\"type\":\"new\"}}\n{long}\n");
        let (log, ..) = read(&opencode(), output.as_bytes(), 0);
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], r#"{"type":"new"}"#);
        assert!(
            lines[1].len() < 300 && lines[1].ends_with(&format!("… ({} bytes)", long.len())),
            "{}",
            lines[1]
        );
    }

    #[test]
    fn the_summary_is_the_last_text_cut_or_left_out() {
        let rules = json!([{"when": {"/done": true}, "summary": "/say"}]);
        let output = format!(
            "{}\n{}\n{}\n",
            json!({"done": true, "say": "first"}),
            json!({"done": true, "say": "日".repeat(600)}),
            json!({"done": true, "say": "  \n"}),
        );
        let (log, report, _) = read(&settings(rules.clone(), true), output.as_bytes(), 0);
        assert_eq!(log, "", "a rule without print hides its line");
        assert_eq!(report.summary.unwrap(), "日".repeat(341));
        assert_eq!(read(&settings(rules, false), output.as_bytes(), 0).1.summary, None);
    }

    #[test]
    fn strange_numbers_do_not_count() {
        let rules = json!([{"when": {"/u": 1}, "usage": {"inputTokens": "/in", "costUSD": "/usd"}}]);
        let output = format!(
            "{}\n{}\n{}\n",
            json!({"u": 1, "in": -4, "usd": "free"}),
            json!({"u": 1, "in": 1.5, "usd": -1}),
            json!({"u": 1, "in": u64::MAX, "usd": null}),
        );
        let usage = read(&settings(rules, true), output.as_bytes(), 0).1.usage.unwrap();
        assert_eq!(usage, Usage { input_tokens: Some(MAX_COUNT), ..Usage::default() });
    }

    #[test]
    fn without_a_reader_the_exit_code_alone_counts() {
        let none: ReaderSettings = serde_json::from_str(r#"{"reader":null,"summary":true}"#).unwrap();
        assert_eq!(Reading::new(&none).report(0), (AgentReport::new(Outcome::Completed), 0));
        assert_eq!(Reading::new(&none).report(137), (AgentReport::new(Outcome::Failed), 137));
    }
}
