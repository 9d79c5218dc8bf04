//! An artifact in an OCI registry: whatever the registry gives is what the digest says, or is refused.
//!
//! Some requests of the distribution specification, with the tokens that registries ask for: a client of a library would bring
//! its own TLS, its own proxies and no look at addresses.

use kubeopencode_api::condition::Reason;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::super::status::Problem;
use super::Fetched;
use super::asker::Asker;
use super::image::{Image, is_sha256, sha256};
use super::manifest::{Challenge, Layer, MANIFESTS, Manifest, challenge, reason};
use super::web::{Ask, Session};

/// Most bytes of a manifest, a token and a signature; most bytes of an error.
pub(super) const MAX_MANIFEST: usize = 1 << 20;
const MAX_ERROR: usize = 64 << 10;

/// What is done that wants more rights than to read.
pub(super) const PUSH: &str = "push";

/// A repository of a registry, and who asks.
pub(super) struct Registry {
    pub(super) session: Session,
    pub(super) image: Image,
    credentials: Option<HeaderValue>,
    /// What the registry took last.
    authorization: Option<HeaderValue>,
    /// What is being done.
    verb: &'static str,
}

impl Registry {
    pub(super) fn new(
        session: Session,
        image: Image,
        credentials: Option<HeaderValue>,
        verb: &'static str,
    ) -> Self {
        Self { session, image, credentials, authorization: None, verb }
    }

    /// The blob that is the component. What a tag named is known by its digest from then on.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) async fn component(&mut self) -> Result<Layer, Problem> {
        let place = format!("manifests/{}", self.image.reference());
        let bytes = match self.image.digest.clone() {
            Some(digest) => self.verified(&place, &digest, MAX_MANIFEST).await?.bytes,
            None => self.read(&place, MAX_MANIFEST).await?.bytes,
        };
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| self.failed(format!("its manifest is none: {error}")))?;
        let component = manifest.component().cloned().map_err(|why| self.failed(why))?;
        self.image.digest = Some(sha256(&bytes));
        Ok(component)
    }

    /// A blob whose digest the manifest says.
    ///
    /// # Errors
    /// Why it did not come.
    pub(super) async fn blob(&mut self, layer: &Layer, limit: usize) -> Result<Fetched, Problem> {
        let digest = &layer.digest;
        if !is_sha256(digest) {
            return Err(self.failed(format!(
                "its manifest names the blob \"{digest}\", which is no digest as sha256:…"
            )));
        }
        self.verified(&format!("blobs/{digest}"), digest, limit).await
    }

    /// What a digest names.
    ///
    /// # Errors
    /// Why it did not come, or that it is something else.
    pub(super) async fn verified(
        &mut self,
        place: &str,
        digest: &str,
        limit: usize,
    ) -> Result<Fetched, Problem> {
        let fetched = self.read(place, limit).await?;
        let found = sha256(&fetched.bytes);
        if found != digest {
            let message = format!("the registry gave {found} for {digest} of {}", self.image.name());
            return Err(Problem::verified(Reason::DigestMismatch, message).passing());
        }
        Ok(fetched)
    }

    async fn read(&mut self, place: &str, limit: usize) -> Result<Fetched, Problem> {
        let accept = if place.starts_with("manifests") { MANIFESTS } else { "*/*" };
        let response = self.get(place, accept).await?;
        if response.status() == StatusCode::NOT_FOUND {
            let message = format!("there is no {}", self.name_of(place));
            return Err(Problem::fetched(Reason::NotFound, message).passing());
        }
        let response = self.good(response).await?;
        self.session.body(response, limit, &self.image.name()).await
    }

    /// What lies at a place: the artifact, or what belongs to it, in words.
    fn name_of(&self, place: &str) -> String {
        let image = self.image.name();
        match place.rsplit_once('/') {
            Some((_, digest)) if digest != self.image.reference() => format!("{digest}, of {image}"),
            _ => image,
        }
    }

    pub(super) async fn get(&mut self, place: &str, accept: &str) -> Result<Response, Problem> {
        let url = self.url(place)?;
        self.send(&Ask::get(url, accept)).await
    }

    pub(super) fn url(&self, place: &str) -> Result<Url, Problem> {
        self.image.url(place, self.session.plain_http).map_err(|why| self.failed(why))
    }

    /// The answer, after the registry was told who asks if it wants to know. Of another server's address nobody is told.
    pub(super) async fn send(&mut self, ask: &Ask<'_>) -> Result<Response, Problem> {
        let is_own = ask.url.origin() == self.url("")?.origin();
        let known = self.authorization.clone().filter(|_| is_own);
        let asked = self.session.send(ask, known.as_ref()).await;
        let response = asked.map_err(|why| self.failed(why))?;
        if response.status() != StatusCode::UNAUTHORIZED || !is_own {
            return Ok(response);
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE).into_iter();
        let authorization = match challenge(headers.filter_map(|header| header.to_str().ok())) {
            Some(Challenge::Basic) => self.credentials.clone(),
            // each ends some time
            Some(Challenge::Bearer { realm, service, scope }) => {
                Some(self.token(&realm, service, scope).await?)
            }
            None => None,
        };
        if authorization.is_none() || authorization == known {
            return Ok(response);
        }
        self.authorization = authorization;
        let asked = self.session.send(ask, self.authorization.as_ref()).await;
        asked.map_err(|why| self.failed(why))
    }

    /// A token, with the credentials where there are some.
    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<HeaderValue, Problem> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let failed = |why: String| self.failed(format!("its server of tokens gave none: {why}"));
        let mut url = Url::parse(realm).map_err(|error| failed(error.to_string()))?;
        let repository = &self.image.repository;
        let scope = match self.verb {
            // some registries refuse a token for pulling alone with 403, and ask for no other
            PUSH => format!("repository:{repository}:pull,push"),
            _ => scope.unwrap_or_else(|| format!("repository:{repository}:pull")),
        };
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let ask = Ask::get(url, "application/json");
        let answer = self.session.send(&ask, self.credentials.as_ref()).await;
        let response = self.good(answer.map_err(failed)?).await?;
        let bytes = self.session.body(response, MAX_MANIFEST, "the token").await?.bytes;
        // what the parser says may have a token in it
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|_| failed("its answer is not the JSON that it should be".to_owned()))?;
        let token = token.token.or(token.access_token).unwrap_or_default();
        let mut header =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| failed(error.to_string()))?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// An answer that is no error.
    ///
    /// # Errors
    /// What the registry says, and what to do.
    pub(super) async fn good(&self, response: Response) -> Result<Response, Problem> {
        let (status, registry) = (response.status(), &self.image.registry);
        let why = match status {
            status if status.is_success() => return Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!(": {}", self.session.asker.unknown_to(registry, self.credentials.is_some()))
            }
            _ => String::new(),
        };
        let said = self.said(response).await;
        Err(self.failed(format!("{registry} answered {status}{said}{why}")))
    }

    /// The registry's own words, for an author: in the status of a Plugin, they would tell what answers in the cluster's network.
    async fn said(&self, response: Response) -> String {
        if self.session.asker == Asker::Operator {
            return String::new();
        }
        let body = self.session.body(response, MAX_ERROR, "the error").await;
        let reason = body.ok().and_then(|body| reason(&body.bytes));
        reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
    }

    pub(super) fn failed(&self, why: impl AsRef<str>) -> Problem {
        let message = format!("cannot {} {}: {}", self.verb, self.image.name(), why.as_ref());
        Problem::fetched(Reason::FetchFailed, message).passing()
    }
}
