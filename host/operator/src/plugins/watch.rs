//! What the door watches: Plugins, the labelled ConfigMaps of the operator's namespace without what is in them, and whether
//! the operator leads. Decides nothing.

use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::Resource;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{Store, reflector, store::Writer};
use kube::runtime::watcher::{self, Config, Event};
use kubeopencode_api::literals::PLUGIN_LABEL;
use kubeopencode_api::names::PluginName;
use kubeopencode_api::plugin_object::Plugin;

use super::Door;
use super::desired::{Meta, slim, source_name};
use crate::cache::changed::Changed;
use crate::cache::item::Item;
use crate::runtime::api_error::watch_failure;
use crate::runtime::list_watch::list_watch;

/// Pauses before a watch that failed is started again: the first, and how often it is doubled.
const FIRST_PAUSE: Duration = Duration::from_millis(800);
const MAX_DOUBLINGS: u32 = 5;

/// Places in `Door::listed`.
const CONFIG_MAPS: usize = 0;
const PLUGINS: usize = 1;

/// An empty store and its writer.
pub(super) fn store<K>() -> (Store<K>, Writer<K>)
where
    K: Resource<DynamicType: Default + Clone + Eq + std::hash::Hash> + Clone + 'static,
{
    let writer = Writer::default();
    (writer.as_reader(), writer)
}

/// Plugins. A change of the status concerns nobody.
pub(super) async fn plugins(door: &Door, writer: Writer<Item<Plugin>>) {
    let all = list_watch(Api::<Item<Plugin>>::all(door.client.clone()), Config::default());
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
    each("Plugins", reflector(writer, all), apply, || door.tried(PLUGINS, false)).await;
}

/// ConfigMaps with our label in the operator's namespace.
pub(super) async fn config_maps(door: &Door, writer: Writer<Meta>) {
    let api = Api::<Meta>::namespaced(door.client.clone(), &door.namespace);
    let all = list_watch(api, Config::default().labels(PLUGIN_LABEL)).modify(slim);
    let apply = |event: &Event<Meta>| match event {
        Event::InitDone => {
            door.tried(CONFIG_MAPS, true);
            door.enqueue(door.all());
        }
        Event::Apply(map) | Event::Delete(map) => door.enqueue(door.of_source(&source_name(map))),
        Event::Init | Event::InitApply(_) => {}
    };
    each("ConfigMaps with plugins", reflector(writer, all), apply, || door.tried(CONFIG_MAPS, false)).await;
}

/// Who begins to lead has to say how each Plugin stands.
pub(super) async fn leadership(door: &Door) {
    let mut leads = door.leads.clone();
    while leads.changed().await.is_ok() {
        door.enqueue(door.all());
    }
    std::future::pending().await
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

/// Hands over each event. What fails is repeated with pauses that grow until there is a good sign.
async fn each<K: Debug + Send>(
    kinds: &str,
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    mut apply: impl FnMut(&Event<K>) + Send,
    failed: impl Fn() + Send,
) {
    futures::pin_mut!(stream);
    let mut failures = 0;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if !matches!(event, Event::Init | Event::InitApply(_)) {
                    failures = 0;
                }
                apply(&event);
            }
            Err(error) => {
                let pause = FIRST_PAUSE * 2_u32.pow(failures.min(MAX_DOUBLINGS));
                failures += 1;
                let reason = watch_failure(&error);
                tracing::warn!(reason, ?pause, "the watch of {kinds} failed and is started again");
                failed();
                tokio::time::sleep(pause).await;
            }
        }
    }
}
