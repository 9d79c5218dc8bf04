//! The signatures of an artifact, where cosign leaves them in its registry: bundles that refer to it, since version 3, and images
//! at a tag, before.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubeopencode_api::condition::Reason;
use reqwest::header::{CONTENT_TYPE, LINK};
use reqwest::{Response, StatusCode};

use super::super::status::Problem;
use super::super::trust::bundle::{Signed, verify};
use super::super::trust::{self, Key};
use super::image::is_sha256;
use super::manifest::{INDEX, Layer, MANIFESTS, Manifest, bundles, next_page};
use super::oci::{MAX_MANIFEST, Registry};
use super::web::Ask;

/// Most signatures of each form that are looked at, and most pages of what refers to an artifact.
const MAX_SIGNATURES: usize = 16;
const MAX_PAGES: usize = 4;
/// Most bytes of a page, which is a manifest: as many as the distribution specification wants to be supported.
const MAX_PAGE: usize = 4 << 20;
/// Most bytes of a bundle, of the manifest that refers by it and of what was signed in the older form: as in a Plugin.
const MAX_SIGNATURE: usize = 64 << 10;
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What lies beside an artifact.
enum Beside {
    Nothing,
    /// A signature by the key.
    Signature,
    /// Others, and why the first of them is none by the key.
    Others(String),
}

impl Registry {
    /// Whether one of the signatures that lie beside the artifact is of this key, as `cosign sign` puts them there.
    ///
    /// # Errors
    /// When none is.
    pub(super) async fn is_signed(&mut self, key: &Key) -> Result<(), Problem> {
        let digest = self.image.digest.clone().unwrap_or_default();
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let at_tag = self.at_tag(key, &digest, &tag).await;
        if matches!(at_tag, Ok(Beside::Signature)) {
            return Ok(());
        }
        // whatever lies at the tag keeps no bundle from being looked at
        let in_bundles = self.in_bundles(key, &digest).await;
        if matches!(in_bundles, Ok(Beside::Signature)) {
            return Ok(());
        }
        let name = self.image.name();
        let message = match (in_bundles?, at_tag?) {
            (Beside::Others(why), _) | (_, Beside::Others(why)) => {
                let key = &key.name;
                format!(
                    "no signature of {name} in its registry is by the key {key}, and for this digest: {why}"
                )
            }
            _ => format!(
                "{name} has no signature in its registry, neither a bundle that refers to it nor one at tag {tag}: sign it with \
                 cosign sign --key"
            ),
        };
        Err(Problem::verified(Reason::SignatureInvalid, message).passing())
    }

    /// The older form: an image whose layers are what was signed.
    async fn at_tag(&mut self, key: &Key, digest: &str, tag: &str) -> Result<Beside, Problem> {
        let response = self.get(&format!("manifests/{tag}"), MANIFESTS).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Beside::Nothing);
        }
        let bytes = self.manifest(response, MAX_MANIFEST).await?;
        let manifest: Manifest = match serde_json::from_slice(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Beside::Others(format!("that at tag {tag} cannot be read: {error}"))),
        };
        let is_one = |layer: &&Layer| layer.media_type == SIMPLE_SIGNING && is_sha256(&layer.digest);
        let mut failed = None;
        for layer in manifest.layers.iter().filter(is_one).take(MAX_SIGNATURES) {
            let signature =
                layer.annotations.get(SIGNATURE).and_then(|text| STANDARD.decode(text.trim()).ok());
            let payload = match self.blob(layer, MAX_SIGNATURE).await {
                Ok(payload) => payload.bytes,
                Err(problem) => {
                    failed = failed.or(Some(problem).filter(is_of_the_registry));
                    continue;
                }
            };
            let is_good = signature.is_some_and(|signature| key.verifies(&payload, &signature));
            if is_good && trust::is_payload_of(&payload, digest) {
                return Ok(Beside::Signature);
            }
        }
        failed.map_or_else(|| Ok(Beside::Others(format!("those at tag {tag} are not"))), Err)
    }

    /// The newer form. Whoever may push here can refer to the artifact: what is broken, and what does not come, is passed over.
    async fn in_bundles(&mut self, key: &Key, digest: &str) -> Result<Beside, Problem> {
        let referrers = bundles(&self.referrers(digest).await?);
        let (mut beside, mut failed) = (Beside::Nothing, None);
        for referrer in referrers.iter().take(MAX_SIGNATURES) {
            let why = match self.bundle(referrer).await {
                Ok(None) => continue,
                Ok(Some(bundle)) => match verify(&bundle, key, Signed::Artifact(digest)) {
                    Ok(()) => return Ok(Beside::Signature),
                    Err(why) => why,
                },
                Err(problem) if is_of_the_registry(&problem) => {
                    failed = failed.or(Some(problem));
                    continue;
                }
                Err(problem) => problem.message,
            };
            if matches!(beside, Beside::Nothing) {
                let some = match referrers.len() {
                    all if all > MAX_SIGNATURES => format!(
                        "of {all} bundles the newest {MAX_SIGNATURES} were looked at, so remove some, or put a bundle of the \
                         component into spec.signature.bundle; "
                    ),
                    _ => String::new(),
                };
                beside = Beside::Others(format!("{some}of the bundle {referrer}, {why}"));
            }
        }
        failed.map_or(Ok(beside), Err)
    }

    /// What refers to the artifact, by the distribution specification: its API, and where a registry has none the index at a tag
    /// that who pushes there keeps.
    async fn referrers(&mut self, digest: &str) -> Result<Vec<Vec<u8>>, Problem> {
        let mut response = self.get(&format!("referrers/{digest}"), INDEX).await?;
        if has_no_referrers(&response) {
            response = self.get(&format!("manifests/{}", digest.replace(':', "-")), INDEX).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(Vec::new());
            }
        }
        let mut pages = Vec::new();
        loop {
            let links = response.headers().get_all(LINK).into_iter().filter_map(|link| link.to_str().ok());
            let next = next_page(links).and_then(|next| response.url().join(next).ok());
            pages.push(self.manifest(response, MAX_PAGE).await?);
            match next {
                Some(next) if pages.len() < MAX_PAGES => response = self.send(&Ask::get(next, INDEX)).await?,
                _ => return Ok(pages),
            }
        }
    }

    /// The bundle of something that refers to the artifact, if it has one.
    async fn bundle(&mut self, referrer: &str) -> Result<Option<Vec<u8>>, Problem> {
        let manifest = self.verified(&format!("manifests/{referrer}"), referrer, MAX_SIGNATURE).await?.bytes;
        let manifest = serde_json::from_slice::<Manifest>(&manifest).ok();
        match manifest.as_ref().and_then(Manifest::bundle) {
            Some(layer) => Ok(Some(self.blob(layer, MAX_SIGNATURE).await?.bytes)),
            None => Ok(None),
        }
    }

    async fn manifest(&self, response: Response, limit: usize) -> Result<Vec<u8>, Problem> {
        let response = self.good(response).await?;
        let name = format!("the signature of {}", self.image.name());
        Ok(self.session.body(response, limit, &name).await?.bytes)
    }
}

/// Whether the registry failed, which is no word about what lies there.
fn is_of_the_registry(problem: &Problem) -> bool {
    problem.reason == Reason::FetchFailed
}

/// Whether an answer is that of a registry without the API: other clients read these so, too.
fn has_no_referrers(response: &Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_index = media_type.is_some_and(|media_type| media_type.starts_with(INDEX));
    match response.status() {
        StatusCode::BAD_REQUEST
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::NOT_ACCEPTABLE => true,
        status => status.is_success() && !is_index,
    }
}
