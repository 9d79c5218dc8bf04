//! Which plugins there are. Bytes, grants and namespaces of a plugin change together or not at all, and whoever evaluates
//! sees one state of all of them from the beginning to the end.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use kubeopencode_api::plugin::{Descriptor, Kind};
use kubeopencode_api::plugin_object::served_name;
use kubeopencode_plan::Granted;
use kubeopencode_plugin_host::{Plugin, PluginType};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::calls::{Calls, SharedCalls};
use crate::health::Pause;
use crate::lookup::{Awaited, Offers, TypeKey};
use crate::memory::Memory;

/// Changes that who is told of them may be behind.
const CHANGES: usize = 64;

/// One type of a plugin, what it may do, and who may use it.
pub struct Offer {
    pub(crate) plugin: Arc<Plugin>,
    /// What users write.
    pub(crate) name: String,
    /// Which of the plugin's types it is.
    type_: usize,
    /// What its installer wrote.
    pub(crate) settings: Value,
    pub(crate) granted: Granted,
    pub(crate) calls: Arc<Calls>,
    /// Name of its Plugin; `None`: it comes with the program.
    pub(crate) source: Option<String>,
    /// Globs of the namespaces that may use it; empty: all.
    pub(crate) allowed_namespaces: Arc<[String]>,
}

/// What a Plugin brings: all of it, or nothing.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Name of the Plugin.
    pub source: String,
    /// Since when the Plugin is there: of two that bring one type, the older one serves it.
    pub created: Timestamp,
    /// The code.
    pub plugin: Arc<Plugin>,
    /// Other names of its types: the plugin's own name to what users write.
    pub names: BTreeMap<String, String>,
    /// What its installer wrote, an object.
    pub settings: Value,
    /// What it may do.
    pub granted: Granted,
    /// Globs of the namespaces that may use it; empty: all.
    pub allowed_namespaces: Vec<String>,
}

impl Publication {
    /// The types under the names that users write.
    pub fn type_names(&self) -> Vec<String> {
        let served = |type_: &PluginType| served_name(&self.names, &type_.descriptor().name).to_owned();
        self.plugin.types().iter().map(served).collect()
    }
}

/// All plugins at one time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) state: Arc<State>,
    pub(crate) memory: Memory,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) offers: Offers,
    published: BTreeMap<String, Published>,
    pub(crate) awaited: Awaited,
}

#[derive(Clone, Debug)]
struct Published {
    created: Timestamp,
    offers: Vec<(TypeKey, Arc<Offer>)>,
}

/// The plugins that can be asked now, and what all evaluations share.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<State>,
    built_in: Offers,
    /// One change at a time.
    writer: Mutex<()>,
    changes: broadcast::Sender<Arc<Change>>,
    calls: SharedCalls,
    memory: Memory,
}

/// What became different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Types that are served now, are no more, or are served by another plugin.
    pub types: Vec<(Kind, String)>,
    /// Plugins that serve no more, because an older one brings a type of theirs.
    pub displaced: Vec<String>,
}

/// Somebody else has the name of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameTaken {
    /// A plugin that comes with the program.
    #[error("\"{0}\" is the name of a built-in plugin: give the plugin another one")]
    ByBuiltIn(String),
    /// An older Plugin.
    #[error(
        "\"{name}\" is served by Plugin \"{by}\", which is older: give the type another name in spec.names, or remove that \
         Plugin"
    )]
    ByPlugin {
        /// The type.
        name: String,
        /// The older Plugin.
        by: String,
    },
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
            .field("name", &self.name)
            .field("plugin", &self.plugin)
            .field("granted", &self.granted)
            .finish_non_exhaustive()
    }
}

impl Offer {
    /// What the type says about itself.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        self.plugin_type().descriptor()
    }

    pub(crate) fn plugin_type(&self) -> &PluginType {
        &self.plugin.types()[self.type_]
    }

    /// Whether it comes with the program.
    pub(crate) fn is_built_in(&self) -> bool {
        self.source.is_none()
    }
}

impl Catalog {
    /// The built-in plugins, whose names are taken, and no other is waited for.
    pub fn new(built_in: impl IntoIterator<Item = Arc<Plugin>>) -> Self {
        let calls = SharedCalls::new();
        let built_in: Offers =
            built_in.into_iter().flat_map(|plugin| offers(&plugin, &calls, None)).collect();
        let state = State { offers: built_in.clone(), ..State::default() };
        Self {
            current: ArcSwap::from_pointee(state),
            built_in,
            writer: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES),
            calls,
            memory: Memory::new(),
        }
    }

    /// All plugins as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { state: self.current.load_full(), memory: self.memory.clone() }
    }

    /// Tells of each change from now on.
    pub fn changes(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    /// Tells from now on of each Plugin whose [`Self::pauses_of`] become others.
    pub fn pauses(&self) -> broadcast::Receiver<String> {
        self.calls.pauses()
    }

    /// The namespaces for which what a Plugin brings is not asked for a while, because its calls broke.
    pub fn pauses_of(&self, source: &str) -> Vec<(String, Pause)> {
        let state = self.current.load();
        let published = state.published.get(source).and_then(|published| published.offers.first());
        published.map(|(_, offer)| offer.calls.pauses()).unwrap_or_default()
    }

    /// Offers a plugin under the names that it gives its types, in the place of one that began with the same, and without a
    /// Plugin.
    ///
    /// # Errors
    /// When another plugin has one of its names.
    pub fn install(&self, plugin: &Arc<Plugin>, granted: &Granted) -> Result<(), NameTaken> {
        let first = plugin.types().first().map(|type_| type_.descriptor().name.clone());
        let publication = Publication {
            source: first.unwrap_or_default(),
            created: Timestamp::UNIX_EPOCH,
            plugin: Arc::clone(plugin),
            names: BTreeMap::new(),
            settings: json!({}),
            granted: granted.clone(),
            allowed_namespaces: Vec::new(),
        };
        self.publish(&publication).map(drop)
    }

    /// Offers what a Plugin brings, in the place of what it brought before. Whoever has a snapshot goes on with that.
    ///
    /// # Errors
    /// When somebody else has the name of one of its types. What the Plugin brought before serves on then.
    pub fn publish(&self, new: &Publication) -> Result<Change, NameTaken> {
        let offers = offers(&new.plugin, &self.calls, Some(new));
        let built_in = offers.iter().find(|(key, _)| self.built_in.contains_key(key));
        if let Some((key, _)) = built_in {
            return Err(NameTaken::ByBuiltIn(key.1.clone()));
        }
        let _alone = self.writer.lock();
        let before = self.current.load_full();
        let mut published = before.published.clone();
        published.insert(new.source.clone(), Published { created: new.created, offers });
        let mut refused = refused(&published);
        if let Some(taken) = refused.remove(&new.source) {
            return Err(taken);
        }
        published.retain(|source, _| !refused.contains_key(source));
        Ok(self.swap(&before, published, refused.into_keys().collect()))
    }

    /// What a Plugin brought is offered no more.
    pub fn withdraw(&self, source: &str) -> Change {
        let _alone = self.writer.lock();
        let before = self.current.load_full();
        let mut published = before.published.clone();
        published.remove(source);
        self.swap(&before, published, Vec::new())
    }

    /// From now on nobody is told that a type is not there, before [`Self::complete`].
    pub fn opens(&self) {
        self.change_awaited(Awaited::opens);
    }

    /// A Plugin is on its way, with these types, as far as is known: until [`Self::arrived`] they are waited for.
    pub fn awaits(&self, source: &str, kind: Kind, types: Option<Vec<String>>) {
        self.change_awaited(|awaited| awaited.awaits(source, kind, types));
    }

    /// Whether somebody waits for a type that this Plugin may bring.
    pub fn is_wanted(&self, source: &str) -> bool {
        self.current.load().awaited.is_wanted(source)
    }

    /// A Plugin serves, or is known not to.
    pub fn arrived(&self, source: &str, now: Timestamp) {
        self.change_awaited(|awaited| awaited.arrived(source, now));
    }

    /// All Plugins are known that there are.
    pub fn complete(&self, now: Timestamp) {
        self.change_awaited(|awaited| awaited.complete(now));
    }

    fn change_awaited(&self, change: impl FnOnce(&mut Awaited)) {
        let _alone = self.writer.lock();
        let mut state = State::clone(&self.current.load());
        change(&mut state.awaited);
        self.current.store(Arc::new(state));
    }

    fn swap(&self, before: &State, published: BTreeMap<String, Published>, displaced: Vec<String>) -> Change {
        let custom = published.values().flat_map(|published| published.offers.iter().cloned());
        let offers: Offers = self.built_in.clone().into_iter().chain(custom).collect();
        let is_same = |key: &TypeKey| matches!((before.offers.get(key), offers.get(key)), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
        let mut types: Vec<_> =
            before.offers.keys().chain(offers.keys()).filter(|key| !is_same(key)).cloned().collect();
        types.sort_by(|(a, name_a), (b, name_b)| (a.as_str(), name_a).cmp(&(b.as_str(), name_b)));
        types.dedup();
        let change = Change { types, displaced };
        self.current.store(Arc::new(State { offers, published, awaited: before.awaited.clone() }));
        // nobody listens in `render`
        let _ = self.changes.send(Arc::new(change.clone()));
        change
    }
}

/// An offer of each type of a plugin, which this Plugin brings; `None`: the program.
fn offers(plugin: &Arc<Plugin>, calls: &SharedCalls, by: Option<&Publication>) -> Vec<(TypeKey, Arc<Offer>)> {
    let source = by.map(|new| new.source.clone());
    let calls = Arc::new(calls.of_one(source.clone()));
    let allowed_namespaces: Arc<[String]> =
        by.map_or_else(Arc::default, |new| new.allowed_namespaces.clone().into());
    let offer = |(i, type_): (usize, &PluginType)| {
        let descriptor = type_.descriptor();
        let name = by.map_or(descriptor.name.as_str(), |new| served_name(&new.names, &descriptor.name));
        let granted = by.map_or_else(|| Granted::built_in(descriptor), |new| new.granted.clone());
        let offer = Offer {
            plugin: Arc::clone(plugin),
            name: name.to_owned(),
            type_: i,
            settings: by.map_or_else(|| json!({}), |new| new.settings.clone()),
            granted: granted.of_type(descriptor, type_.secret_fields()),
            calls: Arc::clone(&calls),
            source: source.clone(),
            allowed_namespaces: Arc::clone(&allowed_namespaces),
        };
        ((plugin.kind(), offer.name.clone()), Arc::new(offer))
    };
    plugin.types().iter().enumerate().map(offer).collect()
}

/// The Plugins of which an older one has the name of a type.
fn refused(published: &BTreeMap<String, Published>) -> BTreeMap<String, NameTaken> {
    let mut by_age: Vec<_> = published.iter().collect();
    by_age.sort_by_key(|(source, published)| (published.created, *source));
    let (mut taken, mut refused) = (HashMap::<&TypeKey, &String>::new(), BTreeMap::new());
    for (source, published) in by_age {
        let keys = || published.offers.iter().map(|(key, _)| key);
        match keys().find_map(|key| Some((key, taken.get(key)?))) {
            Some((key, by)) => {
                let words = NameTaken::ByPlugin { name: key.1.clone(), by: (*by).clone() };
                refused.insert(source.clone(), words);
            }
            None => taken.extend(keys().map(|key| (key, source))),
        }
    }
    refused
}
