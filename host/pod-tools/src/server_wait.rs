//! `server-wait`: holds back the agent of a Task until the server that it attaches to answers.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use url::Url;

use crate::environment::Environment;
use crate::server::Server;
use crate::{Error, exit, redact};

const HEALTH_PATH: &str = "/session/status";
const DEFAULT_TIMEOUT_SECONDS: u64 = 600;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// Runs `server-wait` with the environment of docs/contract.md, section 4; a server with a password gets the one
/// in OPENCODE_SERVER_PASSWORD.
pub fn main() -> ExitCode {
    exit::of("server-wait", Ok(false), || run(&Environment::of_process()))
}

fn run(environment: &Environment) -> Result<(), Error> {
    let wrong = |e: url::ParseError| Error::Env { name: "SERVER_URL", reason: e.to_string() };
    let base = Url::parse(&environment.required("SERVER_URL")?).map_err(wrong)?;
    let timeout = Duration::from_secs(environment.number("SERVER_TIMEOUT", DEFAULT_TIMEOUT_SECONDS)?);
    let server = Server::new(environment, base, REQUEST_TIMEOUT)?;
    let url = server.at(HEALTH_PATH)?;
    let start = Instant::now();
    let mut last = String::new();
    loop {
        let Err(reason) = ask(&server, &url) else { return Ok(()) };
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

fn ask(server: &Server, url: &Url) -> Result<(), String> {
    match server.request(Method::GET, url.clone()).send() {
        Ok(response) if response.status() == StatusCode::OK => Ok(()),
        Ok(response) => Err(format!("it answers {}", response.status())),
        Err(e) => Err(server.reason(&e)),
    }
}
