//! What is said of an object, and how it is printed.
//!
//! May touch: words. Must not touch: what they are about.

use std::fmt;

use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::AgentKey;
use kubeopencode_plan::Refusal;

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// The user has to do something, or the object does not work.
    Change,
    /// It counts for nothing here.
    Ignored,
    /// It works, and otherwise than before.
    Differs,
}

/// One thing that is said of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

    pub(super) fn ignored(reason: Reason, message: &str) -> Self {
        Self { verdict: Verdict::Ignored, words: format!("{reason}: {message}") }
    }

    /// In the words of `render`, which begin with one of these places.
    pub(super) fn refused(problem: &str, places: &[&str]) -> Self {
        let own = places.iter().find_map(|place| problem.strip_prefix(place)?.strip_prefix(": "));
        let own = own.unwrap_or(problem);
        // where kubectl is not asked, nobody refuses it
        let then = if own.starts_with("unknown field") {
            ": kubectl refuses it, and the API server drops it of what is there: remove it, or write it as this API has it"
        } else {
            ""
        };
        Self::change(format!("{own}{then}"))
    }

    /// In the words of a condition.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        Self::change(format!("{}: {refusal}", refusal.reason))
    }

    pub(super) fn of_wrong_agent(agent: &AgentKey) -> Self {
        let AgentKey { namespace, name } = agent;
        Self::change(format!(
            "spec.agentRef: the Agent {namespace}/{name} has to be changed first; then look again"
        ))
    }

    pub(super) fn has_to_change(&self) -> bool {
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

    pub(super) fn add(&mut self, findings: &[Finding]) {
        self.findings.extend_from_slice(findings);
        // what has to be done first
        self.findings.sort_by_key(|finding| finding.verdict);
    }

    pub(super) fn has_to_change(&self) -> bool {
        self.findings.iter().any(Finding::has_to_change)
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
