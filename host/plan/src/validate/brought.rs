//! Files that are read in the Pod: only what the same plan brings there.
//!
//! May touch: paths. Must not touch: a file system.

use kubeopencode_api::plugin::BroughtFile;

use super::Validator;
use crate::Refusal;
use crate::evaluated::{Brought, FileContent, Piece};

impl Validator<'_> {
    /// A file that the plan brings, in a place that the Pod can read it from before the agent starts.
    pub(super) fn brought(&self, file: &BroughtFile) -> Result<Brought, Refusal> {
        let path = self.path(&file.path)?;
        Ok(Brought { path, optional: file.optional || self.item.optional })
    }

    /// Whether each file that is read in the Pod is one that this plan brings.
    pub(super) fn check_brought(&self) -> Result<(), Refusal> {
        let out = &self.out;
        let pieces = out.pieces.iter().filter_map(|piece| match piece {
            Piece::Brought(brought) => Some(brought),
            _ => None,
        });
        let files = out.files.iter().filter_map(|file| match &file.content {
            FileContent::Brought(brought) => Some(brought),
            FileContent::Bytes(_) => None,
        });
        let workspace = &self.run.agent.workspace;
        let is_volume = self.run.conventions.workspace.is_some();
        for Brought { path, .. } in pieces.chain(files) {
            let in_workspace = is_volume && path.is_within(workspace);
            let cloned = out.clones.iter().any(|clone| path.is_within(&clone.path));
            let unpacked = out.downloads.iter().any(|got| got.unpack && path.is_within(&got.path));
            let downloaded = out.downloads.iter().any(|got| got.path == *path) && in_workspace;
            let made = !out.inits.is_empty() && in_workspace;
            if !(cloned || unpacked || downloaded || made) {
                return Err(self.refuse(format!(
                    "inline-brought of {path}, which no clone, download or init container of the plan brings to where the \
                     Pod can read it: a single file has to be in the workspace {workspace}"
                )));
            }
        }
        Ok(())
    }
}
