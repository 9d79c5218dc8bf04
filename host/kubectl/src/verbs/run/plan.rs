//! From what stands on the command line to a Task.
//!
//! May touch: text. Must not touch: files, a client.

use kubeopencode_api::context::{ContextItem, GitContext};
use kubeopencode_api::task::{Task, TaskSpec};
use serde_json::{Value, json};

/// What Tasks of `run` are called, before the API server's own end of the name.
const PREFIX: &str = "run-";

/// What the agent is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Input {
    /// The prompt.
    pub(crate) prompt: String,
    /// `[NAMESPACE/]NAME`
    pub(crate) agent: Option<String>,
    /// `URL[@REF]`
    pub(crate) git: Vec<String>,
    /// Files of this machine.
    pub(crate) files: Vec<Local>,
    /// `spec.timeout`
    pub(crate) timeout: Option<String>,
}

/// A file of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Local {
    /// Where it lies here.
    pub(crate) local: String,
    /// Where it is to lie in the workspace.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) bytes: Vec<u8>,
    /// Whether it may be run.
    pub(crate) is_program: bool,
}

/// The two parts of `LOCAL=PATH`.
///
/// # Errors
/// When it does not have two.
pub(crate) fn local_and_path(text: &str) -> Result<(&str, &str), String> {
    let parts = text.split_once('=').filter(|(local, path)| !local.is_empty() && !path.is_empty());
    parts.ok_or_else(|| format!("--file {text}: write it as LOCAL=PATH, as in notes.md=docs/notes.md"))
}

/// The Task.
///
/// # Errors
/// When a part of it makes no sense, in words that name the flag.
pub(crate) fn task(input: Input) -> Result<Task, String> {
    if input.prompt.trim().is_empty() {
        return Err(
            "the prompt is empty: write it after -p, or into the file or stdin that is read".to_owned()
        );
    }
    let mut contexts = Vec::new();
    for git in &input.git {
        contexts.push(clone(git)?);
    }
    for file in input.files {
        contexts.push(file_context(file)?);
    }
    for (i, item) in contexts.iter().enumerate() {
        if let Some(other) = contexts.iter().take(i).find(|other| other.mount_path == item.mount_path) {
            let path = item.mount_path.as_deref().unwrap_or_default();
            let [one, two] = [other, item].map(source);
            return Err(format!(
                "{one} and {two} would both lie at {path} of the workspace: leave one out, or write the Task as YAML, where mountPath is free"
            ));
        }
    }
    let agent_ref = input.agent.as_deref().map(agent_ref).transpose()?;
    let spec = TaskSpec { description: Some(input.prompt), contexts, agent_ref, timeout: input.timeout };
    let mut task = Task { spec, ..Task::default() };
    task.metadata.generate_name = Some(PREFIX.to_owned());
    Ok(task)
}

/// Where an item comes from, as it stands on the command line.
fn source(item: &ContextItem) -> &str {
    item.git.as_ref().map(|git| git.repository.as_str()).or(item.name.as_deref()).unwrap_or_default()
}

/// A name, or namespace and name.
fn agent_ref(text: &str) -> Result<Value, String> {
    let wrong = || {
        format!("--agent {text}: write it as NAME, or as NAMESPACE/NAME for an Agent of another namespace")
    };
    match text.split('/').collect::<Vec<_>>()[..] {
        [name] if !name.is_empty() => Ok(name.into()),
        [namespace, name] if !name.is_empty() && !namespace.is_empty() => {
            Ok(json!({"name": name, "namespace": namespace}))
        }
        _ => Err(wrong()),
    }
}

/// A repository in a folder of its own name. The `@` of a user stands before the path, that of a ref in it.
fn clone(text: &str) -> Result<ContextItem, String> {
    let wrong = || {
        format!(
            "--git {text}: write it as https://HOST/PATH, ssh://HOST/PATH or USER@HOST:PATH, with @REF behind it for another branch, tag or commit"
        )
    };
    let path_at = match text.find("://") {
        Some(at) => at + 3 + text.get(at + 3..).and_then(|rest| rest.find('/')).ok_or_else(wrong)? + 1,
        None => text.find(':').ok_or_else(wrong)? + 1,
    };
    let (host, path) = text.split_at(path_at);
    let (path, ref_) = match path.split_once('@') {
        Some((_, "")) => return Err(wrong()),
        Some((path, ref_)) => (path, Some(ref_.to_owned())),
        None => (path, None),
    };
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".git").unwrap_or(name);
    if name.is_empty() {
        return Err(wrong());
    }
    let git = GitContext { repository: format!("{host}{path}"), ref_, ..GitContext::default() };
    Ok(ContextItem {
        type_: "Git".to_owned(),
        name: Some(name.to_owned()),
        mount_path: Some(name.to_owned()),
        git: Some(git),
        ..ContextItem::default()
    })
}

/// Most characters of `text` of a context item: the definition's own limit.
const MAX_TEXT: usize = 262_144;

fn file_context(file: Local) -> Result<ContextItem, String> {
    let Local { local, path, bytes, is_program } = file;
    let remedy = "put it into a ConfigMap or a repository and name that in a Task as YAML";
    let text =
        String::from_utf8(bytes).map_err(|_| format!("--file {local}: it is no UTF-8 text: {remedy}"))?;
    let length = text.chars().count();
    if length > MAX_TEXT {
        return Err(format!("--file {local}: it has {length} characters, and may have {MAX_TEXT}: {remedy}"));
    }
    Ok(ContextItem {
        type_: "Text".to_owned(),
        name: Some(local),
        mount_path: Some(path),
        file_mode: is_program.then_some(0o755),
        text: Some(text),
        ..ContextItem::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(prompt: &str) -> Input {
        Input { prompt: prompt.to_owned(), ..Input::default() }
    }

    fn git(url: &str) -> Result<Task, String> {
        task(Input { git: vec![url.to_owned()], ..input("d") })
    }

    fn local(path: &str, text: &[u8]) -> Local {
        Local { local: "notes.md".to_owned(), path: path.to_owned(), bytes: text.to_vec(), is_program: false }
    }

    #[test]
    fn flags_become_a_task() {
        let program = Local { is_program: true, ..local("bin/check", b"#!/bin/sh\n") };
        let all = Input {
            agent: Some("platform/reviewer".to_owned()),
            git: vec!["https://github.com/org/service@v1".to_owned()],
            files: vec![local("docs/notes.md", b"Be kind.\n"), program],
            timeout: Some("30m".to_owned()),
            ..input("Fix it")
        };
        insta::assert_json_snapshot!(task(all).unwrap());
        let simple = task(Input { agent: Some("reviewer".to_owned()), ..input("Fix it") }).unwrap();
        assert_eq!(simple.spec.agent_ref, Some("reviewer".into()));
    }

    #[test]
    fn a_repository_may_have_users_and_refs() {
        for (url, repository, ref_, name) in [
            ("https://github.com/org/service", "https://github.com/org/service", None, "service"),
            (
                "https://me@example.com/a/b.git@feature/x",
                "https://me@example.com/a/b.git",
                Some("feature/x"),
                "b",
            ),
            ("git@github.com:org/service.git", "git@github.com:org/service.git", None, "service"),
            (
                "git@github.com:org/service.git@v1.2",
                "git@github.com:org/service.git",
                Some("v1.2"),
                "service",
            ),
            ("ssh://git@host:22/repo/", "ssh://git@host:22/repo/", None, "repo"),
        ] {
            let task = git(url).unwrap();
            let item = &task.spec.contexts[0];
            let context = item.git.clone().unwrap();
            assert_eq!((context.repository.as_str(), context.ref_.as_deref()), (repository, ref_), "{url}");
            assert_eq!(item.mount_path.as_deref(), Some(name), "{url}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said_with_its_flag() {
        let long = "x".repeat(MAX_TEXT + 1);
        let file = |local| task(Input { files: vec![local], ..input("d") });
        let agent = |name: &str| task(Input { agent: Some(name.to_owned()), ..input("d") });
        let twice = vec!["https://a/x".to_owned(), "https://b/x.git".to_owned()];
        let wrong = [
            task(input(" \n")),
            git("service"),
            git("https://github.com"),
            git("https://github.com/org/service@"),
            git("https://github.com/"),
            task(Input { git: twice, ..input("d") }),
            file(local("a", &[0xff])),
            file(local("a", long.as_bytes())),
            agent("a/b/c"),
            agent("/b"),
        ];
        let mut words: Vec<_> = wrong.into_iter().map(|task| task.unwrap_err()).collect();
        words.extend(["notes.md", "=a", "a="].map(|text| local_and_path(text).unwrap_err()));
        insta::assert_snapshot!(words.join("\n"));
    }
}
