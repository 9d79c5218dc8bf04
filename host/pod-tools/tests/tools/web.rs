//! A web server of one thread a connection, with or without TLS, whose certificate comes from an authority of its
//! own. It is known as `localhost` and as `127.0.0.1`, two hosts to any client.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::NamedTempFile;

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// names in lower case
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// Writes the body; what it cannot write any more, nobody wants.
type Body = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()>>;

pub(crate) struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

impl Response {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Response { status: 200, headers: Vec::new(), body: Box::new(move |out| out.write_all(&body)) }
    }

    pub(crate) fn status(status: u16) -> Self {
        Response { status, ..Response::ok("the server's own words") }
    }

    pub(crate) fn streamed(body: impl FnOnce(&mut dyn Write) -> io::Result<()> + 'static) -> Self {
        Response { status: 200, headers: Vec::new(), body: Box::new(body) }
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Response::status(302).header("location", to)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

type Answer = dyn Fn(&Request) -> Response + Send + Sync;

/// A web server that answers for as long as this lives. What its answers are made of goes with it: the threads that
/// serve are never joined, and a directory that they held would be left behind.
pub(crate) struct Web {
    _answer: Arc<Answer>,
    port: u16,
    scheme: &'static str,
    authority: NamedTempFile,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Web {
    /// Answers over https.
    pub(crate) fn https(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let (config, authority) = certificates();
        Web::start(Some(Arc::new(config)), authority, answer)
    }

    pub(crate) fn http(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        Web::start(None, NamedTempFile::new().unwrap(), answer)
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        authority: NamedTempFile,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let (weak, log) = (Arc::downgrade(&answer), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (tls, answer, log) = (tls.clone(), weak.clone(), log.clone());
                // a client that goes away in the middle is part of the tests
                thread::spawn(move || match tls {
                    Some(config) => {
                        let mut stream =
                            StreamOwned::new(ServerConnection::new(config).unwrap(), stream.unwrap());
                        let done = serve(&mut stream, &answer, &log);
                        stream.conn.send_close_notify();
                        stream.flush().and(done).ok();
                    }
                    None => {
                        let mut stream: TcpStream = stream.unwrap();
                        serve(&mut stream, &answer, &log).ok();
                    }
                });
            }
        });
        Web { _answer: answer, port, scheme, authority, seen }
    }

    /// The server as `localhost`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The same server under another name.
    pub(crate) fn other_url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    /// The authority's certificate, a file in PEM.
    pub(crate) fn authority(&self) -> &Path {
        self.authority.path()
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    stream: &mut (impl Read + Write),
    answer: &Weak<Answer>,
    log: &Mutex<Vec<Request>>,
) -> io::Result<()> {
    let request = read_request(&mut BufReader::new(&mut *stream))?;
    log.lock().unwrap().push(request.clone());
    let Some(answer) = answer.upgrade() else { return Ok(()) };
    let response = answer(&request);
    drop(answer);
    write!(stream, "HTTP/1.1 {} X\r\nconnection: close\r\n", response.status)?;
    for (name, value) in &response.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    (response.body)(stream)?;
    stream.flush()
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
            reader.by_ref().take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        reader.take(length.parse().unwrap()).read_to_end(&mut body)?;
    }
    Ok(Request { method, path: path.into(), query: query.into(), headers, body })
}

/// A certificate for `localhost` and 127.0.0.1, and the authority that it is from, in PEM.
pub(crate) struct Issued {
    pub(crate) authority: String,
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

pub(crate) fn issue() -> Issued {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    Issued { authority: authority.pem(), certificate, key }
}

fn certificates() -> (ServerConfig, NamedTempFile) {
    let Issued { authority, certificate, key } = issue();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(&file, authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    (config, file)
}
