//! `server-wait`: holds back the agent of a Task until the server that it attaches to answers.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::Client;
use url::Url;

use crate::environment::Environment;
use crate::{Error, exit, redact, web};

const HEALTH_PATH: &str = "/session/status";
const DEFAULT_TIMEOUT_SECONDS: u64 = 600;
/// OpenCode's own, unless OPENCODE_SERVER_USERNAME says otherwise.
const DEFAULT_USERNAME: &str = "opencode";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// Runs `server-wait` with the environment of contract.md section 4; a server with a password gets the one in
/// OPENCODE_SERVER_PASSWORD.
pub fn main() -> ExitCode {
    exit::of("server-wait", Ok(false), || run(&Environment::of_process()))
}

fn run(environment: &Environment) -> Result<(), Error> {
    let base = Url::parse(&environment.required("SERVER_URL")?);
    let url = base
        .and_then(|base| base.join(HEALTH_PATH))
        .map_err(|e| Error::Env { name: "SERVER_URL", reason: e.to_string() })?;
    let timeout = Duration::from_secs(environment.number("SERVER_TIMEOUT", DEFAULT_TIMEOUT_SECONDS)?);
    let username = environment.text("OPENCODE_SERVER_USERNAME")?.unwrap_or_else(|| DEFAULT_USERNAME.into());
    let password = environment.secret("OPENCODE_SERVER_PASSWORD")?;
    let login = password.map(|password| (username, password));
    let mut client = web::client(REQUEST_TIMEOUT);
    if url.scheme() == "http" {
        // the usual case inside a cluster, which must not fail where an image has no authorities
        client = client.tls_certs_only([]);
    }
    let client = client.build().map_err(|e| Error::Failed(web::reason(&e)))?;
    let start = Instant::now();
    let mut last = String::new();
    loop {
        let Err(reason) = ask(&client, &url, login.as_ref()) else { return Ok(()) };
        if start.elapsed() >= timeout {
            return Err(Error::Failed(format!(
                "{} did not answer 200 within {} s: {reason}; look at the server's Deployment",
                redact::shown(&url),
                timeout.as_secs()
            )));
        }
        if reason != last {
            eprintln!("server-wait: waiting for {}: {reason}", redact::shown(&url));
            last = reason;
        }
        thread::sleep(PAUSE.min(timeout.saturating_sub(start.elapsed())));
    }
}

fn ask(client: &Client, url: &Url, login: Option<&(String, String)>) -> Result<(), String> {
    let mut request = client.get(url.clone());
    if let Some((username, password)) = login {
        request = request.basic_auth(username, Some(password));
    }
    match request.send() {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => Err(format!("it answers {}", response.status())),
        Err(e) => Err(web::reason(&e)),
    }
}
