//! Name resolution for a client that tries again until it is answered.
//!
//! A lookup has the resolver's own patience: with Kubernetes' `ndots:5` the name of a Service is tried with each search
//! domain first, and a lost answer costs 5 s each time. A request that gives up after as long would begin it anew with
//! every try and never see its end: with one in four answers lost, waiting took 40 to 100 seconds and more. So a lookup
//! outlives the request that asked for it, and the next one takes it over; and a name with a dot, as each Service's that
//! the operator gives, is looked up as it stands and with no search domain.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

type Lookup = JoinHandle<io::Result<Vec<SocketAddr>>>;

/// Looks up one name, again and again.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<Option<Lookup>>>);

impl Names {
    /// Whether a lookup has not ended yet.
    pub(crate) fn is_busy(&self) -> bool {
        // whoever holds it waits for a lookup
        self.0.try_lock().map_or(true, |lookup| lookup.as_ref().is_some_and(|lookup| !lookup.is_finished()))
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let Self(lookup) = self.clone();
        Box::pin(async move {
            let mut lookup = lookup.lock().await;
            let running = lookup.get_or_insert_with(|| {
                let host = name.as_str().to_owned();
                tokio::task::spawn_blocking(move || look_up(&host))
            });
            // a request that gives up here leaves it to the next one
            let found = running.await;
            *lookup = None;
            Ok(Box::new(found??.into_iter()) as Addrs)
        })
    }
}

/// A name with a dot is the whole name.
fn look_up(host: &str) -> io::Result<Vec<SocketAddr>> {
    let is_whole = host.contains('.') && !host.ends_with('.');
    let end = if is_whole { "." } else { "" };
    (format!("{host}{end}").as_str(), 0).to_socket_addrs().map(Iterator::collect)
}
