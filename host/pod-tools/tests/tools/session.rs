//! `agent-run` around a program that is a client of a server: it prints less than was said, and leaves.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::container::{self, Container, OPENCODE, OPENCODE_SESSION};
use crate::web::{Request, Response, Web};

/// What the fake program prints of a session before it leaves.
const FIRST: &str =
    r#"{"type":"text","sessionID":"ses_1","part":{"id":"prt_2","type":"text","text":"I will look."}}"#;

fn messages() -> Value {
    json!([
        {"info": {"role": "user"}, "parts": [{"id": "prt_1", "type": "text", "text": "the prompt"}]},
        {"info": {"role": "assistant"}, "parts": [
            {"id": "prt_2", "type": "text", "text": "I will look."},
            {"id": "prt_3", "type": "snapshot", "snapshot": "of no interest"},
            {"id": "prt_4", "type": "text", "text": "There it is."},
            {"id": "prt_5", "type": "step-finish", "tokens": {"input": 11, "output": 7}, "cost": 0.5},
        ]},
    ])
}

/// A server with one session, that asks for a password.
fn server(messages: Value) -> Web {
    Web::http(move |request| {
        // opencode:pw
        if request.headers.get("authorization").map(String::as_str) != Some("Basic b3BlbmNvZGU6cHc=") {
            return Response::status(401);
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/session") => Response::ok(r#"{"id":"ses_1"}"#),
            ("GET", "/session/ses_1/message") => Response::ok(messages.to_string()),
            ("POST", "/session/ses_1/abort") => Response::ok("true"),
            _ => Response::status(404),
        }
    })
}

fn container(web: &Web, agent: &str) -> Container {
    let mut settings: Value = serde_json::from_str(OPENCODE).unwrap();
    settings["server"] = json!(web.url(""));
    settings["reader"]["session"] = serde_json::from_str(OPENCODE_SESSION).unwrap();
    Container::new(&settings.to_string(), agent).with("OPENCODE_SERVER_PASSWORD", "pw")
}

fn asked(web: &Web) -> Vec<String> {
    web.seen().iter().map(|Request { method, path, .. }| format!("{method} {path}")).collect()
}

#[test]
fn what_the_program_left_out_is_read_from_the_server_and_nothing_twice() {
    let web = server(messages());
    let ended = container(&web, &format!("echo \"$@\"; echo '{FIRST}'")).run("");
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (0, "run --format json --session ses_1\nI will look.\nThere it is.\n", "")
    );
    assert_eq!(
        ended.message,
        r#"{"outcome":"completed","usage":{"inputTokens":11,"outputTokens":7,"costUSD":"0.5"},"summary":"There it is."}"#
    );
    assert_eq!(asked(&web), ["POST /session", "GET /session/ses_1/message"]);
    let body: Value = serde_json::from_slice(&web.seen()[0].body).unwrap();
    assert_eq!(body, json!({"title": "team-a/fix"}));
}

#[test]
fn an_error_that_only_the_server_knows_fails_the_container() {
    let error = json!({"name": "APIError", "data": {"message": "no such model"}});
    let web = server(json!([{"info": {"role": "assistant", "error": error}, "parts": []}]));
    let ended = container(&web, "exit 0").run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, "error: no such model\n"));
    assert_eq!(ended.message, r#"{"outcome":"agent-error","error":"no such model"}"#);
}

#[test]
fn an_error_that_the_program_printed_is_not_printed_again() {
    let error = json!({"name": "APIError", "data": {"message": "no such model"}});
    let printed = json!({"type": "error", "error": error});
    let web = server(json!([{"info": {"role": "assistant", "error": error}, "parts": []}]));
    assert_eq!(container(&web, &format!("echo '{printed}'")).run("").stdout, "error: no such model\n");
}

#[test]
fn a_program_that_is_stopped_leaves_no_work_behind() {
    let web = server(messages());
    let container = container(&web, "echo ready; while :; do sleep 0.05; done");
    let mut process = container.start(Stdio::null());
    let mut log = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    container::terminate(&process);
    assert_eq!(container.finish(process).code, 143);
    assert_eq!(asked(&web)[1..], ["GET /session/ses_1/message", "POST /session/ses_1/abort"]);
}

#[test]
fn a_program_that_fails_leaves_no_work_behind() {
    let web = server(messages());
    assert_eq!(container(&web, "exit 3").run("").code, 3);
    assert_eq!(asked(&web).last().unwrap(), "POST /session/ses_1/abort");
}

#[test]
fn without_a_session_the_program_runs_all_the_same() {
    for (answer, problem) in [
        (Response::status as fn(u16) -> Response, "it answers 404 Not Found"),
        (|_| Response::ok("{}"), "/session: the answer has no id of a session at /id"),
        (|_| Response::ok(r#"{"id":"../../config"}"#), "/session: the answer has no id of a session at /id"),
        (|_| Response::ok("<html>"), "/session: expected value at line 1 column 1"),
    ] {
        let web = Web::http(move |_| answer(404));
        let ended = container(&web, "echo \"$@\"").run("");
        assert_eq!((ended.code, ended.stdout.as_str()), (0, "run --format json\n"));
        assert!(ended.stderr.starts_with("agent-run: session: "), "{}", ended.stderr);
        assert!(ended.stderr.contains(problem), "{}", ended.stderr);
        assert_eq!(asked(&web), ["POST /session"]);
    }
}

#[test]
fn records_that_make_no_sense_cost_nothing_but_themselves() {
    let web = server(json!({"error": "gone"}));
    let ended = container(&web, &format!("echo '{FIRST}'")).run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "I will look.\n"));
    assert!(ended.stderr.contains("invalid type: map, expected an array of records"), "{}", ended.stderr);
    assert_eq!(ended.message, r#"{"outcome":"completed","summary":"I will look."}"#);
}
