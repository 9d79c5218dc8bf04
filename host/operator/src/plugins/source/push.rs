//! The way into a registry: what is not there yet is uploaded, and then the manifest that names it, under a tag.

use reqwest::header::LOCATION;
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::super::status::Problem;
use super::artifact::{Artifact, MANIFEST};
use super::image::sha256;
use super::oci::Registry;
use super::web::Ask;

const BYTES: &str = "application/octet-stream";

impl Registry {
    /// Pushes an artifact under the tag of its name, and gives its digest.
    ///
    /// # Errors
    /// Why it is not there.
    pub(super) async fn push(&mut self, artifact: &Artifact<'_>) -> Result<String, Problem> {
        self.upload(artifact.component).await?;
        self.upload(&artifact.config).await?;
        let url = self.url(&format!("manifests/{}", self.image.reference()))?;
        self.put(url, MANIFEST, &artifact.manifest).await?;
        Ok(sha256(&artifact.manifest))
    }

    async fn upload(&mut self, blob: &[u8]) -> Result<(), Problem> {
        let digest = sha256(blob);
        let url = self.url(&format!("blobs/{digest}"))?;
        let ask = Ask { method: Method::HEAD, url, accept: "*/*", body: None };
        if self.send(&ask).await?.status().is_success() {
            return Ok(());
        }
        let url = self.url("blobs/uploads/")?;
        let ask = Ask { method: Method::POST, url: url.clone(), accept: "*/*", body: None };
        let response = self.send(&ask).await?;
        let begun = self.taken(response).await?;
        let place = begun.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.and_then(|place| url.join(place).ok());
        let mut place = place.ok_or_else(|| self.failed("the registry names no place for an upload"))?;
        place.query_pairs_mut().append_pair("digest", &digest);
        self.put(place, BYTES, blob).await
    }

    async fn put(&mut self, url: Url, media_type: &str, bytes: &[u8]) -> Result<(), Problem> {
        let ask = Ask { method: Method::PUT, url, accept: "*/*", body: Some((media_type, bytes)) };
        let response = self.send(&ask).await?;
        self.taken(response).await.map(drop)
    }

    async fn taken(&self, response: Response) -> Result<Response, Problem> {
        if response.status() == StatusCode::NOT_FOUND {
            let (registry, repository) = (&self.image.registry, &self.image.repository);
            return Err(self.failed(format!(
                "{registry} has no repository {repository}, and makes none: make it there, or mend the name"
            )));
        }
        self.good(response).await
    }
}
