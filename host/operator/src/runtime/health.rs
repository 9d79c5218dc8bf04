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

use crate::runtime::api_error::{is_missing_kind, is_refused_watch, watch_failure};
use crate::runtime::list_watch::{list_watch, newest};
use crate::runtime::merged_watch::{merged, part};
use crate::runtime::metrics::Metrics;
use state::{Watch, Watched, dead, silence, unready};

/// What is known of the operator's state. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    state: Arc<Mutex<State>>,
    /// Those that are watched whether the operator leads or not.
    always: Arc<Mutex<Vec<Watch>>>,
    /// Where the operator looks for what has a namespace; none: everywhere.
    namespaces: Arc<[Arc<str>]>,
    metrics: Arc<Metrics>,
}

/// A kind that can be watched.
pub(crate) trait WatchedKind:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

impl<K> WatchedKind for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
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
    /// Of an operator that starts, and looks at these namespaces; none: at all.
    pub(crate) fn new(metrics: Arc<Metrics>, namespaces: &[String]) -> Self {
        let namespaces = namespaces.iter().map(|name| Arc::from(name.as_str())).collect();
        Self { state: Arc::new(Mutex::new(State::Starting)), always: Arc::default(), namespaces, metrics }
    }

    /// These kinds are watched from now on, whether the operator leads or not.
    pub(crate) fn always_watches(&self, kinds: &[&'static str]) {
        let now = Instant::now();
        self.always.lock().extend(kinds.iter().map(|kind| Watch::optional(*kind, now)));
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
        let needed = kinds.iter().flat_map(|kind| self.watches_of(kind)).map(|of| Watch::new(of, now));
        let may_be =
            optional.iter().flat_map(|kind| self.watches_of(kind)).map(|of| Watch::optional(of, now));
        let watches = needed.chain(may_be).collect();
        let kinds = [kinds, optional].concat();
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

    /// Those of a kind that has a namespace.
    fn watches_of(&self, kind: &'static str) -> Vec<Watched> {
        if self.namespaces.is_empty() {
            return vec![kind.into()];
        }
        let each = self.namespaces.iter();
        each.map(|namespace| Watched { kind, namespace: Some(Arc::clone(namespace)) }).collect()
    }

    /// Watches a kind in the operator's namespaces. What fails is repeated with pauses that grow until there is a good sign.
    pub(crate) fn watch<K>(
        &self,
        kind: &'static str,
        client: &Client,
        config: watcher::Config,
    ) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + use<K>
    where
        K: WatchedKind<Scope = NamespaceResourceScope>,
    {
        if self.namespaces.is_empty() {
            return self.watch_everywhere(kind, client, config).left_stream();
        }
        let (anew, _) = tokio::sync::watch::channel(());
        let each = self.namespaces.iter().map(|namespace| {
            let of = Watched { kind, namespace: Some(Arc::clone(namespace)) };
            let there = Api::<K>::namespaced(self.client(&of, client), namespace);
            self.watched(of, part(there, config.clone(), anew.subscribe()))
        });
        merged(each.collect(), anew).right_stream()
    }

    /// Watches a kind in all namespaces, or one that has none.
    pub(crate) fn watch_everywhere<K>(
        &self,
        kind: &'static str,
        client: &Client,
        config: watcher::Config,
    ) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + use<K>
    where
        K: WatchedKind,
    {
        let of = kind.into();
        let all = Api::<K>::all(self.client(&of, client));
        self.watched(of, list_watch(all, config))
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
        K: WatchedKind<Scope = NamespaceResourceScope>,
    {
        let of = kind.into();
        let there = Api::<K>::namespaced(self.client(&of, client), namespace);
        self.watched(of, list_watch(there, config))
    }

    /// The client for one watch: each watch that the API server answers is a sign.
    #[expect(clippy::disallowed_methods, reason = "what kube's watcher asks is sent on")]
    fn client(&self, of: &Watched, client: &Client) -> Client {
        let (health, inner, of) = (self.clone(), client.clone(), of.clone());
        let answer = move |request: Request<Body>| {
            let (health, inner, of) = (health.clone(), inner.clone(), of.clone());
            let is_watch = resumes_watch(request.uri());
            async move {
                let answer = inner.send(newest(request)).await?;
                if is_watch && answer.status().is_success() {
                    health.good(&of, false);
                }
                Ok::<_, kube::Error>(answer)
            }
        };
        Client::new(tower::service_fn(answer), client.default_namespace())
    }

    /// Looks at the events of one watch on their way, and tells of its failures.
    fn watched<K, S>(
        &self,
        of: Watched,
        events: S,
    ) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + use<K, S>
    where
        S: Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    {
        let pauses = Pauses { of: of.clone(), health: self.clone(), growing: DefaultBackoff::default() };
        let health = self.clone();
        let seen = events.inspect(move |event| match event {
            Ok(Event::InitDone) => health.good(&of, true),
            Ok(Event::Apply(_) | Event::Delete(_)) => health.good(&of, false),
            // a list whose end never comes is no good sign
            Ok(Event::Init | Event::InitApply(_)) => {}
            Err(error) => health.failed(&of, error),
        });
        seen.backoff(pauses)
    }

    fn good(&self, of: &Watched, with_list: bool) {
        let Some(had_failed) = self.with(of, |watch| watch.good(with_list, Instant::now())) else { return };
        if let Some(silent) = self.silence(of) {
            let now = jiff::Timestamp::now().as_second();
            self.metrics.watch_event(of.kind, now.saturating_sub_unsigned(silent.as_secs()));
        }
        if had_failed {
            tracing::info!("the watch of {of} works again");
        }
    }

    /// How long ago the last good sign was, where one that is good has just been seen.
    fn silence(&self, of: &Watched) -> Option<Duration> {
        match &*self.state.lock() {
            State::Leading(watches) if of.namespace.is_some() => silence(watches, of.kind, Instant::now()),
            _ => Some(Duration::ZERO),
        }
    }

    fn failed(&self, of: &Watched, error: &watcher::Error) {
        let reason = watch_failure(error);
        let failed = |watch: &mut Watch| {
            watch.is_refused |= is_refused_watch(error);
            watch.failed(reason.clone(), is_missing_kind(error))
        };
        if self.with(of, failed).unwrap_or(true) {
            tracing::warn!(reason, "the watch of {of} failed and is started again");
        }
    }

    fn with<R>(&self, of: &Watched, change: impl FnOnce(&mut Watch) -> R) -> Option<R> {
        if let Some(watch) = self.always.lock().iter_mut().find(|watch| watch.of() == of) {
            return Some(change(watch));
        }
        match &mut *self.state.lock() {
            State::Leading(watches) => watches.iter_mut().find(|watch| watch.of() == of).map(change),
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
    of: Watched,
    health: Health,
    growing: DefaultBackoff,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.health.with(&self.of, |watch| watch.failures).unwrap_or(0) <= 1 {
            self.growing.reset();
        }
        self.growing.next()
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}
