//! Where components come from beside ConfigMaps: an OCI registry, a web server, a volume. What whoever runs the operator
//! allows, and how bytes are fetched within their limit.
//!
//! Credentials, keys and authorities are files in the operator's container, read anew for each fetch: nothing here asks the API.
//! By the same client an author pushes and pulls (`author`), from his own machine.

mod artifact;
mod asker;
pub(crate) mod author;
mod credentials;
pub(super) mod directory;
mod image;
mod manifest;
mod oci;
mod push;
mod signatures;
mod web;

use std::path::PathBuf;
use std::time::Duration;

use kubeopencode_api::condition::Reason;
use kubeopencode_api::network::OwnNetwork;
use kubeopencode_api::plugin_object::{PluginSource, PluginSpec, Signature};
use kubeopencode_plugin_host::Limits;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::load::class_of;
use super::status::Problem;
use super::trust;
use asker::Asker;
use image::Image;
pub(super) use web::Web;
use web::{Ask, Reach};

/// How long fetching one component may take, all its requests together.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much more than a component its packed form may have: what does not get smaller gets a little larger.
const PACKING: usize = 64 << 10;

/// A kind of source, by its field of `spec.source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A ConfigMap of the operator's namespace.
    ConfigMap,
    /// An OCI registry.
    Oci,
    /// A web server.
    Https,
    /// A volume of the operator's Pod.
    Directory,
}

impl SourceKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ConfigMap, Self::Oci, Self::Https, Self::Directory];

    /// The field of `spec.source`, and the word in the chart's `plugins.sources`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "configMap",
            Self::Oci => "oci",
            Self::Https => "https",
            Self::Directory => "directory",
        }
    }

    pub(super) fn of(source: &PluginSource) -> Self {
        match source {
            PluginSource { oci: Some(_), .. } => Self::Oci,
            PluginSource { https: Some(_), .. } => Self::Https,
            PluginSource { directory: Some(_), .. } => Self::Directory,
            _ => Self::ConfigMap,
        }
    }

    /// Whether it is fetched from the network.
    pub(super) fn is_remote(self) -> bool {
        matches!(self, Self::Oci | Self::Https)
    }
}

/// Which sources are taken, and what fetching from them needs.
#[derive(Clone, Debug)]
pub struct PluginSources {
    /// Others are refused.
    pub taken: Vec<SourceKind>,
    /// Whether a component without a signature is refused.
    pub require_signature: bool,
    /// Folder of public keys, `<name>.pub` each.
    pub keys: PathBuf,
    /// Folder of Docker configurations, `<name>.json` each, with the credentials of registries.
    pub registries: PathBuf,
    /// Certificate authorities beside the image's own.
    pub authorities: Option<PathBuf>,
    /// Which private addresses may be reached.
    pub network: OwnNetwork,
    /// The folder in which the volumes of directory sources are.
    pub volumes: PathBuf,
    /// How often a file in them is looked at, which nobody watches.
    pub look_at_files: Duration,
}

impl Default for PluginSources {
    /// As the program's flags have it.
    fn default() -> Self {
        Self {
            taken: SourceKind::ALL.to_vec(),
            require_signature: false,
            keys: "/etc/kubeopencode/cosign-keys".into(),
            registries: "/etc/kubeopencode/registries".into(),
            authorities: None,
            network: OwnNetwork::default(),
            volumes: "/plugins".into(),
            look_at_files: Duration::from_secs(30),
        }
    }
}

impl PluginSources {
    /// What the operator's own settings forbid. Then nothing of the Plugin serves, also nothing that served before.
    pub(super) fn refusal(&self, spec: &PluginSpec) -> Option<Problem> {
        let kind = SourceKind::of(&spec.source);
        if !self.taken.contains(&kind) {
            let (kind, taken) = (kind.as_str(), self.taken.iter().map(|kind| kind.as_str()));
            let message = format!(
                "spec.source.{kind} is not taken here: plugins.sources of the operator's chart has [{}]; use one of these, or ask \
                 who runs KubeOpenCode",
                taken.collect::<Vec<_>>().join(", ")
            );
            return Some(Problem::fetched(Reason::FetchFailed, message));
        }
        (self.require_signature && spec.signature.is_none()).then(|| {
            let message = "plugins.requireSignature of the operator's chart is set: sign the component with cosign, and name the \
                           key in spec.signature";
            Problem::verified(Reason::SignatureInvalid, message)
        })
    }

    fn reach(&self) -> Reach {
        Reach {
            asker: Asker::Operator,
            network: self.network.clone(),
            authorities: self.authorities.clone(),
            plain_http: false,
        }
    }

    /// Whether what served once, signed by the key of this fingerprint or by none, may serve on: where signatures are required,
    /// as long as that key is there.
    pub(super) async fn trusts(&self, signed_by: Option<&str>) -> bool {
        if !self.require_signature {
            return true;
        }
        let Some(signed_by) = signed_by else { return false };
        trust::fingerprints(&self.keys).await.iter().any(|key| key == signed_by)
    }
}

/// The signature that lies beside an artifact in its registry, and not in the Plugin.
pub(super) fn signature_in_registry(spec: &PluginSpec) -> Option<&Signature> {
    let signature = spec.signature.as_ref()?;
    let is_held = signature.bundle.is_some() || signature.value.is_some();
    (spec.source.oci.is_some() && !is_held).then_some(signature)
}

/// The artifact that a Plugin names.
fn artifact_of(image: &str) -> Result<Image, Problem> {
    Image::parse(image).filter(|image| image.digest.is_some()).ok_or_else(|| {
        let message = format!(
            "spec.source.oci.image: \"{image}\" is no name of an artifact: write registry/repository@sha256:…"
        );
        Problem::fetched(Reason::FetchFailed, message)
    })
}

/// The part of an image's name that says which artifact it is.
pub(super) fn digest_of_image(image: &str) -> &str {
    image.rsplit_once('@').map_or("", |(_, digest)| digest)
}

/// A component as it came, maybe packed, with the place that it takes in the memory that is set aside for all of them.
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    /// The fingerprint of the key whose signature lies beside it, where one was looked for.
    pub(super) signed_by: Option<String>,
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

impl Web {
    /// Fetches the component of an OCI or https source, and looks at the signature that lies in a registry.
    ///
    /// # Errors
    /// Why it did not come.
    pub(super) async fn fetch(&self, sources: &PluginSources, spec: &PluginSpec) -> Result<Fetched, Problem> {
        let limit = Limits::of(class_of(spec)).component.saturating_add(PACKING);
        let fetching = async {
            let session = self.session(sources.reach()).await?;
            match &spec.source {
                PluginSource { oci: Some(oci), .. } => {
                    let image = artifact_of(&oci.image)?;
                    let (folder, name, repository) =
                        (&sources.registries, &image.registry, &image.repository);
                    let credentials = credentials::of_folder(folder, name, repository).await;
                    let mut registry = oci::Registry::new(session, image, credentials, "fetch");
                    let layer = registry.component().await?;
                    // before the component: nothing waits for room while it holds some
                    let signed_by = match signature_in_registry(spec) {
                        Some(Signature { key, .. }) => {
                            let key = trust::key(&sources.keys, key).await?;
                            registry.is_signed(&key).await?;
                            Some(key.fingerprint)
                        }
                        None => None,
                    };
                    Ok(Fetched { signed_by, ..registry.blob(&layer, limit).await? })
                }
                PluginSource { https: Some(https), .. } => {
                    let url = Url::parse(&https.url).map_err(|error| {
                        let message = format!("spec.source.https.url is no address: {error}");
                        Problem::fetched(Reason::FetchFailed, message)
                    })?;
                    let name = web::shown(&url);
                    let failed = |why: String| {
                        Problem::fetched(Reason::FetchFailed, format!("cannot fetch {name}: {why}"))
                    };
                    let response = session
                        .send(&Ask::get(url, "*/*"), None)
                        .await
                        .map_err(|why| failed(why).passing())?;
                    if !response.status().is_success() {
                        return Err(failed(format!("the server answered {}", response.status())).passing());
                    }
                    session.body(response, limit, &name).await
                }
                _ => Err(Problem::fetched(Reason::FetchFailed, "this source is not one of the network")),
            }
        };
        tokio::time::timeout(PATIENCE, fetching).await.unwrap_or_else(|_| {
            let message = format!("the component did not come within {} s", PATIENCE.as_secs());
            Err(Problem::fetched(Reason::FetchFailed, message).passing())
        })
    }
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::plugin_object::{DirectorySource, HttpsSource};

    use super::*;

    #[test]
    fn who_runs_the_operator_says_which_sources_are_taken_and_whether_they_are_signed() {
        let mut spec = PluginSpec::default();
        spec.source.directory = Some(DirectorySource { path: "/plugins/a.wasm".into() });
        assert_eq!(PluginSources::default().refusal(&spec), None);
        let sources = PluginSources {
            taken: vec![SourceKind::ConfigMap, SourceKind::Https],
            require_signature: true,
            ..PluginSources::default()
        };
        let refused = sources.refusal(&spec).unwrap();
        assert_eq!(refused.reason, Reason::FetchFailed);
        assert!(
            refused.message.starts_with(
                "spec.source.directory is not taken here: plugins.sources of the operator's chart has [configMap, https]"
            ),
            "{}",
            refused.message
        );
        spec.source = PluginSource { https: Some(HttpsSource::default()), ..PluginSource::default() };
        assert_eq!(sources.refusal(&spec).unwrap().reason, Reason::SignatureInvalid);
        spec.signature = Some(Signature::default());
        assert_eq!(sources.refusal(&spec), None);
    }

    #[test]
    fn a_plugin_names_an_artifact_by_its_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert!(artifact_of(&format!("ghcr.io/acme/jira:1@{digest}")).is_ok());
        for image in ["ghcr.io/acme/jira:1", "ghcr.io/a?b@sha256:0a", ""] {
            let why = artifact_of(image).unwrap_err().message;
            assert!(why.starts_with("spec.source.oci.image: \"") && why.contains("@sha256:…"), "{why}");
        }
    }
}
