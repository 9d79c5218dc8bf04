//! The operator: what always runs (probes, metrics) and what runs while it leads (the controllers).
//!
//! The way of a Task: watch -> evaluate (plugins) -> plan (pure) -> admit (ledger) -> launch (writes) -> observe (Pod
//! watch) -> end (status). Each folder has one responsibility, and imports run in one direction:
//! `controller` -> {`task`, `server`, `batch`} -> `admission` -> `frontend` -> `cache` -> `runtime`; `plugins` stands beside them, and
//! tells them of changes through the catalog. A test reads the `use` lines.
//!
//! **Invariants.** Only `task::launch` creates Pods and opens gates. Only `task::writer` writes Tasks. Only `batch` makes Tasks and writes Batches. Only `admission`
//! writes `Agent.status.admitted`. Only `plugins` writes Plugins and the catalog. Nobody reads Secrets.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt;
use kube::Client;
use kubeopencode_evaluate::Catalog;
use kubeopencode_plugin_host::PluginHost;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod admission;
mod batch;
mod cache;
mod controller;
mod frontend;
mod plugins;
mod runtime;
mod server;
mod task;

pub use plugins::pack::{PackedPlugin, pack_plugin};
pub use plugins::publication::publication;
pub use plugins::source::author::{PulledComponent, PushedComponent, RegistryAccess, RegistryError};
pub use plugins::source::{PluginSources, SourceKind};
pub use runtime::cluster_domain::cluster_domain;
pub use runtime::connection::client;
use runtime::health::Health;
pub use runtime::metrics::Metrics;
use runtime::side_by_side::first;
use runtime::{http, lease};
pub use task::uninstall::{Release, Released, release_finalizers};

/// What the operator is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its own namespace: `POD_NAMESPACE`.
    pub namespace: String,
    /// Where it acts on Tasks and looks for what they need; none: in all namespaces. Its own is always one of them.
    pub namespaces: Vec<String>,
    /// Its name among several: the Pod's.
    pub identity: String,
    /// Where probes are answered; `None`: nowhere.
    pub health_address: Option<SocketAddr>,
    /// Where metrics are served; `None`: nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// Whether to wait for the leader lease.
    pub leader_elect: bool,
    /// The plugins.
    pub catalog: Arc<Catalog>,
    /// What loads the plugins of Plugins and ConfigMaps; `None`: there are none but those of the catalog.
    pub plugin_host: Option<Arc<PluginHost>>,
    /// Where the components of Plugins may come from.
    pub plugin_sources: PluginSources,
    /// Whether the operator acts on Tasks of `kubetask.io` too. Their definitions may be missing, or come later.
    pub kubetask: bool,
    /// Domain of the cluster's Services: see [`cluster_domain`].
    pub cluster_domain: String,
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
        "the leader lease \"{}\" went to \"{holder}\"; this operator starts anew as a stand-by",
        lease::NAME
    )]
    LeaseLost {
        /// Who holds it now.
        holder: String,
    },
    /// The API server confirmed no renewal in time: another operator may begin.
    #[error(
        "the leader lease \"{}\" could not be renewed in time; this operator starts anew as a stand-by. The log says why: \
         look for \"could not be renewed\"",
        lease::NAME
    )]
    LeaseNotRenewed,
}

/// Runs the operator until `shutdown` is cancelled; reconciliations in flight are finished and the lease is released.
///
/// # Errors
/// See [`RunError`].
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::default());
    let health = Health::new(Arc::clone(&metrics), &options.namespaces);
    let leads = watch::Sender::new(!options.leader_elect);
    let plugins = async {
        let Some(host) = &options.plugin_host else { return std::future::pending().await };
        plugins::run(plugins::Parts {
            client: client.clone(),
            host: Arc::clone(host),
            catalog: Arc::clone(&options.catalog),
            metrics: Arc::clone(&metrics),
            health: health.clone(),
            namespace: options.namespace.clone(),
            identity: options.identity.clone(),
            leads: leads.subscribe(),
            sources: options.plugin_sources.clone(),
        })
        .await;
        Ok::<(), RunError>(())
    };
    let led = while_leading(&client, &options, &health, &metrics, &leads, &shutdown);
    first([always(&options, &health, &metrics).boxed(), led.boxed(), plugins.boxed()]).await
}

/// What every replica does, whether it leads or stands by: it answers probes and scrapes. Ends only by an error.
async fn always(options: &Options, health: &Health, metrics: &Arc<Metrics>) -> Result<(), RunError> {
    let probes = async {
        let Some(address) = options.health_address else { return std::future::pending().await };
        let bind = |error| RunError::Bind { flag: "--health-probe-bind-address", address, error };
        http::probes(address, health.clone()).await.map_err(bind)
    };
    let scrapes = async {
        let Some(address) = options.metrics_address else { return std::future::pending().await };
        let bind = |error| RunError::Bind { flag: "--metrics-bind-address", address, error };
        http::metrics(address, Arc::clone(metrics)).await.map_err(bind)
    };
    tokio::select! {
        served = probes => served,
        served = scrapes => served,
    }
}

/// What one replica alone does: the controllers. Waits for the lease first, where there is one.
async fn while_leading(
    client: &Client,
    options: &Options,
    health: &Health,
    metrics: &Arc<Metrics>,
    leads: &watch::Sender<bool>,
    shutdown: &CancellationToken,
) -> Result<(), RunError> {
    let controllers =
        || controller::run(client.clone(), options, health, Arc::clone(metrics), shutdown.clone());
    if !options.leader_elect {
        controllers().await;
        return Ok(());
    }
    let leader = lease::Leader::new(client.clone(), &options.namespace, &options.identity);
    loop {
        health.stands_by();
        let mut held = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            held = leader.acquire() => held,
        };
        tracing::info!(identity = options.identity, "leading");
        leads.send_replace(true);
        let lost = tokio::select! {
            () = controllers() => None,
            lost = leader.keep(&mut held, shutdown) => Some(lost),
        };
        leads.send_replace(false);
        match lost {
            Some(lease::Lost::ToAnother(holder)) => return Err(RunError::LeaseLost { holder }),
            Some(lease::Lost::NotRenewed) if !shutdown.is_cancelled() => {
                return Err(RunError::LeaseNotRenewed);
            }
            Some(lease::Lost::Uninstalling) => {
                tracing::warn!("the operator is being uninstalled: its controllers are stopped");
            }
            // it has shut down
            None | Some(lease::Lost::NotRenewed) => {
                leader.release(held).await;
                return Ok(());
            }
        }
    }
}
