//! Requests over TLS to what the rules allow, by a client that follows redirects itself: each hop is looked at, and what a name
//! leads to is looked at where it is dialled.
//!
//! Behind a proxy that a variable names, the proxy resolves and dials: then the host as it stands in the address is all that
//! can be looked at.

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::network::OwnNetwork;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Method, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::super::status::Problem;
use super::Fetched;
use super::asker::Asker;

const AGENT: &str = concat!("kubeopencode/", env!("CARGO_PKG_VERSION"));
const MAX_CONNECT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 5;
/// MiB of components that are fetched and not yet unpacked, all together.
const ROOM: usize = 64;

/// What all fetches have together.
pub(in super::super) struct Web {
    room: Arc<Semaphore>,
}

impl Default for Web {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(ROOM)) }
    }
}

/// Who asks, and what may be reached.
pub(super) struct Reach {
    pub(super) asker: Asker,
    pub(super) network: OwnNetwork,
    /// Certificate authorities beside the machine's own.
    pub(super) authorities: Option<PathBuf>,
    /// This machine without TLS, too.
    pub(super) plain_http: bool,
}

/// The clients of one fetch, which have the authorities as they are now.
pub(super) struct Session {
    direct: Client,
    proxied: Client,
    network: Arc<OwnNetwork>,
    room: Arc<Semaphore>,
    pub(super) asker: Asker,
    pub(super) plain_http: bool,
}

/// A request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: &'a str,
    /// With its media type.
    pub(super) body: Option<(&'a str, &'a [u8])>,
}

impl<'a> Ask<'a> {
    pub(super) fn get(url: Url, accept: &'a str) -> Self {
        Self { method: Method::GET, url, accept, body: None }
    }
}

/// A place for this many bytes, as soon as there is one.
async fn room_in(room: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let mebibytes = u32::try_from(bytes.div_ceil(1 << 20).min(ROOM)).unwrap_or_default();
    Arc::clone(room).acquire_many_owned(mebibytes).await.ok()
}

impl Web {
    /// A place for a file of this many bytes.
    pub(in super::super) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        room_in(&self.room, bytes).await
    }

    /// # Errors
    /// Authorities that are none.
    pub(super) async fn session(&self, reach: Reach) -> Result<Session, Problem> {
        let Reach { asker, network, authorities, plain_http } = reach;
        let network = Arc::new(network);
        let resolver = Checked(Arc::clone(&network));
        // the image's authorities are read from files, too
        let clients = tokio::task::spawn_blocking(move || {
            rustls::crypto::ring::default_provider().install_default().ok();
            let more = match &authorities {
                None => Vec::new(),
                Some(path) => std::fs::read(path)
                    .map_err(|error| error.to_string())
                    .and_then(|pem| Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string()))
                    .map_err(|why| {
                        format!(
                            "the authorities of {}, {}, cannot be read: {why}",
                            asker.authorities(),
                            path.display()
                        )
                    })?,
            };
            let build = |builder: ClientBuilder| builder.build().map_err(|error| reason(&error, asker));
            let client = || client().https_only(!plain_http).tls_certs_merge(more.clone());
            Ok((build(client().no_proxy().dns_resolver(resolver))?, build(client())?))
        });
        let (direct, proxied) = clients
            .await
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(|why: String| Problem::fetched(Reason::FetchFailed, why).passing())?;
        Ok(Session { direct, proxied, network, room: Arc::clone(&self.room), asker, plain_http })
    }
}

fn client() -> ClientBuilder {
    Client::builder()
        .user_agent(AGENT)
        .connect_timeout(MAX_CONNECT)
        .redirect(Policy::none())
        // each fetch has clients of its own
        .pool_max_idle_per_host(1)
}

impl Session {
    /// The answer that is no redirect. Credentials follow no redirect to another origin.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) async fn send(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, String> {
        let origin = ask.url.origin();
        let (mut url, mut is_own) = (ask.url.clone(), true);
        for _ in 0..=MAX_REDIRECTS {
            let away = |why: String| match is_own {
                true => why,
                false => format!("it redirects to {}: {why}", shown(&url)),
            };
            if !self.may_dial(&url) {
                return Err(away(format!("{} is no https address", shown(&url))));
            }
            let host = url.host_str().unwrap_or_default();
            self.network.check_host(host).map_err(&away)?;
            let client = if is_proxied(&url) { &self.proxied } else { &self.direct };
            let mut request = client.request(ask.method.clone(), url.clone()).header(ACCEPT, ask.accept);
            if let Some(authorization) = authorization.filter(|_| is_own) {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            if let Some((media_type, bytes)) = ask.body {
                request = request.header(CONTENT_TYPE, media_type).body(bytes.to_vec());
            }
            let response = request.send().await.map_err(|error| away(reason(&error, self.asker)))?;
            // after the others, a client asks with GET
            let is_redirect = match response.status().as_u16() {
                301..=303 => ask.method == Method::GET,
                status => matches!(status, 307 | 308),
            };
            let location = response.headers().get(LOCATION).filter(|_| is_redirect);
            let Some(location) = location else { return Ok(response) };
            let next = location.to_str().ok().and_then(|location| url.join(location).ok());
            let next = next.filter(|next| self.may_dial(next));
            let next =
                next.ok_or_else(|| away("it redirects to something that is no https address".into()))?;
            is_own &= next.origin() == origin;
            url = next;
        }
        Err(format!("it redirects more than {MAX_REDIRECTS} times"))
    }

    /// Whether it is over TLS, or to this machine where its user wants that.
    fn may_dial(&self, url: &Url) -> bool {
        let is_plain = || self.plain_http && url.scheme() == "http";
        url.scheme() == "https" || is_plain() && url.host_str().is_some_and(is_this_machine)
    }

    /// The body of an answer, as soon as there is room for it.
    ///
    /// # Errors
    /// When it has more than `limit` bytes, or does not come.
    pub(super) async fn body(
        &self,
        mut response: Response,
        limit: usize,
        what: &str,
    ) -> Result<Fetched, Problem> {
        let too_large = || {
            let message = format!("{what} has more than {limit} bytes; {}", self.asker.too_large());
            Problem::fetched(Reason::TooLarge, message)
        };
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large().passing());
        }
        let room = room_in(&self.room, limit).await;
        let mut bytes = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|error| {
                let message = format!("{what} ended before its end: {}", reason(&error, self.asker));
                Problem::fetched(Reason::FetchFailed, message).passing()
            })?;
            let Some(chunk) = chunk else { return Ok(Fetched { bytes, signed_by: None, _room: room }) };
            if bytes.len() + chunk.len() > limit {
                return Err(too_large().passing());
            }
            bytes.extend_from_slice(&chunk);
        }
    }
}

/// Resolves a name to those of its addresses that may be dialled: what was looked at is what is dialled.
struct Checked(Arc<OwnNetwork>);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let network = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await;
            let found: Vec<SocketAddr> =
                found.map_err(|error| format!("cannot resolve {host}: {error}"))?.collect();
            let mut refused = format!("cannot resolve {host}: it has no address");
            let mut allowed = Vec::new();
            for address in found {
                match network.check_address(host, address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(why) => refused = why,
                }
            }
            let answer: Result<Addrs, Box<dyn std::error::Error + Send + Sync>> = match allowed.is_empty() {
                true => Err(refused.into()),
                false => Ok(Box::new(allowed.into_iter())),
            };
            answer
        })
    }
}

/// Whether a variable names a proxy for this address, as reqwest reads them.
fn is_proxied(url: &Url) -> bool {
    url.as_str().parse::<http::Uri>().is_ok_and(|uri| Matcher::from_env().intercept(&uri).is_some())
}

/// An address without what may be a credential.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// Whether a host, as it stands in an address, is the machine itself: RFC 6761, RFC 1122.
pub(super) fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |address: IpAddr| address.is_loopback();
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_loopback)
}

/// What went wrong at the bottom, without the address, which may hold credentials.
fn reason(error: &reqwest::Error, asker: Asker) -> String {
    let Some(mut cause) = error.source() else {
        return if error.is_timeout() { "it took too long".into() } else { "the request failed".into() };
    };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    let reason = text.split_once(" (os error").map_or(text.as_str(), |(reason, _)| reason);
    if let Some(remedy) = asker.remedy_of_certificate(reason) {
        return format!("{reason}; {remedy}");
    }
    match asker {
        Asker::Author if reason.contains("corrupt message") => {
            format!("{reason}; where it has no TLS, and is on this machine: --plain-http")
        }
        _ => reason.to_owned(),
    }
}
