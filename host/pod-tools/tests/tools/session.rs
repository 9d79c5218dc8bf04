//! `agent-run` around a program that is a client of a server: it prints less than was said, and leaves.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

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
            ("GET", "/session/status") => Response::ok(r#"{"ses_2":{"type":"busy"}}"#),
            _ => Response::status(404),
        }
    })
}

fn settings(web: &Web) -> Value {
    let mut settings: Value = serde_json::from_str(OPENCODE).unwrap();
    settings["server"] = json!(web.url(""));
    settings["reader"]["session"] = serde_json::from_str(OPENCODE_SESSION).unwrap();
    settings
}

fn container(web: &Web, agent: &str) -> Container {
    Container::new(&settings(web).to_string(), agent).with("OPENCODE_SERVER_PASSWORD", "pw")
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
    let (line, _log) = container::first_line(process.stdout.take().unwrap());
    assert_eq!(line, "ready\n");
    container::terminate(&process);
    assert_eq!(container.finish(process).code, 143);
    assert_eq!(asked(&web)[1..], ["POST /session/ses_1/abort", "GET /session/ses_1/message"]);
}

#[test]
fn a_program_that_misses_the_end_of_its_session_is_ended_and_has_done_its_work() {
    let web = server(messages());
    let ended = container(&web, &format!("echo '{FIRST}'; while :; do sleep 0.05; done")).run("");
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (
            0,
            "I will look.\nThere it is.\n",
            "agent-run: the program did not end, and its session is done: it was ended\n"
        )
    );
    assert!(ended.message.starts_with(r#"{"outcome":"completed","#), "{}", ended.message);
    assert!(!asked(&web).contains(&"POST /session/ses_1/abort".to_owned()), "there is nothing to abort");
}

#[test]
fn a_program_that_never_says_a_word_to_its_session_has_failed() {
    let web = server(json!([]));
    let ended = container(&web, "echo started; while :; do sleep 0.05; done").run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, "started\nstarted\nstarted\n"));
    let problem = "the program said nothing to its session, and was ended";
    assert!(ended.stderr.contains(problem) && ended.message.contains(problem), "{ended:?}");
}

#[test]
fn a_program_whose_session_is_at_work_is_waited_for() {
    let calls = AtomicU32::new(0);
    let web = Web::http(move |request| match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/session") => Response::ok(r#"{"id":"ses_1"}"#),
        ("GET", "/session/ses_1/message") => Response::ok(messages().to_string()),
        // at work for longer than an idle one is left
        ("GET", "/session/status") if calls.fetch_add(1, Ordering::Relaxed) < 6 => {
            Response::ok(r#"{"ses_1":{"type":"busy"}}"#)
        }
        ("GET", "/session/status") => Response::ok("{}"),
        _ => Response::status(404),
    });
    let ended = container(&web, "while :; do sleep 0.05; done").run("");
    assert_eq!(ended.code, 0, "{ended:?}");
    let looks = asked(&web).iter().filter(|asked| *asked == "GET /session/status").count();
    assert_eq!(looks, 9, "six at work, three without");
}

#[test]
fn a_program_that_fails_leaves_no_work_behind_and_the_abort_is_no_error_of_its_own() {
    let error = json!({"name": "MessageAbortedError", "data": {"message": "Aborted"}});
    let web = server(json!([{"info": {"role": "assistant", "error": error}, "parts": []}]));
    let ended = container(&web, "exit 3").run("");
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.message.as_str()),
        (3, "", r#"{"outcome":"failed"}"#)
    );
    assert_eq!(asked(&web)[1], "POST /session/ses_1/abort");
}

#[test]
fn the_summary_is_what_came_last_although_the_program_lost_something_before() {
    let last = json!({"type": "text", "part": {"id": "prt_4", "type": "text", "text": "There it is."}});
    let ended = container(&server(messages()), &format!("echo '{last}'")).run("");
    assert_eq!(ended.stdout, "There it is.\nI will look.\n");
    assert!(ended.message.ends_with(r#""summary":"There it is."}"#), "{}", ended.message);
}

#[test]
fn a_server_that_starts_is_waited_for() {
    let refusals = AtomicU32::new(1);
    let web = Web::http(move |request| {
        let refused = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match (refused, request.method.as_str()) {
            (Ok(_), _) => Response::status(503),
            (_, "POST") => Response::ok(r#"{"id":"ses_1"}"#),
            _ => Response::ok("[]"),
        }
    });
    let ended = container(&web, "echo \"$@\"").run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "run --format json --session ses_1\n"));
    assert!(ended.stderr.ends_with("/session: it answers 503 Service Unavailable\n"), "{}", ended.stderr);
}

#[test]
fn without_a_session_nothing_runs() {
    // a session of its own could neither be read nor aborted
    for (answer, problem) in [
        ((|| Response::status(404)) as fn() -> Response, "it answers 404 Not Found"),
        (|| Response::redirect("http://127.0.0.1:1/elsewhere"), "it answers 302 Found"),
        (|| Response::ok("{}"), "/session: the answer has no id of a session at /id"),
        (|| Response::ok(r#"{"id":"../../config"}"#), "/session: the answer has no id of a session at /id"),
        (|| Response::ok("<html>"), "/session: expected value at line 1 column 1"),
    ] {
        let web = Web::http(move |_| answer());
        let ended = container(&web, "echo ran").run("");
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
        assert!(ended.stderr.starts_with("agent-run: no session, so nothing ran: "), "{}", ended.stderr);
        assert!(ended.stderr.contains(problem) && ended.message.contains("nothing ran"), "{}", ended.stderr);
        assert_eq!(asked(&web), ["POST /session"]);
    }
}

#[test]
fn a_path_that_leads_elsewhere_is_not_asked_and_learns_no_password() {
    let (web, elsewhere) = (server(messages()), server(messages()));
    let mut settings = settings(&web);
    // such a character is dropped by whoever reads an address
    settings["reader"]["session"]["open"] = json!(elsewhere.url("/session").replace("http://", "/\t/"));
    let ended =
        Container::new(&settings.to_string(), "echo ran").with("OPENCODE_SERVER_PASSWORD", "pw").run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert_eq!((asked(&web).len(), asked(&elsewhere).len()), (0, 0));
}

#[test]
fn a_signal_before_the_session_is_open_starts_nothing() {
    let web = Web::http(|_| Response::status(503));
    let container = container(&web, "echo ran");
    let mut process = container.start(Stdio::null());
    let (line, _log) = container::first_line(process.stderr.take().unwrap());
    assert!(line.starts_with("agent-run: waiting for a session: "), "{line}");
    container::terminate(&process);
    let ended = container.finish(process);
    assert_eq!((ended.code, ended.stdout.as_str()), (143, ""));
    assert!(ended.message.contains("nothing ran"), "{}", ended.message);
    assert!(ended.message.contains(r#""signal":15"#), "{}", ended.message);
}

#[test]
fn a_server_that_was_replaced_is_named_where_the_program_knows_no_reason() {
    let lost = "the server of the Agent was replaced, or ended, while the agent worked in it (GET ";
    let nameless = r#"{"type":"error","error":{}}"#;
    let named = r#"{"type":"error","error":{"name":"UnknownError"}}"#;
    for (agent, outcome, error) in [
        (format!("echo '{nameless}'"), "agent-error", lost.to_owned()),
        (format!("echo '{named}'"), "agent-error", format!("UnknownError; {lost}")),
        ("exit 1".to_owned(), "failed", lost.to_owned()),
        ("exit 0".to_owned(), "completed", String::new()),
    ] {
        // it knows of no session but the one that it opens
        let web = Web::http(|request| match request.method.as_str() {
            "POST" if request.path == "/session" => Response::ok(r#"{"id":"ses_1"}"#),
            _ => Response::status(404),
        });
        let ended = container(&web, &agent).run("");
        let report: Value = serde_json::from_str(&ended.message).unwrap();
        let said = report["error"].as_str().unwrap_or_default();
        assert_eq!(report["outcome"], outcome, "{ended:?}");
        assert!(said.starts_with(&error) && error.is_empty() == said.is_empty(), "{said}");
    }
}

#[test]
fn a_program_that_misses_that_its_server_was_replaced_is_ended_and_told_why() {
    let web = Web::http(|request| match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/session") => Response::ok(r#"{"id":"ses_1"}"#),
        // the other server has nothing to do
        ("GET", "/session/status") => Response::ok("{}"),
        _ => Response::status(404),
    });
    let ended = container(&web, &format!("echo '{FIRST}'; while :; do sleep 0.05; done")).run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, "I will look.\n"));
    let problem = "the program did not notice that its session is gone, and was ended; \
                   the server of the Agent was replaced, or ended, while the agent worked in it (GET ";
    assert!(ended.message.contains(problem), "{ended:?}");
}

#[test]
fn records_that_make_no_sense_cost_nothing_but_themselves() {
    let web = server(json!({"error": "gone"}));
    let ended = container(&web, &format!("echo '{FIRST}'")).run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "I will look.\n"));
    assert!(ended.stderr.contains("invalid type: map, expected an array of records"), "{}", ended.stderr);
    assert_eq!(ended.message, r#"{"outcome":"completed","summary":"I will look."}"#);
}
