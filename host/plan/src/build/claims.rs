//! Who uses which path of the Pod, and which of them cannot be there together.
//!
//! May touch: paths. Must not touch: how a thing gets to its path.

use std::collections::HashMap;

use crate::Refusal;
use crate::paths::AbsPath;

/// What is at a path, as far as it matters for what may lie below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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
    pub(super) path: AbsPath,
    pub(super) kind: Kind,
    /// who uses it, in the user's words
    pub(super) by: String,
    /// an init container writes it, it is no mount of its own
    pub(super) written: bool,
    /// the Agent's own configuration, no context
    pub(super) config: bool,
}

/// Refuses two uses of one path, and uses below what cannot hold them.
pub(super) fn check(claims: &[Claim]) -> Result<(), Refusal> {
    let mut at: HashMap<&str, &Claim> = HashMap::with_capacity(claims.len());
    for claim in claims {
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
