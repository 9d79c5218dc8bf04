//! `url-fetch` of single files.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::tool::Pod;
use crate::web::{Request, Response, Web};

const TOKEN: (&str, &str) = ("URL_AUTH_TOKEN", "s3cret-token\n");
const HEADERS: (&str, &str) =
    ("URL_HEADERS", r#"{"X-Key":"s3cret-header","Cookie":"id=s3cret-cookie","Authorization":"s3cret-own"}"#);
/// Of `content`.
const SHA256: &str = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";

/// A Pod that fetches `path` into `/workspace/file`.
fn pod(web: &Web, path: &str) -> Pod {
    let pod = Pod::new();
    let target = pod.path("workspace/file").display().to_string();
    pod.trusting(web.authority()).with(&[("URL_SOURCE", &web.url(path)), ("URL_TARGET", &target)])
}

fn serving(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> (Web, Pod) {
    let web = Web::https(answer);
    let pod = pod(&web, "/file?sig=s3cret-query");
    (web, pod)
}

fn content() -> (Web, Pod) {
    serving(|_| Response::ok("content"))
}

/// Requests that bring anything that another host must not see.
fn leaks(requests: &[Request]) -> usize {
    let is_secret = |request: &&Request| {
        request.headers.values().any(|value| value.contains("s3cret") || value.contains("Bearer"))
    };
    requests.iter().filter(is_secret).count()
}

#[test]
fn writes_the_file_with_0644_or_as_file_mode_says() {
    let (_web, pod) = content();
    assert_eq!(pod.succeeds("url-fetch"), "");
    assert_eq!((pod.read("workspace/file").as_str(), pod.mode("workspace/file")), ("content", 0o644));
    let pod = pod.with(&[("URL_FILE_MODE", "256")]);
    pod.succeeds("url-fetch");
    assert_eq!(pod.mode("workspace/file"), 0o400);
    assert_eq!(pod.list("workspace"), ["file"]);
}

#[test]
fn sends_headers_and_credentials() {
    let (web, pod) = content();
    pod.with(&[TOKEN, HEADERS]).succeeds("url-fetch");
    let request = web.seen().remove(0);
    assert_eq!((request.path.as_str(), request.query.as_str()), ("/file", "sig=s3cret-query"));
    assert_eq!(request.headers["authorization"], "Bearer s3cret-token");
    assert_eq!(request.headers["x-key"], "s3cret-header");
    let (web, pod) = content();
    pod.with(&[HEADERS]).succeeds("url-fetch");
    assert_eq!(web.seen()[0].headers["authorization"], "s3cret-own", "without a Secret it is the Task's");
    let (web, pod) = content();
    pod.with(&[("URL_AUTH_USERNAME", "ada"), ("URL_AUTH_PASSWORD", "pw")]).succeeds("url-fetch");
    assert_eq!(web.seen()[0].headers["authorization"], "Basic YWRhOnB3");
}

/// A header that a Secret is part of.
fn secret_header(variable_is_set: bool) -> Vec<(&'static str, &'static str)> {
    let told = r#"[{"name":"X-Token","before":"Bearer ","after":"!","variable":"URL_SECRET_HEADER_0"}]"#;
    let mut env = vec![("URL_SECRET_HEADERS", told)];
    env.extend(variable_is_set.then_some(("URL_SECRET_HEADER_0", "s3cret-key\n")));
    env
}

#[test]
fn a_secret_is_joined_to_its_header_and_left_out_with_it() {
    let (web, pod) = content();
    pod.with(&secret_header(true)).succeeds("url-fetch");
    assert_eq!(web.seen()[0].headers["x-token"], "Bearer s3cret-key!");
    let (web, pod) = content();
    pod.with(&secret_header(false)).succeeds("url-fetch");
    assert!(!web.seen()[0].headers.contains_key("x-token"));
    let (_web, pod) = content();
    let message =
        pod.with(&secret_header(true)).with(&[("URL_SECRET_HEADER_0", "s3cret\nX: y")]).fails("url-fetch");
    assert!(
        message.contains("\"X-Token\" is no header, or its Secret holds more than one line"),
        "{message}"
    );
    assert!(!message.contains("s3cret"), "{message}");
}

#[test]
fn a_body_is_posted_to_its_own_host_alone() {
    let post = [("URL_POST", "true"), ("URL_BODY", "{\"query\": 1}")];
    let (web, pod) = serving(|request| match request.path.as_str() {
        "/file" => Response::status(307).header("location", "/second"),
        "/second" => Response::status(303).header("location", "/third"),
        _ => Response::ok("content"),
    });
    pod.with(&post).with(&secret_header(true)).succeeds("url-fetch");
    let seen: Vec<_> =
        web.seen().iter().map(|request| (request.method.clone(), request.body.len())).collect();
    assert_eq!(seen, [("POST".to_owned(), 12), ("POST".to_owned(), 12), ("GET".to_owned(), 0)]);

    let elsewhere = Web::http(|_| Response::ok("from elsewhere"));
    let target = elsewhere.url("/landing");
    let (_web, pod) = serving(move |_| Response::status(308).header("location", &target));
    let message = pod.with(&post).with(&secret_header(true)).fails("url-fetch");
    assert!(
        message.contains("it redirects a request with a body to another host, http://localhost"),
        "{message}"
    );
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn goes_through_a_proxy_and_names_one_that_is_not_there() {
    let proxy = Web::http(|_| Response::ok("through the proxy"));
    // any authority: one has to be there
    let trusted = Web::https(|_| Response::ok(""));
    let pod = Pod::new();
    let target = pod.path("workspace/file").display().to_string();
    let pod = pod.with(&[
        ("URL_SOURCE", "http://nowhere.invalid/file"),
        ("URL_TARGET", &target),
        ("HTTP_PROXY", &proxy.url("")),
        ("SSL_CERT_FILE", trusted.authority().to_str().unwrap()),
    ]);
    pod.succeeds("url-fetch");
    assert_eq!(pod.read("workspace/file"), "through the proxy");
    assert_eq!(proxy.seen()[0].path, "http://nowhere.invalid/file");
    let pod = pod.with(&[
        ("URL_SOURCE", "https://nowhere.invalid/file"),
        ("https_proxy", "http://u:s3cret@proxy.corp.invalid:3128"),
    ]);
    let message = pod.fails("url-fetch");
    assert!(message.contains("the way leads through the proxy http://proxy.corp.invalid:3128"), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
}

#[test]
fn follows_a_redirect_with_credentials_on_the_same_host_only() {
    let elsewhere = Web::http(|_| Response::ok("from elsewhere"));
    let target = elsewhere.url("/landing");
    let (web, pod) = serving(move |request| match request.path.as_str() {
        "/file" => Response::redirect("/second"),
        _ => Response::redirect(&target),
    });
    let pod = pod.with(&[TOKEN, HEADERS]);
    pod.succeeds("url-fetch");
    assert_eq!(pod.read("workspace/file"), "from elsewhere");
    assert_eq!((web.seen().len(), leaks(&web.seen())), (2, 2));
    assert_eq!((elsewhere.seen().len(), leaks(&elsewhere.seen())), (1, 0));
}

#[test]
fn another_name_of_the_same_server_is_another_host() {
    let own = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let there = own.clone();
    let (web, pod) = serving(move |request| match request.headers["host"].starts_with("localhost") {
        true => Response::redirect(there.get().unwrap()),
        false => Response::ok("content"),
    });
    own.set(web.other_url("/x")).unwrap();
    pod.with(&[TOKEN]).succeeds("url-fetch");
    assert_eq!((web.seen().len(), leaks(&web.seen())), (2, 1));
}

#[test]
fn who_is_led_away_and_back_comes_without_credentials() {
    let own = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let there = own.clone();
    let (web, pod) = serving(move |request| match request.path.as_str() {
        "/file" => {
            Response::redirect(&format!("{}/away", there.get().unwrap().replace("localhost", "127.0.0.1")))
        }
        "/away" => Response::redirect(&format!("{}/back", there.get().unwrap())),
        _ => Response::status(401),
    });
    own.set(web.url("")).unwrap();
    let message = pod.with(&[TOKEN, HEADERS]).fails("url-fetch");
    assert_eq!((web.seen().len(), leaks(&web.seen())), (3, 1));
    assert!(
        message.ends_with(&format!(
            "redirected to {}: the server answered 401 Unauthorized; credentials do not follow a redirect to another host",
            web.url("/back")
        )),
        "{message}"
    );
}

#[test]
fn refuses_redirects_to_other_schemes_and_without_end() {
    let (_web, pod) = serving(|_| Response::redirect("file:///etc/passwd"));
    assert!(pod.fails("url-fetch").ends_with("it redirects to something that is no https or http address"));
    let (web, pod) = serving(|_| Response::redirect("/again"));
    assert!(pod.fails("url-fetch").ends_with("it redirects more than 10 times"));
    assert_eq!(web.seen().len(), 11);
}

#[test]
fn a_missing_page_is_said_at_once_without_the_query() {
    let (web, pod) = serving(|_| Response::status(404));
    let message = pod.fails("url-fetch");
    assert_eq!(
        message,
        format!("url-fetch: cannot fetch {}?...: the server answered 404 Not Found", web.url("/file"))
    );
    assert_eq!(web.seen().len(), 1);
    assert_eq!(pod.list("workspace"), [""; 0]);
}

#[test]
fn refused_credentials_are_said_without_showing_them() {
    let (_web, pod) = serving(|_| Response::status(401));
    assert!(pod.fails("url-fetch").ends_with(
        "401 Unauthorized; name a Secret with the key token, or username and password, in secretRef"
    ));
    let ended = pod.with(&[TOKEN, HEADERS]).run("url-fetch");
    assert!(
        ended.stderr.contains("401 Unauthorized; it refuses the Secret's credentials"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
}

#[test]
fn a_server_that_recovers_is_tried_again() {
    let failures = AtomicU32::new(2);
    let (web, pod) = serving(move |_| {
        match failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(2) => Response::status(500),
            // promises more than it sends
            Ok(_) => Response::ok("half").header("content-length", "100"),
            Err(_) => Response::ok("content"),
        }
    });
    let log = pod.succeeds("url-fetch");
    assert_eq!(pod.read("workspace/file"), "content");
    assert_eq!((log.matches("trying again").count(), web.seen().len()), (2, 3), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn a_server_that_stalls_or_drips_ends_with_the_timeout() {
    let (_web, pod) = serving(|_| {
        Response::streamed(|out| {
            out.flush()?;
            // until the client goes
            loop {
                out.write_all(b"drip")?;
                out.flush()?;
                thread::sleep(std::time::Duration::from_millis(50));
            }
        })
    });
    let message = pod.with(&[("URL_TIMEOUT", "1")]).fails("url-fetch");
    assert!(message.ends_with("it took longer than 1 s; url.timeout may allow more"), "{message}");
    let (_web, pod) = serving(|_| {
        thread::park();
        Response::ok("never")
    });
    let message = pod.with(&[("URL_TIMEOUT", "1")]).fails("url-fetch");
    assert!(message.ends_with("it took longer than 1 s; url.timeout may allow more"), "{message}");
}

#[test]
fn an_endless_body_ends_at_the_size_limit() {
    let chunk = vec![b'x'; 1 << 20];
    let web = Web::https(move |request| match request.path.as_str() {
        "/said" => Response::ok("").header("content-length", "104857601"),
        _ => {
            let chunk = chunk.clone();
            Response::streamed(move |out| {
                loop {
                    out.write_all(&chunk)?;
                }
            })
        }
    });
    for path in ["/said", "/endless"] {
        let message = pod(&web, path).fails("url-fetch");
        assert!(message.ends_with("it is larger than 100 MiB"), "{message}");
    }
    assert_eq!(web.seen().len(), 2, "no further tries");
}

#[test]
fn an_unknown_authority_is_refused_unless_the_user_says_otherwise() {
    let (web, _) = content();
    let stranger = Web::https(|_| Response::ok(""));
    let pod = pod(&web, "/file").trusting(stranger.authority());
    let message = pod.fails("url-fetch");
    assert!(
        message.contains("certificate") && message.ends_with("or set insecureSkipTLSVerify"),
        "{message}"
    );
    pod.with(&[("URL_INSECURE", "true")]).succeeds("url-fetch");
}

#[test]
fn a_checksum_decides() {
    let (_web, pod) = content();
    let pod = pod.with(&[("URL_SHA256", SHA256)]);
    pod.succeeds("url-fetch");
    let (web, pod) = serving(|_| Response::ok("Content"));
    let message = pod.with(&[("URL_SHA256", SHA256)]).fails("url-fetch");
    assert!(
        message.contains("its SHA-256 is ") && message.ends_with(&format!("not {SHA256} as sha256 says")),
        "{message}"
    );
    assert_eq!(web.seen().len(), 1, "no further tries");
}

#[test]
fn what_lies_there_already_stays() {
    let (_web, pod) = content();
    fs::write(pod.path("workspace/file"), "mine").unwrap();
    let message = pod.fails("url-fetch");
    assert_eq!(
        message,
        "url-fetch: cannot write @/workspace/file: something else lies there already; choose another mountPath"
    );
    fs::remove_file(pod.path("workspace/file")).unwrap();
    symlink(pod.path("home/victim"), pod.path("workspace/file")).unwrap();
    pod.fails("url-fetch");
    assert_eq!(
        (pod.list("home"), pod.list("workspace")),
        (vec![".gitconfig".to_owned()], vec!["file".to_owned()])
    );
}

#[test]
fn a_second_run_keeps_what_the_first_one_fetched() {
    let number = AtomicU32::new(0);
    let (web, pod) = serving(move |_| Response::ok(number.fetch_add(1, Ordering::SeqCst).to_string()));
    let pod = pod.with(&[("URL_FILE_MODE", "256")]);
    pod.succeeds("url-fetch");
    assert!(pod.succeeds("url-fetch").ends_with("/workspace/file is there already\n"));
    assert_eq!((pod.read("workspace/file").as_str(), web.seen().len()), ("0", 1));
    // on a volume without marks the content decides
    let (_web, pod) = content();
    fs::write(pod.path("workspace/file"), "content").unwrap();
    pod.succeeds("url-fetch");
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let (_web, pod) = serving(|_| Response::status(404));
    let target = pod.path("workspace/a/b/file").display().to_string();
    pod.with(&[("URL_TARGET", &target)]).fails("url-fetch");
    let (_web, pod) = serving(|_| Response::status(404));
    let target = pod.path("workspace/a/b/file").display().to_string();
    let pod = pod.with(&[("URL_TARGET", &target), ("URL_OPTIONAL", "true")]);
    pod.succeeds("url-fetch");
    assert_eq!(pod.list("workspace"), [""; 0]);
}

#[test]
fn an_optional_download_that_fails_is_skipped_with_a_message() {
    let (_web, pod) = serving(|_| Response::status(404));
    let pod = pod.with(&[("URL_OPTIONAL", "true")]);
    let ended = pod.run("url-fetch");
    assert_eq!(ended.code, 0);
    assert!(ended.message.starts_with("skipped: cannot fetch https://localhost:"), "{}", ended.message);
    assert_eq!(pod.list("workspace"), [""; 0]);
    let pod = pod.with(&[("URL_PLACEHOLDER", "true")]);
    for _ in 0..2 {
        assert_eq!(pod.run("url-fetch").code, 0);
        assert_eq!(pod.read("workspace/file"), "");
    }
}

#[test]
fn what_an_earlier_run_could_not_get_takes_its_place() {
    let there = AtomicU32::new(0);
    let (_web, pod) = serving(move |_| match there.fetch_add(1, Ordering::SeqCst) {
        0 => Response::status(404),
        _ => Response::ok("content"),
    });
    let pod = pod.with(&[("URL_OPTIONAL", "true"), ("URL_PLACEHOLDER", "true")]);
    pod.succeeds("url-fetch");
    pod.succeeds("url-fetch");
    assert_eq!(pod.read("workspace/file"), "content");
}

#[test]
fn an_address_that_nobody_serves_is_named_without_its_password() {
    let (_web, pod) = content();
    let pod = pod.with(&[("URL_SOURCE", "http://ada:s3cret@127.0.0.1:1/x"), ("URL_TIMEOUT", "5")]);
    let ended = pod.run("url-fetch");
    assert!(
        ended.stderr.ends_with("url-fetch: cannot fetch http://127.0.0.1:1/x: Connection refused\n"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
}
