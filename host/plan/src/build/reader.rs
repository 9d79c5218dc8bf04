//! `agent-run` in the agent's container: the start guard of every command, and its settings, with the rules that the command
//! builder has for its program's output.
//!
//! May touch: the builder's rules. Must not touch: the program's output.

use kubeopencode_api::literals::TOOLS_DIR;
use kubeopencode_api::report::{ReaderSettings, message_bytes};

use crate::run::Subject;
use crate::{Command, Refusal, Run};

/// Whether the plan puts `agent-run` around the agent's command: a kubelet that lost its record starts a container again.
/// A builder that has rules starts it in its own command, and a server may start as often as it likes. Around an image's
/// own entrypoint, which nobody knows here, nothing can be put.
pub(super) fn is_guarded(run: &Run, command: &Command) -> bool {
    let is_known = !run.agent.argv.is_empty() || !command.command.is_empty();
    matches!(run.subject, Subject::Task(_)) && is_known && command.reader.is_none()
}

/// Whether `agent-run` is needed in the tools volume.
pub(super) fn is_needed(run: &Run, command: &Command) -> bool {
    command.reader.is_some() || is_guarded(run, command)
}

/// What stands before a guarded command.
pub(super) fn guard() -> [String; 3] {
    [format!("{TOOLS_DIR}/kubeopencode"), "agent-run".to_owned(), "--".to_owned()]
}

/// The settings file's JSON, for a Pod of so many containers.
pub(super) fn settings(run: &Run, command: &Command, containers: usize) -> Result<Vec<u8>, Refusal> {
    let settings = ReaderSettings {
        reader: command.reader.clone(),
        server: run.attaches_to().map(|server| server.url.clone()),
        summary: run.agent.result_summary,
        idle_seconds: run.agent.idle_seconds,
        message_bytes: message_bytes(containers),
    };
    serde_json::to_vec(&settings).map_err(|e| Refusal::builder(&run.agent.builder, e))
}
