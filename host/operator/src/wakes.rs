//! Keys that somebody named to be looked at: gathered, looked at once each, and named again after a pause.
//!
//! May touch: channels and timers. Must not touch: what a look does.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use kubeopencode_api::names::ObjectKey;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Looks at keys that were named, and in every `round` at `everybody`, until nobody can name one any more. A key that
/// was named often meanwhile is looked at once; at most `at_once` are looked at together, none twice at a time.
pub(crate) async fn look_at_named<F>(
    mut named: UnboundedReceiver<ObjectKey>,
    round: Duration,
    at_once: usize,
    everybody: impl Fn() -> Vec<ObjectKey>,
    look: impl Fn(ObjectKey) -> F,
) where
    F: Future<Output = ()>,
{
    let mut round = tokio::time::interval(round);
    loop {
        let mut keys = BTreeSet::new();
        tokio::select! {
            key = named.recv() => match key {
                Some(key) => drop(keys.insert(key)),
                None => return,
            },
            _ = round.tick() => keys.extend(everybody()),
        }
        while let Ok(key) = named.try_recv() {
            keys.insert(key);
        }
        futures::stream::iter(keys).for_each_concurrent(at_once, &look).await;
    }
}

/// Names a key after a pause.
pub(crate) fn name_later(names: &UnboundedSender<ObjectKey>, key: ObjectKey, pause: Duration) {
    let names = names.clone();
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        let _ = names.send(key);
    });
}
