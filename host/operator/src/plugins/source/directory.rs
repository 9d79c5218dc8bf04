//! A component in a volume of the operator's Pod.

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::PluginName;
use parking_lot::Mutex;

use super::super::status::Problem;

/// How long a volume may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which Plugins' volumes are asked now. One that never answers, as those of a server that is gone do, keeps the thread that asks
/// for good: each Plugin has one at most, so that there are some left for everybody else.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Volumes(Arc<Mutex<HashSet<PluginName>>>);

/// A Plugin's volume is being asked.
struct Asked {
    volumes: Volumes,
    name: PluginName,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.volumes.0.lock().remove(&self.name);
    }
}

impl Volumes {
    /// What a Plugin's volume says.
    ///
    /// # Errors
    /// What is wrong there, or that it does not answer.
    pub(in super::super) async fn ask<T: Send + 'static>(
        &self,
        name: &PluginName,
        ask: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.ask_within(PATIENCE, name, ask).await
    }

    async fn ask_within<T: Send + 'static>(
        &self,
        patience: Duration,
        name: &PluginName,
        ask: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let failed = |message: String| Problem::fetched(Reason::FetchFailed, message).passing();
        let silent = || {
            failed("the volume of spec.source.directory.path does not answer: look at what it is of".into())
        };
        if !self.0.lock().insert(name.clone()) {
            return Err(silent());
        }
        let asked = Asked { volumes: self.clone(), name: name.clone() };
        let asking = tokio::task::spawn_blocking(move || {
            let _asked = asked;
            ask()
        });
        match tokio::time::timeout(patience, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(failed(format!("the thread that looks at it ended: {error}"))),
            Err(_) => Err(silent()),
        }
    }
}

/// One state of a file: another one has another stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Stamp {
    path: PathBuf,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// Finds the file, which lies within the folder of volumes, also behind links: nothing else of the container is read.
///
/// # Errors
/// When it does not, or is not there.
pub(in super::super) fn stamp(volumes: &Path, path: &str) -> Result<Stamp, Problem> {
    let not_found = |why: &str| {
        let message = format!(
            "{path} {why}: name a volume in plugins.directories of the operator's chart, and write {}/<its name>/<file>.wasm",
            volumes.display()
        );
        Problem::fetched(Reason::NotFound, message)
    };
    let found =
        std::fs::canonicalize(path).map_err(|_| not_found("is no file of the operator's container"))?;
    let within = std::fs::canonicalize(volumes).is_ok_and(|volumes| found.starts_with(volumes));
    if !within {
        return Err(not_found(&format!("does not lie in {}", volumes.display())));
    }
    match std::fs::metadata(&found) {
        Ok(file) if file.is_file() => Ok(Stamp {
            path: found,
            inode: file.ino(),
            size: file.len(),
            changed: (file.mtime(), file.mtime_nsec()),
        }),
        _ => Err(not_found("is no file")),
    }
}

/// The bytes of a file, at most `limit` of them and one.
///
/// # Errors
/// When it cannot be read.
pub(in super::super) fn read(stamp: &Stamp, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let enough = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::fs::File::open(&stamp.path).and_then(|file| file.take(enough).read_to_end(&mut bytes));
    read.map_err(|error| {
        let message = format!("{} cannot be read: {error}", stamp.path.display());
        Problem::fetched(Reason::FetchFailed, message).passing()
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_volume_that_does_not_answer_keeps_one_thread_and_other_ones_are_asked() {
        let (volumes, name) = (Volumes::default(), PluginName("jira".into()));
        let (answer, answers) = channel::<()>();
        let hangs = move || Ok(answers.recv().is_ok());
        let silent = volumes.ask_within(Duration::from_millis(10), &name, hangs).await.unwrap_err();
        let message = "the volume of spec.source.directory.path does not answer: look at what it is of";
        assert_eq!((silent.message.as_str(), silent.may_pass), (message, true));
        assert_eq!(volumes.ask(&name, || Ok(())).await, Err(silent));
        assert_eq!(volumes.ask(&PluginName("other".into()), || Ok(1)).await, Ok(1));
        answer.send(()).unwrap();
        while volumes.ask(&name, || Ok(())).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
