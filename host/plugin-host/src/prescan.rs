//! A look at a component before it is compiled: what would take a compiler disproportionately long.
//!
//! May touch: the bytes. Runs in the compile worker, within its limits.

use wasmparser::{Parser, Payload};

use crate::error::LoadError;
use crate::sandbox::check_wasi;

/// Refuses function bodies over `limit` bytes: time and memory of compilation grow faster than they do.
///
/// # Errors
/// Names the function, or says where the bytes are malformed.
pub(crate) fn prescan(bytes: &[u8], limit: usize) -> Result<(), String> {
    let mut function = 0u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| error.to_string())? {
            Payload::CodeSectionStart { .. } => function = 0,
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let size = range.end - range.start;
                if size > limit {
                    return Err(format!(
                        "the body of function {function} at offset {:#x} has {size} bytes, more than the {limit} \
                         allowed; split it, or let the compiler inline less",
                        range.start
                    ));
                }
                function += 1;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first import of a WASI that plugins do not have: what the compiler says of a component for one is of no help.
pub(crate) fn other_wasi(bytes: &[u8]) -> Option<LoadError> {
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ComponentImportSection(imports) = payload.ok()? {
            for import in imports {
                if let Err(other) = check_wasi(import.ok()?.name.name) {
                    return Some(other);
                }
            }
        }
    }
    None
}
