//! Who uses which path of the Pod, and which of them cannot be there together.
//!
//! May touch: paths. Must not touch: how a thing gets to its path.

use std::collections::HashMap;

use kubeopencode_api::literals::TOOLS_DIR;

use super::layout::{File, is_written};
use super::roots::Roots;
use crate::evaluated::Evaluated;
use crate::paths::AbsPath;
use crate::{Refusal, Resolved};

/// What is at a path, as far as it matters for what may lie below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing lies below a file.
    File,
    /// A directory that init containers write to.
    Open,
    /// A read-only volume: nothing can be added to it.
    Sealed,
    /// A volume of the Agent's own, which init containers do not see: what they would write below is hidden by it.
    Foreign,
}

/// One use of a path.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    path: AbsPath,
    kind: Kind,
    /// who uses it, in the user's words
    by: String,
    /// an init container writes it, it is no mount of its own
    written: bool,
    /// the Agent's own configuration, no context
    config: bool,
}

/// Refuses two uses of one path, and uses below what cannot hold them.
pub(super) fn check(claims: &[Claim]) -> Result<(), Refusal> {
    let mut at: HashMap<&str, &Claim> = HashMap::with_capacity(claims.len());
    for claim in claims {
        // the API server itself refuses the Agent's own mounts
        if !claim.written && claim.kind != Kind::Foreign && !claim.path.is_mountable() {
            return Err(Refusal::context(format!(
                "{}: path {} holds \":\", which no mount path may: choose another",
                claim.by, claim.path
            )));
        }
        if let Some(other) = at.insert(claim.path.as_str(), claim) {
            return Err(conflict(&claim.path, other, claim));
        }
    }
    for claim in claims {
        for above in claim.path.ancestors().filter_map(|dir| at.get(dir)) {
            let hidden = match above.kind {
                Kind::File | Kind::Sealed => true,
                Kind::Foreign => claim.written,
                Kind::Open => false,
            };
            if hidden {
                return Err(conflict(&above.path, above, claim));
            }
        }
    }
    Ok(())
}

fn conflict(path: &AbsPath, one: &Claim, other: &Claim) -> Refusal {
    let below = match path == &other.path {
        true => String::new(),
        false => format!(" (as {})", other.path),
    };
    let message = format!(
        "mount path conflict: \"{path}\" is used by both {} and {}{below}: change one of them",
        one.by, other.by
    );
    match one.config && other.config {
        true => Refusal::invalid_config(message),
        false => Refusal::context(message),
    }
}

/// Every use of a path.
pub(super) fn all(
    resolved: &Resolved,
    contexts: &[Evaluated],
    files: &[File<'_>],
    roots: &Roots,
) -> Vec<Claim> {
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
    // an optional one is among the files
    for secret in context.secret_files.iter().filter(|file| !file.secret.optional) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(path: &str, kind: Kind) -> Claim {
        Claim {
            path: AbsPath::parse(path, None).unwrap(),
            kind,
            by: format!("the user of {path}"),
            written: matches!(kind, Kind::File),
            config: false,
        }
    }

    #[test]
    fn equal_paths_are_a_conflict() {
        let claims = [claim("/w/a", Kind::File), claim("/w/a", Kind::Open)];
        assert_eq!(
            check(&claims).unwrap_err().message,
            "mount path conflict: \"/w/a\" is used by both the user of /w/a and the user of /w/a: change one of them"
        );
    }

    #[test]
    fn only_open_directories_take_more() {
        for (above, fits) in
            [(Kind::Open, true), (Kind::File, false), (Kind::Sealed, false), (Kind::Foreign, false)]
        {
            let claims = [claim("/w/a/b/c", Kind::File), claim("/w/a", above)];
            assert_eq!(check(&claims).is_ok(), fits, "{above:?}");
        }
        let mounted = Claim { written: false, ..claim("/data/x", Kind::File) };
        assert!(check(&[claim("/data", Kind::Foreign), mounted]).is_ok(), "a mount shows on another mount");
    }

    #[test]
    fn the_message_names_both_and_the_inner_path() {
        let claims = [claim("/w/a", Kind::File), claim("/w/a/b", Kind::File)];
        assert_eq!(
            check(&claims).unwrap_err().message,
            "mount path conflict: \"/w/a\" is used by both the user of /w/a and the user of /w/a/b (as /w/a/b): \
             change one of them"
        );
    }
}
