//! Every file whose bytes the plan holds: prompt, context file, the contexts' files, configuration.
//!
//! May touch: bytes and paths. Must not touch: how a file gets to its path.

use std::borrow::Cow;

use kubeopencode_api::literals::TOOLS_DIR;
use kubeopencode_api::plugin::CommandPlan;

use super::super::context_file::context_file;
use super::super::reader;
use super::super::roots::clones;
use super::other_containers;
use crate::evaluated::Evaluated;
use crate::paths::AbsPath;
use crate::{Refusal, Resolved};

/// Git's own configuration. The clone belongs to the init container's user, and the agent may be another.
const GIT_CONFIG: &[u8] = b"[safe]\n\tdirectory = *\n";
/// The agent may add to it, whoever it runs as.
const GIT_CONFIG_MODE: u32 = 0o666;
const GIT_CONFIG_NAME: &str = ".gitconfig";

/// A file and its bytes.
pub(in crate::build) struct File<'a> {
    pub(in crate::build) path: AbsPath,
    pub(in crate::build) content: Cow<'a, [u8]>,
    pub(in crate::build) mode: Option<u32>,
    /// who wants it, in the user's words
    pub(in crate::build) by: String,
    /// part of the Agent's configuration, no context
    pub(in crate::build) config: bool,
}

/// The path of Git's own configuration.
pub(in crate::build) fn git_config_path() -> String {
    format!("{TOOLS_DIR}/{GIT_CONFIG_NAME}")
}

/// Whether the agent's program runs under the result reader: with a command of the Agent's own it runs bare.
pub(super) fn has_reader(resolved: &Resolved, command: &CommandPlan) -> bool {
    resolved.argv.is_empty() && command.result_reader.is_some()
}

/// All files, in the order in which they are written.
pub(super) fn files<'a>(
    resolved: &'a Resolved,
    contexts: &'a [Evaluated],
    command: &'a CommandPlan,
) -> Result<Vec<File<'a>>, Refusal> {
    let mut files = Vec::new();
    if let Some(prompt) = &resolved.prompt {
        files.push(File {
            path: resolved.prompt_path(),
            content: Cow::Borrowed(prompt.as_bytes()),
            mode: None,
            by: format!("spec.description of Task {}", resolved.task),
            config: false,
        });
    }
    if let Some(text) = context_file(contexts) {
        files.push(File {
            path: resolved.context_path(),
            content: Cow::Owned(text.into_bytes()),
            mode: None,
            by: "the contexts without mountPath".to_owned(),
            config: false,
        });
    }
    for context in contexts {
        let by = context.item.to_string();
        files.extend(context.files.iter().map(|file| File {
            path: file.path.clone(),
            content: Cow::Borrowed(file.content.as_slice()),
            mode: file.mode,
            by: by.clone(),
            config: false,
        }));
    }
    tools(resolved, contexts, command, &mut files)?;
    Ok(files)
}

/// What lies in the tools volume, and what else the builder asks for.
fn tools<'a>(
    resolved: &'a Resolved,
    contexts: &'a [Evaluated],
    command: &'a CommandPlan,
    files: &mut Vec<File<'a>>,
) -> Result<(), Refusal> {
    let builder = &resolved.builder;
    let tools = AbsPath::parse(TOOLS_DIR, None).map_err(|e| Refusal::builder(builder, e))?;
    let config = |name: &str, content: Cow<'a, [u8]>, mode, by: String| File {
        path: tools.join(name),
        content,
        mode,
        by,
        config: true,
    };
    if let Some(text) = &resolved.config {
        let by = format!("spec.config of Agent {}", resolved.agent);
        files.push(config(&format!("{builder}.json"), Cow::Borrowed(text.as_bytes()), None, by));
    }
    if clones(contexts).next().is_some() {
        let by = "the Git configuration".to_owned();
        files.push(config(GIT_CONFIG_NAME, Cow::Borrowed(GIT_CONFIG), Some(GIT_CONFIG_MODE), by));
    }
    if let Some(reader) = command.result_reader.as_deref().filter(|_| has_reader(resolved, command)) {
        let containers = other_containers(contexts, command) + 2;
        let settings = reader::settings(resolved, reader, containers)?;
        files.push(config("result-reader.json", Cow::Owned(settings), None, "the result reader".to_owned()));
    }
    for file in &command.files {
        let path = AbsPath::parse(&file.path, Some(&resolved.workspace))
            .map_err(|problem| Refusal::builder(builder, format!("path \"{}\" {problem}", file.path)))?;
        let in_tools = path.is_within(&tools) && path != tools;
        if !in_tools && !path.is_within(&resolved.workspace) {
            let problem = format!("path \"{path}\" lies neither in the workspace nor in {TOOLS_DIR}");
            return Err(Refusal::builder(builder, problem));
        }
        files.push(File {
            path,
            content: Cow::Borrowed(file.content.as_slice()),
            mode: file.mode.map(|mode| mode & 0o777),
            by: format!("command builder \"{builder}\""),
            config: true,
        });
    }
    Ok(())
}
