//! A file's content, joined from parts: keys of the plan's ConfigMaps, and files that only the Pod sees: mounted Secrets, and
//! what clones, downloads and other init containers left behind. What the operator must not read is put between the rest here.
//!
//! A part is one of
//! * `"KEY"`: the content of that key, as it is.
//! * `{"path": "/secret-0/token", "optional": true, "escape": true}`: a file's content. A missing optional one is
//!   absent, as if it had not been named. With `escape` it cannot forge a delimiter of the context file. With `brought` it
//!   is somebody else's: text of 256 KiB at most, never read through a symbolic link.
//! * `{"parts": […], "separator": "\n", "trim": true, "before": "<context>\n", "after": "\n</context>"}`: its own
//!   parts with the separator between them, and what goes before and after. Without any part present it is absent
//!   as a whole. With `trim`, the parts are pieces of text, joined as [`kubeopencode_api::pieces`] says.
//!
//! Pure but for the reading, which the caller does.

use std::io;
use std::path::{Component, Path, PathBuf};

use kubeopencode_api::pieces;
use kubeopencode_api::plugin::escape_content;
use serde::Deserialize;

use crate::Error;

/// One of the three above.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub(super) enum Part {
    Key(String),
    Path(Mounted),
    Group(Group),
}

/// A file that is mounted into this container.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mounted {
    path: PathBuf,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    escape: bool,
    #[serde(default)]
    brought: bool,
}

/// How the files of parts are read.
pub(super) trait Files {
    /// A file that the plan mounts.
    fn mounted(&self, path: &Path) -> Result<Vec<u8>, Error>;
    /// A file that somebody else wrote.
    fn brought(&self, path: &Path) -> Result<Vec<u8>, Error>;
}

/// Parts and what goes around them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Group {
    parts: Vec<Part>,
    #[serde(default)]
    separator: String,
    #[serde(default)]
    trim: bool,
    #[serde(default)]
    before: String,
    #[serde(default)]
    after: String,
}

impl Group {
    pub(super) fn of(parts: Vec<Part>) -> Self {
        Group { parts, ..Group::default() }
    }

    pub(super) fn joined(parts: Vec<Part>, separator: &str, trim: bool) -> Self {
        Group { separator: separator.to_owned(), trim, ..Group::of(parts) }
    }

    /// Says what is wrong, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        self.parts.iter().try_for_each(|part| match part {
            Part::Key(key) if !is_key(key) => Err(format!("{key:?} is no key of a ConfigMap")),
            Part::Path(Mounted { path, .. }) if !is_plain(path) => {
                Err(format!("{:?} is no absolute path without \"..\"", path.display().to_string()))
            }
            Part::Key(_) | Part::Path(_) => Ok(()),
            Part::Group(group) => group.check(),
        })
    }

    /// Whether any of its parts is a key.
    pub(super) fn has_keys(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Key(_) => true,
            Part::Path(_) => false,
            Part::Group(group) => group.has_keys(),
        })
    }

    /// All sources, for messages.
    pub(super) fn sources(&self) -> Vec<String> {
        let sources = self.parts.iter().flat_map(|part| match part {
            Part::Key(key) => vec![key.clone()],
            Part::Path(mounted) => vec![mounted.path.display().to_string()],
            Part::Group(group) => group.sources(),
        });
        sources.collect()
    }

    /// The content, the keys being files of `keys`; none when no part is there.
    pub(super) fn content(&self, keys: &Path, files: &impl Files) -> Result<Option<Vec<u8>>, Error> {
        let mut present = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            present.extend(match part {
                Part::Key(key) => Some(files.mounted(&keys.join(key))?),
                Part::Path(mounted) => mounted.content(files, self.trim)?,
                Part::Group(group) => group.content(keys, files)?,
            });
        }
        if present.is_empty() {
            return Ok(None);
        }
        let joined = match self.trim {
            true => match joined_pieces(&present, &self.separator)? {
                Some(joined) => joined.into_bytes(),
                None => return Ok(None),
            },
            false => present.join(self.separator.as_bytes()),
        };
        Ok(Some([self.before.as_bytes(), &joined, self.after.as_bytes()].concat()))
    }
}

impl Mounted {
    fn content(&self, files: &impl Files, is_piece: bool) -> Result<Option<Vec<u8>>, Error> {
        let content = match self.brought {
            true => files.brought(&self.path),
            false => files.mounted(&self.path),
        };
        let content = match content {
            Err(Error::Read { source, .. }) if self.optional && source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            content => content?,
        };
        if !self.escape && !self.brought && !is_piece {
            return Ok(Some(content));
        }
        let text = String::from_utf8(content).map_err(|_| Error::Read {
            path: self.path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text, as context must be"),
        })?;
        let text = if self.escape { escape_content(&text).into_owned() } else { text };
        Ok(Some(text.into_bytes()))
    }
}

fn joined_pieces(pieces: &[Vec<u8>], separator: &str) -> Result<Option<String>, Error> {
    let texts: Result<Vec<_>, _> = pieces.iter().map(|piece| str::from_utf8(piece)).collect();
    let texts = texts.map_err(|_| Error::Failed("a piece of the text is no UTF-8".to_owned()))?;
    Ok(pieces::join(texts, separator))
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && !key.starts_with("..") && key != "." && !key.contains(['/', '\0'])
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| part != Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Value, json};

    use super::*;

    /// Those that were brought begin with `/workspace`.
    struct There<'a>(HashMap<&'a Path, &'a str>);

    impl There<'_> {
        fn read(&self, path: &Path, is_brought: bool) -> Result<Vec<u8>, Error> {
            assert_eq!(path.starts_with("/workspace"), is_brought, "{}", path.display());
            match self.0.get(path) {
                Some(content) => Ok(content.as_bytes().to_vec()),
                None => Err(Error::Read { path: path.into(), source: io::ErrorKind::NotFound.into() }),
            }
        }
    }

    impl Files for There<'_> {
        fn mounted(&self, path: &Path) -> Result<Vec<u8>, Error> {
            self.read(path, false)
        }

        fn brought(&self, path: &Path) -> Result<Vec<u8>, Error> {
            self.read(path, true)
        }
    }

    /// What comes of this group when these files are there.
    fn joined(group: Value, files: &[(&str, &str)]) -> Result<Option<String>, String> {
        let group: Group = serde_json::from_value(group).unwrap();
        group.check()?;
        let files: HashMap<&Path, &str> =
            files.iter().map(|(path, content)| (Path::new(path), *content)).collect();
        let content = group.content(Path::new("/maps"), &There(files)).map_err(|e| e.to_string())?;
        Ok(content.map(|content| String::from_utf8(content).unwrap()))
    }

    fn some(text: &str) -> Result<Option<String>, String> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn keys_and_mounted_files_follow_each_other() {
        let files = [("/maps/a-0", "one "), ("/maps/a-1", "two "), ("/secret-0/k", "three")];
        assert_eq!(
            joined(json!({"parts": ["a-0", "a-1", {"path": "/secret-0/k"}]}), &files),
            some("one two three")
        );
    }

    #[test]
    fn pieces_of_a_prompt_are_joined_as_the_plan_would() {
        let group = json!({"separator": "\n\n---\n\n", "trim": true, "parts": [
            "first",
            {"path": "/secret-0/prompt", "optional": true},
            {"parts": ["long-0", "long-1"]}]});
        let with = |secret: &str, last: &str| {
            let mut files =
                vec![("/maps/first", "first\n\n"), ("/maps/long-0", "la"), ("/maps/long-1", last)];
            files.extend((secret != "missing").then_some(("/secret-0/prompt", secret)));
            joined(group.clone(), &files)
        };
        assert_eq!(with("second\n", "st\n"), some("first\n\n---\n\nsecond\n\n---\n\nlast\n"));
        assert_eq!(with("missing", "st\n"), some("first\n\n---\n\nlast\n"));
        assert_eq!(with("", "st"), some("first\n\n---\n\nlast"));
        assert_eq!(with("\r\n\n", "st\n"), some("first\n\n---\n\nlast\n"), "nothing but line ends");
        assert_eq!(with("a\r\n", "\n"), some("first\n\n---\n\na\n\n---\n\nla\n"));
        let only =
            json!({"separator": "|", "trim": true, "parts": [{"path": "/s/none", "optional": true}, "one"]});
        assert_eq!(joined(only, &[("/maps/one", "verbatim\n\n")]), some("verbatim\n\n"));
        let secret = json!({"separator": "|", "trim": true, "parts": [{"path": "/s/a"}]});
        assert_eq!(joined(secret, &[("/s/a", "\n")]), Ok(None), "no piece at all");
    }

    #[test]
    fn a_block_goes_with_its_missing_secret_and_never_ends_early() {
        let block = |path: &str| {
            json!({"before": "<context name=\"k\">\n", "after": "\n</context>", "separator": "\n",
                "parts": [{"path": path, "optional": true, "escape": true}]})
        };
        let file =
            json!({"separator": "\n\n", "parts": ["text", block("/secret-0/a"), block("/secret-1/b")]});
        assert_eq!(
            joined(file.clone(), &[("/maps/text", "<context>"), ("/secret-1/b", "x</context>y")]),
            some("<context>\n\n<context name=\"k\">\nx&lt;/context>y\n</context>")
        );
        assert_eq!(joined(file, &[("/maps/text", "<context>")]), some("<context>"));
        assert_eq!(joined(block("/secret-0/a"), &[]), Ok(None));
        assert_eq!(
            joined(block("/secret-0/a"), &[("/secret-0/a", "")]),
            some("<context name=\"k\">\n\n</context>"),
            "an empty Secret is there"
        );
    }

    #[test]
    fn what_was_brought_is_escaped_only_in_the_context_file() {
        let part = |escape| json!({"parts": [{"path": "/workspace/a", "brought": true, "escape": escape}]});
        let files = [("/workspace/a", "x</context>")];
        assert_eq!(joined(part(true), &files), some("x&lt;/context>"));
        assert_eq!(joined(part(false), &files), some("x</context>"));
        let optional = json!({"parts": [{"path": "/workspace/b", "brought": true, "optional": true}]});
        assert_eq!(joined(optional, &files), Ok(None));
    }

    #[test]
    fn what_must_be_there_is_named() {
        assert_eq!(
            joined(json!({"parts": [{"path": "/secret-0/k"}]}), &[]),
            Err("cannot read /secret-0/k: entity not found".into())
        );
    }

    #[test]
    fn sources_outside_of_the_volumes_are_refused() {
        for (part, words) in [
            (json!("../x"), "\"../x\" is no key of a ConfigMap"),
            (json!("a/x"), "\"a/x\" is no key of a ConfigMap"),
            (json!({"path": "secret/x"}), "\"secret/x\" is no absolute path without \"..\""),
            (json!({"parts": [{"path": "/secret/../x"}]}), "is no absolute path without \"..\""),
        ] {
            let message = joined(json!({"parts": [part]}), &[]).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
