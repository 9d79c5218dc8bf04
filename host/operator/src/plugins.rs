//! The door for plugins that do not come with the program: from Plugins, and ConfigMaps of the operator's namespace, registries,
//! web servers and volumes, to what the [`Catalog`] offers.
//!
//! It runs in every replica from the start of the process, so that a stand-by is warm. While the operator leads it also
//! makes and removes the Plugins of labelled ConfigMaps, keeps the last good components, and says in each Plugin how it
//! stands. Of a Plugin, bytes, grants and namespaces are published together; whatever goes wrong with new ones, what served
//! before serves on.

mod decode;
mod desired;
mod events;
mod kept;
mod load;
pub(crate) mod pack;
pub(crate) mod publication;
mod reconcile;
mod seen;
pub(crate) mod source;
mod status;
mod trust;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::reflector::ObjectRef;
use kubeopencode_api::names::PluginName;
use kubeopencode_api::plugin_object::{Plugin, PluginStatus};
use kubeopencode_evaluate::{Catalog, Pause};
use kubeopencode_plugin_host::PluginHost;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, watch as sync_watch};
use tokio::time::Instant;

use crate::cache::item::Item;
use crate::cache::listed::{Cached, cached};
use crate::runtime::backoff::Failures;
use crate::runtime::event_recorder::EventRecorder;
use crate::runtime::health::Health;
use crate::runtime::keyed_queue::run_keyed;
use crate::runtime::metrics::Metrics;
use desired::{Found, Meta};
use load::Loaded;
use source::directory::{Stamp, Volumes};
use source::{PluginSources, SourceKind, Web};
use status::{Problem, STATES};

/// Plugins that are reconciled at the same time; one at a time is unpacked and compiled.
const CONCURRENCY: usize = 4;
/// Further ones whose components come from the network or a volume: one that hangs holds up no Plugin of a ConfigMap.
const ELSEWHERE: usize = 16;
/// How often all Plugins are reconciled without a cause, in case one was missed.
const RESYNC: Duration = Duration::from_secs(60);
/// Pauses before a failed reconciliation is repeated: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause before a component that could not be fetched or loaded is tried again.
const MAX_RETRY: Duration = Duration::from_secs(300);

/// What the door works with.
pub(crate) struct Door {
    client: Client,
    host: Arc<PluginHost>,
    catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
    health: Health,
    events: EventRecorder,
    /// The operator's own.
    namespace: String,
    leads: sync_watch::Receiver<bool>,
    plugins: Cached<Item<Plugin>>,
    config_maps: Cached<Meta>,
    queue: UnboundedSender<PluginName>,
    /// Of those whose components come from the network or a volume.
    elsewhere: UnboundedSender<PluginName>,
    sources: PluginSources,
    web: Web,
    volumes: Volumes,
    /// Whether the ConfigMaps were listed, and the Plugins: before, nothing is made and nothing is removed.
    listed: Mutex<[Listed; 2]>,
    known: Mutex<Known>,
    failures: Failures<PluginName>,
    /// Of what the operator writes: that a component is well does not make them fewer.
    unwritten: Failures<PluginName>,
    /// Unpacking and compiling takes memory that is set aside once.
    turn: Semaphore,
}

/// How a first list stands.
#[derive(Clone, Copy, Debug, Default)]
struct Listed {
    /// It came, or failed.
    tried: bool,
    is_there: bool,
}

/// What is remembered of Plugins.
#[derive(Default)]
struct Known {
    /// What serves.
    serving: HashMap<PluginName, Arc<Loaded>>,
    /// What the last reconciliation was about, and how the Plugin stands since.
    seen: HashMap<PluginName, (Seen, PluginStatus)>,
    /// Plugins of which another one has a name.
    blocked: HashSet<PluginName>,
    /// Other bytes than those that are meant, and since when: both sides of one change come one after the other.
    mismatched: HashMap<PluginName, Instant>,
    /// When another try is made of a component that could not be fetched or loaded.
    retries: HashMap<PluginName, Instant>,
    /// The files of directory sources, as they were looked at last.
    stamps: HashMap<PluginName, Result<Stamp, Problem>>,
    /// Plugins that are being reconciled: a change of the source leads from one queue to the other.
    busy: HashSet<PluginName>,
    /// ConfigMaps whose label names no kind, of which was told.
    mislabelled: HashSet<PluginName>,
}

/// One state of all that a Plugin depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    uid: String,
    generation: Option<i64>,
    /// What it is made from, or why that is not there.
    found: Result<Found, Problem>,
    /// The namespaces for which what it brings is not asked.
    pauses: Vec<(String, Pause)>,
    leads: bool,
}

/// Whatever the operator needs to begin.
pub(crate) struct Parts {
    pub(crate) client: Client,
    pub(crate) host: Arc<PluginHost>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Health,
    pub(crate) namespace: String,
    pub(crate) identity: String,
    pub(crate) leads: sync_watch::Receiver<bool>,
    pub(crate) sources: PluginSources,
}

/// Keeps the catalog as Plugins and ConfigMaps say, until it is dropped.
pub(crate) async fn run(parts: Parts) {
    let Parts { client, host, catalog, metrics, health, namespace, identity, leads, sources } = parts;
    health.always_watches(&watch::KINDS);
    catalog.opens();
    STATES.iter().for_each(|state| metrics.plugins(state, 0));
    let (plugins, plugins_writer) = cached();
    let (config_maps, config_maps_writer) = cached();
    let (queue, queued) = unbounded_channel();
    let (elsewhere, queued_elsewhere) = unbounded_channel();
    let (events, send_events) = EventRecorder::new(client.clone(), &identity);
    let door = Door {
        client,
        host,
        catalog,
        metrics,
        health,
        events,
        namespace,
        leads,
        plugins,
        config_maps,
        queue,
        elsewhere,
        sources,
        web: Web::default(),
        volumes: Volumes::default(),
        listed: Mutex::default(),
        known: Mutex::default(),
        failures: Failures::starting_with(FIRST_PAUSE),
        unwritten: Failures::starting_with(FIRST_PAUSE),
        turn: Semaphore::new(1),
    };
    let is_wanted = |name: &PluginName| door.catalog.is_wanted(&name.0);
    let all = |elsewhere: bool| -> Vec<PluginName> {
        door.all().into_iter().filter(|name| door.is_elsewhere(name) == elsewhere).collect()
    };
    let here =
        run_keyed(queued, RESYNC, CONCURRENCY, is_wanted, |_| None, || all(false), |name| door.alone(name));
    let there = run_keyed(
        queued_elsewhere,
        RESYNC,
        ELSEWHERE,
        is_wanted,
        |_| None,
        || all(true),
        |name| door.alone(name),
    );
    futures::join!(
        watch::plugins(&door, plugins_writer),
        watch::config_maps(&door, config_maps_writer),
        watch::leadership(&door),
        watch::pauses(&door),
        here,
        there,
        send_events
    );
}

/// Frees its Plugin also where the reconciliation was given up.
struct Busy<'a> {
    door: &'a Door,
    name: PluginName,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.door.known.lock().busy.remove(&self.name);
    }
}

impl Door {
    fn plugin(&self, name: &PluginName) -> Option<Arc<Item<Plugin>>> {
        self.plugins.get(&ObjectRef::new(&name.0))
    }

    /// The Plugins that there are, that there were, and those that are to be made, in the order in which they are looked at.
    fn all(&self) -> Vec<PluginName> {
        let mut all: HashSet<_> =
            self.plugins.state().iter().map(|plugin| PluginName::of(plugin.as_ref())).collect();
        all.extend(self.config_maps.state().iter().map(|map| PluginName(desired::source_name(map))));
        all.extend(self.known.lock().seen.keys().cloned());
        let has_served = |name: &PluginName| {
            self.plugin(name).is_some_and(|plugin| plugin.get().is_ok_and(desired::has_served))
        };
        desired::in_turn(all, has_served)
    }

    /// The Plugins that a ConfigMap of this source name concerns: its own, and those of which it is the source.
    fn of_source(&self, source: &str) -> Vec<PluginName> {
        let plugins = self.plugins.state();
        let uses = |plugin: &&Arc<Item<Plugin>>| {
            let map = plugin.get().ok().and_then(|plugin| plugin.spec.source.config_map.as_ref());
            map.is_some_and(|map| map.name == source)
        };
        let using = plugins.iter().filter(uses).map(|plugin| PluginName::of(plugin.as_ref()));
        using.chain([PluginName(source.to_owned())]).collect()
    }

    fn enqueue(&self, names: impl IntoIterator<Item = PluginName>) {
        for name in names {
            let queue = if self.is_elsewhere(&name) { &self.elsewhere } else { &self.queue };
            let _ = queue.send(name);
        }
    }

    /// Whether its component lies where it may take its time to come: on the network, in a volume.
    fn is_elsewhere(&self, name: &PluginName) -> bool {
        let Some(plugin) = self.plugin(name) else { return false };
        plugin.get().is_ok_and(|plugin| SourceKind::of(&plugin.spec.source) != SourceKind::ConfigMap)
    }

    /// Reconciles a Plugin unless that is being done, which is repeated soon then.
    async fn alone(&self, name: PluginName) -> Option<Duration> {
        if !self.known.lock().busy.insert(name.clone()) {
            return Some(FIRST_PAUSE);
        }
        let _free = Busy { door: self, name: name.clone() };
        self.reconcile(name).await
    }

    fn leads(&self) -> bool {
        *self.leads.borrow()
    }

    /// Whether all ConfigMaps and all Plugins are known.
    fn is_listed(&self) -> bool {
        self.listed.lock().iter().all(|list| list.is_there)
    }
}
