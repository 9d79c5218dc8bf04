//! Paths in the Pod: normalised once, compared by component, never with a `..` in them.
//!
//! May touch: text. Must not touch: a file system.

use std::fmt;

/// An absolute path without `.`, `..`, doubled or trailing slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AbsPath(String);

impl AbsPath {
    /// Reads a path as a user or a plugin wrote it; a relative one lies under `base`.
    ///
    /// # Errors
    /// What is wrong with it, as words that follow the path.
    pub(crate) fn parse(path: &str, base: Option<&AbsPath>) -> Result<Self, &'static str> {
        if path.chars().any(char::is_control) {
            return Err("holds a control character: remove it");
        }
        if path.len() > 1024 {
            return Err("is longer than 1024 bytes");
        }
        let mut normal = match (path.starts_with('/'), base) {
            (true, _) => String::new(),
            (false, Some(base)) if !path.is_empty() => base.0.clone(),
            _ => return Err("is not absolute: begin it with \"/\""),
        };
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err("holds \"..\": write the path without it"),
                part => {
                    normal.push('/');
                    normal.push_str(part);
                }
            }
        }
        if normal.is_empty() {
            return Err("is the root of the file system: name a path below it");
        }
        Ok(Self(normal))
    }

    /// The path, as it stands in a Pod.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// This directory's entry of that name, which is a single path segment.
    pub(crate) fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// Whether it is that path, or lies under it.
    pub(crate) fn is_within(&self, dir: &AbsPath) -> bool {
        self.lies_within(&dir.0)
    }

    /// The name below this directory that it is, or lies in.
    pub(crate) fn first_below(&self, dir: &AbsPath) -> Option<&str> {
        self.0.strip_prefix(&dir.0)?.strip_prefix('/')?.split('/').next()
    }

    /// The directories that it lies in, the nearest first, without `/`.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.rmatch_indices('/').map(|(at, _)| &self.0[..at]).filter(|dir| !dir.is_empty())
    }

    /// The first of these places that it is, lies in, or holds.
    pub(crate) fn touches(&self, places: &[&'static str]) -> Option<&'static str> {
        places.iter().copied().find(|place| {
            self.lies_within(place) || place.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// Whether Kubernetes takes it as a `mountPath`.
    pub(crate) fn is_mountable(&self) -> bool {
        !self.0.contains(':')
    }

    fn lies_within(&self, dir: &str) -> bool {
        self.0.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conventions::KUBEOPENCODE;

    fn path(path: &str) -> AbsPath {
        AbsPath::parse(path, None).unwrap()
    }

    #[test]
    fn one_place_has_one_spelling() {
        let workspace = path("/workspace/");
        for (written, normal) in [
            ("/workspace/a", "/workspace/a"),
            ("//workspace/./a/", "/workspace/a"),
            ("a", "/workspace/a"),
            ("./a/.", "/workspace/a"),
            (".", "/workspace"),
            ("/etc/..a/x:y", "/etc/..a/x:y"),
        ] {
            assert_eq!(AbsPath::parse(written, Some(&workspace)).unwrap().as_str(), normal, "{written}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let workspace = path("/workspace");
        for written in ["/workspace/../etc/passwd", "..", "a/../../b", "/", "//", "", "a\nb", "a\0b"] {
            assert!(AbsPath::parse(written, Some(&workspace)).is_err(), "{written:?}");
        }
        assert!(AbsPath::parse("a", None).is_err());
    }

    #[test]
    fn a_common_prefix_is_no_directory() {
        assert!(path("/workspace/a").is_within(&path("/workspace")));
        assert!(path("/workspace").is_within(&path("/workspace")));
        assert!(!path("/workspace-two/a").is_within(&path("/workspace")));
        assert_eq!(path("/a/b/c").ancestors().collect::<Vec<_>>(), ["/a/b", "/a"]);
    }

    #[test]
    fn reserved_places_are_neither_entered_nor_covered() {
        for reserved in ["/tools", "/tools/x", "/proc/self", "/var/run/secrets/x", "/var", "/var/run", "/run"]
        {
            assert!(path(reserved).touches(KUBEOPENCODE.reserved_paths).is_some(), "{reserved}");
        }
        for free in ["/toolsmith", "/var/lib", "/etc/app", "/workspace", "/home/agent/.ssh"] {
            assert!(path(free).touches(KUBEOPENCODE.reserved_paths).is_none(), "{free}");
        }
    }
}
