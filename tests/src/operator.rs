//! An operator under test: in a runtime of its own, so that it can die at any moment with everything that it does.

use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::Duration;

use kubeopencode_evaluate::Catalog;
use kubeopencode_operator::{Options, RunError, run};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::faults::Faults;

const THREAD: &str = "operator-under-test";

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
    /// Starts one that sees these namespaces, the first of which is its own; one with a name asks for the leader lease
    /// first.
    pub fn start(
        cluster: &Cluster,
        namespaces: &[String],
        catalog: Arc<Catalog>,
        faults: Faults,
        candidate: Option<&str>,
    ) -> Self {
        a_crash_is_no_panic();
        let (shutdown, (tell, ended)) = (CancellationToken::new(), oneshot::channel());
        let (cluster, faults_of_run, stop) = (cluster.clone(), faults.clone(), shutdown.clone());
        let namespaces = namespaces.to_vec();
        let options = Options {
            namespace: namespaces.first().cloned().unwrap_or_default(),
            identity: candidate.unwrap_or("operator-under-test").to_owned(),
            health_address: None,
            metrics_address: None,
            leader_elect: candidate.is_some(),
            catalog,
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name(THREAD)
                .enable_all()
                .build()
                .unwrap();
            let end = runtime.block_on(async {
                let client = cluster.operator_client(&namespaces, &faults_of_run);
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
