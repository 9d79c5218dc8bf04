//! What one test at a time may do, whatever process the tests run in.

use std::fs::File;
use std::path::Path;

/// Held until it is dropped; the next one waits.
#[derive(Debug)]
pub struct Exclusive(#[expect(dead_code, reason = "the lock goes with the file")] File);

/// Waits until nobody on this machine holds this lock.
///
/// # Panics
/// When the file cannot be made.
pub async fn exclusive(path: impl AsRef<Path>) -> Exclusive {
    let path = path.as_ref().to_owned();
    let lock = move || {
        let file = File::options().create(true).append(true).open(&path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.lock().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Exclusive(file)
    };
    tokio::task::spawn_blocking(lock).await.unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = exclusive(&path).await;
        let next = exclusive(&path);
        futures::pin_mut!(next);
        assert!(futures::poll!(&mut next).is_pending());
        let other = File::options().append(true).open(&path).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        next.await;
    }
}
