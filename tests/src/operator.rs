//! An operator under test: in a runtime of its own, so that it can die at any moment with everything that it does.

use std::net::SocketAddr;
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::Duration;

use kubeopencode_operator::{Options, PluginSources, RunError, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Plugins};
use crate::faults::Faults;
use crate::log::Log;

const THREAD: &str = "operator-under-test";

/// How long a graceful shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// How long a test waits for what it should do by itself.
const PATIENCE: Duration = Duration::from_secs(40);

/// What is special about an operator.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// What goes wrong between it and the API server.
    pub faults: Faults,
    /// Its identity, where it asks for the leader lease first.
    pub candidate: Option<String>,
    /// Whose rights it has; without a name it may do everything.
    pub user: Option<String>,
    /// Where it looks; none: in all that it can see.
    pub watch_namespaces: Vec<String>,
    /// Whether it does nothing about `kubetask.io`.
    pub without_kubetask: bool,
    /// Whether it answers probes and scrapes.
    pub is_probed: bool,
    /// Where components of Plugins may come from.
    pub sources: PluginSources,
}

/// An operator that runs until it is stopped, crashed or dropped (which is a crash).
#[derive(Debug)]
pub struct Operator {
    faults: Faults,
    /// What it logs.
    pub log: Log,
    probes: SocketAddr,
    metrics: SocketAddr,
    shutdown: CancellationToken,
    ended: Option<oneshot::Receiver<Option<Result<(), RunError>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Operator {
    /// Starts one that sees these namespaces, the first of which is its own.
    pub fn start(cluster: &Cluster, namespaces: &[String], plugins: &Plugins, setup: Setup) -> Self {
        a_crash_is_no_panic();
        let (shutdown, (tell, ended)) = (CancellationToken::new(), oneshot::channel());
        let (cluster, stop) = (cluster.clone(), shutdown.clone());
        let (namespaces, faults, log) = (namespaces.to_vec(), setup.faults.clone(), Log::default());
        let [probes, metrics] = [free_address(), free_address()];
        let options = Options {
            namespace: namespaces.first().cloned().unwrap_or_default(),
            namespaces: setup.watch_namespaces.clone(),
            leader_elect: setup.candidate.is_some(),
            identity: setup.candidate.clone().unwrap_or_else(|| "operator-under-test".to_owned()),
            health_address: setup.is_probed.then_some(probes),
            metrics_address: setup.is_probed.then_some(metrics),
            catalog: plugins.catalog(),
            plugin_host: Some(Arc::clone(&plugins.host)),
            plugin_sources: setup.sources.clone(),
            kubetask: !setup.without_kubetask,
            cluster_domain: kubeopencode_api::literals::DEFAULT_CLUSTER_DOMAIN.to_owned(),
        };
        let log_of_run = log.clone();
        let thread = std::thread::spawn(move || {
            log_of_run.of_this_thread();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name(THREAD)
                .on_thread_start(move || log_of_run.of_this_thread())
                .enable_all()
                .build()
                .unwrap();
            let end = runtime.block_on(async {
                let client = cluster.operator_client(&namespaces, &setup);
                tokio::select! {
                    biased;
                    () = setup.faults.crashed() => None,
                    // spawned, as `main` would have it
                    end = tokio::spawn(run(client, options, stop)) => Some(end.expect("the operator does not panic")),
                }
            });
            runtime.shutdown_background();
            let _ = tell.send(end);
        });
        Self { faults, log, probes, metrics, shutdown, ended: Some(ended), thread: Some(thread) }
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not, or was ended.
    pub async fn ended(&mut self) -> Result<(), RunError> {
        let ended = self.ended.take().expect("it was not ended before");
        let end = tokio::time::timeout(PATIENCE, ended).await.expect("the operator ends by itself");
        end.expect("the operator does not panic").expect("it did not crash")
    }

    /// How it answers a probe: `/healthz`, `/readyz`.
    pub async fn probe(&self, path: &str) -> (u16, String) {
        get(self.probes, path).await
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// When it is not, after some time.
    pub async fn is_ready(&self) {
        let ready = async {
            while self.probe("/readyz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ready).await.is_err() {
            panic!("the operator is not ready: {:?}", self.probe("/readyz").await);
        }
    }

    /// The value of a metric, by its name with labels.
    ///
    /// # Panics
    /// When it is no number.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = get(self.metrics, "/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }

    /// Ends it as SIGTERM does.
    ///
    /// # Panics
    /// When it does not end in time, or badly.
    pub async fn stop(self) {
        self.try_stop().await.unwrap_or_else(|how| panic!("{how}"));
    }

    /// Ends it as SIGTERM does. One that has crashed before is as good as stopped.
    ///
    /// # Errors
    /// How it ended, or that it did not end in time.
    pub async fn try_stop(mut self) -> Result<(), String> {
        self.shutdown.cancel();
        let Some(ended) = self.ended.take() else { return Ok(()) };
        match tokio::time::timeout(SHUTDOWN, ended).await {
            Ok(Ok(Some(Ok(())) | None)) => Ok(()),
            Ok(other) => Err(format!("the operator ended badly: {other:?}")),
            Err(_) => Err(format!("the operator did not shut down within {SHUTDOWN:?}")),
        }
    }

    /// Ends it as SIGKILL does.
    pub async fn crash(mut self) {
        self.faults.crash();
        self.dead().await;
    }

    /// Waits until it has crashed.
    pub async fn dead(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended.await.expect("the operator does not panic");
        }
    }
}

/// An address that nobody had a moment ago.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The answer to a GET; code 0 where nobody listens yet.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return (0, String::new()) };
    let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// When an operator dies its tasks are cancelled, and kube's runner, which waits for them, panics on its way out:
/// nobody has to read that.
fn a_crash_is_no_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let of_operator = std::thread::current().name() == Some(THREAD);
            let cancelled =
                panic.payload_as_str().is_some_and(|words| words.contains("JoinError::Cancelled"));
            if !(of_operator && cancelled) {
                usual(panic);
            }
        }));
    });
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.faults.crash();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
