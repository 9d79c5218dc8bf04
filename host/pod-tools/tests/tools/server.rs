//! `server-wait`.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::name_server::{Answer, NameServer};
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

const NAME: &str = "helper.team.svc.cluster.local";

/// A Pod of a cluster whose name server answers so.
fn pod_with(names: &NameServer, web: &Web, options: &str) -> Pod {
    let domains = "search team.svc.cluster.local svc.cluster.local cluster.local";
    let text = format!("nameserver {}\n{domains}\noptions ndots:5 {options}\n", names.address());
    pod(web).resolving(&text).with(&[("SERVER_URL", &format!("http://{NAME}:{}", web.port()))])
}

#[test]
fn a_lookup_that_takes_longer_than_a_request_is_not_begun_anew_with_each_try() {
    let web = Web::http(|_| Response::ok("{}"));
    // whoever loses one of two answers makes the resolver wait for each name that it tries
    let names = NameServer::start(|question| match (question.name == NAME, question.is_for_v4) {
        (_, false) => Answer::Silence,
        (true, true) => Answer::Address([127, 0, 0, 1]),
        (false, true) => Answer::NoSuchName,
    });
    let log = pod_with(&names, &web, "timeout:2").succeeds("server-wait");
    assert!(log.ends_with("/session/status: its name is not looked up yet after 5 s\n"), "{log}");
    assert!(names.asked().iter().all(|name| name == NAME), "no search domain is tried: {:?}", names.asked());
}

#[test]
fn a_server_that_appears_late_is_found() {
    let web = Web::http(|_| Response::ok("{}"));
    let asked = AtomicU32::new(0);
    // first there is no Service, then an answer is lost, then nobody listens there
    let names = NameServer::start(move |question| match (question.name == NAME, question.is_for_v4) {
        (false, _) => Answer::NoSuchName,
        (true, false) if asked.load(Ordering::SeqCst) > 2 => Answer::NoAddress,
        (true, false) => Answer::NoSuchName,
        (true, true) => match asked.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Answer::NoSuchName,
            2 => Answer::Silence,
            3 => Answer::Address([127, 0, 0, 2]),
            _ => Answer::Address([127, 0, 0, 1]),
        },
    });
    let log = pod_with(&names, &web, "timeout:1").succeeds("server-wait");
    for reason in ["failed to lookup address information: Name or service not known", "Connection refused"] {
        assert!(log.contains(reason), "{log}");
    }
}
