//! A look at a component before it is compiled: what would take a compiler disproportionately long, and what each instance
//! of it would hold that no limit of a call counts.
//!
//! May touch: the bytes. Runs in the compile worker, within its limits.

use wasmparser::{Parser, Payload};

use crate::error::LoadError;
use crate::limits::{Limits, MODULE_ENTRIES};
use crate::sandbox::check_wasi;

/// Refuses function bodies that are too large: time and memory of compilation grow faster than they do. And core modules with
/// too many functions, globals and imports, for each of which all their instances have a place.
///
/// # Errors
/// Names the function or the module, or says where the bytes are malformed.
pub(crate) fn prescan(bytes: &[u8], limits: &Limits) -> Result<(), String> {
    let (mut function, mut module, mut entries) = (0u32, 0, 0);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| error.to_string())? {
            Payload::Version { range, .. } => (module, entries) = (range.start, 0),
            Payload::ImportSection(imports) => entries += imports.into_imports().count(),
            Payload::GlobalSection(globals) => entries += count(globals.count()),
            Payload::FunctionSection(functions) => {
                let limit = limits.functions;
                within(module, count(functions.count()), limit, "functions")?;
            }
            Payload::CodeSectionStart { .. } => function = 0,
            Payload::CodeSectionEntry(body) => {
                let (range, limit) = (body.range(), limits.function_body);
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
        within(module, entries, MODULE_ENTRIES, "globals and imports")?;
    }
    Ok(())
}

fn within(module: usize, number: usize, limit: usize, what: &str) -> Result<(), String> {
    if number > limit {
        return Err(format!(
            "the core module at offset {module:#x} has {number} {what}, more than the {limit} allowed"
        ));
    }
    Ok(())
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
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
