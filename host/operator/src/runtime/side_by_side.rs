//! Futures of one task, of which only those are polled that something woke.
//!
//! `join!` and `select!` poll all of theirs whenever one is woken. An operator waits for some thirty things at the same time, and
//! a launch wakes it some thirty times: what does not concern the others would be as much work as the launch itself.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

/// What the first one that ends comes to; the others are dropped. Of none it waits for ever.
pub(crate) async fn first<'a, T>(futures: impl IntoIterator<Item = BoxFuture<'a, T>>) -> T {
    let mut futures: FuturesUnordered<_> = futures.into_iter().collect();
    match futures.next().await {
        Some(end) => end,
        None => std::future::pending().await,
    }
}

/// Waits until all of them have ended.
pub(crate) async fn all<'a>(futures: impl IntoIterator<Item = BoxFuture<'a, ()>>) {
    let mut futures: FuturesUnordered<_> = futures.into_iter().collect();
    while futures.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use futures::future::poll_fn;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn who_is_woken_is_polled_and_nobody_else() {
        let polls = AtomicUsize::new(0);
        let waits = poll_fn(|_| {
            polls.fetch_add(1, Ordering::Relaxed);
            std::task::Poll::<()>::Pending
        });
        let (send, mut receive) = unbounded_channel();
        let works = async { while receive.recv().await.is_some() {} };
        let wakes = async {
            for number in 0..100 {
                send.send(number).unwrap();
                tokio::task::yield_now().await;
            }
            drop(send);
        };
        let busy = async { futures::join!(works, wakes) }.map(|_| ());
        first([waits.boxed(), busy.boxed()]).await;
        assert_eq!(polls.into_inner(), 1);
    }

    #[tokio::test]
    async fn the_first_ends_the_others_and_all_wait_for_each() {
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let waits = async move {
            let _guard = guard;
            std::future::pending::<u8>().await
        };
        assert_eq!(first([waits.boxed(), std::future::ready(1).boxed()]).await, 1);
        assert!(ended.is_cancelled(), "what did not end is dropped");
        let ends = AtomicUsize::new(0);
        let end = || async {
            ends.fetch_add(1, Ordering::Relaxed);
        };
        all([end().boxed(), tokio::task::yield_now().boxed(), end().boxed()]).await;
        assert_eq!(ends.into_inner(), 2);
    }
}
