//! From where a component is, or from what is kept of one, to a plugin that can be called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::Api;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::{PluginName, hex};
use kubeopencode_api::plugin::LimitClass;
use kubeopencode_api::plugin_object::{Plugin, PluginSpec, ServedType, served_name};
use kubeopencode_evaluate::Publication;
use kubeopencode_plugin_host::{Limits, Plugin as Code, PluginType};
use sha2::{Digest, Sha256};

use super::desired::{Found, Pieces, is_meant, verify};
use super::publication::publication;
use super::source::{Fetched, SourceKind, digest_of_image, directory, signature_in_registry};
use super::status::{Problem, Served, shown_schema};
use super::{Door, decode, kept, trust};
use crate::runtime::api_error::words;

/// A component that can be called.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) code: Arc<Code>,
    /// Digest of the OCI artifact that it came from.
    image: Option<String>,
    /// Fingerprint of the key that signed it, where a signature was looked at.
    pub(super) signed_by: Option<String>,
    class: LimitClass,
    bytes: usize,
    /// What loading it took.
    millis: u64,
    /// The Plugin that it was published for, as it was then: UID and generation.
    pub(super) published_for: Option<(String, Option<i64>)>,
}

/// A component as it came.
enum Packed {
    ConfigMaps(Vec<ConfigMap>),
    Fetched(Fetched),
    File(Fetched),
}

/// What came of a component.
#[derive(Debug)]
pub(super) struct Looked {
    /// Its digest, once it is known.
    pub(super) wanted: Option<String>,
    /// The component, unless it is kept already, and what it came to, or why it came to nothing.
    pub(super) result: Result<(Option<Vec<u8>>, Loaded), Problem>,
}

pub(super) fn class_of(spec: &PluginSpec) -> LimitClass {
    spec.limits.and_then(|limits| limits.class).unwrap_or_default()
}

impl Loaded {
    /// Whether it was published for this Plugin as it is.
    pub(super) fn is_published_for(&self, plugin: &Plugin) -> bool {
        let (uid, generation) = (plugin.uid().unwrap_or_default(), plugin.metadata.generation);
        self.published_for.as_ref() == Some(&(uid, generation))
    }

    /// Whether it is of this Plugin, and the spec does not mean other bytes.
    pub(super) fn fits(&self, plugin: &Plugin) -> bool {
        let is_its = self.published_for.as_ref().is_none_or(|(uid, _)| Some(uid) == plugin.uid().as_ref());
        let is_meant = is_meant(&plugin.spec, self.code.digest(), self.image.as_deref());
        is_its && is_meant && self.code.kind() == plugin.spec.kind
    }

    /// What is offered of it for this Plugin.
    ///
    /// # Errors
    /// Settings that do not fit.
    pub(super) fn publication(&self, plugin: &Plugin) -> Result<Publication, Problem> {
        let invalid = |message| Problem::compiled(Reason::SettingsInvalid, message);
        publication(plugin, &self.code, self.image.as_deref()).map_err(invalid)
    }

    /// What the Plugin says of it.
    pub(super) fn served(&self, names: &BTreeMap<String, String>) -> Served {
        Served {
            kind: self.code.kind(),
            digest: self.code.digest().to_owned(),
            image: self.image.clone(),
            signed_by: self.signed_by.clone(),
            version: self
                .code
                .types()
                .first()
                .map(|type_| type_.descriptor().version.clone())
                .unwrap_or_default(),
            interface: self.code.interface().to_owned(),
            types: types(&self.code, names),
            bytes: self.bytes,
            millis: self.millis,
        }
    }
}

/// The types of a plugin, under the names that users write.
fn types(code: &Code, names: &BTreeMap<String, String>) -> Vec<ServedType> {
    let served = |type_: &PluginType| {
        let descriptor = type_.descriptor();
        ServedType {
            name: served_name(names, &descriptor.name).to_owned(),
            description: Some(descriptor.description.clone()),
            schema: shown_schema(&descriptor.config_schema),
            capabilities: descriptor.capabilities.clone(),
        }
    };
    code.types().iter().map(served).collect()
}

impl Door {
    /// Fetches, unpacks, verifies and loads the component of a Plugin.
    pub(super) async fn look(&self, plugin: &Plugin, found: Result<Found, Problem>) -> Looked {
        if let Some(known) = self.known_by_digest(plugin).await {
            let wanted = Some(known.code.digest().to_owned());
            return Looked { wanted, result: Ok((None, known)) };
        }
        let mut wanted = None;
        let result = self.look_into(plugin, found, &mut wanted).await;
        Looked { wanted, result: result.map(|(component, loaded)| (Some(component), loaded)) }
    }

    /// What a digest names and is here already is not fetched again: a restart does not need the registry.
    async fn known_by_digest(&self, plugin: &Plugin) -> Option<Loaded> {
        let (spec, sources) = (&plugin.spec, &self.sources);
        // a signature is looked at each time
        let is_remote = SourceKind::of(&spec.source).is_remote();
        let is_named = is_remote && spec.signature.is_none() && sources.refusal(spec).is_none();
        // what the status names is kept
        let status = plugin.status.as_ref().filter(|_| is_named && status_is_meant(plugin))?;
        let serving = self.known.lock().serving.get(&PluginName::of(plugin)).cloned();
        let serving = serving.filter(|serving| status.digest.as_deref() == Some(serving.code.digest()));
        let known = match serving {
            Some(serving) => Loaded::clone(&serving),
            None => self.load_kept(plugin).await.ok()??,
        };
        (known.fits(plugin) && known.class == class_of(spec)).then_some(known)
    }

    async fn look_into(
        &self,
        plugin: &Plugin,
        found: Result<Found, Problem>,
        wanted: &mut Option<String>,
    ) -> Result<(Vec<u8>, Loaded), Problem> {
        let (found, spec) = (found?, &plugin.spec);
        let (class, limit) = (class_of(spec), Limits::of(class_of(spec)).component);
        let (mut annotated, mut signed_by) = (None, None);
        let packed = match found {
            Found::ConfigMaps(pieces) => {
                let maps = self.fetch(&pieces).await?;
                annotated = pieces.sha256;
                Packed::ConfigMaps(maps)
            }
            Found::Elsewhere => {
                let mut fetched = self.web.fetch(&self.sources, spec).await?;
                signed_by = fetched.signed_by.take();
                Packed::Fetched(fetched)
            }
            Found::File(stamp) => {
                let room = self.web.room(limit).await;
                let name = PluginName::of(plugin);
                let bytes = self.volumes.ask(&name, move || directory::read(&stamp, limit)).await?;
                Packed::File(Fetched { bytes, signed_by: None, _room: room })
            }
        };
        let key = spec.source.config_map.as_ref().and_then(|map| map.key.clone());
        let _turn = self.turn.acquire().await;
        let unpacked = blocking(move || {
            let component = match packed {
                Packed::ConfigMaps(maps) => decode::component(&maps, key.as_deref(), class)?,
                Packed::File(file) => decode::fetched(file.bytes, class)?,
                // what changes at a server tells nobody
                Packed::Fetched(fetched) => {
                    decode::fetched(fetched.bytes, class).map_err(Problem::passing)?
                }
            };
            let digest = format!("sha256:{}", hex(&Sha256::digest(&component)));
            Ok((component, digest))
        });
        let (component, digest) = unpacked.await?;
        *wanted = Some(digest.clone());
        verify(spec, annotated.as_deref(), &digest)?;
        // one in a registry was looked at where it lies
        if let Some(signature) = spec.signature.as_ref().filter(|_| signature_in_registry(spec).is_none()) {
            let key = trust::key(&self.sources.keys, &signature.key).await?;
            trust::detached(&key, signature, &component)?;
            signed_by = Some(key.fingerprint);
        }
        let (component, loaded) = self.load(plugin, component, class).await?;
        let image = spec.source.oci.as_ref().map(|oci| digest_of_image(&oci.image).to_owned());
        Ok((component, Loaded { image, signed_by, ..loaded }))
    }

    async fn fetch(&self, pieces: &Pieces) -> Result<Vec<ConfigMap>, Problem> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        let mut maps = Vec::with_capacity(pieces.maps.len());
        for [name, ..] in &pieces.maps {
            match api.get_opt(name).await {
                Ok(Some(map)) => maps.push(map),
                Ok(None) => {
                    let message = format!("there is no ConfigMap {name} any more");
                    return Err(Problem::fetched(Reason::NotFound, message));
                }
                Err(error) => {
                    let message = format!("ConfigMap {name} cannot be read: {}", words(&error));
                    return Err(Problem::fetched(Reason::FetchFailed, message).passing());
                }
            }
        }
        Ok(maps)
    }

    /// What is kept of a Plugin, where its status says that this served.
    ///
    /// # Errors
    /// It is not known what is kept: to be tried again.
    pub(super) async fn load_kept(&self, plugin: &Plugin) -> Result<Option<Loaded>, Problem> {
        let Some((status, digest)) = plugin.status.as_ref().and_then(|s| Some((s, s.digest.clone()?))) else {
            return Ok(None);
        };
        if !self.sources.trusts(status.signed_by.as_deref()).await {
            return Ok(None);
        }
        let unknown = |why: &str| {
            let message = format!("the last good component cannot be loaded: {why}");
            Problem::fetched(Reason::Loading, message).passing()
        };
        let class = class_of(&plugin.spec);
        let _turn = self.turn.acquire().await;
        let kept = kept::load(&self.client, &self.namespace, plugin, &digest, class).await;
        let Some(component) = kept.map_err(|error| unknown(&words(&error)))? else {
            return Ok(None);
        };
        if format!("sha256:{}", hex(&Sha256::digest(&component))) != digest {
            tracing::warn!(
                plugin = plugin.name_any(),
                "the component that is kept is not the one that served"
            );
            return Ok(None);
        }
        match self.load(plugin, component, class).await {
            Ok((_, loaded)) => {
                let (image, signed_by) = (status.image.clone(), status.signed_by.clone());
                Ok(Some(Loaded { image, signed_by, ..loaded }))
            }
            Err(problem) if problem.may_pass => Err(unknown(&problem.message)),
            Err(_) => Ok(None),
        }
    }

    async fn load(
        &self,
        plugin: &Plugin,
        component: Vec<u8>,
        class: LimitClass,
    ) -> Result<(Vec<u8>, Loaded), Problem> {
        let (host, kind) = (Arc::clone(&self.host), plugin.spec.kind);
        let loading = blocking(move || {
            let started = Instant::now();
            let code = host.load(&component, kind, class);
            Ok((component, code, started.elapsed()))
        });
        let (component, code, took) = loading.await?;
        self.metrics.plugin_loaded(took.as_secs_f64());
        let code = code.map_err(|error| {
            self.metrics.plugin_not_loaded(error.stage());
            Problem::from(&error)
        })?;
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bytes = component.len();
        let loaded = Loaded { code, image: None, signed_by: None, class, bytes, millis, published_for: None };
        Ok((component, loaded))
    }
}

/// Whether the status names the component that the spec means.
fn status_is_meant(plugin: &Plugin) -> bool {
    let Some(status) = &plugin.status else { return false };
    status.digest.as_ref().is_some_and(|digest| is_meant(&plugin.spec, digest, status.image.as_deref()))
}

/// Runs what takes its time on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Problem::compiled(Reason::Loading, format!("the thread that loads it ended: {error}")).passing())
    })
}
