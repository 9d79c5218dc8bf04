//! An author's side of a registry, by the operator's own client: a component goes there from his machine, and comes back.
//!
//! His machine reaches what he reaches, so no address is closed to him. That look is for the operator, which follows what
//! somebody else wrote from inside a cluster's network.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use kubeopencode_api::network::OwnNetwork;
use kubeopencode_api::plugin::LimitClass;
use kubeopencode_plugin_host::Limits;

use super::super::decode;
use super::super::status::Problem;
use super::artifact::Artifact;
pub use super::artifact::PushedComponent;
use super::asker::Asker;
use super::image::Image;
use super::oci::{PUSH, Registry};
use super::web::{Reach, Web, is_this_machine};
use super::{PACKING, credentials};

/// How long all of a push or a pull may take: 32 MiB with half a megabit in a second.
const PATIENCE: Duration = Duration::from_secs(600);

/// How an author's machine reaches a registry.
#[derive(Clone, Debug, Default)]
pub struct RegistryAccess {
    /// The Docker configuration with the credentials, as `docker login` writes it.
    pub config: Option<PathBuf>,
    /// A file with certificate authorities beside the machine's own, in PEM.
    pub authorities: Option<PathBuf>,
    /// Without TLS: for a registry on the machine itself.
    pub plain_http: bool,
}

/// Why nothing was pushed or pulled.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The call makes no sense.
    #[error("{0}")]
    Call(String),
    /// The registry, or what lies there.
    #[error("{0}")]
    Registry(String),
}

impl From<Problem> for RegistryError {
    fn from(problem: Problem) -> Self {
        Self::Registry(problem.message)
    }
}

/// A component that was pulled.
#[derive(Debug)]
pub struct PulledComponent {
    /// The artifact's name with its digest, as `spec.source.oci.image` of a Plugin has it.
    pub image: String,
    /// The component, unpacked.
    pub bytes: Vec<u8>,
}

impl RegistryAccess {
    /// Pushes a component under a name with a tag, and gives the artifact's name with its digest, as `spec.source.oci.image` of a
    /// Plugin has it.
    ///
    /// # Errors
    /// Why it is not there.
    pub async fn push(&self, image: &str, component: &PushedComponent<'_>) -> Result<String, RegistryError> {
        let name = Image::parse(image).filter(|name| name.tag.is_some() && name.digest.is_none());
        let name = name.ok_or_else(|| {
            RegistryError::Call(format!(
                "\"{image}\" is no name to push to: write registry/repository:tag, as in ghcr.io/acme/greeting:1.0.0"
            ))
        })?;
        let artifact = Artifact::of(component).map_err(|error| RegistryError::Registry(error.to_string()))?;
        let written = name.written.clone();
        let pushing = async {
            let digest = self.registry(name, PUSH).await?.push(&artifact).await?;
            Ok(format!("{written}@{digest}"))
        };
        in_time(pushing).await
    }

    /// Pulls the component of an artifact.
    ///
    /// # Errors
    /// Why it did not come.
    pub async fn pull(&self, image: &str) -> Result<PulledComponent, RegistryError> {
        let name = Image::parse(image).filter(|name| name.tag.is_some() || name.digest.is_some());
        let name = name.ok_or_else(|| {
            RegistryError::Call(format!(
                "\"{image}\" is no name of an artifact: write registry/repository:tag or registry/repository@sha256:…"
            ))
        })?;
        let limit = Limits::of(LimitClass::Large).component.saturating_add(PACKING);
        let pulling = async {
            let mut registry = self.registry(name, "pull").await?;
            let layer = registry.component().await?;
            let fetched = registry.blob(&layer, limit).await?;
            let bytes = decode::fetched(fetched.bytes, LimitClass::Large)?;
            let Image { written, digest, .. } = registry.image;
            Ok(PulledComponent { image: format!("{written}@{}", digest.unwrap_or_default()), bytes })
        };
        in_time(pulling).await
    }

    async fn registry(&self, image: Image, verb: &'static str) -> Result<Registry, RegistryError> {
        let host = match image.registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => image.registry.as_str(),
        };
        if self.plain_http && !is_this_machine(host) {
            return Err(RegistryError::Call(format!(
                "--plain-http is for a registry on this machine, as localhost:5000: to {host}, everybody on the way would read the \
                 password"
            )));
        }
        let credentials = match &self.config {
            None => None,
            Some(config) => credentials::of_file(config, &image.registry, &image.repository)
                .await
                .map_err(RegistryError::Registry)?,
        };
        let reach = Reach {
            asker: Asker::Author,
            network: OwnNetwork::open(),
            authorities: self.authorities.clone(),
            plain_http: self.plain_http,
        };
        Ok(Registry::new(Web::default().session(reach).await?, image, credentials, verb))
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        let message =
            format!("it was not done within {} s: see whether the registry answers", PATIENCE.as_secs());
        Err(RegistryError::Registry(message))
    })
}
