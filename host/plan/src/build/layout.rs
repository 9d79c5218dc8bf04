//! What goes where in the Pod, and how it gets there: written by `context-init` where an init container can reach,
//! mounted elsewhere.
//!
//! May touch: checked input, paths, bytes. Must not touch: Kubernetes types other than mounts.

mod files;

use std::collections::BTreeMap;

use kubeopencode_api::literals::TOOLS_DIR;
use kubeopencode_api::plugin::{CommandPlan, Entry};

use super::claims::{self, Claim, Kind};
use super::roots::{Roots, clones, downloads};
use super::store::{Data, Store};
use crate::evaluated::{Directory, Evaluated};
use crate::paths::AbsPath;
use crate::{Refusal, Resolved};
use files::File;
pub(super) use files::git_config_path;

/// Most bytes of text and files of a Task.
const MAX_TOTAL: usize = 4 << 20;

/// Most bytes of `FILE_MAPPINGS` and `DIR_MAPPINGS`: the kernel takes no environment string over 128 KiB.
const MAX_MAPPINGS: usize = 100_000;

/// Everything about the Pod but names.
pub(super) struct Layout<'a> {
    pub(super) resolved: &'a Resolved,
    pub(super) contexts: &'a [Evaluated],
    pub(super) command: &'a CommandPlan,
    pub(super) roots: Roots,
    pub(super) files: Vec<PlacedFile>,
    pub(super) directories: Vec<PlacedDirectory<'a>>,
    /// the agent's program runs under the result reader
    pub(super) has_reader: bool,
    pub(super) file_mappings: String,
    pub(super) dir_mappings: String,
    /// ConfigMaps of files, then those of embedded directories
    maps: Vec<Data>,
    file_maps: usize,
}

/// A file with the keys of its content.
pub(super) struct PlacedFile {
    pub(super) path: AbsPath,
    pub(super) keys: Vec<String>,
    pub(super) mode: Option<u32>,
    pub(super) how: How,
}

/// How a file gets to its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// `context-init` writes it
    Written,
    /// mounted as a single file
    Mounted,
    /// in parts, outside of what init containers reach: joined in the tools volume and mounted from there
    Joined,
}

/// A directory with its source.
pub(super) struct PlacedDirectory<'a> {
    pub(super) directory: &'a Directory,
    pub(super) source: Source,
    /// `context-init` copies it; else it is mounted
    pub(super) written: bool,
    /// a missing ConfigMap is no error
    pub(super) optional: bool,
}

/// Where a directory's content is.
pub(super) enum Source {
    /// the ConfigMap of this name
    Named(String),
    /// the `i`-th ConfigMap of this plan
    Own(usize),
    /// nowhere: it has none
    Empty,
}

impl<'a> Layout<'a> {
    pub(super) fn new(
        resolved: &'a Resolved,
        contexts: &'a [Evaluated],
        command: &'a CommandPlan,
    ) -> Result<Self, Refusal> {
        let roots = Roots::new(&resolved.workspace, contexts);
        let files = files::files(resolved, contexts, command)?;
        claims::check(&all_claims(resolved, contexts, &files, &roots))?;
        let written: usize = files.iter().map(|file| file.content.len()).sum();
        let contents: Vec<_> = files.iter().map(|file| (&file.path, file.content.as_ref())).collect();
        let Store { mut maps, keys } = Store::pack(&contents);
        let file_maps = maps.len();
        let files: Vec<_> =
            files.into_iter().zip(keys).map(|(file, keys)| PlacedFile::new(file, keys, &roots)).collect();
        let directories = directories(resolved, contexts, &roots, &mut maps)?;
        let embedded: usize =
            maps.iter().skip(file_maps).flatten().map(|(key, value)| key.len() + value.len()).sum();
        if written + embedded > MAX_TOTAL {
            return Err(Refusal::context(format!(
                "Task {} has {} bytes of text and files, at most {MAX_TOTAL} are allowed: fetch big ones with Git or URL",
                resolved.task,
                written + embedded
            )));
        }
        let (file_mappings, dir_mappings) = (file_mappings(&files), dir_mappings(&directories));
        if file_mappings.len().max(dir_mappings.len()) > MAX_MAPPINGS {
            return Err(Refusal::context(format!(
                "Task {} has {} files, too many for one Pod: put them into ConfigMaps or a repository",
                resolved.task,
                files.len()
            )));
        }
        let has_reader = files::has_reader(resolved, command);
        Ok(Self {
            resolved,
            contexts,
            command,
            roots,
            files,
            directories,
            has_reader,
            file_mappings,
            dir_mappings,
            maps,
            file_maps,
        })
    }

    /// The content of the plan's ConfigMaps, in the order of their names.
    pub(super) fn config_maps(&self) -> impl Iterator<Item = &Data> {
        self.maps.iter()
    }

    /// Those of them that hold files.
    pub(super) fn file_maps(&self) -> &[Data] {
        &self.maps[..self.file_maps]
    }

    /// Whether `context-init` has anything to do.
    pub(super) fn needs_context_init(&self) -> bool {
        self.has_reader
            || self.files.iter().any(|file| file.how != How::Mounted)
            || self.directories.iter().any(|directory| directory.written)
    }

    /// Whether `context-init` writes to the tools volume.
    pub(super) fn writes_tools(&self) -> bool {
        let in_tools = |file: &PlacedFile| match file.how {
            How::Written => is_tool(&file.path),
            How::Joined => true,
            How::Mounted => false,
        };
        self.has_reader || self.files.iter().any(in_tools)
    }
}

impl PlacedFile {
    fn new(file: File<'_>, keys: Vec<String>, roots: &Roots) -> Self {
        let how = match (is_written(&file.path, roots), keys.len()) {
            (true, _) => How::Written,
            (false, 1) => How::Mounted,
            (false, _) => How::Joined,
        };
        Self { path: file.path, keys, mode: file.mode, how }
    }

    /// Where a joined file lies in the tools volume.
    pub(super) fn joined_at(&self) -> String {
        format!(".files/{}", self.keys.join("+"))
    }
}

/// Whether `context-init` can write there so that the agent sees it.
fn is_written(path: &AbsPath, roots: &Roots) -> bool {
    roots.hold(path) || is_tool(path)
}

fn is_tool(path: &AbsPath) -> bool {
    path.ancestors().any(|dir| dir == TOOLS_DIR)
}

fn directories<'a>(
    resolved: &Resolved,
    contexts: &'a [Evaluated],
    roots: &Roots,
    maps: &mut Vec<Data>,
) -> Result<Vec<PlacedDirectory<'a>>, Refusal> {
    let mut placed = Vec::new();
    for context in contexts {
        for directory in &context.directories {
            let source = match &directory.embedded {
                Some(entries) if entries.is_empty() => Source::Empty,
                Some(entries) => {
                    maps.push(data(entries));
                    Source::Own(maps.len() - 1)
                }
                None if context.item.namespace == resolved.pod_namespace() => {
                    Source::Named(directory.config_map.clone())
                }
                None => {
                    let problem = format!(
                        "ConfigMap {} of namespace \"{}\" has not been read, and the Pod in \"{}\" cannot mount it",
                        directory.config_map,
                        context.item.namespace,
                        resolved.pod_namespace()
                    );
                    return Err(context.item.refused(problem));
                }
            };
            placed.push(PlacedDirectory {
                source,
                written: roots.hold(&directory.path),
                optional: directory.optional || context.item.optional,
                directory,
            });
        }
    }
    Ok(placed)
}

fn data(entries: &[Entry]) -> Data {
    entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect::<BTreeMap<_, _>>()
}

fn all_claims(resolved: &Resolved, contexts: &[Evaluated], files: &[File<'_>], roots: &Roots) -> Vec<Claim> {
    let agent = &resolved.agent;
    let own = |path: &AbsPath, by: String| Claim {
        path: path.clone(),
        kind: Kind::Open,
        by,
        written: true,
        config: true,
    };
    let mut claims = Vec::new();
    for file in files {
        let written = is_written(&file.path, roots);
        let (path, by) = (file.path.clone(), file.by.clone());
        claims.push(Claim { path, kind: Kind::File, by, written, config: file.config });
    }
    for context in contexts {
        claims.extend(context_claims(context, roots));
    }
    for credential in &resolved.credentials {
        if let Some(mount) = &credential.mount {
            let kind = if mount.key.is_some() { Kind::File } else { Kind::Sealed };
            let (path, by) = (mount.path.clone(), credential.described.clone());
            claims.push(Claim { path, kind, by, written: false, config: true });
        }
    }
    for (path, by) in &resolved.pod.mount_paths {
        let (path, by) = (path.clone(), by.clone());
        claims.push(Claim { path, kind: Kind::Foreign, by, written: false, config: true });
    }
    // a directory of a context may be the workspace; nothing else may
    let is_workspace = |claim: &Claim| claim.path == resolved.workspace && claim.kind == Kind::Open;
    if !claims.iter().any(is_workspace) {
        claims.push(own(&resolved.workspace, format!("spec.workspaceDir of Agent {agent}")));
    }
    if let Ok(tools) = AbsPath::parse(TOOLS_DIR, None) {
        claims.push(own(&tools, "the agent's tools".to_owned()));
    }
    claims
}

/// What a context claims beyond its files.
fn context_claims(context: &Evaluated, roots: &Roots) -> Vec<Claim> {
    let by = context.item.to_string();
    let claim = |path: &AbsPath, kind, written| Claim {
        path: path.clone(),
        kind,
        by: by.clone(),
        written,
        config: false,
    };
    let mut claims = Vec::new();
    for directory in &context.directories {
        let written = roots.hold(&directory.path);
        let kind = if written { Kind::Open } else { Kind::Sealed };
        claims.push(claim(&directory.path, kind, written));
    }
    for secret in &context.secret_files {
        claims.push(claim(&secret.path, Kind::File, false));
    }
    for clone in &context.clones {
        claims.push(claim(&clone.path, Kind::Open, false));
    }
    for download in &context.downloads {
        let kind = if download.unpack { Kind::Open } else { Kind::File };
        claims.push(claim(&download.path, kind, roots.hold(&download.path)));
    }
    // what a context writes below its mountPath makes that directory its own
    if let Some(own) = context.item.mount_path() {
        let below = context.files.iter().any(|file| file.path.is_within(own) && &file.path != own);
        if below && claims.iter().all(|claim| &claim.path != own) {
            claims.push(claim(own, Kind::Open, roots.hold(own)));
        }
    }
    claims
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Mapping<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_path: Option<String>,
    target_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_mode: Option<u32>,
}

fn file_mappings(files: &[PlacedFile]) -> String {
    let mappings = files.iter().filter(|file| file.how != How::Mounted).map(|file| Mapping {
        key: file.keys.first().filter(|_| file.keys.len() == 1).map(String::as_str),
        parts: (file.keys.len() > 1).then_some(file.keys.as_slice()),
        source_path: None,
        target_path: match file.how {
            How::Joined => format!("{TOOLS_DIR}/{}", file.joined_at()),
            How::Written | How::Mounted => file.path.as_str().to_owned(),
        },
        file_mode: file.mode,
    });
    json(mappings.collect())
}

fn dir_mappings(directories: &[PlacedDirectory<'_>]) -> String {
    let mappings =
        directories.iter().enumerate().filter(|(_, placed)| placed.written).map(|(i, placed)| Mapping {
            key: None,
            parts: None,
            source_path: Some(dir_path(i)),
            target_path: placed.directory.path.as_str().to_owned(),
            file_mode: placed.directory.mode,
        });
    json(mappings.collect())
}

/// Where `context-init` finds the `i`-th directory.
pub(super) fn dir_path(i: usize) -> String {
    format!("/configmap-dir-{i}")
}

fn json(mappings: Vec<Mapping<'_>>) -> String {
    // texts and numbers can always be written
    serde_json::to_string(&mappings).unwrap_or_default()
}

/// The containers that the Pod has besides `context-init` and `agent`.
fn other_containers(contexts: &[Evaluated], command: &CommandPlan) -> usize {
    let inits = contexts.iter().map(|context| context.inits.len()).sum::<usize>();
    let tools = usize::from(command.tools != kubeopencode_api::plugin::Tools::None);
    clones(contexts).count() + downloads(contexts).count() + inits + tools
}
