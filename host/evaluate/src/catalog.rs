//! Which plugins there are. Bytes and grants of a plugin change together or not at all, and whoever evaluates sees one
//! state of all of them from the beginning to the end.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use kubeopencode_api::plugin::{Descriptor, Kind};
use kubeopencode_plan::Granted;
use kubeopencode_plugin_host::{Plugin, PluginType};
use serde_json::{Value, json};

use crate::calls::{Calls, SharedCalls};
use crate::memory::Memory;

/// One type of a plugin, and what it may do.
pub struct Offer {
    pub(crate) plugin: Arc<Plugin>,
    /// What users write.
    pub(crate) name: String,
    /// Which of the plugin's types it is.
    type_: usize,
    pub(crate) granted: Granted,
    /// What its installer wrote.
    pub(crate) settings: Value,
    pub(crate) calls: Arc<Calls>,
    /// It comes with the program.
    pub(crate) is_built_in: bool,
}

/// All plugins at one time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    offers: Arc<Offers>,
    pub(crate) memory: Memory,
}

type Key = (Kind, String);
type Offers = HashMap<Key, Arc<Offer>>;

/// The plugins that can be asked now, and what all evaluations share.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<Offers>,
    /// Kinds and names of the built-in plugins.
    reserved: HashSet<Key>,
    calls: SharedCalls,
    memory: Memory,
}

/// A built-in plugin has this name.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is the name of a built-in plugin: give the plugin another one")]
pub struct NameTaken(pub String);

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer")
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
}

/// An offer for each type of a plugin.
fn offers(
    plugin: &Arc<Plugin>,
    granted: impl Fn(&PluginType) -> Granted,
    calls: Calls,
    is_built_in: bool,
) -> Vec<(Key, Arc<Offer>)> {
    let calls = Arc::new(calls);
    let offer = |(i, type_): (usize, &PluginType)| {
        let name = type_.descriptor().name.clone();
        let offer = Offer {
            plugin: Arc::clone(plugin),
            name: name.clone(),
            type_: i,
            granted: granted(type_).with_secret_fields(type_.secret_fields()),
            settings: json!({}),
            calls: Arc::clone(&calls),
            is_built_in,
        };
        ((plugin.kind(), name), Arc::new(offer))
    };
    plugin.types().iter().enumerate().map(offer).collect()
}

impl Catalog {
    /// The built-in plugins, whose names are taken.
    pub fn new(built_in: impl IntoIterator<Item = Arc<Plugin>>) -> Self {
        let calls = SharedCalls::new();
        let offers: Offers = built_in
            .into_iter()
            .flat_map(|plugin| {
                let granted = |type_: &PluginType| Granted::built_in(type_.descriptor());
                offers(&plugin, granted, calls.of_one(), true)
            })
            .collect();
        let reserved = offers.keys().cloned().collect();
        Self { current: ArcSwap::from_pointee(offers), reserved, calls, memory: Memory::new() }
    }

    /// All plugins as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { offers: self.current.load_full(), memory: self.memory.clone() }
    }

    /// Offers a plugin under the names of its types, in the place of those that had them. Whoever has a snapshot goes on with
    /// the old ones.
    ///
    /// # Errors
    /// When a built-in plugin has one of its names.
    pub fn install(&self, plugin: &Arc<Plugin>, granted: &Granted) -> Result<(), NameTaken> {
        let offered = offers(plugin, |_| granted.clone(), self.calls.of_one(), false);
        if let Some((key, _)) = offered.iter().find(|(key, _)| self.reserved.contains(key)) {
            return Err(NameTaken(key.1.clone()));
        }
        self.current.rcu(|offers| {
            let mut offers = Offers::clone(offers);
            offers.extend(offered.iter().cloned());
            offers
        });
        Ok(())
    }
}

impl Snapshot {
    /// The plugin of this kind and name.
    pub fn find(&self, kind: Kind, name: &str) -> Option<&Arc<Offer>> {
        self.offers.get(&(kind, name.to_owned()))
    }
}
