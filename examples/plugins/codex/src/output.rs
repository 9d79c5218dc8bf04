//! How the lines of `codex exec --json` are read: one event a line.

use serde_json::{Value, json};

/// The `result-reader`.
pub(crate) fn reader() -> Value {
    let item = |kind: &str| json!({"/type": "item.completed", "/item/type": kind});
    let mut rules: Vec<_> =
        ["thread.started", "turn.started", "item.started", "item.updated", "item.completed"]
            .map(|kind| json!({"when": {"/type": kind}}))
            .into();
    rules.extend([
        // printed only as these say
        json!({"when": item("agent_message"), "print": "/item/text", "summary": "/item/text"}),
        json!({"when": item("command_execution"), "print": "/item/command"}),
        json!({"when": item("mcp_tool_call"), "print": "/item/tool"}),
        json!({"when": {"/type": "turn.completed"}, "usage": {
            "inputTokens": "/usage/input_tokens",
            "outputTokens": "/usage/output_tokens",
            "cacheReadTokens": "/usage/cached_input_tokens",
        }}),
        json!({"when": {"/type": "turn.failed"}, "error": ["/error/message", "/type"]}),
    ]);
    json!({"format": "json-lines", "args": ["--json"], "rules": rules})
}
