//! How the lines of `--output-format stream-json` are read: one message a line, the last one of type `result`.

use serde_json::{Value, json};

/// Ends of a run without a result. Messages of theirs that say `is_error: false` were seen, too.
const FAILURES: [&str; 4] = [
    "error_during_execution",
    "error_max_turns",
    "error_max_budget_usd",
    "error_max_structured_output_retries",
];

/// The `result-reader`.
pub(crate) fn reader() -> Value {
    // a message holds one block of what the model says, or uses
    let said = |block: &str| json!({"/type": "assistant", "/message/content/0/type": block});
    let mut rules = vec![
        // printed only as the rules below say
        json!({"when": {"/type": "system"}}),
        json!({"when": {"/type": "user"}}),
        json!({"when": {"/type": "assistant"}}),
        json!({"when": {"/type": "rate_limit_event"}}),
        json!({"when": said("text"), "print": "/message/content/0/text", "summary": "/message/content/0/text"}),
        json!({"when": said("tool_use"), "print": "/message/content/0/name"}),
        json!({"when": {"/type": "result"}, "usage": {
            "inputTokens": "/usage/input_tokens",
            "outputTokens": "/usage/output_tokens",
            "cacheReadTokens": "/usage/cache_read_input_tokens",
            "costUSD": "/total_cost_usd",
        }}),
        // what goes into the cache was read by the model, and is not among input_tokens
        json!({"when": {"/type": "result"}, "usage": {"inputTokens": "/usage/cache_creation_input_tokens"}}),
        json!({"when": {"/type": "result", "/subtype": "success", "/is_error": false}, "summary": "/result"}),
    ];
    let failure = |when: Value| json!({"when": when, "error": ["/errors/0", "/result", "/subtype"]});
    // an answer of the API that is an error has the subtype `success`
    rules.push(failure(json!({"/type": "result", "/is_error": true})));
    rules.extend(
        FAILURES.map(|subtype| failure(json!({"/type": "result", "/subtype": subtype, "/is_error": false}))),
    );
    json!({
        "format": "json-lines",
        // stream-json of a run with -p wants --verbose
        "args": ["--output-format", "stream-json", "--verbose"],
        "rules": rules,
    })
}
