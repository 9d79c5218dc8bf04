//! What a context item came to: its plugin's plan, checked. Only `validate` makes one that holds anything.
//!
//! May touch: these types. Must not touch: where in the Pod a thing ends up, which `build` decides.

use kubeopencode_api::condition::Reason;
use kubeopencode_api::git::GitIdentity;
use kubeopencode_api::network::NetworkRules;
use kubeopencode_api::pieces;
use kubeopencode_api::plugin::{Entry, EnvVar, RunInit, SecretKey};

use crate::item::Item;
use crate::object_name::is_key;
use crate::paths::AbsPath;
use crate::{Refusal, Run};

/// A context item's plan, checked.
#[derive(Clone, Debug)]
pub struct Evaluated {
    pub(crate) item: Item,
    /// for the context file
    pub(crate) pieces: Vec<Piece>,
    pub(crate) files: Vec<TargetFile>,
    pub(crate) directories: Vec<Directory>,
    pub(crate) secret_files: Vec<SecretTarget>,
    pub(crate) clones: Vec<GitClone>,
    pub(crate) downloads: Vec<Download>,
    pub(crate) inits: Vec<RunInit>,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) notices: Vec<(Reason, String)>,
}

/// A part of the context file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    File {
        name: String,
        text: String,
    },
    /// joined inside the Pod
    Secret(SecretKey),
    /// the same
    Brought(Brought),
}

impl Piece {
    /// Whether it is more than line ends, or only the Pod sees it.
    pub(crate) fn has_words(&self) -> bool {
        match self {
            Self::Text(text) | Self::File { text, .. } => !pieces::is_blank(text),
            Self::Secret(_) | Self::Brought(_) => true,
        }
    }
}

/// A file that a clone, a download or an init container leaves in the Pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Brought {
    pub(crate) path: AbsPath,
    /// one that is not there is left out
    pub(crate) optional: bool,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FileContent {
    Bytes(Vec<u8>),
    /// joined inside the Pod
    Brought(Brought),
}

impl FileContent {
    /// Bytes that the plan holds of it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Brought(_) => 0,
        }
    }
}

/// A file with its content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TargetFile {
    pub(crate) path: AbsPath,
    pub(crate) content: FileContent,
    pub(crate) mode: Option<u32>,
}

/// A ConfigMap as a directory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Directory {
    pub(crate) path: AbsPath,
    pub(crate) mode: Option<u32>,
    pub(crate) config_map: String,
    pub(crate) optional: bool,
    /// its entries, where it cannot be mounted by name
    pub(crate) embedded: Option<Vec<Entry>>,
}

/// A Secret's key as a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SecretTarget {
    pub(crate) secret: SecretKey,
    pub(crate) path: AbsPath,
    pub(crate) mode: Option<u32>,
}

/// A clone of a repository.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GitClone {
    pub(crate) repository: String,
    pub(crate) reference: String,
    pub(crate) sub_path: String,
    pub(crate) depth: u32,
    pub(crate) submodules: bool,
    pub(crate) credentials: Option<String>,
    pub(crate) path: AbsPath,
    /// of the files in the work tree; `None`: as the repository has them, writable for every user
    pub(crate) mode: Option<u32>,
    pub(crate) network: NetworkRules,
    /// whose commits are made in it; `None`: as everywhere in the agent's container
    pub(crate) identity: Option<GitIdentity>,
    /// the agent pushes with the credentials
    pub(crate) push: bool,
}

/// A download.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Download {
    pub(crate) url: String,
    /// `None`: a GET, else a POST
    pub(crate) body: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) secret_headers: Vec<SecretHeader>,
    pub(crate) sha256: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) unpack: bool,
    pub(crate) timeout_seconds: u32,
    pub(crate) credentials: Option<String>,
    pub(crate) path: AbsPath,
    pub(crate) mode: Option<u32>,
    pub(crate) network: NetworkRules,
}

/// A header whose value only the Pod sees.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SecretHeader {
    pub(crate) name: String,
    pub(crate) before: String,
    pub(crate) secret: SecretKey,
    pub(crate) after: String,
}

/// A ConfigMap that must be read and given back with [`Evaluated::embed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embed {
    /// Name of the ConfigMap, in the item's namespace.
    pub name: String,
    /// A missing ConfigMap is no error: give back no entries.
    pub optional: bool,
}

impl Evaluated {
    /// An item that holds nothing.
    pub(crate) fn empty(item: &Item) -> Self {
        Self {
            item: item.clone(),
            pieces: Vec::new(),
            files: Vec::new(),
            directories: Vec::new(),
            secret_files: Vec::new(),
            clones: Vec::new(),
            downloads: Vec::new(),
            inits: Vec::new(),
            env: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// An optional item that is left out, and why.
    pub fn skipped(item: &Item, why: &Refusal) -> Self {
        let mut this = Self::empty(item);
        let (name, message) = (item.to_string(), &why.message);
        // what concerns several items does not begin with this one
        let told = if message.starts_with(&name) { message.clone() } else { format!("{name}: {message}") };
        this.notices.push((Reason::OptionalSkipped, told));
        this
    }

    /// The ConfigMaps that must be read, in the item's namespace, before a Pod can be built: those that it cannot mount, and
    /// those that a server copies at its start, whose change has to be one of its plan, or it would never see it.
    pub fn embeds(&self, run: &Run) -> Vec<Embed> {
        let elsewhere = self.item.namespace != run.pod_namespace();
        let is_copied =
            |directory: &Directory| run.is_server() && directory.path.is_within(&run.agent.workspace);
        self.directories
            .iter()
            .filter(|directory| directory.embedded.is_none() && (elsewhere || is_copied(directory)))
            .map(|directory| Embed { name: directory.config_map.clone(), optional: directory.optional })
            .collect()
    }

    /// Bytes of its text and files: no more than what the plan counts of them.
    pub fn bytes(&self) -> usize {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) | Piece::File { text, .. } => text.len(),
            Piece::Secret(_) | Piece::Brought(_) => 0,
        };
        let entries = self.directories.iter().flat_map(|directory| &directory.embedded).flatten();
        self.pieces.iter().map(piece).sum::<usize>()
            + self.files.iter().map(|file| file.content.len()).sum::<usize>()
            + entries.map(|entry| entry.key.len() + entry.value.len()).sum::<usize>()
    }

    /// Gives back what was read, for the first directory that waits for it.
    ///
    /// # Errors
    /// When an entry's key is none that Kubernetes knows.
    pub fn embed(&mut self, embed: &Embed, entries: Vec<Entry>) -> Result<(), Refusal> {
        if let Some(entry) = entries.iter().find(|entry| !is_key(&entry.key)) {
            let (key, name) = (&entry.key, &embed.name);
            return Err(self
                .item
                .refused(format!("ConfigMap {name} has the key \"{key}\", which no ConfigMap may")));
        }
        let waits = |d: &&mut Directory| d.config_map == embed.name && d.embedded.is_none();
        if let Some(directory) = self.directories.iter_mut().find(waits) {
            directory.embedded = Some(entries);
        }
        Ok(())
    }

    /// Whether it is nothing but text.
    pub(crate) fn is_text(&self) -> bool {
        let Self { files, directories, secret_files, clones, downloads, inits, env, .. } = self;
        files.is_empty()
            && directories.is_empty()
            && secret_files.is_empty()
            && clones.is_empty()
            && downloads.is_empty()
            && inits.is_empty()
            && env.is_empty()
    }

    /// Whether it adds to the context file.
    pub(crate) fn has_context_text(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Whether it has text beyond line ends, or text that only the Pod sees.
    pub(crate) fn has_words(&self) -> bool {
        self.pieces.iter().any(Piece::has_words)
    }

    /// Whether the file may be there in the end: a clone, an archive or a ConfigMap in the workspace's own place may
    /// hold it, what they hold is not known here.
    pub(crate) fn may_hold(&self, file: &AbsPath, workspace: &AbsPath) -> bool {
        let files = self.files.iter().map(|f| &f.path).chain(self.secret_files.iter().map(|f| &f.path));
        let others = self
            .directories
            .iter()
            .map(|d| &d.path)
            .chain(self.clones.iter().map(|c| &c.path))
            .chain(self.downloads.iter().map(|d| &d.path));
        files.into_iter().any(|path| path == file)
            || others.into_iter().any(|path| path == file || path == workspace)
    }
}
