//! What goes where in the Pod, and how it gets there: written by `context-init` where an init container can reach,
//! mounted elsewhere.
//!
//! May touch: checked input, paths, bytes. Must not touch: Kubernetes types other than mounts.

mod content;
mod files;
mod mappings;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::EnvVar;
use kubeopencode_api::literals::TOOLS_DIR;
use kubeopencode_api::plugin::{Entry, SecretKey};

use super::config_map_packing::{Data, Packed, pack};
use super::env::agent_env;
use super::optional::{Obstacle, that_bring};
use super::path_conflicts;
use super::reader;
use super::shared_mounts::{SharedMounts, clones, downloads};
use crate::evaluated::{Directory, Evaluated};
use crate::paths::AbsPath;
use crate::run::MAX_TOTAL;
use crate::{Command, Refusal, Run};
pub(crate) use content::Secrets;
use content::Sources;
pub(super) use content::{Content, Part, PartGroup, secret_dir};
pub(super) use files::{File, git_config_path};
use mappings::{dir_mappings, file_mappings};
pub(super) use mappings::{dir_path, joined_at};

/// Most bytes of `FILE_MAPPINGS` and `DIR_MAPPINGS`: the kernel takes no environment string over 128 KiB. Checked before
/// anything is done with the paths, so that a plugin with 100,000 files costs nothing.
const MAX_MAPPINGS: usize = 125_000;

/// Everything about the Pod but names.
pub(super) struct Layout<'a> {
    pub(super) run: &'a Run,
    pub(super) contexts: &'a [Evaluated],
    pub(super) command: &'a Command,
    pub(super) shared: SharedMounts,
    pub(super) files: Vec<PlacedFile>,
    pub(super) directories: Vec<PlacedDirectory<'a>>,
    /// What others put into each clone, by the clone's number: no part of its commits.
    pub(super) excluded: Vec<Vec<String>>,
    /// the agent's environment
    pub(super) env: Vec<EnvVar>,
    /// what `context-init` reads of Secrets
    pub(super) secrets: Vec<SecretKey>,
    pub(super) file_mappings: String,
    pub(super) dir_mappings: String,
    /// ConfigMaps of files, then those of embedded directories
    maps: Vec<Data>,
    file_maps: usize,
}

/// A file with the sources of its content.
pub(super) struct PlacedFile {
    pub(super) path: AbsPath,
    sources: Sources,
    pub(super) mode: Option<u32>,
    pub(super) delivery: Delivery,
    /// left out where it cannot be written
    optional: bool,
}

/// How a file gets to its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// `context-init` writes it
    Written,
    /// mounted as a single file
    Mounted,
    /// not one key, and outside of what init containers reach: joined in the tools volume, which `context-init` has in any case,
    /// and mounted from there
    Joined,
}

/// A directory with its source.
pub(super) struct PlacedDirectory<'a> {
    pub(super) directory: &'a Directory,
    pub(super) source: DirectorySource,
    /// `context-init` copies it; else it is mounted
    pub(super) written: bool,
    /// a missing ConfigMap is no error
    pub(super) optional: bool,
    /// left out where it cannot be written
    may_fail: bool,
}

/// Where a directory's content is.
pub(super) enum DirectorySource {
    /// the ConfigMap of this name
    Named(String),
    /// the `i`-th ConfigMap of this plan
    Own(usize),
    /// nowhere: it has none
    Empty,
}

impl<'a> Layout<'a> {
    pub(super) fn new(
        run: &'a Run,
        contexts: &'a [Evaluated],
        command: &'a Command,
    ) -> Result<Self, Obstacle> {
        let shared = SharedMounts::new(run, contexts);
        let (files, secrets) = files::files(run, contexts, command)?;
        check_number(run, contexts, &files)?;
        let uses = path_conflicts::all(run, contexts, &files, &shared);
        (run.conventions.conflicts)(&uses)?;
        let contents: Vec<_> = files.iter().map(|file| (&file.path, file.content.chunks())).collect();
        let written: usize = contents.iter().flat_map(|(_, chunks)| chunks).map(|chunk| chunk.len()).sum();
        let Packed { mut maps, keys, .. } = pack(&contents);
        let file_maps = maps.len();
        let files: Vec<_> = files
            .into_iter()
            .zip(keys)
            .map(|(file, keys)| PlacedFile::new(run, file, keys, &shared))
            .collect();
        let directories = directories(run, contexts, &shared, &mut maps)?;
        let embedded: usize =
            maps.iter().skip(file_maps).flatten().map(|(key, value)| key.len() + value.len()).sum();
        if written + embedded > MAX_TOTAL {
            let brings = |context: &Evaluated| context.bytes() > 0;
            return Err(Obstacle {
                refusal: run.too_much(written + embedded),
                contexts: that_bring(contexts, brings),
            });
        }
        let (file_mappings, dir_mappings) = (file_mappings(&files), dir_mappings(&directories));
        if file_mappings.len() + dir_mappings.len() > MAX_MAPPINGS {
            return Err(too_many(run, contexts, files.len()));
        }
        Ok(Self {
            run,
            contexts,
            command,
            shared,
            files,
            directories,
            excluded: clones(contexts).map(|(_, clone)| path_conflicts::inside(clone, &uses)).collect(),
            env: agent_env(run, contexts, command)?,
            secrets: secrets.0,
            file_mappings,
            dir_mappings,
            maps,
            file_maps,
        })
    }

    /// The content of the plan's ConfigMaps, in the order of their names.
    pub(super) fn config_maps(&self) -> &[Data] {
        &self.maps
    }

    /// The same, to keep: what is left of the layout is of no more use.
    pub(super) fn into_config_maps(self) -> Vec<Data> {
        self.maps
    }

    /// Those of them that hold files.
    pub(super) fn file_maps(&self) -> &[Data] {
        &self.maps[..self.file_maps]
    }

    /// Whether `context-init` has anything to do.
    pub(super) fn needs_context_init(&self) -> bool {
        reader::is_needed(self.run, self.command)
            || self.files.iter().any(|file| file.delivery != Delivery::Mounted)
            || self.directories.iter().any(|directory| directory.written)
    }

    /// Whether `context-init` writes to the tools volume.
    pub(super) fn writes_tools(&self) -> bool {
        let in_tools = |file: &PlacedFile| match file.delivery {
            Delivery::Written => self.run.has_tools() && is_tool(&file.path),
            Delivery::Joined => true,
            Delivery::Mounted => false,
        };
        reader::is_needed(self.run, self.command) || self.files.iter().any(in_tools)
    }
}

impl PlacedFile {
    fn new(run: &Run, file: File<'_>, keys: Vec<Vec<String>>, shared: &SharedMounts) -> Self {
        let sources = file.content.sources(keys);
        let delivery = match (is_written(run, &file.path, shared), sources.key()) {
            (true, _) => Delivery::Written,
            (false, Some(_)) => Delivery::Mounted,
            (false, None) => Delivery::Joined,
        };
        Self { path: file.path, sources, mode: file.mode, delivery, optional: file.optional }
    }

    /// The key that is mounted at its path.
    pub(super) fn mounted_key(&self) -> Option<&str> {
        self.sources.key().filter(|_| self.delivery == Delivery::Mounted)
    }
}

fn check_number(run: &Run, contexts: &[Evaluated], files: &[File<'_>]) -> Result<(), Obstacle> {
    let directories = contexts.iter().flat_map(|context| &context.directories);
    let paths = files.iter().map(|file| &file.path).chain(directories.map(|directory| &directory.path));
    // a key is hardly longer than its path, and JSON doubles a path at most
    if paths.map(|path| 3 * path.as_str().len() + 70).sum::<usize>() <= MAX_MAPPINGS {
        return Ok(());
    }
    Err(too_many(run, contexts, files.len()))
}

fn too_many(run: &Run, contexts: &[Evaluated], files: usize) -> Obstacle {
    let directories: usize = contexts.iter().map(|context| context.directories.len()).sum();
    let refusal = Refusal::context(format!(
        "{} has {} files, too many for one Pod: put them into ConfigMaps, an archive or a repository",
        run.described(),
        files + directories
    ));
    let brings = |context: &Evaluated| {
        !context.files.is_empty() || !context.directories.is_empty() || !context.secret_files.is_empty()
    };
    Obstacle { refusal, contexts: that_bring(contexts, brings) }
}

/// Whether `context-init` can write there so that the agent sees it.
pub(super) fn is_written(run: &Run, path: &AbsPath, shared: &SharedMounts) -> bool {
    shared.holds(path) || (run.has_tools() && is_tool(path))
}

fn is_tool(path: &AbsPath) -> bool {
    path.ancestors().any(|dir| dir == TOOLS_DIR)
}

fn directories<'a>(
    run: &Run,
    contexts: &'a [Evaluated],
    shared: &SharedMounts,
    maps: &mut Vec<Data>,
) -> Result<Vec<PlacedDirectory<'a>>, Obstacle> {
    let mut placed = Vec::new();
    for (i, context) in contexts.iter().enumerate() {
        for directory in &context.directories {
            let source = match &directory.embedded {
                Some(entries) if entries.is_empty() => DirectorySource::Empty,
                Some(entries) => {
                    maps.push(data(entries));
                    DirectorySource::Own(maps.len() - 1)
                }
                None if context.item.namespace == run.pod_namespace() => {
                    DirectorySource::Named(directory.config_map.clone())
                }
                None => {
                    let problem = format!(
                        "ConfigMap {} of namespace \"{}\" has not been read, and the Pod in \"{}\" cannot mount it",
                        directory.config_map,
                        context.item.namespace,
                        run.pod_namespace()
                    );
                    return Err(Obstacle { refusal: context.item.refused(problem), contexts: vec![i] });
                }
            };
            placed.push(PlacedDirectory {
                source,
                written: shared.holds(&directory.path),
                optional: directory.optional || context.item.optional,
                may_fail: context.item.optional,
                directory,
            });
        }
    }
    Ok(placed)
}

fn data(entries: &[Entry]) -> Data {
    entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect::<BTreeMap<_, _>>()
}

/// The containers that the Pod has besides `context-init` and `agent`.
fn other_containers(run: &Run, contexts: &[Evaluated], command: &Command) -> usize {
    let inits = contexts.iter().map(|context| context.inits.len()).sum::<usize>();
    let tools = usize::from(command.tools.is_some());
    let waits = usize::from(run.waits_for().is_some());
    clones(contexts).count() + downloads(contexts).count() + inits + tools + waits
}
