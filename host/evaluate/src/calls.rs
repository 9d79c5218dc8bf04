//! Calls of plugins: whether one is asked, how many run at the same time, on which thread, and who observes them.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kubeopencode_api::plugin::{CommandPlan, Outcome, Required, Resolved, ServerPlan};
use kubeopencode_plan::Item;
use kubeopencode_plugin_host::{CallError, PayloadError, Plugin, Used, outcome};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::catalog::Offer;
use crate::health::{Health, Pause};

/// Calls that run at the same time: a call without fault takes some ten microseconds, so these few are plenty, and
/// faulty ones together stay below 256 MiB of memory.
const MAX_CALLS: usize = 4;
/// Calls of one plugin that run at the same time, at most; they leave room for others while one plugin hangs in all its calls.
const MAX_CALLS_OF_ONE: usize = 2;
/// How long a call waits for its turn. The calls of a healthy plugin take some ten microseconds, so that its turn comes
/// much sooner, also on a machine that is busy; while one hangs, those who wait for it go away and leave their worker to
/// others.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// News of pauses that who is told of them may be behind.
const MAX_NEWS: usize = 64;

/// Weight of a request that a built-in plugin answers on the spot.
const ON_THE_SPOT: usize = 16 << 10;

/// Observes each call of a plugin, and what comes of it. Whoever wants to know more than that there was one says so by
/// functions of its own.
pub trait CallObserver: Send + Sync {
    /// A plugin was called. `outcome` is a word from a small fixed set; `seconds` and `used` are what the call took, the
    /// latter with what a call beside it has used so far.
    fn called(&self, plugin: &str, outcome: &'static str, seconds: f64, used: Used);

    /// What a context type answered for an item, after [`Self::called`]; or, without a call, that the item's payload is
    /// not what it takes.
    fn evaluated(&self, _item: &Item, _answer: Result<&Outcome, &CallError>) {}

    /// What became of a read that the item's plugin asked for.
    fn read(&self, _item: &Item, _asked: &Required, _answer: &Resolved) {}

    /// What a command builder answered, after [`Self::called`].
    fn built(&self, _answer: Result<&CommandPlan, &CallError>) {}

    /// What it answered for an Agent's server.
    fn served(&self, _answer: Result<&ServerPlan, &CallError>) {}
}

/// Nobody observes.
impl CallObserver for () {
    fn called(&self, _: &str, _: &'static str, _: f64, _: Used) {}
}

/// What observers are told of an answer: that nobody was called is none.
pub(crate) fn told<T>(answer: &Result<T, Uncalled>) -> Option<Result<&T, &CallError>> {
    match answer {
        Ok(answer) => Some(Ok(answer)),
        Err(Uncalled::Failed(error)) => Some(Err(error)),
        Err(Uncalled::Busy | Uncalled::Paused(_)) => None,
    }
}

/// A call that came to no answer of the plugin.
#[derive(Debug)]
pub(crate) enum Uncalled {
    /// Its turn did not come.
    Busy,
    /// Its calls broke, and it is left alone.
    Paused(Pause),
    /// The plugin's error, or how the call broke.
    Failed(CallError),
}

impl Offer {
    /// Whether a payload is what the type takes. The schema is its author's: where it takes time, a thread looks that may
    /// block, at the turn of the plugin.
    pub(crate) async fn check(
        &self,
        namespace: &str,
        payload: &Value,
    ) -> Result<Result<(), PayloadError>, Uncalled> {
        let type_ = self.plugin_type();
        if self.is_built_in() || type_.is_checked_soon(payload) {
            return Ok(type_.check_payload(payload));
        }
        let turn = self.calls.turn(namespace).await?;
        let (plugin, name, payload) =
            (Arc::clone(&self.plugin), type_.descriptor().name.clone(), payload.clone());
        let check = move || {
            let _turn = turn;
            plugin.type_named(&name).map_or(Ok(()), |type_| type_.check_payload(&payload))
        };
        tokio::task::spawn_blocking(check).await.map_err(|error| {
            let reason = format!("the thread of the check ended: {error}");
            Uncalled::Failed(CallError::Trap { reason, words: None })
        })
    }

    /// Calls the plugin for this namespace, with a request of this weight. A built-in one answers a small request in some
    /// ten microseconds, on the spot: handing it to another thread costs as much again. Any other call goes to a thread
    /// that may block: a bad plugin takes seconds until its time is over.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        observer: &impl CallObserver,
        namespace: &str,
        weight: usize,
        f: impl FnOnce(&Plugin) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, Uncalled> {
        let (started, answer) = if self.is_built_in() && weight <= ON_THE_SPOT {
            (Instant::now(), f(&self.plugin))
        } else {
            let turn = self.calls.turn(namespace).await?;
            let (started, plugin) = (Instant::now(), Arc::clone(&self.plugin));
            let call = move || {
                // held by the thread: whoever waits for the answer may be cancelled before it is there
                let _turn = turn;
                f(&plugin)
            };
            let answer = tokio::task::spawn_blocking(call).await.unwrap_or_else(|error| {
                Err(CallError::Trap { reason: format!("the thread of the call ended: {error}"), words: None })
            });
            (started, answer)
        };
        observer.called(
            &self.name,
            outcome(&answer),
            started.elapsed().as_secs_f64(),
            self.plugin.take_used(),
        );
        self.calls.called(namespace, answer.as_ref().err());
        answer.map_err(Uncalled::Failed)
    }
}

/// The calls of one plugin: how many run at the same time, and whether they come to an end.
#[derive(Debug)]
pub(crate) struct Calls {
    own: Arc<Semaphore>,
    shared: SharedCalls,
    /// Name of its Plugin; `None`: it comes with the program, and is always asked.
    source: Option<String>,
    health: Mutex<Health>,
}

/// What all plugins have in common.
#[derive(Clone, Debug)]
pub(crate) struct SharedCalls {
    turns: Arc<Semaphore>,
    /// Calls of one plugin at the same time.
    of_one: usize,
    /// The Plugins whose pauses became others.
    pauses: broadcast::Sender<String>,
}

/// A call may run while it is there.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

/// Calls of one plugin at the same time, with so many processors: where there are two or more, a plugin whose calls do not end
/// never has all of them.
fn calls_of_one(processors: usize) -> usize {
    processors.saturating_sub(1).clamp(1, MAX_CALLS_OF_ONE)
}

impl SharedCalls {
    pub(crate) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            turns: Arc::new(Semaphore::new(MAX_CALLS)),
            of_one: calls_of_one(processors),
            pauses: broadcast::Sender::new(MAX_NEWS),
        }
    }

    /// The calls of one more plugin, which this Plugin brings; `None`: the program.
    pub(crate) fn of_one(&self, source: Option<String>) -> Calls {
        let own = Arc::new(Semaphore::new(self.of_one));
        Calls { own, shared: self.clone(), source, health: Mutex::default() }
    }

    /// Tells from now on of each Plugin whose pauses become others.
    pub(crate) fn pauses(&self) -> broadcast::Receiver<String> {
        self.pauses.subscribe()
    }
}

impl Calls {
    /// The namespaces for which it is not asked.
    pub(crate) fn pauses(&self) -> Vec<(String, Pause)> {
        self.health.lock().pauses(Instant::now())
    }

    /// A call for this namespace came to its end; `error`: how it went wrong.
    fn called(&self, namespace: &str, error: Option<&CallError>) {
        let Some(source) = &self.source else { return };
        if self.health.lock().called(namespace, error, Instant::now(), Timestamp::now()) {
            // nobody listens in `render`
            let _ = self.shared.pauses.send(source.clone());
        }
    }

    /// Waits for a turn, [`MAX_WAIT`] at most, where the plugin is asked for this namespace.
    async fn turn(&self, namespace: &str) -> Result<Turn, Uncalled> {
        if let Some(pause) = self.health.lock().pause(namespace, Instant::now()) {
            return Err(Uncalled::Paused(pause));
        }
        let both = async {
            // its own first, so that who waits for it is in nobody else's way
            let own = Arc::clone(&self.own).acquire_owned().await;
            let shared = Arc::clone(&self.shared.turns).acquire_owned().await;
            Some(Turn { _own: own.ok()?, _shared: shared.ok()? })
        };
        tokio::time::timeout(MAX_WAIT, both).await.ok().flatten().ok_or(Uncalled::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_one_plugin_leave_a_processor_to_others() {
        assert_eq!([1, 2, 3, 64].map(calls_of_one), [1, 1, 2, 2]);
    }

    #[tokio::test]
    async fn who_waits_for_a_plugin_that_hangs_hears_that_it_is_busy_and_others_are_called() {
        let shared = SharedCalls::new();
        let (hangs, works) = (shared.of_one(None), shared.of_one(None));
        let mut turns = Vec::new();
        for _ in 0..shared.of_one {
            turns.push(hangs.turn("team").await.unwrap());
        }
        assert!(matches!(hangs.turn("team").await, Err(Uncalled::Busy)));
        works.turn("team").await.unwrap();
        turns.pop();
        hangs.turn("team").await.unwrap();
    }

    #[tokio::test]
    async fn all_plugins_together_have_a_limit_too() {
        let shared = SharedCalls::new();
        let plugins: Vec<_> = (0..=MAX_CALLS).map(|_| shared.of_one(None)).collect();
        let mut turns = Vec::new();
        for plugin in &plugins[..MAX_CALLS] {
            turns.push(plugin.turn("team").await.unwrap());
        }
        assert!(matches!(plugins[MAX_CALLS].turn("team").await, Err(Uncalled::Busy)));
        drop(turns);
        plugins[MAX_CALLS].turn("team").await.unwrap();
    }
}
