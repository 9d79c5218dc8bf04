//! An artifact in an OCI registry, by digest: whatever the registry gives is what the digest says, or is refused.
//!
//! Two requests of the distribution specification, with the tokens that registries ask for: a client of a library would bring
//! its own TLS, its own proxies and no look at addresses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::hex;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

use super::super::status::Problem;
use super::super::trust::{self, Key};
use super::manifest::{Challenge, Layer, MANIFESTS, Manifest, challenge};
use super::web::Session;
use super::{Fetched, PluginSources, credentials};

/// Where images without a registry in their name are.
pub(super) const DOCKER_HUB: &str = "registry-1.docker.io";
/// Most bytes of a manifest, a token and a signature; most signatures that are looked at.
const MAX_MANIFEST: usize = 1 << 20;
const MAX_SIGNATURES: usize = 16;
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The name of an artifact, in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    registry: String,
    repository: String,
    /// `sha256:…`
    digest: String,
}

impl Image {
    /// # Errors
    /// A name that is none.
    pub(super) fn parse(image: &str) -> Result<Self, Problem> {
        let wrong = || {
            let message = format!(
                "spec.source.oci.image: \"{image}\" is no name of an artifact: write registry/repository@sha256:…"
            );
            Problem::fetched(Reason::FetchFailed, message)
        };
        let (name, digest) = image.split_once('@').ok_or_else(wrong)?;
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest.to_owned())
            }
            Some(_) => (DOCKER_HUB, name.to_owned()),
            None => (DOCKER_HUB, format!("library/{name}")),
        };
        let registry =
            if matches!(registry, "docker.io" | "index.docker.io") { DOCKER_HUB } else { registry };
        // a tag beside the digest says nothing
        let repository = repository.split(':').next().unwrap_or_default();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let is_whole = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !repository.chars().all(fits) || !repository.split('/').all(is_whole) {
            return Err(wrong());
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            digest: digest.to_owned(),
        })
    }

    fn url(&self, what: &str) -> Result<Url, Problem> {
        let url = format!("https://{}/v2/{}/{what}", self.registry, self.repository);
        Url::parse(&url).map_err(|error| {
            let message = format!("spec.source.oci.image: {url} is no address: {error}");
            Problem::fetched(Reason::FetchFailed, message)
        })
    }
}

/// A repository of a registry, and who asks.
pub(super) struct Registry {
    session: Session,
    image: Image,
    credentials: Option<HeaderValue>,
    /// What the registry took last.
    authorization: Option<HeaderValue>,
}

impl Registry {
    pub(super) async fn new(session: Session, image: Image, sources: &PluginSources) -> Self {
        let credentials =
            credentials::of_folder(&sources.registries, &image.registry, &image.repository).await;
        Self { session, image, credentials, authorization: None }
    }

    /// The blob that is the component.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) async fn component(&mut self) -> Result<Layer, Problem> {
        let digest = self.image.digest.clone();
        let bytes = self.verified(&format!("manifests/{digest}"), &digest, MAX_MANIFEST).await?.bytes;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| self.failed(format!("its manifest is none: {error}")))?;
        manifest.component().cloned().map_err(|why| self.failed(why))
    }

    /// Whether one of the signatures that lie beside the artifact is of this key, as `cosign sign` puts them there.
    ///
    /// # Errors
    /// When none is.
    pub(super) async fn is_signed(&mut self, key: &Key) -> Result<(), Problem> {
        let refused = |why: &str| Problem::verified(Reason::SignatureInvalid, why).passing();
        let tag = format!("{}.sig", self.image.digest.replace(':', "-"));
        let response = self.get(&format!("manifests/{tag}"), MANIFESTS).await?;
        if response.status() == StatusCode::NOT_FOUND {
            let message = format!(
                "{} has no signature in its registry, at tag {tag}: sign it with cosign sign --key, and --new-bundle-format=false \
                 where cosign is 3 or newer",
                self.name()
            );
            return Err(refused(&message));
        }
        let response = self.good(response)?;
        let name = format!("the signature of {}", self.name());
        let bytes = self.session.body(response, MAX_MANIFEST, &name).await?.bytes;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| refused(&format!("{name} cannot be read: {error}")))?;
        let signatures = manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING);
        for layer in signatures.take(MAX_SIGNATURES) {
            let signature =
                layer.annotations.get(SIGNATURE).and_then(|text| STANDARD.decode(text.trim()).ok());
            let payload = self.blob(layer, MAX_MANIFEST).await?.bytes;
            let is_good = signature.is_some_and(|signature| key.verifies(&payload, &signature));
            if is_good && trust::is_payload_of(&payload, &self.image.digest) {
                return Ok(());
            }
        }
        let message = format!(
            "no signature of {} in its registry is by the key {}, and for this digest",
            self.name(),
            key.name
        );
        Err(refused(&message))
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

    async fn verified(&mut self, place: &str, digest: &str, limit: usize) -> Result<Fetched, Problem> {
        let response =
            self.get(place, if place.starts_with("manifests") { MANIFESTS } else { "*/*" }).await?;
        let response = self.good(response)?;
        let fetched = self.session.body(response, limit, &self.name()).await?;
        let found = format!("sha256:{}", hex(&Sha256::digest(&fetched.bytes)));
        if found != digest {
            let message = format!("the registry gave {found} for {digest} of {}", self.name());
            return Err(Problem::verified(Reason::DigestMismatch, message).passing());
        }
        Ok(fetched)
    }

    /// The answer, after the registry was told who asks if it wants to know.
    async fn get(&mut self, place: &str, accept: &str) -> Result<Response, Problem> {
        let url = self.image.url(place)?;
        let ask = self.session.get(url.clone(), accept, self.authorization.as_ref()).await;
        let response = ask.map_err(|why| self.failed(why))?;
        if response.status() != StatusCode::UNAUTHORIZED || self.authorization.is_some() {
            return Ok(response);
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE).into_iter();
        let challenge = challenge(headers.filter_map(|header| header.to_str().ok()));
        self.authorization = match challenge {
            Some(Challenge::Basic) => self.credentials.clone(),
            Some(Challenge::Bearer { realm, service, scope }) => {
                Some(self.token(&realm, service, scope).await?)
            }
            None => None,
        };
        if self.authorization.is_none() {
            return Ok(response);
        }
        let ask = self.session.get(url, accept, self.authorization.as_ref()).await;
        ask.map_err(|why| self.failed(why))
    }

    /// A token for pulling, with the credentials where there are some.
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
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.image.repository));
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let ask = self.session.get(url, "application/json", self.credentials.as_ref()).await;
        let response = self.good(ask.map_err(failed)?)?;
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

    fn good(&self, response: Response) -> Result<Response, Problem> {
        let status = response.status();
        let registry = &self.image.registry;
        match status {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.credentials.is_some() => {
                Err(self.failed(format!("{registry} answered {status}: it refuses the credentials of plugins.registrySecrets")))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.failed(format!(
                "{registry} answered {status}: put a Secret of type kubernetes.io/dockerconfigjson with an entry for {registry} \
                 into plugins.registrySecrets of the operator's chart"
            ))),
            StatusCode::NOT_FOUND => {
                let message = format!("there is no {}", self.name());
                Err(Problem::fetched(Reason::NotFound, message).passing())
            }
            status => Err(self.failed(format!("{registry} answered {status}"))),
        }
    }

    fn name(&self) -> String {
        format!("{}/{}@{}", self.image.registry, self.image.repository, self.image.digest)
    }

    fn failed(&self, why: impl AsRef<str>) -> Problem {
        let message = format!("cannot fetch {}: {}", self.name(), why.as_ref());
        Problem::fetched(Reason::FetchFailed, message).passing()
    }
}

/// Whether it is `sha256:` and 64 hexadecimal digits, and so nothing else in an address.
fn is_sha256(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_digest_of_sha256_names_a_blob() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert!(is_sha256(&digest));
        for other in ["sha256:../../../token", "sha512:0a", &digest[1..], &format!("{digest}/..")] {
            assert!(!is_sha256(other), "{other}");
        }
    }

    #[test]
    fn the_name_of_an_artifact_is_read_as_other_programs_read_it() {
        let parts = |image: &str| {
            let image = Image::parse(image).unwrap();
            (image.registry, image.repository)
        };
        for (image, registry, repository) in [
            ("ghcr.io/acme/jira@sha256:a", "ghcr.io", "acme/jira"),
            ("registry:5000/jira:1.2@sha256:a", "registry:5000", "jira"),
            ("localhost/jira@sha256:a", "localhost", "jira"),
            ("acme/jira@sha256:a", DOCKER_HUB, "acme/jira"),
            ("docker.io/acme/jira@sha256:a", DOCKER_HUB, "acme/jira"),
            ("jira@sha256:a", DOCKER_HUB, "library/jira"),
        ] {
            assert_eq!(parts(image), (registry.to_owned(), repository.to_owned()), "{image}");
        }
        for image in [
            "ghcr.io/../admin@sha256:a",
            "ghcr.io/a?b@sha256:a",
            "ghcr.io/@sha256:a",
            "ghcr.io/a//b@sha256:a",
            "a",
        ] {
            assert!(Image::parse(image).is_err(), "{image}");
        }
    }
}
