//! What the result reader in the Pod is told (`ReaderSettings`, `ResultReader`) and what it reports
//! (`AgentReport`).
//!
//! A command builder says in its `result-reader` how to read its program's output, the plan puts that into the
//! Pod as `/tools/result-reader.json`, the reader accumulates an `AgentReport` and leaves it as the container's
//! termination message, and the operator reads it there.
//!
//! May touch: these types and pure functions over them. Must not touch: files, processes, a client. The report
//! was written beside an agent that may write anything: `AgentReport::parse` bounds whatever it lets through.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most bytes of a summary, and of an error, in a report.
pub const SUMMARY_BYTES: usize = 1024;

/// Most bytes of one container's termination message (kubelet's own limit).
pub const MESSAGE_BYTES: usize = 4096;

/// Most bytes of the termination messages of one Pod: kubelet cuts each container's message to this, divided by
/// the number of all its containers, init containers included.
pub const POD_MESSAGE_BYTES: usize = 12 * 1024;

const MAX_RULES: usize = 64;
const MAX_CONDITIONS: usize = 8;
const MAX_POINTER_BYTES: usize = 256;
const MAX_ARGS: usize = 64;
const MAX_ARG_BYTES: usize = 4096;

/// Most tokens that a report counts: what every reader of JSON reads exactly.
pub const MAX_COUNT: u64 = (1 << 53) - 1;

/// How the output of an agent's program is read. A builder's `result-reader` is the JSON of this type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResultReader {
    /// The form of the output.
    pub format: Format,
    /// Appended to the program's arguments, so that it prints in that form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Every rule that holds for a line is applied to it, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// The session of a server that the program works in. Only for a program that attaches to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionReader>,
}

/// A program that attaches to a server is a window on what runs there: it may print less than was said, and its end
/// ends nothing. So the reader opens the session itself, reads from the server what the program left out, and aborts
/// the session when the program did not end well.
///
/// Paths are those of the server that the Task attaches to; `{id}` stands for the session's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionReader {
    /// `POST` here opens a session.
    pub open: String,
    /// The JSON body of that request.
    pub body: Value,
    /// Where the answer has the session's id.
    pub id: String,
    /// Appended to the program's arguments, so that it works in this session.
    pub args: Vec<String>,
    /// `GET` here answers a JSON array of records: all that was said so far.
    pub records: String,
    /// A record counts when each of these pointers has this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Value>,
    /// What of a record becomes an event `{"type": NAME, NAME: VALUE}` for the rules: the value at the pointer, or
    /// each element where it is an array.
    pub events: BTreeMap<String, String>,
    /// The first of these that an event has tells it from others: one that the program printed is not read twice.
    pub identity: Vec<String>,
    /// `POST` here ends what goes on in the session.
    pub abort: String,
    /// How to see that nothing goes on in the session although the program does not end. Without it, that is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<SessionIdle>,
}

/// A session in which nothing goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionIdle {
    /// `GET` here answers a JSON object.
    pub status: String,
    /// Where that object has something while the session is at work; `{id}` stands for the session's id.
    pub busy: String,
    /// Seconds without work, 1 to 3600, after which a program whose session has records that count is taken for done, and
    /// ended. One whose session has none after twice as long is started again, twice, and has then failed.
    pub seconds: u16,
}

/// The form of a program's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object a line; lines that are none are passed on as they are.
    JsonLines,
}

/// What to take out of a line. Every value that points into a line is an RFC 6901 JSON pointer.
/// A line for which a rule holds is printed only as its rules say: a rule with `when` alone hides its lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The rule holds when each of these pointers has this value (a string, number or boolean).
    pub when: BTreeMap<String, Value>,
    /// Printed to the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub print: Option<String>,
    /// The last of these becomes the report's summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The line is an error of the agent; the first of these that the line has becomes its message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error: Vec<String>,
    /// Added to the usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsagePointers>,
}

/// Where a line has the numbers that are summed up as usage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsagePointers {
    /// Tokens read by the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<String>,
    /// Tokens written by the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<String>,
    /// Tokens the model spent on reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<String>,
    /// Tokens served from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_tokens: Option<String>,
    /// Cost in US dollars.
    #[serde(default, rename = "costUSD", skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<String>,
}

/// The content of `/tools/result-reader.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReaderSettings {
    /// None: the program's output is passed through unread and its exit code alone counts.
    #[serde(default)]
    pub reader: Option<ResultReader>,
    /// URL of the server that the program attaches to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Whether the report may hold the agent's last words, and after a failure the end of its log
    /// (`KubeOpenCodeConfig.spec.resultSummary`).
    pub summary: bool,
    /// Seconds without any output after which the program is ended (`Agent.spec.idleTimeout`); none: that is no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u32>,
    /// Most bytes of the report: [`message_bytes`] of the Pod's number of containers.
    #[serde(default = "default_message_bytes")]
    pub message_bytes: usize,
}

fn default_message_bytes() -> usize {
    MESSAGE_BYTES
}

/// Most bytes of a termination message that kubelet leaves uncut in a Pod of so many containers, init containers
/// included. Leaves room for four more, which an admission webhook (a mesh's sidecar) may add to the Pod.
pub fn message_bytes(containers: usize) -> usize {
    (POD_MESSAGE_BYTES / (containers + 4)).min(MESSAGE_BYTES)
}

/// A `ResultReader` that makes no sense; the text names the place inside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("result-reader: {place}: {problem}")]
pub struct ReaderError {
    /// RFC 6901 pointer into the result reader's own JSON.
    pub place: String,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

impl ResultReader {
    /// Refuses what cannot mean anything: malformed pointers, rules without a condition, conditions that are no
    /// scalar, arguments the kernel does not take. (Unknown formats and fields are refused by serde.)
    pub fn check(&self) -> Result<(), ReaderError> {
        check_args("/args", &self.args)?;
        if self.rules.len() > MAX_RULES {
            return err("/rules", format!("{} rules, at most {MAX_RULES} are allowed", self.rules.len()));
        }
        self.rules.iter().enumerate().try_for_each(|(i, rule)| rule.check(&format!("/rules/{i}")))?;
        self.session.as_ref().map_or(Ok(()), SessionReader::check)
    }
}

impl SessionReader {
    fn check(&self) -> Result<(), ReaderError> {
        let idle = self.idle.as_ref().map(|idle| ("idle/status", &idle.status));
        let paths = [("open", &self.open), ("records", &self.records), ("abort", &self.abort)];
        for (field, path) in paths.into_iter().chain(idle) {
            // "//host" and "/\\host" would leave the server, and readers of addresses drop control characters
            let leaves = path.strip_prefix('/').is_none_or(|rest| rest.starts_with(['/', '\\']));
            if leaves || path.contains(char::is_control) {
                let problem = format!("{path:?} is no path on the server: it must start with one \"/\"");
                return err(format!("/session/{field}"), problem);
            }
        }
        check_args("/session/args", &self.args)?;
        check_pointer("/session/id", &self.id)?;
        if let Some(idle) = &self.idle {
            check_pointer("/session/idle/busy", &idle.busy)?;
            if !(1..=3600).contains(&idle.seconds) {
                return err("/session/idle/seconds", "1 to 3600 seconds are allowed".to_owned());
            }
        }
        check_conditions("/session/when", &self.when)?;
        if self.events.is_empty() || self.events.len() > MAX_CONDITIONS {
            return err("/session/events", format!("1 to {MAX_CONDITIONS} kinds of event are allowed"));
        }
        for (name, pointer) in &self.events {
            check_pointer(&format!("/session/events/{name}"), pointer)?;
        }
        if self.identity.is_empty() || self.identity.len() > MAX_CONDITIONS {
            return err("/session/identity", format!("1 to {MAX_CONDITIONS} pointers are allowed"));
        }
        let mut identity = self.identity.iter().enumerate();
        identity.try_for_each(|(i, pointer)| check_pointer(&format!("/session/identity/{i}"), pointer))
    }
}

impl Rule {
    fn check(&self, at: &str) -> Result<(), ReaderError> {
        if self.when.is_empty() || self.when.len() > MAX_CONDITIONS {
            return err(format!("{at}/when"), format!("a rule has 1 to {MAX_CONDITIONS} conditions"));
        }
        check_conditions(&format!("{at}/when"), &self.when)?;
        if self.error.len() > MAX_CONDITIONS {
            return err(format!("{at}/error"), format!("at most {MAX_CONDITIONS} pointers are allowed"));
        }
        for (field, pointer) in self.pointers() {
            check_pointer(&format!("{at}/{field}"), pointer)?;
        }
        Ok(())
    }

    fn pointers(&self) -> impl Iterator<Item = (String, &String)> {
        let errors = self.error.iter().enumerate().map(|(i, p)| (format!("error/{i}"), p));
        let usage = self.usage.iter().flat_map(|usage| {
            [
                ("inputTokens", &usage.input_tokens),
                ("outputTokens", &usage.output_tokens),
                ("reasoningTokens", &usage.reasoning_tokens),
                ("cacheReadTokens", &usage.cache_read_tokens),
                ("costUSD", &usage.cost_usd),
            ]
        });
        [("print", &self.print), ("summary", &self.summary)]
            .into_iter()
            .filter_map(|(field, pointer)| Some((field.to_owned(), pointer.as_ref()?)))
            .chain(errors)
            .chain(usage.filter_map(|(field, pointer)| Some((format!("usage/{field}"), pointer.as_ref()?))))
    }
}

fn check_args(at: &str, args: &[String]) -> Result<(), ReaderError> {
    if args.len() > MAX_ARGS {
        return err(at, format!("{} arguments, at most {MAX_ARGS} are allowed", args.len()));
    }
    for (i, arg) in args.iter().enumerate() {
        if arg.contains('\0') || arg.len() > MAX_ARG_BYTES {
            let problem = format!("an argument has at most {MAX_ARG_BYTES} bytes and none of them is 0");
            return err(format!("{at}/{i}"), problem);
        }
    }
    Ok(())
}

fn check_conditions(at: &str, conditions: &BTreeMap<String, Value>) -> Result<(), ReaderError> {
    for (pointer, value) in conditions {
        check_pointer(at, pointer)?;
        if value.is_null() || value.is_array() || value.is_object() {
            return err(at, format!("the value of {pointer} must be a string, a number or a boolean"));
        }
    }
    Ok(())
}

fn check_pointer(at: &str, pointer: &str) -> Result<(), ReaderError> {
    if !pointer.starts_with('/') {
        return err(at, format!("{pointer:?} is no JSON pointer: it must start with \"/\""));
    }
    if pointer.len() > MAX_POINTER_BYTES {
        return err(at, format!("a JSON pointer may have at most {MAX_POINTER_BYTES} bytes"));
    }
    let escapes_hold = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !escapes_hold {
        return err(
            at,
            format!("{pointer:?} is no JSON pointer: \"~\" is written \"~0\" and \"/\" in a key \"~1\""),
        );
    }
    Ok(())
}

fn err<T>(place: impl Into<String>, problem: String) -> Result<T, ReaderError> {
    Err(ReaderError { place: place.into(), problem })
}

/// What became of the agent: its container's termination message.
/// The short fields come first, so that a person who reads a message that was cut still sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used, as far as its output said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The first error that the agent reported, or why its program could not run; at most [`SUMMARY_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// After a failure the last lines of the agent's own log; at most [`SUMMARY_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The agent's last words; at most [`SUMMARY_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// How the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The program exited 0 and reported no error.
    Completed,
    /// The program reported an error, whatever its exit code.
    AgentError,
    /// The program could not be started, exited with another code or was killed, and reported no error itself.
    Failed,
    /// The container was started a second time; the program was not.
    Restarted,
    /// The program printed nothing for as long as [`ReaderSettings::idle_seconds`] says, and was ended.
    IdleTimeout,
}

/// What an agent used, summed over its run; parts that its output did not name are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens read by the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64"))]
    pub input_tokens: Option<u64>,
    /// Tokens written by the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64"))]
    pub output_tokens: Option<u64>,
    /// Tokens the model spent on reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64"))]
    pub reasoning_tokens: Option<u64>,
    /// Tokens served from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64"))]
    pub cache_read_tokens: Option<u64>,
    /// Cost in US dollars, a plain decimal number such as `0.0123`.
    #[serde(default, rename = "costUSD", skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<String>,
}

impl AgentReport {
    /// A report of an outcome and nothing else.
    pub fn new(outcome: Outcome) -> Self {
        AgentReport { outcome, usage: None, error: None, log: None, summary: None }
    }

    /// The report as compact JSON of at most `limit` bytes. Texts are cut to fit, the summary before the log (which loses
    /// its beginning) and the error, and left out where nothing would remain of them; then the usage. The outcome always
    /// stays.
    pub fn to_message(&self, limit: usize) -> String {
        let mut report = self.clone();
        loop {
            let message = serde_json::to_string(&report).unwrap_or_default();
            let excess = message.len().saturating_sub(limit);
            if excess == 0 {
                return message;
            }
            if !shorten(&mut report.summary, excess, cut)
                && !shorten(&mut report.log, excess, end_of)
                && !shorten(&mut report.error, excess, cut)
                && report.usage.take().is_none()
            {
                return message;
            }
        }
    }

    /// Reads a termination message. None when it is no report (a custom command, an image's own message, a
    /// message that was cut). What the agent could have written itself is bounded: texts to
    /// [`SUMMARY_BYTES`], counts to what JSON carries exactly, a cost that is no decimal number is dropped.
    pub fn parse(message: &str) -> Option<Self> {
        let mut report: AgentReport = serde_json::from_str(message.trim()).ok()?;
        report.summary = report.summary.map(|text| cut(&text, SUMMARY_BYTES).to_owned());
        report.error = report.error.map(|text| cut(&text, SUMMARY_BYTES).to_owned());
        report.log = report.log.map(|text| end_of(&text, SUMMARY_BYTES).to_owned());
        if let Some(usage) = &mut report.usage {
            let counts = [
                &mut usage.input_tokens,
                &mut usage.output_tokens,
                &mut usage.reasoning_tokens,
                &mut usage.cache_read_tokens,
            ];
            counts.into_iter().flatten().for_each(|count| *count = (*count).min(MAX_COUNT));
            usage.cost_usd = usage.cost_usd.take().filter(|cost| is_decimal(cost));
        }
        Some(report)
    }
}

/// Cuts a text by about `excess` bytes, at least by one character; false when there is none left to cut.
fn shorten(text: &mut Option<String>, excess: usize, cut: fn(&str, usize) -> &str) -> bool {
    let Some(before) = text.take() else { return false };
    // an escaped character takes up to six bytes: cutting the sixth part at least ends soon and cuts little
    let after = cut(&before, before.len().saturating_sub(excess.div_ceil(6)));
    *text = (!after.is_empty()).then(|| after.to_owned());
    true
}

/// The longest prefix of at most `bytes` bytes that ends at a character's boundary.
pub fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The longest end of at most `bytes` bytes that begins at a character's boundary.
fn end_of(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |part: &str| !part.is_empty() && part.len() <= 18 && part.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(fraction)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn opencode() -> Value {
        json!({"format": "json-lines", "args": ["--format", "json"], "rules": [
            {"when": {"/type": "text"}, "print": "/part/text", "summary": "/part/text"},
            {"when": {"/type": "error"}, "error": ["/error/data/message", "/error/name"]},
            {"when": {"/type": "step_finish"}, "usage": {
                "inputTokens": "/part/tokens/input", "outputTokens": "/part/tokens/output",
                "reasoningTokens": "/part/tokens/reasoning", "cacheReadTokens": "/part/tokens/cache/read",
                "costUSD": "/part/cost"}}],
            "session": {"open": "/session", "body": {"title": "team-a/fix"}, "id": "/id", "args": ["--session", "{id}"],
                "records": "/session/{id}/message", "when": {"/info/role": "assistant"},
                "events": {"part": "/parts", "error": "/info/error"}, "identity": ["/part/id", "/error"],
                "abort": "/session/{id}/abort"}})
    }

    fn problem_of(reader: Value) -> String {
        match serde_json::from_value::<ResultReader>(reader) {
            Ok(reader) => reader.check().unwrap_err().to_string(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn the_json_of_a_reader_survives_unchanged() {
        let reader: ResultReader = serde_json::from_value(opencode()).unwrap();
        reader.check().unwrap();
        assert_eq!(serde_json::to_value(&reader).unwrap(), opencode());
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        for (at, value, words) in [
            ("/format", json!("xml"), "unknown variant `xml`, expected `json-lines`"),
            ("/rules/0/when", json!({}), "/rules/0/when: a rule has 1 to 8 conditions"),
            ("/rules/0/when", json!({"type": "text"}), "/rules/0/when: \"type\" is no JSON pointer"),
            (
                "/rules/0/when",
                json!({"/type": ["text"]}),
                "/rules/0/when: the value of /type must be a string",
            ),
            ("/rules/0/print", json!("/a~2"), "/rules/0/print: \"/a~2\" is no JSON pointer"),
            ("/rules/1/error/1", json!(""), "/rules/1/error/1: \"\" is no JSON pointer"),
            ("/rules/2/usage/costUSD", json!("cost"), "/rules/2/usage/costUSD: \"cost\" is no JSON pointer"),
            ("/args/0", json!("a\u{0}b"), "/args/0: an argument has at most"),
            (
                "/session/open",
                json!("//evil.example/session"),
                "/session/open: \"//evil.example/session\" is no path",
            ),
            (
                "/session/abort",
                json!("http://evil.example"),
                "/session/abort: \"http://evil.example\" is no path",
            ),
            ("/session/records", json!("/\\evil.example"), "/session/records: "),
            ("/session/open", json!("/\t/evil.example"), "/session/open: "),
            ("/session/id", json!("id"), "/session/id: \"id\" is no JSON pointer"),
            ("/session/args/1", json!("\u{0}"), "/session/args/1: an argument has at most"),
            ("/session/when", json!({"role": 1}), "/session/when: \"role\" is no JSON pointer"),
            ("/session/events", json!({}), "/session/events: 1 to 8 kinds of event"),
            ("/session/events/part", json!("parts"), "/session/events/part: \"parts\" is no JSON pointer"),
            ("/session/identity", json!([]), "/session/identity: 1 to 8 pointers"),
            ("/session/identity/0", json!("id"), "/session/identity/0: \"id\" is no JSON pointer"),
        ] {
            let mut reader = opencode();
            *reader.pointer_mut(at).unwrap() = value;
            let problem = problem_of(reader);
            assert!(problem.contains(words), "{at}: {problem}");
        }
        let mut misspelt = opencode();
        misspelt["rules"][0]["pirnt"] = json!("/part/text");
        assert!(problem_of(misspelt).contains("unknown field `pirnt`"));
    }

    #[test]
    fn settings_without_a_limit_take_kubelets() {
        let settings: ReaderSettings = serde_json::from_str(r#"{"reader":null,"summary":true}"#).unwrap();
        assert_eq!(
            settings,
            ReaderSettings {
                reader: None,
                server: None,
                summary: true,
                idle_seconds: None,
                message_bytes: MESSAGE_BYTES
            }
        );
        assert_eq!(message_bytes(3), 1755);
        assert_eq!(message_bytes(0), 3072);
    }

    #[test]
    fn a_report_is_written_short_fields_first_and_read_back() {
        let report = AgentReport {
            outcome: Outcome::AgentError,
            usage: Some(Usage { input_tokens: Some(5), cost_usd: Some("0.0123".into()), ..Usage::default() }),
            error: Some("no such model".into()),
            log: Some("did you mean m?".into()),
            summary: Some("done".into()),
        };
        let message = report.to_message(MESSAGE_BYTES);
        assert_eq!(
            message,
            r#"{"outcome":"agent-error","usage":{"inputTokens":5,"costUSD":"0.0123"},"error":"no such model","log":"did you mean m?","summary":"done"}"#
        );
        assert_eq!(AgentReport::parse(&message), Some(report));
        assert_eq!(
            AgentReport::new(Outcome::Restarted).to_message(MESSAGE_BYTES),
            r#"{"outcome":"restarted"}"#
        );
    }

    #[test]
    fn a_report_fits_its_limit_and_stays_readable() {
        let report = AgentReport {
            outcome: Outcome::Failed,
            usage: Some(Usage { input_tokens: Some(5), ..Usage::default() }),
            error: Some("\u{1}é".repeat(400)),
            log: Some("é\u{1}".repeat(400)),
            summary: Some("\u{2}日本".repeat(300)),
        };
        for limit in [4096, 1755, 400, 100, 60, 25] {
            let message = report.to_message(limit);
            assert!(message.len() <= limit, "{} > {limit}: {message}", message.len());
            assert_eq!(AgentReport::parse(&message).unwrap().outcome, Outcome::Failed);
        }
        assert!(report.to_message(4096).len() > 3500, "cut no more than needed");
        assert!(report.to_message(400).contains(r#""usage":{"inputTokens":5}"#), "usage outlives the texts");
    }

    #[test]
    fn what_an_agent_wrote_itself_is_bounded() {
        let wild = json!({"outcome": "completed", "summary": "x".repeat(3000), "more": 1,
            "usage": {"inputTokens": u64::MAX, "costUSD": "<b>"}});
        let report = AgentReport::parse(&wild.to_string()).unwrap();
        assert_eq!(report.summary.unwrap().len(), SUMMARY_BYTES);
        assert_eq!(report.usage.unwrap(), Usage { input_tokens: Some(MAX_COUNT), ..Usage::default() });
        for no_report in
            ["", "agent finished", r#"{"outcome":"completed","summ"#, r#"{"outcome":"great"}"#, "[]"]
        {
            assert_eq!(AgentReport::parse(no_report), None);
        }
    }
}
