//! What the agent may do in a clone: commit as somebody, and push with the Secret that the clone came with.
//!
//! May touch: the clones of the plan. Must not touch: how Git is told in the Pod.

use kubeopencode_api::plugin::{GIT_WRITE, GitWrite};

use super::Validator;
use crate::Refusal;

impl Validator<'_> {
    /// The extension `git-write`, behind the clone that it is about.
    pub(super) fn git_write(&mut self, body: &str) -> Result<(), Refusal> {
        let GitWrite { path, identity, push } = serde_json::from_str(body).map_err(|e| {
            self.refuse(format!("the body of {GIT_WRITE} is none that this version knows: {e}"))
        })?;
        let path = self.path(&path)?;
        let Some(place) = self.out.clones.iter().position(|clone| clone.path == path) else {
            return Err(self.refuse(format!("{GIT_WRITE} of {path}, where no fetch-git before it goes")));
        };
        let clone = &self.out.clones[place];
        if !clone.sub_path.is_empty() {
            let (field, sub_path) = (if push { "push" } else { "identity" }, &clone.sub_path);
            return Err(self.refuse(format!(
                "{field} is for a whole repository, and of path \"{sub_path}\" there are files without a history: remove path or \
                 {field}"
            )));
        }
        if let Some(identity) = &identity {
            identity.check().map_err(|problem| self.refuse(format!("identity: {problem}")))?;
        }
        if push {
            let Some(secret) = &clone.credentials else {
                return Err(
                    self.refuse("push needs secretRef, the Secret to push with: name it, or remove push")
                );
            };
            self.check_handed_over(secret)?;
        }
        let clone = &mut self.out.clones[place];
        (clone.identity, clone.push) = (identity, push);
        Ok(())
    }
}
