//! `server-wait`.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::tool::Pod;
use crate::web::{Response, Web};

fn pod(web: &Web) -> Pod {
    Pod::new().with(&[("SERVER_URL", &web.url("")), ("SERVER_TIMEOUT", "60")])
}

#[test]
fn waits_until_the_server_answers_200() {
    let failures = AtomicU32::new(1);
    let web = Web::http(move |_| {
        match failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Response::status(503),
            Err(_) => Response::ok("{}"),
        }
    });
    let log = pod(&web).succeeds("server-wait");
    assert!(log.ends_with("/session/status: it answers 503 Service Unavailable\n"), "{log}");
    assert!(web.seen().iter().all(|request| request.path == "/session/status"));
}

#[test]
fn a_server_with_a_password_gets_it() {
    let web = Web::http(|request| match request.headers.get("authorization").map(String::as_str) {
        // opencode:pw
        Some("Basic b3BlbmNvZGU6cHc=") => Response::ok("{}"),
        _ => Response::status(401),
    });
    assert_eq!(pod(&web).with(&[("OPENCODE_SERVER_PASSWORD", "pw")]).succeeds("server-wait"), "");
}

#[test]
fn says_what_the_server_said_when_time_is_up() {
    let web = Web::http(|_| Response::status(500));
    let message = pod(&web).with(&[("SERVER_TIMEOUT", "1")]).fails("server-wait");
    let expected = format!(
        "server-wait: {} did not answer 200 within 1 s: it answers 500 Internal Server Error; look at the server's Deployment",
        web.url("/session/status")
    );
    assert_eq!(message, expected);
    let message =
        pod(&web).with(&[("SERVER_URL", "http://127.0.0.1:1"), ("SERVER_TIMEOUT", "0")]).fails("server-wait");
    assert!(message.contains("within 0 s: Connection refused"), "{message}");
}
