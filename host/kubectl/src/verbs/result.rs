//! `result`: what the agent said at its end.
//!
//! May touch: one Task, which it reads; stdout.

use kubeopencode_api::task::Task;
use serde_json::{Value, json};

use crate::args::{Place, ResultOf};
use crate::cluster::Cluster;
use crate::error::Failure;
use crate::output::{print, remark};
use crate::table::harmless;
use crate::task::{ended, status};
use crate::verbs::then::json as as_json;

/// Prints it.
///
/// # Errors
/// When the Task is not over, or did not do its work: the agent's own words are printed before that.
pub(crate) async fn main(flags: ResultOf, place: &Place) -> Result<(), Failure> {
    let task = Cluster::connect(place).await?.task(&flags.task).await?;
    if flags.output.is_some() && task.is_terminal() {
        print(as_json(&data(&task))?)?;
        return ended(&task).map(drop);
    }
    print(words(&task))?;
    let end = ended(&task)?;
    if status(&task).result.and_then(|result| result.summary).is_none() {
        remark(&format!(
            "{end}; it has no summary: it ran a command in place of an agent, or resultSummary of KubeOpenCodeConfig is false"
        ));
    }
    Ok(())
}

/// The agent's own words.
fn words(task: &Task) -> String {
    let result = status(task).result.unwrap_or_default();
    let parts = [result.summary, result.error].into_iter().flatten();
    parts.map(|text| format!("{}\n", harmless(text.trim_end()))).collect()
}

/// All that is known at the end.
fn data(task: &Task) -> Value {
    let (of, key) = (status(task), task.key());
    json!({
        "namespace": key.namespace, "name": key.name, "phase": of.phase, "reason": of.reason, "message": of.message,
        "summary": of.result.as_ref().and_then(|result| result.summary.as_ref()),
        "error": of.result.as_ref().and_then(|result| result.error.as_ref()),
        "usage": of.usage, "startTime": of.start_time, "agentStarted": of.agent_started,
        "completionTime": of.completion_time, "duration": of.duration,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tests::task;

    #[test]
    fn a_result_is_the_agents_words_or_all_that_is_known() {
        let task = task(json!({
            "phase": "Failed", "reason": "AgentReportedError", "message": "the agent reported an error: no key",
            "result": {"summary": "I tried.\n", "error": "no \u{7}key"},
            "usage": {"inputTokens": 11, "costUSD": "0.0123"}, "duration": "5s",
            "startTime": "2026-11-27T10:00:00Z", "agentStarted": "2026-11-27T10:00:01Z",
            "completionTime": "2026-11-27T10:00:05Z",
        }));
        assert_eq!(words(&task), "I tried.\nno \u{fffd}key\n");
        insta::assert_json_snapshot!(data(&task));
    }
}
