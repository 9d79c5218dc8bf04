//! Who uses which path of the Pod, and which of them cannot be there together.
//!
//! May touch: paths. Must not touch: how a thing gets to its path.

use std::collections::{HashMap, HashSet};

use kubeopencode_api::literals::TOOLS_DIR;

use super::layout::{File, is_written};
use super::network;
use super::optional::Obstacle;
use super::shared_mounts::{SharedMounts, push_dir};
use crate::evaluated::{Evaluated, GitClone};
use crate::paths::AbsPath;
use crate::{Refusal, Run};

/// What is at a path, as far as it matters for what may lie below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathKind {
    /// Nothing lies below a file.
    File,
    /// A directory that init containers write to.
    Writable,
    /// A read-only volume: nothing can be added to it.
    ReadOnly,
    /// A volume of the Agent's own, which init containers do not see: what they would write below is hidden by it.
    UserMount,
}

/// One use of a path.
#[derive(Clone, Debug)]
pub(crate) struct PathUse {
    path: AbsPath,
    kind: PathKind,
    /// who uses it, in the user's words
    by: String,
    /// an init container writes it, it is no mount of its own
    written: bool,
    /// the Agent's own configuration, no context
    config: bool,
    /// place of the context that uses it
    context: Option<usize>,
}

/// Refuses two uses of one path, and uses below what cannot hold them.
pub(crate) fn refuse(uses: &[PathUse]) -> Result<(), Obstacle> {
    let mut at: HashMap<&str, &PathUse> = HashMap::with_capacity(uses.len());
    for path_use in uses {
        // the API server itself refuses the Agent's own mounts
        if !path_use.written && path_use.kind != PathKind::UserMount && !path_use.path.is_mountable() {
            let refusal = Refusal::context(format!(
                "{}: path {} holds \":\", which no mount path may: choose another",
                path_use.by, path_use.path
            ));
            return Err(Obstacle { refusal, contexts: path_use.context.into_iter().collect() });
        }
        if let Some(other) = at.insert(path_use.path.as_str(), path_use) {
            return Err(conflict(&path_use.path, other, path_use));
        }
    }
    for path_use in uses {
        for above in path_use.path.ancestors().filter_map(|dir| at.get(dir)) {
            let hidden = match above.kind {
                PathKind::File | PathKind::ReadOnly => true,
                PathKind::UserMount => path_use.written,
                PathKind::Writable => false,
            };
            if hidden {
                return Err(conflict(&above.path, above, path_use));
            }
        }
    }
    Ok(())
}

fn conflict(path: &AbsPath, one: &PathUse, other: &PathUse) -> Obstacle {
    let below = match path == &other.path {
        true => String::new(),
        false => format!(" (as {})", other.path),
    };
    let message = format!(
        "mount path conflict: \"{path}\" is used by both {} and {}{below}: change one of them",
        one.by, other.by
    );
    let refusal = match one.config && other.config {
        true => Refusal::invalid_config(message),
        false => Refusal::context(message),
    };
    Obstacle { refusal, contexts: [one.context, other.context].into_iter().flatten().collect() }
}

/// Every use of a path.
pub(super) fn all(
    run: &Run,
    contexts: &[Evaluated],
    files: &[File<'_>],
    shared: &SharedMounts,
) -> Vec<PathUse> {
    let own = |path: &AbsPath, by: String| PathUse {
        path: path.clone(),
        kind: PathKind::Writable,
        by,
        written: true,
        config: true,
        context: None,
    };
    let mut uses = Vec::new();
    for file in files {
        let written = is_written(run, &file.path, shared);
        let (path, by) = (file.path.clone(), file.by.clone());
        let context = file.context;
        uses.push(PathUse { path, kind: PathKind::File, by, written, config: file.config, context });
    }
    for (i, context) in contexts.iter().enumerate() {
        uses.extend(context_uses(i, context, shared));
    }
    uses.extend(push_uses(contexts));
    for credential in &run.agent.credentials {
        if let Some(mount) = &credential.mount {
            let kind = if mount.key.is_some() { PathKind::File } else { PathKind::ReadOnly };
            let (path, by) = (mount.path.clone(), credential.described.clone());
            uses.push(PathUse { path, kind, by, written: false, config: true, context: None });
        }
    }
    for (path, by) in &run.agent.pod.mount_paths {
        let (path, by) = (path.clone(), by.clone());
        uses.push(PathUse {
            path,
            kind: PathKind::UserMount,
            by,
            written: false,
            config: true,
            context: None,
        });
    }
    let workspace = &run.agent.workspace;
    if run.conventions.whole_workspace {
        // a directory of a context may be the workspace; nothing else may
        let is_workspace =
            |path_use: &PathUse| path_use.path == *workspace && path_use.kind == PathKind::Writable;
        if !uses.iter().any(is_workspace) {
            uses.push(own(workspace, format!("spec.workspaceDir of {}", run.agent.described)));
        }
    } else {
        uses.push(own(workspace, "the workspace".to_owned()));
    }
    if let Some(tools) = AbsPath::parse(TOOLS_DIR, None).ok().filter(|_| run.has_tools()) {
        uses.push(own(&tools, "the agent's tools".to_owned()));
    }
    if let Some(bundle) = network::mount(run).and_then(|mount| AbsPath::parse(&mount.mount_path, None).ok()) {
        let by = "spec.caBundle of KubeOpenCodeConfig".to_owned();
        uses.push(PathUse { kind: PathKind::ReadOnly, written: false, ..own(&bundle, by) });
    }
    uses
}

/// What a context uses beyond its files.
fn context_uses(place: usize, context: &Evaluated, shared: &SharedMounts) -> Vec<PathUse> {
    let by = context.item.to_string();
    let path_use = |path: &AbsPath, kind, written| PathUse {
        path: path.clone(),
        kind,
        by: by.clone(),
        written,
        config: false,
        context: Some(place),
    };
    let mut uses = Vec::new();
    for directory in &context.directories {
        let written = shared.holds(&directory.path);
        let kind = if written { PathKind::Writable } else { PathKind::ReadOnly };
        uses.push(path_use(&directory.path, kind, written));
    }
    // an optional one is among the files
    for secret in context.secret_files.iter().filter(|file| !file.secret.optional) {
        uses.push(path_use(&secret.path, PathKind::File, false));
    }
    for clone in &context.clones {
        uses.push(path_use(&clone.path, PathKind::Writable, false));
    }
    for download in &context.downloads {
        let kind = if download.unpack { PathKind::Writable } else { PathKind::File };
        uses.push(path_use(&download.path, kind, shared.holds(&download.path)));
    }
    // what a context writes below its mountPath makes that directory its own
    if let Some(own) = context.item.mount_path() {
        let below = context.files.iter().any(|file| file.path.is_within(own) && &file.path != own);
        if below && uses.iter().all(|path_use| &path_use.path != own) {
            uses.push(path_use(own, PathKind::Writable, shared.holds(own)));
        }
    }
    uses
}

/// Where the agent's Git finds the Secrets that it pushes with.
fn push_uses(contexts: &[Evaluated]) -> impl Iterator<Item = PathUse> {
    let clones = contexts
        .iter()
        .enumerate()
        .flat_map(|(place, context)| context.clones.iter().map(move |clone| (place, context, clone)));
    clones.enumerate().filter(|(_, (_, _, clone))| clone.push).filter_map(|(i, (place, context, _))| {
        Some(PathUse {
            path: AbsPath::parse(&push_dir(i), None).ok()?,
            kind: PathKind::ReadOnly,
            by: context.item.to_string(),
            written: false,
            config: false,
            context: Some(place),
        })
    })
}

/// What lies in a clone and does not come from its repository, below the clone; directories end with a slash, and stand
/// for all that is in them. A part of a repository has no commits.
pub(super) fn inside(clone: &GitClone, uses: &[PathUse]) -> Vec<String> {
    if !clone.sub_path.is_empty() {
        return Vec::new();
    }
    let is_inside = |path_use: &&PathUse| path_use.path != clone.path && path_use.path.is_within(&clone.path);
    let inside: Vec<_> = uses.iter().filter(is_inside).collect();
    let directories: HashSet<_> = inside
        .iter()
        .filter(|path_use| path_use.kind != PathKind::File)
        .map(|path_use| path_use.path.as_str())
        .collect();
    let tops =
        inside.iter().filter(|path_use| !path_use.path.ancestors().any(|dir| directories.contains(dir)));
    let paths = tops.map(|path_use| {
        let below = path_use.path.as_str().strip_prefix(clone.path.as_str()).unwrap_or_default();
        let end = if path_use.kind == PathKind::File { "" } else { "/" };
        format!("{}{end}", below.trim_start_matches('/'))
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_use(path: &str, kind: PathKind) -> PathUse {
        PathUse {
            path: AbsPath::parse(path, None).unwrap(),
            kind,
            by: format!("the user of {path}"),
            written: matches!(kind, PathKind::File),
            config: false,
            context: None,
        }
    }

    #[test]
    fn equal_paths_are_a_conflict() {
        let uses = [path_use("/w/a", PathKind::File), path_use("/w/a", PathKind::Writable)];
        assert_eq!(
            refuse(&uses).unwrap_err().refusal.message,
            "mount path conflict: \"/w/a\" is used by both the user of /w/a and the user of /w/a: change one of them"
        );
    }

    #[test]
    fn only_open_directories_take_more() {
        for (above, fits) in [
            (PathKind::Writable, true),
            (PathKind::File, false),
            (PathKind::ReadOnly, false),
            (PathKind::UserMount, false),
        ] {
            let uses = [path_use("/w/a/b/c", PathKind::File), path_use("/w/a", above)];
            assert_eq!(refuse(&uses).is_ok(), fits, "{above:?}");
        }
        let mounted = PathUse { written: false, ..path_use("/data/x", PathKind::File) };
        assert!(
            refuse(&[path_use("/data", PathKind::UserMount), mounted]).is_ok(),
            "a mount shows on another mount"
        );
    }

    #[test]
    fn the_message_names_both_and_the_inner_path() {
        let uses = [path_use("/w/a", PathKind::File), path_use("/w/a/b", PathKind::File)];
        assert_eq!(
            refuse(&uses).unwrap_err().refusal.message,
            "mount path conflict: \"/w/a\" is used by both the user of /w/a and the user of /w/a/b (as /w/a/b): \
             change one of them"
        );
    }
}
