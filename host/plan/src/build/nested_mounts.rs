//! What is mounted inside of something else. The runtime makes the directories in between where they are not there, as
//! root's own: then nobody could write beside a clone. So they are made before, by the first program of ours that runs, or
//! by `git-init` in its clone.
//!
//! May touch: paths and mounts. Must not touch: volumes of the Agent's own, and what lies outside of any volume.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{EnvVar, VolumeMount};
use serde::Serialize;

use super::env::var;
use super::layout::Layout;
use super::shared_mounts::{clones, git_volume};
use super::volumes::agent_mounts;
use crate::paths::AbsPath;

/// Where `git-init` sees the volumes whose directories it makes.
const MOUNTS: &str = "/mounts";

/// The directories that each volume needs, by the volume.
pub(super) struct NestedMounts<'a> {
    layout: &'a Layout<'a>,
    needed: Vec<(VolumeMount, BTreeSet<String>)>,
}

/// One entry of `MOUNT_PARENTS`.
#[derive(Serialize)]
struct Parents<'a> {
    root: &'a str,
    directories: &'a BTreeSet<String>,
}

impl<'a> NestedMounts<'a> {
    pub(super) fn new(layout: &'a Layout<'a>) -> Self {
        let shared: HashMap<_, _> =
            layout.shared.mounts().map(|mount| (mount.mount_path.clone(), mount)).collect();
        let mounted: Vec<_> = agent_mounts(layout)
            .iter()
            .filter_map(|mount| AbsPath::parse(&mount.mount_path, None).ok())
            .collect();
        let all: BTreeSet<_> = mounted.iter().map(AbsPath::as_str).collect();
        let mut needed: HashMap<&str, BTreeSet<String>> = HashMap::new();
        for path in &mounted {
            // what is not ours is not for us to change
            let Some(above) =
                path.ancestors().find(|dir| all.contains(dir)).filter(|dir| shared.contains_key(*dir))
            else {
                continue;
            };
            let between = path.ancestors().next().and_then(|parent| parent.strip_prefix(above));
            let between =
                between.map(|below| below.trim_start_matches('/')).filter(|below| !below.is_empty());
            if let Some(below) = between {
                needed.entry(above).or_default().insert(below.to_owned());
            }
        }
        let needed = layout.shared.mounts().filter_map(|mount| {
            let directories = needed.remove(mount.mount_path.as_str())?;
            Some((mount, directories))
        });
        Self { layout, needed: needed.collect() }
    }

    /// What the `i`-th clone needs in it: `GIT_DIRECTORIES` of its `git-init`.
    pub(super) fn in_clone(&self, i: usize) -> Option<EnvVar> {
        let volume = git_volume(i);
        let (_, directories) = self.needed.iter().find(|(mount, _)| mount.name == volume)?;
        Some(var("GIT_DIRECTORIES", &json(directories)))
    }

    /// What the first `git-init` makes for all, since whoever comes later has the mounts already: the variable, and the
    /// mounts of nothing but the volumes.
    pub(super) fn for_git_init(&self) -> Option<(EnvVar, Vec<VolumeMount>)> {
        let mounts: Vec<_> = self
            .elsewhere()
            .enumerate()
            .map(|(i, (mount, _))| VolumeMount { mount_path: format!("{MOUNTS}/{i}"), ..mount.clone() })
            .collect();
        let parents = mounts.iter().zip(self.elsewhere());
        let parents =
            parents.map(|(mount, (_, directories))| Parents { root: &mount.mount_path, directories });
        Some((parents_variable(parents.collect())?, mounts))
    }

    /// The same for `context-init`, where there is no clone: it has the volumes, and only the agent has more.
    pub(super) fn for_context_init(&self) -> Option<EnvVar> {
        if clones(self.layout.contexts).next().is_some() {
            return None;
        }
        let parents =
            self.elsewhere().map(|(mount, directories)| Parents { root: &mount.mount_path, directories });
        parents_variable(parents.collect())
    }

    fn elsewhere(&self) -> impl Iterator<Item = &(VolumeMount, BTreeSet<String>)> {
        let clones: BTreeSet<_> = (0..clones(self.layout.contexts).count()).map(git_volume).collect();
        self.needed.iter().filter(move |(mount, _)| !clones.contains(&mount.name))
    }
}

fn parents_variable(parents: Vec<Parents<'_>>) -> Option<EnvVar> {
    (!parents.is_empty()).then(|| var("MOUNT_PARENTS", &json(&parents)))
}

/// Texts can always be written.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
