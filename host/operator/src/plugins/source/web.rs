//! Requests over TLS to what the rules allow, by a client that follows redirects itself: each hop is looked at, and what a name
//! leads to is looked at where it is dialled.
//!
//! Behind a proxy that a variable names, the proxy resolves and dials: then the host as it stands in the address is all that
//! can be looked at.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::network::OwnNetwork;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::super::status::Problem;
use super::{Fetched, PluginSources};

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

/// The clients of one fetch, which have the authorities as they are now.
pub(super) struct Session {
    direct: Client,
    proxied: Client,
    network: Arc<OwnNetwork>,
    room: Arc<Semaphore>,
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
    pub(super) async fn session(&self, sources: &PluginSources) -> Result<Session, Problem> {
        let (network, authorities) = (Arc::new(sources.network.clone()), sources.authorities.clone());
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
                            "the authorities of plugins.caBundle, {}, cannot be read: {why}",
                            path.display()
                        )
                    })?,
            };
            let build = |builder: ClientBuilder| builder.build().map_err(|error| reason(&error));
            let direct = client().tls_certs_merge(more.clone()).no_proxy().dns_resolver(resolver);
            Ok((build(direct)?, build(client().tls_certs_merge(more))?))
        });
        let (direct, proxied) = clients
            .await
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(|why: String| Problem::fetched(Reason::FetchFailed, why).passing())?;
        Ok(Session { direct, proxied, network, room: Arc::clone(&self.room) })
    }
}

fn client() -> ClientBuilder {
    Client::builder()
        .user_agent(AGENT)
        .connect_timeout(MAX_CONNECT)
        .https_only(true)
        .redirect(Policy::none())
        // each fetch has clients of its own
        .pool_max_idle_per_host(1)
}

impl Session {
    /// The answer that is no redirect. Credentials follow no redirect to another origin.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) async fn get(
        &self,
        url: Url,
        accept: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, String> {
        let origin = url.origin();
        let (mut url, mut is_own) = (url, true);
        for _ in 0..=MAX_REDIRECTS {
            let away = |why: String| match is_own {
                true => why,
                false => format!("it redirects to {}: {why}", shown(&url)),
            };
            let host = url.host_str().unwrap_or_default();
            self.network.check_host(host).map_err(&away)?;
            let client = if is_proxied(&url) { &self.proxied } else { &self.direct };
            let mut request = client.get(url.clone()).header(ACCEPT, accept);
            if let Some(authorization) = authorization.filter(|_| is_own) {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let response = request.send().await.map_err(|error| away(reason(&error)))?;
            let status = response.status().as_u16();
            let location =
                response.headers().get(LOCATION).filter(|_| matches!(status, 301..=303 | 307 | 308));
            let Some(location) = location else { return Ok(response) };
            let next = location.to_str().ok().and_then(|location| url.join(location).ok());
            let next = next.filter(|next| next.scheme() == "https");
            let next =
                next.ok_or_else(|| away("it redirects to something that is no https address".into()))?;
            is_own &= next.origin() == origin;
            url = next;
        }
        Err(format!("it redirects more than {MAX_REDIRECTS} times"))
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
            let message = format!(
                "{what} has more than {limit} bytes; make the component smaller (release build, size optimisation), or give the \
                 Plugin limits.class large"
            );
            Problem::fetched(Reason::TooLarge, message)
        };
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large().passing());
        }
        let room = room_in(&self.room, limit).await;
        let mut bytes = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|error| {
                let message = format!("{what} ended before its end: {}", reason(&error));
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

/// What went wrong at the bottom, without the address, which may hold credentials.
fn reason(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else {
        return if error.is_timeout() { "it took too long".into() } else { "the request failed".into() };
    };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    let reason = text.split_once(" (os error").map_or(text.as_str(), |(reason, _)| reason);
    if reason.contains("certificate") || reason.contains("UnknownIssuer") {
        return format!("{reason}; name the server's authority in plugins.caBundle of the operator's chart");
    }
    reason.to_owned()
}
