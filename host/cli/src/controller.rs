//! `kubeopencode controller`: logs, signals, client and plugins around the operator.

use std::path::PathBuf;
use std::sync::Arc;

use kube::Config;
use kubeopencode_evaluate::Catalog;
use kubeopencode_operator::{Options, client, run};
use kubeopencode_plugin_host::{HostOptions, PluginHost};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::Controller;
use crate::error::CliError;

/// Runs the operator until it gets SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or has lost the leader lease.
pub(crate) fn main(flags: Controller) -> Result<(), CliError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
    // whatever RUST_LOG says: this module logs the bodies of answers, which are everybody's prompts
    let no_bodies = filter_fn(|metadata| !metadata.target().starts_with("kube_client::client"));
    tracing_subscriber::registry().with(lines.with_filter(filter).with_filter(no_bodies)).init();
    let host =
        PluginHost::new(HostOptions { cache_dir: flags.plugin_cache_dir.clone(), worker: own_path()? })
            .map_err(|error| CliError::Plugins(error.to_string()))?;
    let built_in = host.load_built_in().map_err(|error| CliError::Plugins(error.to_string()))?;
    crate::runtime()?.block_on(serve(flags, Arc::new(Catalog::new(built_in))))
}

async fn serve(flags: Controller, catalog: Arc<Catalog>) -> Result<(), CliError> {
    let config = Config::infer().await.map_err(|error| CliError::Cluster(error.to_string()))?;
    let client = client(config)?;
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("shutting down: reconciles in flight are finished");
        stop.cancel();
    });
    let options = Options {
        namespace: flags.namespace,
        identity: flags.identity.unwrap_or_else(host_name),
        health_address: flags.health_probe_bind_address.0,
        metrics_address: flags.metrics_bind_address.0,
        leader_elect: flags.leader_elect,
        catalog,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = options.namespace,
        identity = options.identity,
        "starting"
    );
    run(client, options, shutdown).await.map_err(CliError::from)
}

/// The compile worker is this very program.
fn own_path() -> Result<PathBuf, CliError> {
    Ok(std::env::current_exe()?)
}

/// Outside a Pod: host name and process, which no other operator has.
fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}
