//! The operator: controllers, admission ledger, launch, status, sweep, metrics, leader lease.
//!
//! The way of a Task: watch -> gather (reads) -> evaluate (plugins) -> plan (pure) -> admit (ledger) -> launch (writes)
//! -> observe (Pod watch) -> finish (status). What is decided is decided in `decide`, `ledger`, `observe`, `status` and
//! `answers`, from data to data; the other modules do it.
//!
//! **Invariants.** Only `launch` creates Pods and opens gates. Only `writer` writes Tasks. Only `admission` writes
//! `Agent.status.admitted`. Nobody reads Secrets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::{Client, Config};
use kubeopencode_plugin_host::PluginHost;
use tokio_util::sync::CancellationToken;

pub mod admission;
pub mod answers;
mod backoff;
pub mod caches;
pub mod cleanup;
mod controller;
pub mod decide;
mod events;
pub mod gather;
mod inspect;
pub mod launch;
pub mod lease;
pub mod ledger;
pub mod metrics;
pub mod observe;
pub mod pods;
mod reconcile;
mod remove;
mod serve;
pub mod server;
pub mod status;
mod sweep;
pub mod uninstall;
pub mod view;
mod wakes;
mod writer;
mod written;

/// What the operator is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its own namespace: `POD_NAMESPACE`.
    pub namespace: String,
    /// Its name among several: the Pod's.
    pub identity: String,
    /// Where probes are answered; `None`: nowhere.
    pub health_address: Option<SocketAddr>,
    /// Where metrics are served; `None`: nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// Whether to wait for the leader lease.
    pub leader_elect: bool,
    /// The plugins.
    pub host: Arc<PluginHost>,
}

/// Whether the operator's caches are filled, or it stands by for the leader.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is ready.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Why the operator stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address could not be bound.
    #[error("{flag}={address}: {error}; choose another address, or 0 to turn it off")]
    Bind {
        /// The flag that named it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The lease went to another operator.
    #[error(
        "the leader lease \"{}\" was lost to another operator; this one starts anew as a stand-by",
        lease::NAME
    )]
    LeaseLost,
}

/// How long a connection may be silent: longer than a watch, which hears of its end after at most 290 seconds.
const SILENCE: Duration = Duration::from_secs(300);

/// A client that repeats nothing by itself: whether a POST that was not answered was done is decided by looking.
///
/// # Errors
/// When the configuration names files that cannot be read.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    config.read_timeout.get_or_insert(SILENCE);
    Client::try_from(config)
}

/// Runs the operator until `shutdown` is cancelled; looks under way are finished and the lease is released.
///
/// # Errors
/// See [`RunError`].
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) -> Result<(), RunError> {
    let (ready, metrics) = (Ready::default(), Arc::new(metrics::Metrics::default()));
    let probes = async {
        let Some(address) = options.health_address else { return std::future::pending().await };
        let bind = |error| RunError::Bind { flag: "--health-probe-bind-address", address, error };
        serve::probes(address, ready.clone()).await.map_err(bind)
    };
    let scrapes = async {
        let Some(address) = options.metrics_address else { return std::future::pending().await };
        let bind = |error| RunError::Bind { flag: "--metrics-bind-address", address, error };
        serve::metrics(address, Arc::clone(&metrics)).await.map_err(bind)
    };
    tokio::select! {
        served = probes => served,
        served = scrapes => served,
        led = lead(&client, &options, &ready, &metrics, &shutdown) => led,
    }
}

async fn lead(
    client: &Client,
    options: &Options,
    ready: &Ready,
    metrics: &Arc<metrics::Metrics>,
    shutdown: &CancellationToken,
) -> Result<(), RunError> {
    let work = || controller::run(client.clone(), options, ready, Arc::clone(metrics), shutdown.clone());
    if !options.leader_elect {
        work().await;
        return Ok(());
    }
    let leader = lease::Leader::new(client.clone(), &options.namespace, &options.identity);
    loop {
        // a stand-by is ready: it can take over at any time
        ready.set();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = leader.acquire() => tracing::info!(identity = options.identity, "leading"),
        }
        let lost = tokio::select! {
            () = work() => None,
            lost = leader.keep(shutdown) => Some(lost),
        };
        match lost {
            None => break,
            Some(lease::Lost::ToAnother) => return Err(RunError::LeaseLost),
            Some(lease::Lost::ToNobody) => {
                tracing::warn!("the operator is being uninstalled, and stands still");
            }
        }
    }
    leader.release().await;
    Ok(())
}
