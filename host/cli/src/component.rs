//! The file of a component, compressed or not. May touch: the file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use kubeopencode_plugin_host::{LimitClass, Limits};

use crate::error::CliError;

/// Most bytes that are read: those of the larger class and one, by which the host sees that it is too much.
const MAX_BYTES: u64 = Limits::of(LimitClass::Large).component as u64 + 1;

/// The component of a file that ends in `.gz`, `.zst`, or in anything else.
///
/// # Errors
/// A file that cannot be read, or not be decompressed.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    decoded(path).map_err(|error| CliError::File { path: path.to_owned(), error })
}

fn decoded(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // what is empty is said to be, and not to be badly packed
    if file.metadata()?.len() == 0 {
        return Ok(Vec::new());
    }
    let decoded: Box<dyn Read> = match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some("zst") => Box::new(zstd::Decoder::new(file)?),
        _ => Box::new(file),
    };
    let mut bytes = Vec::new();
    decoded.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
