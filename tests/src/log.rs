//! What an operator under test logs, which is its own and no other's in the same process.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing_subscriber::util::SubscriberInitExt;

/// How long a line is waited for.
const PATIENCE: Duration = Duration::from_secs(40);

/// The lines so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<watch::Sender<String>>);

impl Log {
    /// From now on, until the thread ends, what this thread logs goes here.
    pub(crate) fn of_this_thread(&self) {
        let log = self.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || log.clone());
        std::mem::forget(subscriber.set_default());
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.0.borrow().clone()
    }

    /// The lines that have these words.
    pub fn lines(&self, words: &str) -> Vec<String> {
        self.0.borrow().lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }

    /// Waits for a line with these words.
    ///
    /// # Panics
    /// After some time, with all that was logged.
    pub async fn until(&self, words: &str) -> String {
        let mut changes = self.0.subscribe();
        let logged = changes.wait_for(|text| text.contains(words));
        let found = tokio::time::timeout(PATIENCE, logged).await.is_ok();
        assert!(found, "the operator did not log {words:?} within {PATIENCE:?}:\n{}", self.text());
        self.lines(words).remove(0)
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send_modify(|text| *text += &String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
