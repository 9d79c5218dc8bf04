//! A look at a component before it is compiled: what would take a compiler disproportionately long.
//!
//! May touch: the bytes. Runs in the compile worker, within its limits.

use wasmparser::{Parser, Payload};

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
