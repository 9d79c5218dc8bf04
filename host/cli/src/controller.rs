//! `kubeopencode controller`: logs, signals, client and plugins around the operator.

use std::path::PathBuf;
use std::sync::Arc;

use kube::Config;
use kubeopencode_api::literals::DEFAULT_CLUSTER_DOMAIN;
use kubeopencode_api::release::VERSION;
use kubeopencode_evaluate::Catalog;
use kubeopencode_operator::{Options, client, cluster_domain, run};
use kubeopencode_plugin_host::{HostOptions, PluginHost};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::Controller;
use crate::error::CliError;

/// Runs the operator until it gets SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or has lost the leader lease.
pub(crate) fn main(flags: Controller) -> Result<(), CliError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::registry().with(log(filter, std::io::stderr)).init();
    let host =
        PluginHost::new(HostOptions { cache_dir: flags.plugin_cache_dir.clone(), worker: own_path()? })
            .map_err(|error| CliError::Plugins(error.to_string()))?;
    let built_in = host.load_built_in().map_err(|error| CliError::Plugins(error.to_string()))?;
    crate::runtime()?.block_on(serve(flags, Arc::new(Catalog::new(built_in)), Arc::new(host)))
}

/// Modules of kube that log answers of the API server, which are everybody's prompts: whole ones, and what serde quotes of one that
/// it cannot decode. How a watch failed, the operator says itself.
const BODIES: [&str; 2] = ["kube_client::client", "kube_runtime::watcher"];

/// The log: JSON lines. Whatever `filter` says, nothing of [`BODIES`]. Both are one filter with a level: by two, each line that
/// some library might log is made up to that question, and asked for each time.
fn log<S>(filter: EnvFilter, out: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let no_bodies = filter_fn(|metadata| !BODIES.iter().any(|module| metadata.target().starts_with(module)))
        .with_max_level_hint(LevelFilter::TRACE);
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(out)
        .with_filter(filter.and(no_bodies))
}

async fn serve(flags: Controller, catalog: Arc<Catalog>, host: Arc<PluginHost>) -> Result<(), CliError> {
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
        namespaces: flags.namespaces.with(&flags.namespace),
        namespace: flags.namespace,
        identity: flags.identity.unwrap_or_else(host_name),
        health_address: flags.health_probe_bind_address.0,
        metrics_address: flags.metrics_bind_address.0,
        leader_elect: flags.leader_elect,
        catalog,
        plugin_host: (!flags.without_plugins).then_some(host),
        plugin_sources: flags.sources.into(),
        kubetask: !flags.without_kubetask,
        cluster_domain: flags.cluster_domain.unwrap_or_else(domain_of_this_pod),
    };
    tracing::info!(
        version = VERSION,
        namespace = options.namespace,
        identity = options.identity,
        cluster_domain = options.cluster_domain,
        "starting"
    );
    if !options.namespaces.is_empty() {
        tracing::info!(namespaces = options.namespaces.join(","), "what is in other namespaces is not seen");
    }
    run(client, options, shutdown).await.map_err(CliError::from)
}

fn domain_of_this_pod() -> String {
    let told = std::fs::read_to_string("/etc/resolv.conf").ok();
    told.and_then(|text| cluster_domain(&text)).unwrap_or_else(|| DEFAULT_CLUSTER_DOMAIN.to_owned())
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_not_logged_is_not_looked_at() {
        let log = log(EnvFilter::new("info"), std::io::sink);
        let level = tracing_subscriber::registry().with(log).max_level_hint();
        assert_eq!(level, Some(LevelFilter::INFO));
    }

    #[test]
    fn no_level_logs_the_bodies_of_answers() {
        let lines = Lines::default();
        let out = lines.clone();
        let log = log(EnvFilter::new("trace,kube_client=trace,kube_runtime=trace"), move || out.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            // as kube's client does with an answer that it cannot decode
            tracing::warn!(target: "kube_client::client", "everybody's prompts");
            tracing::trace!(target: "kube_client::client::builder", "a token");
            // as its watcher does with an event of which that is so
            tracing::debug!(target: "kube_runtime::watcher", "invalid type: string \"somebody's words\"");
            tracing::trace!(target: "kubeopencode_operator", "reconciled");
        });
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(lines.contains("reconciled"), "{lines}");
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }
}
