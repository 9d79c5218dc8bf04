//! How the lines of `codex exec --json` are read: one event a line, the last one `turn.completed` or `turn.failed`.

use serde_json::{Value, json};

/// Printed only as the rules say.
const KNOWN: [&str; 6] =
    ["thread.started", "turn.started", "turn.completed", "item.started", "item.updated", "item.completed"];

/// The `result-reader`.
pub(crate) fn reader() -> Value {
    let item = |event: &str, item: &str| json!({"/type": event, "/item/type": item});
    let mut rules: Vec<_> = KNOWN.iter().map(|event| json!({"when": {"/type": event}})).collect();
    rules.extend([
        json!({"when": item("item.completed", "agent_message"), "print": "/item/text", "summary": "/item/text"}),
        json!({"when": item("item.started", "command_execution"), "print": "/item/command"}),
        json!({"when": item("item.started", "mcp_tool_call"), "print": "/item/tool"}),
        json!({"when": item("item.completed", "file_change"), "print": "/item/changes"}),
        json!({"when": item("item.completed", "web_search"), "print": "/item/query"}),
        // a remark, and a request that is tried again: neither ends the turn
        json!({"when": item("item.completed", "error"), "print": "/item/message"}),
        json!({"when": {"/type": "error"}, "print": "/message"}),
        json!({"when": {"/type": "turn.failed"}, "error": ["/error/message"]}),
        json!({"when": {"/type": "turn.completed"}, "usage": {
            "inputTokens": "/usage/input_tokens",
            "outputTokens": "/usage/output_tokens",
            "reasoningTokens": "/usage/reasoning_output_tokens",
            "cacheReadTokens": "/usage/cached_input_tokens",
        }}),
    ]);
    json!({"format": "json-lines", "args": ["--json"], "rules": rules})
}
