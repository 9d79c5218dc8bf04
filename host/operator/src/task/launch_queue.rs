//! Launches have a queue of their own: a burst of them makes no stop, end, timeout or deletion wait, which the controller
//! does at once. A Task is in the hands of one of the two at a time.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kubeopencode_api::names::TaskKey;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::launch_order::LaunchOrder;
use crate::frontend::Runner;

/// Tasks that are to be launched, and those that are being launched.
#[derive(Debug, Default)]
pub(crate) struct LaunchQueue {
    order: Mutex<LaunchOrder>,
    changed: Notify,
}

impl LaunchQueue {
    /// The Task is to be launched with this runner.
    pub(crate) fn enqueue(&self, task: TaskKey, runner: Runner) {
        self.order.lock().enqueue(task, runner);
        self.changed.notify_one();
    }

    /// The Task is not to be launched any more.
    pub(crate) fn cancel(&self, task: &TaskKey) {
        self.order.lock().cancel(task);
    }

    /// Whether the Task is to be launched, or is being launched.
    pub(crate) fn has(&self, task: &TaskKey) -> bool {
        self.order.lock().has(task)
    }

    /// Whether the Task is being launched right now; then it is handed to the controller when that has ended.
    pub(crate) fn defer(&self, task: &TaskKey) -> bool {
        self.order.lock().defer(task)
    }

    /// Launches until `shutdown`, and ends what was begun. `launch` may ask to be repeated after a pause; a Task of which
    /// something was wanted meanwhile goes to `controller`.
    pub(crate) async fn run<F>(
        &self,
        shutdown: &CancellationToken,
        controller: &UnboundedSender<TaskKey>,
        launch: impl Fn(TaskKey) -> F,
    ) where
        F: Future<Output = Option<Duration>>,
    {
        let mut in_flight = FuturesUnordered::new();
        while !(shutdown.is_cancelled() && in_flight.is_empty()) {
            if !shutdown.is_cancelled() {
                while let Some(task) = self.next() {
                    let launched = launch(task.clone());
                    in_flight.push(async { (task, launched.await) });
                }
            }
            let due = self.order.lock().next_due();
            let its_time = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((task, pause)) = in_flight.next() => {
                    if self.order.lock().end(&task, pause, Instant::now()) {
                        let _ = controller.send(task);
                    }
                }
                () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
                () = self.changed.notified(), if !shutdown.is_cancelled() => {}
                () = its_time, if !shutdown.is_cancelled() => {}
            }
        }
    }

    fn next(&self) -> Option<TaskKey> {
        self.order.lock().next(Instant::now())
    }
}
