//! Whether the operator is ready and alive, by what its watches show.
//!
//! What follows from it is decided in [`state`]. A sign of a watch is an event, a complete list, or a watch that the API
//! server answered: a quiet cluster has no events, and bookmarks never leave kube's `watcher`.

mod state;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use http::{Request, Uri};
use kube::api::Api;
use kube::client::Body;
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use kube::{Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::runtime::api_error::{is_missing_kind, watch_failure};
use crate::runtime::list_watch::{list_watch, newest};
use crate::runtime::metrics::Metrics;
use state::{Watch, dead, plural, unready};

/// What is known of the operator's state. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    state: Arc<Mutex<State>>,
    /// Those that are watched whether the operator leads or not.
    always: Arc<Mutex<Vec<Watch>>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
enum State {
    Starting,
    StandingBy,
    Leading(Vec<Watch>),
}

/// While it lives the watches count; afterwards the operator stands by.
#[derive(Debug)]
pub(crate) struct Leading {
    health: Health,
    kinds: Vec<&'static str>,
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.health.stands_by();
        self.kinds.iter().for_each(|kind| self.health.metrics.forget_watch(kind));
    }
}

impl Health {
    /// Of an operator that starts.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { state: Arc::new(Mutex::new(State::Starting)), always: Arc::default(), metrics }
    }

    /// These kinds are watched from now on, whether the operator leads or not.
    pub(crate) fn always_watches(&self, kinds: &[&'static str]) {
        let now = Instant::now();
        self.always.lock().extend(kinds.iter().map(|kind| Watch::optional(kind, now)));
        kinds.iter().for_each(|kind| self.metrics.watch_event(kind, 0));
    }

    /// The operator can take over at any time.
    pub(crate) fn stands_by(&self) {
        *self.state.lock() = State::StandingBy;
    }

    /// The operator leads: it is ready when it has listed all of these kinds once. The `optional` ones may not even be
    /// installed.
    pub(crate) fn leads(&self, kinds: &[&'static str], optional: &[&'static str]) -> Leading {
        let now = Instant::now();
        let needed = kinds.iter().map(|kind| Watch::new(kind, now));
        let optional = optional.iter().map(|kind| Watch::optional(kind, now));
        let watches: Vec<_> = needed.chain(optional).collect();
        let kinds: Vec<_> = watches.iter().map(Watch::kind).collect();
        *self.state.lock() = State::Leading(watches);
        // a watch that never works has a series, and the greatest age
        kinds.iter().for_each(|kind| self.metrics.watch_event(kind, 0));
        Leading { health: self.clone(), kinds }
    }

    /// Why the operator is not ready.
    pub(crate) fn unready(&self) -> Option<String> {
        match &*self.state.lock() {
            State::Starting => Some("the operator starts".to_owned()),
            State::StandingBy => None,
            State::Leading(watches) => unready(watches),
        }
    }

    /// Why the operator should be restarted.
    pub(crate) fn dead(&self) -> Option<String> {
        let (state, always) = (self.state.lock(), self.always.lock());
        let leading = match &*state {
            State::Starting | State::StandingBy => &[],
            State::Leading(watches) => watches.as_slice(),
        };
        dead(leading.iter().chain(always.iter()), Instant::now())
    }

    /// Watches a kind in all namespaces. What fails is repeated with pauses that grow until there is a good sign.
    pub(crate) fn watch<K>(
        &self,
        kind: &'static str,
        client: &Client,
        config: watcher::Config,
    ) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + use<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let all = Api::<K>::all(self.client(kind, client));
        self.watched(kind, list_watch(all, config))
    }

    /// The same in one namespace.
    pub(crate) fn watch_in<K>(
        &self,
        namespace: &str,
        kind: &'static str,
        client: &Client,
        config: watcher::Config,
    ) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let there = Api::<K>::namespaced(self.client(kind, client), namespace);
        self.watched(kind, list_watch(there, config))
    }

    /// The client for one watch: each watch that the API server answers is a sign.
    fn client(&self, kind: &'static str, client: &Client) -> Client {
        let (health, inner) = (self.clone(), client.clone());
        let answer = move |request: Request<Body>| {
            let (health, inner, is_watch) = (health.clone(), inner.clone(), resumes_watch(request.uri()));
            async move {
                let answer = inner.send(newest(request)).await?;
                if is_watch && answer.status().is_success() {
                    health.good(kind, false);
                }
                Ok::<_, kube::Error>(answer)
            }
        };
        Client::new(tower::service_fn(answer), client.default_namespace())
    }

    /// Looks at the events of one watch on their way, and tells of its failures.
    fn watched<K, S>(
        &self,
        kind: &'static str,
        events: S,
    ) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + use<K, S>
    where
        S: Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    {
        let health = self.clone();
        let seen = events.inspect(move |event| match event {
            Ok(Event::InitDone) => health.good(kind, true),
            Ok(Event::Apply(_) | Event::Delete(_)) => health.good(kind, false),
            // a list whose end never comes is no good sign
            Ok(Event::Init | Event::InitApply(_)) => {}
            Err(error) => health.failed(kind, watch_failure(error), is_missing_kind(error)),
        });
        seen.backoff(Pauses { kind, health: self.clone(), growing: DefaultBackoff::default() })
    }

    fn good(&self, kind: &'static str, with_list: bool) {
        let Some(had_failed) = self.with(kind, |watch| watch.good(with_list, Instant::now())) else { return };
        self.metrics.watch_event(kind, jiff::Timestamp::now().as_second());
        if had_failed {
            tracing::info!("the watch of {} works again", plural(kind));
        }
    }

    fn failed(&self, kind: &'static str, reason: String, is_missing: bool) {
        let is_told = self.with(kind, |watch| watch.failed(reason.clone(), is_missing)).unwrap_or(true);
        if is_told {
            tracing::warn!(reason, "the watch of {} failed and is started again", plural(kind));
        }
    }

    fn with<R>(&self, kind: &str, change: impl FnOnce(&mut Watch) -> R) -> Option<R> {
        if let Some(watch) = self.always.lock().iter_mut().find(|watch| watch.is_of(kind)) {
            return Some(change(watch));
        }
        match &mut *self.state.lock() {
            State::Leading(watches) => watches.iter_mut().find(|watch| watch.is_of(kind)).map(change),
            State::Starting | State::StandingBy => None,
        }
    }
}

/// Whether a request asks for what happens from now on, and not for a list in the form of a watch.
fn resumes_watch(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.contains("watch=true") && !query.contains("sendInitialEvents=true")
}

/// The pauses of client-go's reflector, 0.8 to 30 seconds. Alone they begin anew with whatever is no error, and each list
/// begins with an event that says so: one that fails for ever would be asked for every second.
struct Pauses {
    kind: &'static str,
    health: Health,
    growing: DefaultBackoff,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.health.with(self.kind, |watch| watch.failures).unwrap_or(0) <= 1 {
            self.growing.reset();
        }
        self.growing.next()
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}
