//! Gets the bytes: tries, redirects, limits, checksum.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::thread;
use std::time::{Duration, Instant};

use kubeopencode_api::names::hex;
use kubeopencode_api::network::mended_certificate;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use sha2::{Digest, Sha256};
use url::Url;

use super::settings::{Credentials, Settings, is_web};
use crate::Error;
use crate::error::io_reason;
use crate::network::{Unreached, is_proxied};
use crate::redact::shown;
use crate::web;

/// docs/contract.md, section 7.
const MAX_BYTES: u64 = 100 << 20;
const TRIES: u32 = 3;
const MAX_REDIRECTS: u32 = 10;
const BUFFER_BYTES: usize = 64 << 10;

/// Why a try failed.
struct Failure {
    reason: String,
    /// Another try may do better.
    is_transient: bool,
}

impl Failure {
    fn permanent(reason: impl Into<String>) -> Self {
        Failure { reason: reason.into(), is_transient: false }
    }
}

impl From<Unreached> for Failure {
    fn from(unreached: Unreached) -> Self {
        match unreached {
            Unreached::Refused(reason) => Failure { reason, is_transient: false },
            Unreached::Failed(reason) => Failure { reason, is_transient: true },
        }
    }
}

/// Downloads into an empty file.
pub(super) fn to(settings: &Settings, file: &mut File) -> Result<(), Error> {
    let failed =
        |reason: String| Error::Failed(format!("cannot fetch {}: {reason}", shown(&settings.source)));
    let mut pause = Duration::from_secs(1);
    for left in (0..TRIES).rev() {
        match attempt(settings, file) {
            Ok(()) => return Ok(()),
            Err(failure) if left == 0 || !failure.is_transient => return Err(failed(failure.reason)),
            Err(failure) => eprintln!("url-fetch: {}; trying again in {pause:?}", failed(failure.reason)),
        }
        thread::sleep(pause);
        pause *= 2;
    }
    Err(failed("no try was made".into()))
}

fn attempt(settings: &Settings, file: &mut File) -> Result<(), Failure> {
    let deadline = Instant::now() + settings.timeout;
    let mut hop = Hop { url: settings.source.clone(), own: true, posts: true };
    let done = follow(settings, deadline, &mut hop)
        .and_then(|response| accept(settings, response, file, deadline, &hop));
    done.map_err(|failure| match hop.own {
        true => failure,
        // the address in front of the reason is the Task's own
        false => {
            Failure { reason: format!("redirected to {}: {}", shown(&hop.url), failure.reason), ..failure }
        }
    })
}

/// Where a request goes.
struct Hop {
    url: Url,
    /// So far nothing led away from the address's own origin. What did is not trusted to lead back.
    own: bool,
    /// So far nothing said to go on with a GET, as other answers than 307 and 308 do.
    posts: bool,
}

fn accept(
    settings: &Settings,
    response: Response,
    file: &mut File,
    deadline: Instant,
    hop: &Hop,
) -> Result<(), Failure> {
    let status = response.status();
    if !status.is_success() {
        let is_transient = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        return Err(Failure { reason: answered(settings, status, hop), is_transient });
    }
    let digest = receive(settings, response, file, deadline)?;
    match &settings.sha256 {
        Some(expected) if *expected != digest => {
            Err(Failure::permanent(format!("its SHA-256 is {digest}, not {expected} as sha256 says")))
        }
        _ => Ok(()),
    }
}

/// The first answer that is no redirect.
fn follow(settings: &Settings, deadline: Instant, hop: &mut Hop) -> Result<Response, Failure> {
    for _ in 0..=MAX_REDIRECTS {
        let left = || deadline.saturating_duration_since(Instant::now());
        let client = client(settings, &hop.url, left())?;
        let mut request = match settings.body.as_ref().filter(|_| hop.posts) {
            Some(body) => client.post(hop.url.clone()).body(body.clone()),
            None => client.get(hop.url.clone()),
        }
        .timeout(left());
        if hop.own {
            request = request.headers(settings.headers.clone());
            request = match &settings.credentials {
                Some(Credentials::Token(token)) => request.bearer_auth(token),
                Some(Credentials::Login { username, password }) => {
                    request.basic_auth(username, Some(password))
                }
                None => request,
            };
        }
        let response = request.send().map_err(|e| broken(settings, &e))?;
        let Some(next) = redirect(&hop.url, &response)? else { return Ok(response) };
        hop.own &= next.origin() == settings.source.origin();
        hop.posts &=
            matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        if hop.posts && settings.body.is_some() && !hop.own {
            let next = shown(&next);
            return Err(Failure::permanent(format!(
                "it redirects a request with a body to another host, {next}"
            )));
        }
        hop.url = next;
    }
    Err(Failure::permanent(format!("it redirects more than {MAX_REDIRECTS} times")))
}

/// A client for this address, which reaches what the rules allow and nothing else.
fn client(settings: &Settings, url: &Url, patience: Duration) -> Result<Client, Failure> {
    let builder = web::client(settings.timeout)
        .redirect(Policy::none())
        .tls_danger_accept_invalid_certs(settings.insecure);
    let host = url.host_str().unwrap_or_default();
    let builder = if is_proxied(url.as_str()) {
        settings.network.check_host(host)?;
        builder
    } else {
        let addresses = settings.network.addresses(host, 0, patience)?;
        // what was looked at, and no second answer
        builder.no_proxy().resolve_to_addrs(host, &addresses)
    };
    builder.build().map_err(|e| broken(settings, &e))
}

fn redirect(from: &Url, response: &Response) -> Result<Option<Url>, Failure> {
    let moved = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    let Some(location) = response.headers().get(LOCATION).filter(|_| moved.contains(&response.status()))
    else {
        return Ok(None);
    };
    let next = location.to_str().ok().and_then(|location| from.join(location).ok());
    match next {
        Some(next) if is_web(&next) => Ok(Some(next)),
        _ => Err(Failure::permanent("it redirects to something that is no https or http address")),
    }
}

/// Writes the body; gives its digest.
fn receive(
    settings: &Settings,
    mut response: Response,
    file: &mut File,
    deadline: Instant,
) -> Result<String, Failure> {
    let too_large = || Failure::permanent(format!("it is larger than {} MiB", MAX_BYTES >> 20));
    if response.content_length().is_some_and(|length| length > MAX_BYTES) {
        return Err(too_large());
    }
    let disk = |e| Failure::permanent(format!("cannot keep it: {}", io_reason(&e)));
    file.set_len(0).and_then(|()| file.rewind()).map_err(disk)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut received = 0;
    loop {
        let read = match response.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) => return Err(Failure { reason: interrupted(settings, &e), is_transient: true }),
        };
        received += read as u64;
        if received > MAX_BYTES {
            return Err(too_large());
        }
        // one that drips keeps every single read short
        if Instant::now() > deadline {
            return Err(Failure { reason: slow(settings), is_transient: true });
        }
        digest.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(disk)?;
    }
    Ok(hex(&digest.finalize()))
}

fn answered(settings: &Settings, status: StatusCode, hop: &Hop) -> String {
    let given = settings.credentials.is_some();
    let missing;
    let remedy = match (status, &settings.secret) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if !hop.own => {
            "credentials do not follow a redirect to another host"
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if given => {
            "it refuses the Secret's credentials"
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
            "name a Secret with the key token, or username and password, in secretRef"
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(secret)) => {
            missing = format!(
                "Secret \"{secret}\" is not there or has none of the keys token, username and password"
            );
            &missing
        }
        _ => return format!("the server answered {status}"),
    };
    format!("the server answered {status}; {remedy}")
}

fn slow(settings: &Settings) -> String {
    format!("it took longer than {} s; url.timeout may allow more", settings.timeout.as_secs())
}

fn broken(settings: &Settings, error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure { reason: slow(settings), is_transient: true };
    }
    let reason = web::reason(error);
    if reason.contains("certificate") {
        let remedy = mended_certificate(&reason).unwrap_or(
            "add the server's authority to the bundle of spec.caBundle of KubeOpenCodeConfig, name one in SSL_CERT_FILE of the Agent's \
             podSpec.env, or set insecureSkipTLSVerify",
        );
        return Failure::permanent(format!("{reason}; {remedy}"));
    }
    let reason = match &settings.proxy {
        Some(proxy) if error.is_connect() => {
            format!("{reason}; the way leads through the proxy {proxy}, but to hosts of NO_PROXY")
        }
        _ => reason,
    };
    Failure { reason, is_transient: true }
}

fn interrupted(settings: &Settings, error: &std::io::Error) -> String {
    let web = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    match web {
        Some(e) if e.is_timeout() => slow(settings),
        Some(e) => format!("the transfer broke off: {}", web::reason(e)),
        None if error.kind() == std::io::ErrorKind::TimedOut => slow(settings),
        None => format!("the transfer broke off: {}", io_reason(error)),
    }
}
