//! An operator under test: in a runtime of its own, so that it can die at any moment with everything that it does.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kubeopencode_operator::{Options, RunError, run};
use kubeopencode_plugin_host::PluginHost;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::faults::Faults;

/// How long a graceful shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// An operator that runs until it is stopped, crashed or dropped (which is a crash).
#[derive(Debug)]
pub struct Operator {
    faults: Faults,
    shutdown: CancellationToken,
    ended: Option<oneshot::Receiver<Option<Result<(), RunError>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Operator {
    /// Starts one for one namespace.
    pub fn start(cluster: &Cluster, namespace: &str, host: Arc<PluginHost>, faults: Faults) -> Self {
        let (shutdown, (tell, ended)) = (CancellationToken::new(), oneshot::channel());
        let (cluster, faults_of_run, stop) = (cluster.clone(), faults.clone(), shutdown.clone());
        let options = Options {
            namespace: namespace.to_owned(),
            identity: "operator-under-test".to_owned(),
            health_address: None,
            metrics_address: None,
            leader_elect: false,
            host,
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let end = runtime.block_on(async {
                let client = cluster.operator_client(&options.namespace, &faults_of_run);
                tokio::select! {
                    biased;
                    () = faults_of_run.crashed() => None,
                    // spawned, as `main` would have it
                    end = tokio::spawn(run(client, options, stop)) => Some(end.expect("the operator does not panic")),
                }
            });
            runtime.shutdown_background();
            let _ = tell.send(end);
        });
        Self { faults, shutdown, ended: Some(ended), thread: Some(thread) }
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let end = tokio::time::timeout(SHUTDOWN, self.ended.take().unwrap()).await;
        match end.expect("the operator shuts down in time") {
            Ok(Some(Ok(())) | None) => {}
            other => panic!("the operator ended badly: {other:?}"),
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

    /// Whether it has crashed or ended.
    pub fn is_dead(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.faults.crash();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
