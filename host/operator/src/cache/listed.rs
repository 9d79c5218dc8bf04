//! A reflector's store of which everybody who waits for its first list hears.
//!
//! `Store::wait_until_ready` of kube wakes the last of those who polled it, which is all of them only where they are one future.
//! Ours are not: `runtime/side_by_side.rs`.

use std::ops::Deref;

use futures::{Stream, TryStreamExt};
use kube::Resource;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Store, reflector};
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;

/// What a watch showed.
#[derive(Debug)]
pub(crate) struct Cached<K: Resource<DynamicType = ()> + 'static> {
    store: Store<K>,
    listed: watch::Receiver<bool>,
}

/// What fills it.
#[derive(Debug)]
pub(crate) struct CacheWriter<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Writer<K>,
    listed: watch::Sender<bool>,
}

/// An empty one.
pub(crate) fn cached<K>() -> (Cached<K>, CacheWriter<K>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (writer, (sender, listed)) = (Writer::default(), watch::channel(false));
    (Cached { store: writer.as_reader(), listed }, CacheWriter { store: writer, listed: sender })
}

impl<K: Resource<DynamicType = ()> + 'static> Cached<K> {
    /// Whether the first list is complete.
    pub(crate) fn is_listed(&self) -> bool {
        *self.listed.borrow()
    }

    /// Waits for that; `false`: nobody fills it any more.
    pub(crate) async fn until_listed(&self) -> bool {
        self.listed.clone().wait_for(|listed| *listed).await.is_ok()
    }
}

impl<K: Resource<DynamicType = ()> + 'static> Deref for Cached<K> {
    type Target = Store<K>;

    fn deref(&self) -> &Store<K> {
        &self.store
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> CacheWriter<K> {
    /// kube's reflector, which shows each event after the store has it.
    pub(crate) fn reflect(
        self,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
    ) -> impl Stream<Item = watcher::Result<Event<K>>> {
        let Self { store, listed } = self;
        reflector(store, events).inspect_ok(move |event| {
            if matches!(event, Event::InitDone) {
                listed.send_replace(true);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::unbounded;
    use futures::stream::FuturesUnordered;
    use futures::{FutureExt, StreamExt};
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_for_the_first_list_hear_of_it() {
        let (cache, writer) = cached::<ConfigMap>();
        let (send, events) = unbounded();
        let fill = async { writer.reflect(events).for_each(|_| async {}).await };
        let begin = async {
            tokio::task::yield_now().await;
            assert!(!cache.is_listed());
            send.unbounded_send(Ok(Event::Init)).unwrap();
            send.unbounded_send(Ok(Event::InitDone)).unwrap();
            drop(send);
        };
        let waits = || cache.until_listed().map(|listed| assert!(listed)).boxed();
        let each = FuturesUnordered::from_iter([waits(), waits(), waits(), begin.boxed(), fill.boxed()]);
        each.collect::<()>().await;
        assert!(cache.is_listed());
    }

    #[tokio::test]
    async fn who_waits_for_what_nobody_fills_is_told() {
        let (cache, writer) = cached::<ConfigMap>();
        drop(writer);
        assert!(!cache.until_listed().await);
    }
}
