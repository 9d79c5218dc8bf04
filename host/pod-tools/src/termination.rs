//! The container's termination message: the one thing of a container that the operator reads.

use std::env;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;

use crate::Error;
use crate::error::io_reason;

/// Where kubelet looks, unless a Pod says otherwise; ours do not.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Puts the message elsewhere where nobody mounts a termination log: a container by hand, a test.
const TERMINATION_LOG_ENV: &str = "KUBEOPENCODE_TERMINATION_LOG";

/// Whether there is a message already: the program's own.
pub(crate) fn is_written() -> bool {
    fs::metadata(path()).is_ok_and(|file| file.len() > 0)
}

/// Replaces the message. The file is kubelet's: where there is none, none is made.
pub(crate) fn leave(message: &str) -> Result<(), Error> {
    let path = path();
    let file = OpenOptions::new().write(true).truncate(true).open(&path);
    file.and_then(|mut file| file.write_all(message.as_bytes()))
        .map_err(|e| Error::write(path, io_reason(&e)))
}

fn path() -> OsString {
    env::var_os(TERMINATION_LOG_ENV).unwrap_or_else(|| TERMINATION_LOG.into())
}
