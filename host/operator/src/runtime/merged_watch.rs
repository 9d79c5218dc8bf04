//! The watches of a kind in several namespaces, as if they were one.
//!
//! Whoever takes in the events of a watch replaces all that it knows with each list. So the lists of several namespaces have
//! to be one: it begins with `Init`, has the objects of all of them, and its `InitDone` comes with the last. When one of the
//! watches lost the thread, all are listed anew. [`Round`] decides that.

mod round;

use std::fmt::Debug;

use futures::stream::{BoxStream, FuturesUnordered, StreamFuture};
use futures::{Stream, StreamExt, stream};
use kube::Resource;
use kube::api::Api;
use kube::runtime::watcher::{Config, Error, Event};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::runtime::api_error::is_refused_watch;
use crate::runtime::list_watch::list_watch;
use round::{Round, Then};

/// The watch of one namespace, which begins anew with a list whenever `anew` changes.
pub(super) fn part<K>(
    api: Api<K>,
    config: Config,
    anew: watch::Receiver<()>,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let begin = move || list_watch(api.clone(), config.clone()).boxed();
    stream::unfold((begin(), begin, anew), async |(mut events, begin, mut anew)| {
        let event = loop {
            tokio::select! {
                biased;
                Ok(()) = anew.changed() => events = begin(),
                event = events.next() => break event,
            }
        };
        Some((event?, (events, begin, anew)))
    })
}

/// The watch of one namespace, with the namespace's place among the others.
type Part<K> = BoxStream<'static, (usize, Result<Event<K>, Error>)>;

struct Merged<K> {
    round: Round,
    asked: FuturesUnordered<StreamFuture<Part<K>>>,
    /// Listed before the others. Not asked meanwhile: what they have to say waits in their connections.
    held_back: Vec<Part<K>>,
    anew: watch::Sender<()>,
}

/// Makes one watch of several, each a [`part`] that hears of `anew`. Their failures end here, since whoever made them has
/// told of them.
pub(super) fn merged<K, S>(
    parts: Vec<S>,
    anew: watch::Sender<()>,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send + use<K, S>
where
    K: Send + 'static,
    S: Stream<Item = Result<Event<K>, Error>> + Send + 'static,
{
    let round = Round::new(parts.len());
    let parts = parts.into_iter().enumerate();
    let parts = parts.map(|(place, part)| part.map(move |event| (place, event)).boxed());
    let merged =
        Merged { round, asked: parts.map(StreamExt::into_future).collect(), held_back: Vec::new(), anew };
    let events = stream::unfold(merged, async |mut merged| Some((merged.next().await?, merged)));
    stream::once(std::future::ready(Event::Init)).chain(events).map(Ok)
}

impl<K> Merged<K> {
    async fn next(&mut self) -> Option<Event<K>> {
        loop {
            let (event, part) = self.asked.next().await?;
            let (place, event) = event?;
            let then = match event {
                Ok(event) => self.round.event(place, event),
                Err(error) if is_refused_watch(&error) => self.round.refused(place),
                Err(_) => Then::Nothing,
            };
            if self.round.holds_back(place) {
                self.held_back.push(part);
            } else {
                self.asked.push(StreamExt::into_future(part));
            }
            if let Then::Anew | Then::Tell(Event::InitDone) = then {
                self.asked.extend(self.held_back.drain(..).map(StreamExt::into_future));
            }
            match then {
                Then::Tell(event) => return Some(event),
                Then::Nothing => {}
                Then::Anew => {
                    self.anew.send_replace(());
                    return Some(Event::Init);
                }
            }
        }
    }
}
