//! One read for all who ask for the same thing while it is being read.
//!
//! Must not touch: what is read, and from where.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

/// A read, and whoever waits for it.
type Read<V> = Shared<BoxFuture<'static, V>>;

/// The reads that go on, by key. Who asks for a key that is being read waits for the read after that one, which begins when
/// it ends, with all others who asked meanwhile: nobody gets an answer that was on its way before the question.
pub(crate) struct SharedReads<K, V>(Arc<Mutex<HashMap<K, Reads<V>>>>);

struct Reads<V> {
    running: Read<V>,
    next: Option<Read<V>>,
}

impl<K, V> Default for SharedReads<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, V: Clone + Send + Sync + 'static> SharedReads<K, V> {
    /// What this read, or one that began after the question, gives.
    pub(crate) async fn get(&self, key: &K, read: impl Future<Output = V> + Send + 'static) -> V {
        let mine = match self.0.lock().entry(key.clone()) {
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let running = self.read(key, read);
                vacant.insert(Reads { running: running.clone(), next: None });
                running
            }
            std::collections::hash_map::Entry::Occupied(mut occupied) => {
                let Reads { running, next } = occupied.get_mut();
                let before = running.clone();
                let after = async move {
                    before.await;
                    read.await
                };
                next.get_or_insert_with(|| self.read(key, after)).clone()
            }
        };
        mine.await
    }

    fn read(&self, key: &K, read: impl Future<Output = V> + Send + 'static) -> Read<V> {
        let (reads, key) = (Arc::clone(&self.0), key.clone());
        let read = async move {
            let value = read.await;
            let mut reads = reads.lock();
            match reads.get_mut(&key).and_then(|reads| Some((reads.next.take()?, reads))) {
                Some((next, reads)) => reads.running = next,
                None => drop(reads.remove(&key)),
            }
            value
        };
        read.boxed().shared()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};
    use tokio::task::JoinHandle;

    use super::*;

    /// Reads that end when they are told what they read.
    struct Store {
        shared: Arc<SharedReads<&'static str, u32>>,
        begun: mpsc::UnboundedReceiver<oneshot::Sender<u32>>,
        begin: mpsc::UnboundedSender<oneshot::Sender<u32>>,
    }

    impl Store {
        fn new() -> Self {
            let (begin, begun) = mpsc::unbounded_channel();
            Self { shared: Arc::default(), begun, begin }
        }

        /// Asks, and lets the question get as far as it can.
        async fn ask(&self, key: &'static str) -> JoinHandle<u32> {
            let (shared, begin) = (Arc::clone(&self.shared), self.begin.clone());
            let asked = tokio::spawn(async move {
                let read = async move {
                    let (answer, answered) = oneshot::channel();
                    begin.send(answer).unwrap();
                    answered.await.unwrap()
                };
                shared.get(&key, read).await
            });
            tokio::task::yield_now().await;
            asked
        }

        fn begun(&mut self) -> Option<oneshot::Sender<u32>> {
            self.begun.try_recv().ok()
        }
    }

    #[tokio::test]
    async fn who_asks_during_a_read_shares_the_next_one() {
        let mut store = Store::new();
        let first = store.ask("a").await;
        let others = [store.ask("a").await, store.ask("a").await, store.ask("a").await];
        let running = store.begun().unwrap();
        assert!(store.begun().is_none(), "one read goes on");
        running.send(1).unwrap();
        assert_eq!(first.await.unwrap(), 1);
        tokio::task::yield_now().await;
        let second = store.begun().unwrap();
        let late = store.ask("a").await;
        assert!(store.begun().is_none(), "whoever asks now waits");
        second.send(2).unwrap();
        for other in others {
            assert_eq!(other.await.unwrap(), 2, "nobody gets what was read before the question");
        }
        tokio::task::yield_now().await;
        store.begun().unwrap().send(3).unwrap();
        assert_eq!(late.await.unwrap(), 3);
        assert!(store.shared.0.lock().is_empty(), "nothing is kept");
    }

    #[tokio::test]
    async fn other_keys_are_read_at_the_same_time() {
        let mut store = Store::new();
        let (a, b) = (store.ask("a").await, store.ask("b").await);
        let (of_a, of_b) = (store.begun().unwrap(), store.begun().unwrap());
        of_b.send(2).unwrap();
        of_a.send(1).unwrap();
        assert_eq!((a.await.unwrap(), b.await.unwrap()), (1, 2));
    }
}
