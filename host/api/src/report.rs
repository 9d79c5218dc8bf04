//! What the result reader in the Pod is told (`ReaderSettings`, `ResultReader`) and what it reports
//! (`AgentReport`).
//!
//! A command builder says in its `result-reader` how to read its program's output, the plan puts that into the
//! Pod as `/tools/result-reader.json`, the reader accumulates an `AgentReport` and leaves it as the container's
//! termination message, and the operator reads it there.
//!
//! May touch: these types and pure functions over them. Must not touch: files, processes, a client. The report
//! was written beside an agent that may write anything: `AgentReport::parse` bounds whatever it lets through.

#[cfg(any(test, debug_assertions))]
pub mod fuzzing;
mod result_reader;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use result_reader::{Format, ReaderError, ResultReader, Rule, SessionIdle, SessionReader, UsagePointers};

/// Most bytes of a summary, and of an error, in a report.
pub const SUMMARY_BYTES: usize = 1024;

/// Most bytes of one container's termination message (kubelet's own limit).
pub const MESSAGE_BYTES: usize = 4096;

/// Most bytes of the termination messages of one Pod: kubelet cuts each container's message to this, divided by
/// the number of all its containers, init containers included.
pub const POD_MESSAGE_BYTES: usize = 12 * 1024;

/// Most tokens that a report counts: what every reader of JSON reads exactly.
pub const MAX_COUNT: u64 = (1 << 53) - 1;

/// The content of `/tools/result-reader.json`. The program that reads it may be older than the operator that wrote it: what
/// it does not know it leaves out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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

/// What became of the agent: its container's termination message.
/// The short fields come first, so that a person who reads a message that was cut still sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// How it ended.
    pub outcome: Outcome,
    /// The first signal that asked the program to end before it had ended, as in 15 (`SIGTERM`), which the kubelet sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
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
        AgentReport { outcome, signal: None, usage: None, error: None, log: None, summary: None }
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
            signal: Some(15),
            usage: Some(Usage { input_tokens: Some(5), cost_usd: Some("0.0123".into()), ..Usage::default() }),
            error: Some("no such model".into()),
            log: Some("did you mean m?".into()),
            summary: Some("done".into()),
        };
        let message = report.to_message(MESSAGE_BYTES);
        assert_eq!(
            message,
            r#"{"outcome":"agent-error","signal":15,"usage":{"inputTokens":5,"costUSD":"0.0123"},"error":"no such model","log":"did you mean m?","summary":"done"}"#
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
            signal: None,
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
