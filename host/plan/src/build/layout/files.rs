//! Every file that the plan decides on: prompt, context file, the contexts' files, configuration.
//!
//! May touch: bytes and paths. Must not touch: how a file gets to its path.

use std::borrow::Cow;

use kubeopencode_api::git::GitIdentity;
use kubeopencode_api::literals::TOOLS_DIR;

use super::super::context_text::TextFile;
use super::super::reader;
use super::super::shared_mounts::clones;
use super::content::{Content, Part, PartGroup, Secrets};
use super::other_containers;
use crate::evaluated::{Evaluated, FileContent, TargetFile};
use crate::paths::AbsPath;
use crate::{Command, Refusal, Run};

/// Git's own configuration, in place of the user's, which it takes in. The clone belongs to the init container's user, and
/// the agent may be another. Whoever commits has a name; each name that somebody else gives counts more, the image's
/// too: it is read a second time for that, since git itself reads it first of all. The Agent's own name comes behind it.
const GIT_CONFIG: &[u8] = b"[safe]
\tdirectory = *
[user]
\tname = KubeOpenCode
\temail = noreply@kubeopencode.io
[include]
\tpath = /etc/gitconfig
\tpath = ~/.config/git/config
\tpath = ~/.gitconfig
";
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
    /// place of the context that brings it
    pub(in crate::build) context: Option<usize>,
}

/// The path of Git's own configuration, where there is something to say in it: of clones, and of who commits. With the server
/// of its Agent nobody commits in the Task's own Pod.
pub(in crate::build) fn git_config_path(run: &Run, contexts: &[Evaluated]) -> Option<String> {
    let commits = run.agent.git_identity.is_some() && run.attaches_to().is_none();
    let is_needed = run.has_tools() && (commits || clones(contexts).next().is_some());
    is_needed.then(|| format!("{TOOLS_DIR}/{GIT_CONFIG_NAME}"))
}

/// That configuration.
fn git_config(run: &Run) -> Cow<'static, [u8]> {
    let Some(GitIdentity { name, email }) = &run.agent.git_identity else { return Cow::Borrowed(GIT_CONFIG) };
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
    let user = format!("[user]\n\tname = {}\n\temail = {}\n", quoted(name), quoted(email));
    Cow::Owned([GIT_CONFIG, user.as_bytes()].concat())
}

/// All files, in the order in which they are written, and the Secrets that they are joined from.
pub(super) fn files<'a>(
    run: &'a Run,
    contexts: &'a [Evaluated],
    command: &'a Command,
) -> Result<(Vec<File<'a>>, Secrets), Refusal> {
    let mut secrets = Secrets::default();
    let texts = (run.conventions.context_text.files)(run, contexts, &mut secrets);
    let mut files: Vec<File<'a>> = texts
        .into_iter()
        .map(|TextFile { path, by, content }| File {
            path,
            content,
            mode: None,
            by,
            config: false,
            optional: false,
            context: None,
        })
        .collect();
    for (i, context) in contexts.iter().enumerate() {
        let by = context.item.to_string();
        let file = |path: &AbsPath, content, mode| File {
            path: path.clone(),
            content,
            mode,
            by: by.clone(),
            config: false,
            optional: context.item.optional,
            context: Some(i),
        };
        files.extend(context.files.iter().map(|own| file(&own.path, content(own), own.mode)));
        // kubelet would make a directory of a mounted file that is not there; docs/contract.md wants an empty file
        for secret in context.secret_files.iter().filter(|file| file.secret.optional) {
            let parts = vec![secrets.part(&secret.secret, false)];
            let content = Content::Joined(PartGroup { parts, ..PartGroup::default() });
            files.push(file(&secret.path, content, secret.mode));
        }
    }
    tools(run, contexts, command, &mut files)?;
    Ok((files, secrets))
}

fn content(file: &TargetFile) -> Content<'_> {
    match &file.content {
        FileContent::Bytes(bytes) => Content::Bytes(Cow::Borrowed(bytes.as_slice())),
        FileContent::Brought(brought) => {
            let parts = vec![Part::brought(brought, false)];
            Content::Joined(PartGroup { parts, ..PartGroup::default() })
        }
    }
}

/// What lies in the tools volume, and what else the builder asks for.
fn tools<'a>(
    run: &'a Run,
    contexts: &'a [Evaluated],
    command: &'a Command,
    files: &mut Vec<File<'a>>,
) -> Result<(), Refusal> {
    let builder = &run.agent.builder;
    let tools = AbsPath::parse(TOOLS_DIR, None).map_err(|e| Refusal::builder(builder, e))?;
    let config = |name: &str, content: Cow<'a, [u8]>, mode, by: String| File {
        path: tools.join(name),
        content: Content::Bytes(content),
        mode,
        by,
        config: true,
        optional: false,
        context: None,
    };
    if let Some(text) = &run.agent.config {
        let by = format!("spec.config of {}", run.agent.described);
        files.push(config(&format!("{builder}.json"), Cow::Borrowed(text.as_bytes()), None, by));
    }
    if git_config_path(run, contexts).is_some() {
        let by = "the Git configuration".to_owned();
        files.push(config(GIT_CONFIG_NAME, git_config(run), Some(GIT_CONFIG_MODE), by));
    }
    if reader::is_needed(run, command) {
        let containers = other_containers(run, contexts, command) + 2;
        let settings = reader::settings(run, command, containers)?;
        files.push(config("result-reader.json", Cow::Owned(settings), None, "the result reader".to_owned()));
    }
    files.extend(command.files.iter().map(|file| File {
        path: file.path.clone(),
        content: content(file),
        mode: file.mode,
        by: format!("command builder \"{builder}\""),
        config: true,
        optional: false,
        context: None,
    }));
    Ok(())
}
