//! The result reader's settings, from what the command builder says about its program's output.
//!
//! May touch: the builder's rules. Must not touch: the program's output.

use kubeopencode_api::report::{ReaderSettings, ResultReader, message_bytes};

use crate::{Refusal, Run};

/// The settings file's JSON, for a Pod of so many containers.
pub(super) fn settings(run: &Run, reader: &ResultReader, containers: usize) -> Result<Vec<u8>, Refusal> {
    let settings = ReaderSettings {
        reader: Some(reader.clone()),
        server: run.attaches_to().map(|server| server.url.clone()),
        summary: run.agent.result_summary,
        message_bytes: message_bytes(containers),
    };
    serde_json::to_vec(&settings).map_err(|e| Refusal::builder(&run.agent.builder, e))
}
