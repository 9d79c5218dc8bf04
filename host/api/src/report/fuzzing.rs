//! What holds for every termination message, for the fuzz target `agent_report`.

use super::{AgentReport, MAX_COUNT, MESSAGE_BYTES, Outcome, SUMMARY_BYTES, is_decimal};

/// # Panics
/// When something of the report has no bound, or is lost when it is written again.
pub fn message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(report) = AgentReport::parse(text) else { return };
    for text in [&report.summary, &report.log, &report.error].into_iter().flatten() {
        assert!(text.len() <= SUMMARY_BYTES);
    }
    if let Some(usage) = &report.usage {
        let counts =
            [usage.input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.cache_read_tokens];
        assert!(counts.into_iter().flatten().all(|count| count <= MAX_COUNT));
        assert!(usage.cost_usd.as_ref().is_none_or(|cost| is_decimal(cost)));
    }
    assert_eq!(AgentReport::parse(&report.to_message(usize::MAX)).as_ref(), Some(&report));
    let shortest = AgentReport::new(Outcome::AgentError).to_message(usize::MAX).len();
    for limit in [MESSAGE_BYTES, 1000, 100, shortest] {
        let cut = report.to_message(limit);
        assert!(cut.len() <= limit, "{} bytes: {cut}", cut.len());
        assert_eq!(AgentReport::parse(&cut).map(|again| again.outcome), Some(report.outcome), "{cut}");
    }
}

#[cfg(test)]
#[path = "../../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
#[test]
fn holds_for_the_seeds() {
    seeds::each("agent_report", message);
}
