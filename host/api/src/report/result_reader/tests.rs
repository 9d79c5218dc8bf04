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
    ResultReader::parse(&reader.to_string()).unwrap_err().to_string()
}

#[test]
fn the_json_of_a_reader_survives_unchanged() {
    let reader = ResultReader::parse(&opencode().to_string()).unwrap();
    assert_eq!(serde_json::to_value(&reader).unwrap(), opencode());
}

#[test]
fn nonsense_is_refused_with_its_place() {
    for (at, value, words) in [
        ("/format", json!("xml"), "unknown variant `xml`, expected `json-lines`"),
        ("/rules/0/when", json!({}), "/rules/0/when: a rule has 1 to 8 conditions"),
        ("/rules/0/when", json!({"type": "text"}), "/rules/0/when: \"type\" is no JSON pointer"),
        ("/rules/0/when", json!({"/type": ["text"]}), "/rules/0/when: the value of /type must be a string"),
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
    assert_eq!(
        problem_of(misspelt.clone()),
        "result-reader: /rules/0/pirnt: this version does not know the field: leave it out, or upgrade KubeOpenCode"
    );
    let in_the_pod: ResultReader = serde_json::from_value(misspelt).unwrap();
    assert_eq!(in_the_pod, serde_json::from_value(opencode()).unwrap(), "the Pod's program may be older");
}

/// The schema is published for authors: `wit/result-reader.schema.json`.
#[test]
fn the_published_schema_is_that_of_the_type() {
    let published = include_str!("../../../../../wit/result-reader.schema.json");
    let schema = format!("{:#}\n", ResultReader::schema().to_value());
    assert_eq!(published, schema, "the type has changed: it is frozen, see the module's first lines");
}
