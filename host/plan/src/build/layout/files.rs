//! Every file that the plan decides on: prompt, context file, the contexts' files, configuration.
//!
//! May touch: bytes and paths. Must not touch: how a file gets to its path.

use std::borrow::Cow;

use kubeopencode_api::literals::TOOLS_DIR;

use super::super::context_file::context_file;
use super::super::reader;
use super::super::shared_mounts::clones;
use super::content::{Content, PartGroup, Secrets};
use super::other_containers;
use crate::evaluated::{Evaluated, TargetFile};
use crate::paths::AbsPath;
use crate::resolved::server::Role;
use crate::{Command, Refusal, Resolved};

/// Git's own configuration. The clone belongs to the init container's user, and the agent may be another.
const GIT_CONFIG: &[u8] = b"[safe]\n\tdirectory = *\n";
/// The agent may add to it, whoever it runs as.
const GIT_CONFIG_MODE: u32 = 0o666;
const GIT_CONFIG_NAME: &str = ".gitconfig";

/// A file and its content.
pub(in crate::build) struct File<'a> {
    pub(in crate::build) path: AbsPath,
    pub(in crate::build) content: Content<'a>,
    pub(in crate::build) mode: Option<u32>,
    /// who wants it, in the user's words
    pub(in crate::build) by: String,
    /// part of the Agent's configuration, no context
    pub(in crate::build) config: bool,
    /// left out where it cannot be written
    pub(in crate::build) optional: bool,
}

/// The path of Git's own configuration.
pub(in crate::build) fn git_config_path() -> String {
    format!("{TOOLS_DIR}/{GIT_CONFIG_NAME}")
}

/// All files, in the order in which they are written, and the Secrets that they are joined from.
pub(super) fn files<'a>(
    resolved: &'a Resolved,
    contexts: &'a [Evaluated],
    command: &'a Command,
) -> Result<(Vec<File<'a>>, Secrets), Refusal> {
    let (mut files, mut secrets) = (Vec::new(), Secrets::default());
    let mut add = |path, by: &str, content: Option<Content<'a>>| {
        let by = by.to_owned();
        files.extend(content.map(|content| File {
            path,
            content,
            mode: None,
            by,
            config: false,
            optional: false,
        }));
    };
    let prompt = resolved.prompt.as_deref();
    let described = format!("spec.description of {}", resolved.subject());
    match (resolved.role, prompt) {
        (Role::Attach, Some(prompt)) => {
            let content = context_file(contexts, Some(prompt), &mut secrets);
            add(resolved.prompt_path(), &described, content);
        }
        (Role::Attach, None) => {}
        (Role::Run | Role::Serve, prompt) => {
            let content = prompt.map(|prompt| Content::Bytes(Cow::Borrowed(prompt.as_bytes())));
            add(resolved.prompt_path(), &described, content);
            let content = context_file(contexts, None, &mut secrets);
            add(resolved.context_path(), "the contexts without mountPath", content);
        }
    }
    for context in contexts {
        let by = context.item.to_string();
        let file = |path: &AbsPath, content, mode| File {
            path: path.clone(),
            content,
            mode,
            by: by.clone(),
            config: false,
            optional: context.item.optional,
        };
        let bytes = |file: &'a TargetFile| Content::Bytes(Cow::Borrowed(file.content.as_slice()));
        files.extend(context.files.iter().map(|own| file(&own.path, bytes(own), own.mode)));
        // kubelet would make a directory of a mounted file that is not there; docs/contract.md wants an empty file
        for secret in context.secret_files.iter().filter(|file| file.secret.optional) {
            let parts = vec![secrets.part(&secret.secret, false)];
            let content = Content::Joined(PartGroup { parts, ..PartGroup::default() });
            files.push(file(&secret.path, content, secret.mode));
        }
    }
    tools(resolved, contexts, command, &mut files)?;
    Ok((files, secrets))
}

/// What lies in the tools volume, and what else the builder asks for.
fn tools<'a>(
    resolved: &'a Resolved,
    contexts: &'a [Evaluated],
    command: &'a Command,
    files: &mut Vec<File<'a>>,
) -> Result<(), Refusal> {
    let builder = &resolved.builder;
    let tools = AbsPath::parse(TOOLS_DIR, None).map_err(|e| Refusal::builder(builder, e))?;
    let config = |name: &str, content: Cow<'a, [u8]>, mode, by: String| File {
        path: tools.join(name),
        content: Content::Bytes(content),
        mode,
        by,
        config: true,
        optional: false,
    };
    if let Some(text) = &resolved.config {
        let by = format!("spec.config of Agent {}", resolved.agent);
        files.push(config(&format!("{builder}.json"), Cow::Borrowed(text.as_bytes()), None, by));
    }
    if clones(contexts).next().is_some() {
        let by = "the Git configuration".to_owned();
        files.push(config(GIT_CONFIG_NAME, Cow::Borrowed(GIT_CONFIG), Some(GIT_CONFIG_MODE), by));
    }
    if let Some(reader) = &command.reader {
        let containers = other_containers(resolved, contexts, command) + 2;
        let settings = reader::settings(resolved, reader, containers)?;
        files.push(config("result-reader.json", Cow::Owned(settings), None, "the result reader".to_owned()));
    }
    files.extend(command.files.iter().map(|file| File {
        path: file.path.clone(),
        content: Content::Bytes(Cow::Borrowed(file.content.as_slice())),
        mode: file.mode,
        by: format!("command builder \"{builder}\""),
        config: true,
        optional: false,
    }));
    Ok(())
}
