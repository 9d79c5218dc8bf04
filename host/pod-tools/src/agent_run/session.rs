//! The session of a server that the program works in: opened before it starts, read after it ended, aborted when it
//! did not end well. What the records mean is for `reading` to say.

use std::time::Duration;

use kubeopencode_api::report::{SessionIdle, SessionReader};
use reqwest::blocking::Response;
use reqwest::{Method, StatusCode};
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value;
use url::Url;

use super::child::Program;
use super::reading::all_hold;
use crate::environment::Environment;
use crate::server::Server;
use crate::{redact, web};

/// A server that has just started reads its whole configuration with the first session. Shorter than kubelet's grace,
/// as nothing hears a signal meanwhile.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// All of a long session.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// After a signal kubelet kills within 30 seconds, of which the program had its share.
const LAST_READ_TIMEOUT: Duration = Duration::from_secs(10);
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ID_BYTES: usize = 128;

/// Looks without work after which a session is idle.
const IDLE_ROUNDS: u32 = 3;
/// So many times as long may pass before the program says its first word to the session.
const NOT_BEGUN: u32 = 2;
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// How a program was left by its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// What it asked for is done.
    Done,
    /// It never asked.
    NotBegun,
    /// The server does not know the session any more.
    Lost,
}

/// Why a request was in vain.
pub(super) struct Failed {
    pub(super) reason: String,
    /// The server may answer in a moment: it starts, or is replaced.
    pub(super) is_transient: bool,
    /// What was asked for is not there.
    is_missing: bool,
}

impl Failed {
    fn for_good(reason: impl ToString) -> Self {
        Failed { reason: reason.to_string(), is_transient: false, is_missing: false }
    }

    /// Whether another server than before was asked, or none.
    pub(super) fn is_of_another_server(&self) -> bool {
        self.is_transient || self.is_missing
    }
}

/// An open session.
pub(super) struct Session<'s> {
    reader: &'s SessionReader,
    server: Server,
    id: String,
}

impl<'s> Session<'s> {
    /// Opens a session on the server at this URL.
    pub(super) fn open(reader: &'s SessionReader, url: &str) -> Result<Self, Failed> {
        let base = Url::parse(url).map_err(|e| Failed::for_good(format!("{url}: {e}")))?;
        let server = Server::new(&Environment::of_process(), base, OPEN_TIMEOUT).map_err(Failed::for_good)?;
        let mut session = Session { reader, server, id: String::new() };
        let body = serde_json::to_vec(&reader.body).map_err(Failed::for_good)?;
        let answer = session.ask(Method::POST, &reader.open, OPEN_TIMEOUT, Some(body))?;
        let strange = |problem: String| Failed::for_good(format!("POST {}: {problem}", reader.open));
        let answer: Value = serde_json::from_reader(answer).map_err(|e| strange(e.to_string()))?;
        let id = answer.pointer(&reader.id).and_then(Value::as_str).unwrap_or_default();
        // it becomes part of paths and arguments
        if id.is_empty() || id.len() > MAX_ID_BYTES || !id.bytes().all(is_id_byte) {
            return Err(strange(format!("the answer has no id of a session at {}", reader.id)));
        }
        session.id = id.to_owned();
        Ok(session)
    }

    /// What tells the program to work in it.
    pub(super) fn args(&self) -> impl Iterator<Item = String> {
        self.reader.args.iter().map(|arg| self.with_id(arg))
    }

    /// Hands over all records, one at a time: a long session is larger than the container's memory.
    pub(super) fn records(&self, in_a_hurry: bool, sink: &mut dyn FnMut(&Value)) -> Result<(), Failed> {
        let path = self.with_id(&self.reader.records);
        let timeout = if in_a_hurry { LAST_READ_TIMEOUT } else { READ_TIMEOUT };
        let answer = self.ask(Method::GET, &path, timeout, None)?;
        let mut answer = serde_json::Deserializer::from_reader(std::io::BufReader::new(answer));
        Each(sink).deserialize(&mut answer).map_err(|e| Failed::for_good(format!("{path}: {e}")))
    }

    /// Looks after the program that works in it, until the program has ended or is found to be left: nothing has gone on
    /// in the session for a while, and the program does not notice. A server that does not answer says nothing.
    pub(super) fn look_after(&self, program: &Program) -> Option<Left> {
        let idle = self.reader.idle.as_ref()?;
        let round = Duration::from_secs(idle.seconds.into()) / IDLE_ROUNDS;
        let mut rounds = 0;
        while !program.ends_within(round) {
            rounds = match self.is_idle(idle) {
                Some(true) => rounds + 1,
                Some(false) => 0,
                None => rounds,
            };
            if rounds >= IDLE_ROUNDS {
                match self.has_records() {
                    Ok(true) => return Some(Left::Done),
                    // another server is idle too
                    Err(failed) if failed.is_missing => return Some(Left::Lost),
                    Ok(false) | Err(_) => {}
                }
            }
            if rounds >= IDLE_ROUNDS * NOT_BEGUN {
                return Some(Left::NotBegun);
            }
        }
        None
    }

    fn is_idle(&self, idle: &SessionIdle) -> Option<bool> {
        let answer = self.ask(Method::GET, &idle.status, LOOK_TIMEOUT, None).ok()?;
        let answer: Value = serde_json::from_reader(answer).ok()?;
        Some(answer.pointer(&self.with_id(&idle.busy)).is_none())
    }

    /// Whether nobody asked for anything in it.
    pub(super) fn is_untouched(&self) -> bool {
        let mut is_empty = true;
        self.records(false, &mut |_| is_empty = false).is_ok() && is_empty
    }

    /// Whether it has a record that counts.
    fn has_records(&self) -> Result<bool, Failed> {
        let mut has = false;
        self.records(false, &mut |record| has |= all_hold(&self.reader.when, record)).map(|()| has)
    }

    /// Ends what goes on in it.
    pub(super) fn abort(&self) -> Result<(), String> {
        let path = self.with_id(&self.reader.abort);
        self.ask(Method::POST, &path, ABORT_TIMEOUT, None).map(drop).map_err(|failed| failed.reason)
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        timeout: Duration,
        body: Option<Vec<u8>>,
    ) -> Result<Response, Failed> {
        let url = self.server.at(path).map_err(Failed::for_good)?;
        let failed = |reason: String, is_transient| Failed {
            is_transient,
            ..Failed::for_good(format!("{method} {}: {reason}", redact::shown(&url)))
        };
        let mut request = self.server.request(method.clone(), url.clone()).timeout(timeout);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().map_err(|e| failed(web::reason(&e), true))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let is_transient = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let failed = failed(format!("it answers {status}"), is_transient);
        Err(Failed { is_missing: status == StatusCode::NOT_FOUND, ..failed })
    }

    fn with_id(&self, text: &str) -> String {
        text.replace("{id}", &self.id)
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Takes the elements of an array as they come.
struct Each<'a>(&'a mut dyn FnMut(&Value));

impl<'de> DeserializeSeed<'de> for Each<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element::<Value>()? {
            if !record.is_object() {
                return Err(A::Error::custom("a record is no object"));
            }
            (self.0)(&record);
        }
        Ok(())
    }
}
