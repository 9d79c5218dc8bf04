//! The plugin host of a command: where it keeps what it compiles.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kubeopencode_evaluate::Catalog;
use kubeopencode_plugin_host::{HostOptions, PluginHost};

use crate::error::CliError;

/// A host that keeps compiled plugins in this directory.
///
/// # Errors
/// The machine's.
pub(crate) fn at(cache_dir: PathBuf) -> Result<PluginHost, CliError> {
    let options = HostOptions { cache_dir, worker: env::current_exe()? };
    PluginHost::new(options).map_err(|error| CliError::Plugins(error.to_string()))
}

/// A host in the user's own cache, and a catalog of the plugins that come with the program. They serve while the host is there.
///
/// # Errors
/// The machine's, and those of [`cache_dir`].
pub(crate) fn with_built_in() -> Result<(PluginHost, Catalog), CliError> {
    let host = at(cache_dir()?)?;
    let built_in = host.load_built_in().map_err(|error| CliError::Plugins(error.to_string()))?;
    Ok((host, Catalog::new(built_in)))
}

/// Parts of a second in which Linux counts processor time for programs, on every machine.
const TICKS: u64 = 100;

/// The processor time that compile workers have taken so far, which is what their limit counts; none, where nobody says so.
pub(crate) fn worker_time() -> Option<Duration> {
    ended_children(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Of proc_pid_stat(5): user and system time of the children that ended, the fields 16 and 17. The name, field 2, may hold
/// anything.
fn ended_children(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(13);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 1000 / TICKS))
}

/// Where compiled plugins are kept for the next call, which is many times as fast: the user's own cache.
///
/// # Errors
/// Nobody says where that is.
pub(crate) fn cache_dir() -> Result<PathBuf, CliError> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("kubeopencode/plugins")).ok_or_else(|| {
        CliError::Plugins("there is no place for compiled ones: set HOME or XDG_CACHE_HOME".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_workers_is_that_of_children() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 700 800 150 25 20 0 1 0";
        assert_eq!(ended_children(stat), Some(Duration::from_millis(1750)));
        assert_eq!(ended_children("12 (a) S 1"), None);
    }
}
