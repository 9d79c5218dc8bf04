//! Which plugins there are. Bytes and grants of a plugin change together or not at all, and whoever evaluates sees one
//! state of all of them from the beginning to the end.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use kubeopencode_api::plugin::Kind;
use kubeopencode_plan::Granted;
use kubeopencode_plugin_host::Plugin;

use crate::calls::{Calls, SharedCalls};
use crate::memory::Memory;

/// A plugin, and what it may do.
pub struct Offer {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) granted: Granted,
    pub(crate) calls: Calls,
    /// It comes with the program.
    pub(crate) is_built_in: bool,
}

/// All plugins at one time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    offers: Arc<Offers>,
    pub(crate) memory: Memory,
}

type Offers = HashMap<(Kind, String), Arc<Offer>>;

/// The plugins that can be asked now, and what all evaluations share.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<Offers>,
    /// Kinds and names of the built-in plugins.
    reserved: HashSet<(Kind, String)>,
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

impl Catalog {
    /// The built-in plugins, whose names are taken.
    pub fn new(built_in: impl IntoIterator<Item = Arc<Plugin>>) -> Self {
        let calls = SharedCalls::new();
        let offers: Offers = built_in
            .into_iter()
            .map(|plugin| {
                let granted = Granted::built_in(plugin.descriptor(), plugin.secret_fields());
                (key(&plugin), Arc::new(Offer { plugin, granted, calls: calls.of_one(), is_built_in: true }))
            })
            .collect();
        let reserved = offers.keys().cloned().collect();
        Self { current: ArcSwap::from_pointee(offers), reserved, calls, memory: Memory::new() }
    }

    /// All plugins as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { offers: self.current.load_full(), memory: self.memory.clone() }
    }

    /// Offers a plugin under its name, in the place of one that had it. Whoever has a snapshot goes on with the old one.
    ///
    /// # Errors
    /// When a built-in plugin has its name.
    pub fn install(&self, plugin: Arc<Plugin>, granted: Granted) -> Result<(), NameTaken> {
        let key = key(&plugin);
        if self.reserved.contains(&key) {
            return Err(NameTaken(key.1));
        }
        let offer = Arc::new(Offer { plugin, granted, calls: self.calls.of_one(), is_built_in: false });
        self.current.rcu(|offers| {
            let mut offers = Offers::clone(offers);
            offers.insert(key.clone(), Arc::clone(&offer));
            offers
        });
        Ok(())
    }
}

fn key(plugin: &Plugin) -> (Kind, String) {
    (plugin.kind(), plugin.descriptor().name.clone())
}

impl Snapshot {
    /// The plugin of this kind and name.
    pub fn find(&self, kind: Kind, name: &str) -> Option<&Arc<Offer>> {
        self.offers.get(&(kind, name.to_owned()))
    }
}
