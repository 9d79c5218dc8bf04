//! What the door watches: Plugins, the labelled ConfigMaps of the operator's namespace without what is in them, and whether
//! the operator leads. Decides nothing.

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event};
use kubeopencode_api::literals::PLUGIN_LABEL;
use kubeopencode_api::names::PluginName;
use kubeopencode_api::plugin_object::Plugin;
use tokio::sync::broadcast::error::RecvError;

use super::Door;
use super::desired::{Meta, slim, source_name};
use crate::cache::changed::Changed;
use crate::cache::item::Item;
use crate::cache::listed::CacheWriter;

/// What is watched.
pub(super) const KINDS: [&str; 2] = [PLUGIN, CONFIG_MAP];
const PLUGIN: &str = "Plugin";
const CONFIG_MAP: &str = "ConfigMap";

/// Places in `Door::listed`.
const CONFIG_MAPS: usize = 0;
const PLUGINS: usize = 1;

/// Plugins. A change of the status concerns nobody.
pub(super) async fn plugins(door: &Door, writer: CacheWriter<Item<Plugin>>) {
    let all = door.health.watch_everywhere::<Item<Plugin>>(PLUGIN, &door.client, Config::default());
    let mut changed = Changed::default();
    let apply = |event: &Event<Item<Plugin>>| {
        if let Event::InitDone = event {
            door.plugins.state().iter().for_each(|plugin| door.awaits(plugin));
            door.tried(PLUGINS, true);
            door.enqueue(door.all());
        }
        if let Event::Apply(plugin) = event {
            door.awaits(plugin);
        }
        door.enqueue(changed.by(event).into_iter().map(|key| PluginName(key.name)));
    };
    each(writer.reflect(all), apply, || door.tried(PLUGINS, false)).await;
}

/// ConfigMaps with our label in the operator's namespace.
pub(super) async fn config_maps(door: &Door, writer: CacheWriter<Meta>) {
    let labelled = Config::default().labels(PLUGIN_LABEL);
    let all = door.health.watch_in(&door.namespace, CONFIG_MAP, &door.client, labelled).modify(slim);
    let apply = |event: &Event<Meta>| match event {
        Event::InitDone => {
            door.tried(CONFIG_MAPS, true);
            door.enqueue(door.all());
        }
        Event::Apply(map) | Event::Delete(map) => door.enqueue(door.of_source(&source_name(map))),
        Event::Init | Event::InitApply(_) => {}
    };
    each(writer.reflect(all), apply, || door.tried(CONFIG_MAPS, false)).await;
}

/// Who begins to lead has to say how each Plugin stands.
pub(super) async fn leadership(door: &Door) {
    let mut leads = door.leads.clone();
    while leads.changed().await.is_ok() {
        door.enqueue(door.all());
    }
    std::future::pending().await
}

/// A Plugin says when what it brings is not asked any more, and when it is again.
pub(super) async fn pauses(door: &Door) {
    let mut pauses = door.catalog.pauses();
    loop {
        match pauses.recv().await {
            Ok(source) => door.enqueue([PluginName(source)]),
            Err(RecvError::Lagged(_)) => door.enqueue(door.all()),
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

impl Door {
    /// Nobody knows yet whether it serves: whoever needs a type of it waits.
    fn awaits(&self, plugin: &Item<Plugin>) {
        let name = PluginName::of(plugin);
        if self.known.lock().seen.contains_key(&name) {
            return;
        }
        let Ok(read) = plugin.get() else { return };
        let status = read.status.as_ref().filter(|status| !status.types.is_empty());
        let types = status.map(|status| status.types.iter().map(|type_| type_.name.clone()).collect());
        self.catalog.awaits(&name.0, read.spec.kind, types);
    }

    /// The first list was tried: what did not come then is not waited for.
    fn tried(&self, which: usize, is_there: bool) {
        let (was_complete, is_complete) = {
            let mut listed = self.listed.lock();
            let was = *listed;
            if let Some(one) = listed.get_mut(which) {
                one.tried = true;
                one.is_there |= is_there;
            }
            (was.iter().all(|one| one.tried), listed.iter().all(|one| one.tried))
        };
        if is_complete && !was_complete {
            self.catalog.complete(Timestamp::now());
        }
    }
}

/// Hands over each event.
async fn each<K: Send>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    mut apply: impl FnMut(&Event<K>) + Send,
    failed: impl Fn() + Send,
) {
    futures::pin_mut!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => apply(&event),
            Err(_) => failed(),
        }
    }
}
