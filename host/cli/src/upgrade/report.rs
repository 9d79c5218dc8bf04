//! What is said of an object, and how it is printed.
//!
//! May touch: words. Must not touch: what they are about.

use std::fmt;

use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::AgentKey;
use kubeopencode_plan::Refusal;

/// What follows from it, the first to do first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// The user has to do something, or the object does not work.
    Change,
    /// It counts for nothing here.
    Ignored,
    /// It works, and otherwise than before.
    Differs,
}

/// One thing that is said of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    verdict: Verdict,
    /// Which field, what about it, and what to do.
    words: String,
}

impl Finding {
    pub(super) fn change(words: impl Into<String>) -> Self {
        Self { verdict: Verdict::Change, words: words.into() }
    }

    pub(super) fn differs(words: impl Into<String>) -> Self {
        Self { verdict: Verdict::Differs, words: words.into() }
    }

    /// In the words of a condition that is True nevertheless.
    pub(super) fn notice((reason, message): &(Reason, String)) -> Self {
        Self { verdict: Verdict::Ignored, words: format!("{reason}: {message}") }
    }

    /// In the words of `render`, which begin with one of these places.
    pub(super) fn problem(problem: &str, places: [&str; 2]) -> Self {
        let own = places.iter().find_map(|place| problem.strip_prefix(*place)?.strip_prefix(": "));
        let own = own.unwrap_or(problem);
        let more = if own.starts_with("unknown field") {
            ": kubectl refuses it, and the API server drops it from objects that are there: remove it, or write it as this API has it"
        } else {
            ""
        };
        Self::change(format!("{own}{more}"))
    }

    /// In the words of a condition.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        Self::change(format!("{}: {refusal}", refusal.reason))
    }

    pub(super) fn of_wrong_agent(agent: &AgentKey) -> Self {
        Self::change(format!("spec.agentRef: change the Agent {agent} first, then look again"))
    }

    pub(super) fn is_change(&self) -> bool {
        self.verdict == Verdict::Change
    }
}

/// All that is said of an object.
pub(super) struct Report {
    /// As in `a.yaml: Task team/fix`.
    pub(super) place: String,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(place: String) -> Self {
        Self { place, findings: Vec::new() }
    }

    pub(super) fn add(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
        self.findings.sort_by_key(|finding| finding.verdict);
    }

    pub(super) fn is_to_change(&self) -> bool {
        self.findings.iter().any(Finding::is_change)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return writeln!(f, "{}: the same here", self.place);
        }
        writeln!(f, "{}", self.place)?;
        for Finding { verdict, words } in &self.findings {
            let verdict = match verdict {
                Verdict::Change => "change",
                Verdict::Ignored => "ignored",
                Verdict::Differs => "differs",
            };
            writeln!(f, "  {verdict:<8} {words}")?;
        }
        Ok(())
    }
}
