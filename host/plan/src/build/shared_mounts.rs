//! The directories that init containers fill and the agent works in: the workspace, clones, unpacked archives. Each is
//! a volume, mounted at the same path in all of them, so that a file may lie inside a clone.
//!
//! May touch: paths and mounts. Must not touch: what is written there.

use k8s_openapi::api::core::v1::VolumeMount;

use super::mounts::{mount, part};
use crate::evaluated::{Download, Evaluated, GitClone};
use crate::paths::AbsPath;
use crate::run::Run;

/// What `git-init` names the directory that it clones into.
pub(super) const GIT_LINK: &str = "repo";

/// The directories that init containers fill.
pub(super) struct SharedMounts(Vec<(AbsPath, VolumeMount)>);

impl SharedMounts {
    pub(super) fn new(run: &Run, contexts: &[Evaluated]) -> Self {
        let workspace = &run.agent.workspace;
        let clones: Vec<_> = clones(contexts)
            .enumerate()
            .map(|(i, (_, clone))| (clone.path.clone(), clone_mount(i, clone)))
            .collect();
        // a clone may be the workspace itself: its volume then takes the place of the empty one
        let cloned_workspace = clones.iter().any(|(path, _)| path == workspace);
        let mut shared = Self(Vec::new());
        if let Some(own) = run.conventions.workspace.as_ref().filter(|_| !cloned_workspace) {
            shared.0.push((workspace.clone(), mount(own.volume, workspace.as_str())));
        }
        shared.0.extend(clones);
        for (i, (_, download)) in downloads(contexts).enumerate() {
            if download.unpack && !shared.holds(&download.path) {
                shared.0.push((download.path.clone(), mount(url_volume(i), download.path.as_str())));
            }
        }
        shared
    }

    /// Whether an init container can write there so that the agent sees it.
    pub(super) fn holds(&self, path: &AbsPath) -> bool {
        self.0.iter().any(|(root, _)| path.is_within(root))
    }

    /// Whether the volume is one of them.
    pub(super) fn uses_volume(&self, name: &str) -> bool {
        self.0.iter().any(|(_, mount)| mount.name == name)
    }

    /// The mounts that show them, the same in every container.
    pub(super) fn mounts(&self) -> impl Iterator<Item = VolumeMount> {
        self.0.iter().map(|(_, mount)| mount.clone())
    }
}

/// All clones with their contexts; their places in this order are their numbers.
pub(super) fn clones(contexts: &[Evaluated]) -> impl Iterator<Item = (&Evaluated, &GitClone)> {
    contexts.iter().flat_map(|context| context.clones.iter().map(move |clone| (context, clone)))
}

/// All downloads with their contexts; their places in this order are their numbers.
pub(super) fn downloads(contexts: &[Evaluated]) -> impl Iterator<Item = (&Evaluated, &Download)> {
    contexts.iter().flat_map(|context| context.downloads.iter().map(move |download| (context, download)))
}

/// Volume of the `i`-th clone.
pub(super) fn git_volume(i: usize) -> String {
    format!("git-context-{i}")
}

/// Volume of the Secret that the agent pushes the `i`-th clone with.
pub(super) fn git_push(i: usize) -> String {
    format!("git-push-{i}")
}

/// Where the agent's Git finds that Secret's keys.
pub(super) fn push_dir(i: usize) -> String {
    format!("/git/push-{i}")
}

/// Volume of the `i`-th download, where it goes outside of all of these.
pub(super) fn url_volume(i: usize) -> String {
    format!("url-content-{i}")
}

fn clone_mount(i: usize, clone: &GitClone) -> VolumeMount {
    let sub_path = match clone.sub_path.as_str() {
        "" => GIT_LINK.to_owned(),
        path => format!("{GIT_LINK}/{path}"),
    };
    part(sub_path, mount(git_volume(i), clone.path.as_str()))
}
