//! The result reader's settings, from what the command builder says about its program's output.
//!
//! May touch: the builder's JSON. Must not touch: the program's output.

use kubeopencode_api::report::{ReaderSettings, ResultReader, message_bytes};

use crate::{Refusal, Resolved};

/// The settings file's JSON, for a Pod of so many containers.
pub(super) fn settings(
    resolved: &Resolved,
    result_reader: &str,
    containers: usize,
) -> Result<Vec<u8>, Refusal> {
    let refuse = |problem: String| Refusal::builder(&resolved.builder, problem);
    let reader: ResultReader = serde_json::from_str(result_reader)
        .map_err(|e| refuse(format!("its result-reader cannot be read: {e}")))?;
    reader.check().map_err(|e| refuse(e.to_string()))?;
    let settings = ReaderSettings {
        reader: Some(reader),
        summary: resolved.result_summary,
        message_bytes: message_bytes(containers),
    };
    serde_json::to_vec(&settings).map_err(|e| refuse(e.to_string()))
}
