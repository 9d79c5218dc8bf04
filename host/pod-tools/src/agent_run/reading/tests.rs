//! What is printed of a program's output, and what is reported.

use serde_json::json;

use super::super::lines::Lines;
use super::*;

fn settings(rules: Value, summary: bool) -> ReaderSettings {
    serde_json::from_value(json!({"reader": {"format": "json-lines", "rules": rules}, "summary": summary}))
        .unwrap()
}

fn opencode() -> ReaderSettings {
    settings(
        json!([
            {"when": {"/part/type": "step-start"}},
            {"when": {"/part/type": "text"}, "print": "/part/text", "summary": "/part/text"},
            {"when": {"/type": "error"}, "error": ["/error/data/message", "/error/name"]},
            {"when": {"/part/type": "step-finish"}, "usage": {
                "inputTokens": "/part/tokens/input", "outputTokens": "/part/tokens/output",
                "reasoningTokens": "/part/tokens/reasoning", "cacheReadTokens": "/part/tokens/cache/read",
                "costUSD": "/part/cost"}}
        ]),
        true,
    )
}

/// What the log shows for this output, and what is reported when the program then exits with `code`.
fn read(settings: &ReaderSettings, output: &[u8], code: u8) -> (String, AgentReport, u8) {
    let mut reading = Reading::new(settings);
    let mut log = Vec::new();
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        match reading.line(Line::Whole(line)) {
            Printed::AsIs(bytes) => log.extend_from_slice(bytes),
            Printed::Text(text) => log.extend_from_slice(format!("{text}\n").as_bytes()),
            Printed::Nothing => {}
        }
    }
    let (report, code) = reading.report(code, &Tail::default());
    (String::from_utf8_lossy(&log).into_owned(), report, code)
}

#[test]
fn a_run_of_opencode_reads_like_a_conversation_and_adds_up() {
    let output = include_bytes!("../../../tests/data/opencode-tool.jsonl");
    let (log, report, code) = read(&opencode(), output, 0);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "I will look.");
    assert!(lines[1].starts_with(r#"{"type":"tool_use","#) && lines[1].ends_with(" bytes)"), "{}", lines[1]);
    assert_eq!(lines[2..], ["Hello from", "the stub."]);
    let usage = Usage {
        input_tokens: Some(1134),
        output_tokens: Some(69),
        reasoning_tokens: Some(7),
        cache_read_tokens: Some(200),
        cost_usd: Some("0.0004602".into()),
    };
    let expected = AgentReport {
        usage: Some(usage),
        summary: Some("Hello from\nthe stub.".into()),
        ..AgentReport::new(Outcome::Completed)
    };
    assert_eq!((report, code), (expected, 0));
}

#[test]
fn an_error_event_fails_the_container_even_after_exit_0() {
    let output = include_bytes!("../../../tests/data/opencode-401.jsonl");
    let (log, report, code) = read(&opencode(), output, 0);
    assert_eq!(log, "error: stub says 401\n");
    let expected =
        AgentReport { error: Some("stub says 401".into()), ..AgentReport::new(Outcome::AgentError) };
    assert_eq!((&report, code), (&expected, 1));
    assert_eq!(read(&opencode(), output, 3).2, 3, "the program's own code stays");
}

#[test]
fn the_first_error_counts_and_all_are_printed() {
    let output = br#"{"type":"error","error":{"name":"First","data":{"message":""}}}
{"type":"error","error":{"name":"Second"}}
{"type":"error"}
"#;
    let (log, report, _) = read(&opencode(), output, 0);
    assert_eq!(log, format!("error: First\nerror: Second\nerror: {NAMELESS_ERROR}\n"));
    assert_eq!(report.error.unwrap(), "First");
}

#[test]
fn what_is_no_event_passes_as_it_is() {
    let output = b"plain words\n\xff\xfe\x00 bytes\n[1,2]\n{broken\n\n{\"half\":";
    let mut reading = opencode();
    reading.summary = false;
    let (log, report, code) = read(&reading, output, 0);
    assert_eq!(log, String::from_utf8_lossy(output));
    assert_eq!((report, code), (AgentReport::new(Outcome::Completed), 0));
}

#[test]
fn an_unknown_event_is_cut_short_and_a_hidden_one_is_not_printed() {
    let long = json!({"type": "tool_use", "output": "é".repeat(500)}).to_string();
    let output = format!("{{\"part\":{{\"type\":\"step-start\"}}}}\n{{\"type\":\"new\"}}\n{long}\n");
    let (log, ..) = read(&opencode(), output.as_bytes(), 0);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], r#"{"type":"new"}"#);
    assert!(lines[1].len() < 300 && lines[1].ends_with(&format!("… ({} bytes)", long.len())), "{}", lines[1]);
}

#[test]
fn the_summary_is_the_last_text_cut_or_left_out() {
    let rules = json!([{"when": {"/done": true}, "summary": "/say"}]);
    let output = format!(
        "{}\n{}\n{}\n",
        json!({"done": true, "say": "first"}),
        json!({"done": true, "say": "日".repeat(600)}),
        json!({"done": true, "say": "  \n"}),
    );
    let (log, report, _) = read(&settings(rules.clone(), true), output.as_bytes(), 0);
    assert_eq!(log, "", "a rule without print hides its line");
    assert_eq!(report.summary.unwrap(), "日".repeat(341));
    assert_eq!(read(&settings(rules, false), output.as_bytes(), 0).1.summary, None);
}

#[test]
fn strange_numbers_do_not_count() {
    let rules = json!([{"when": {"/u": 1}, "usage": {"inputTokens": "/in", "costUSD": "/usd"}}]);
    let output = format!(
        "{}\n{}\n{}\n",
        json!({"u": 1, "in": -4, "usd": "free"}),
        json!({"u": 1, "in": 1.5, "usd": -1}),
        json!({"u": 1, "in": u64::MAX, "usd": null}),
    );
    let usage = read(&settings(rules, true), output.as_bytes(), 0).1.usage.unwrap();
    assert_eq!(usage, Usage { input_tokens: Some(MAX_COUNT), ..Usage::default() });
}

#[test]
fn without_a_reader_the_exit_code_alone_counts() {
    let none: ReaderSettings = serde_json::from_str(r#"{"reader":null,"summary":true}"#).unwrap();
    let nothing = Tail::default();
    assert_eq!(Reading::new(&none).report(0, &nothing), (AgentReport::new(Outcome::Completed), 0));
    assert_eq!(Reading::new(&none).report(137, &nothing), (AgentReport::new(Outcome::Failed), 137));
}

#[test]
fn an_error_event_larger_than_a_line_is_an_error_and_its_log_stays_short() {
    let huge = json!({"type": "error", "error": {"name": "APIError", "data": {
        "message": "model not found", "responseBody": "x".repeat(3 * MAX_LINE)}}});
    let tool = json!({"type": "tool_use", "part": {"type": "other", "output": "y".repeat(3 * MAX_LINE)}});
    let settings = opencode();
    let (mut reading, mut lines, mut log) = (Reading::new(&settings), Lines::default(), String::new());
    for output in [format!("{tool}\n"), format!("{huge}\n")] {
        lines.push(output.as_bytes(), |line| match reading.line(line) {
            Printed::Text(text) => log.push_str(&format!("{text}\n")),
            other => panic!("{other:?}"),
        });
    }
    let printed: Vec<_> = log.lines().collect();
    assert!(
        printed[0].len() < 300 && printed[0].ends_with(&format!("… ({} bytes)", tool.to_string().len() + 1))
    );
    assert_eq!(printed[1..], ["error: model not found"]);
    let (report, code) = reading.report(0, &Tail::default());
    assert_eq!(
        (report.outcome, report.error.as_deref(), code),
        (Outcome::AgentError, Some("model not found"), 1)
    );
}

#[test]
fn a_failure_has_the_end_of_its_log_unless_last_words_are_not_wanted() {
    let stderr = |text: &str| {
        let mut tail = Tail::default();
        tail.push(text.as_bytes());
        tail
    };
    for (summary, code, said, log) in [
        (true, 1, "Configuration is invalid at /x\n", Some("Configuration is invalid at /x")),
        (true, 1, "", Some("on stdout")),
        (true, 0, "a warning\n", None),
        (false, 1, "Configuration is invalid at /x\n", None),
    ] {
        let settings = settings(json!([{"when": {"/a": 1}}]), summary);
        let mut reading = Reading::new(&settings);
        reading.line(Line::Whole(b"on stdout\n"));
        assert_eq!(reading.report(code, &stderr(said)).0.log.as_deref(), log, "{said}");
    }
}

#[test]
fn a_program_that_was_ended_for_its_silence_says_so_with_its_usage() {
    let settings = opencode();
    let mut reading = Reading::new(&settings);
    reading.line(Line::Whole(br#"{"part":{"type":"step-finish","tokens":{"input":7}}}"#));
    reading.line(Line::Whole(br#"{"type":"error","error":{"name":"APIError"}}"#));
    let (report, code) = reading.idle(Duration::from_secs(90), &Tail::default());
    assert_eq!((report.outcome, code), (Outcome::IdleTimeout, 1));
    assert_eq!(report.error.as_deref(), Some("it printed nothing for 90 s, after the error: APIError"));
    assert_eq!(report.usage.unwrap().input_tokens, Some(7));
}
