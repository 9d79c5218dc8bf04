//! What a file consists of: bytes that the plan holds, and files that only the Pod sees (Secrets, and what clones, downloads
//! and init containers bring), joined there.
//!
//! May touch: bytes and references. Must not touch: paths of targets.

use std::borrow::Cow;

use kubeopencode_api::pieces;
use kubeopencode_api::plugin::SecretKey;
use serde::Serialize;

use crate::evaluated::Brought;

/// The content of a file.
pub(in crate::build) enum Content<'a> {
    Bytes(Cow<'a, [u8]>),
    Joined(PartGroup),
}

/// Parts with what goes between, before and after them. Without any part it is not there at all.
#[derive(Default)]
pub(in crate::build) struct PartGroup {
    pub(in crate::build) parts: Vec<Part>,
    pub(in crate::build) separator: &'static str,
    /// they are pieces of text, joined as [`pieces`] says
    pub(in crate::build) trim: bool,
    pub(in crate::build) before: String,
    pub(in crate::build) after: &'static str,
}

/// One of them.
pub(in crate::build) enum Part {
    Text(String),
    PodFile(PodFile),
    Group(PartGroup),
}

/// A file that `context-init` reads: a Secret's key, or one that was brought.
#[derive(Serialize)]
pub(in crate::build) struct PodFile {
    path: String,
    /// a missing one is left out
    #[serde(skip_serializing_if = "is_false")]
    optional: bool,
    /// it cannot forge a delimiter of the context file
    #[serde(skip_serializing_if = "is_false")]
    escape: bool,
    /// somebody else's: bounded, text, and never through a symbolic link
    #[serde(skip_serializing_if = "is_false")]
    brought: bool,
}

impl Part {
    /// The part that is what a clone, a download or an init container left there.
    pub(in crate::build) fn brought(file: &Brought, escape: bool) -> Self {
        let path = file.path.as_str().to_owned();
        Self::PodFile(PodFile { path, optional: file.optional, escape, brought: true })
    }
}

/// The Secrets that `context-init` reads, each once; their places are their numbers.
#[derive(Default)]
pub(crate) struct Secrets(pub(in crate::build) Vec<SecretKey>);

impl Secrets {
    /// The part that is this key's value.
    pub(in crate::build) fn part(&mut self, secret: &SecretKey, escape: bool) -> Part {
        let number = self.0.iter().position(|known| known == secret).unwrap_or_else(|| {
            self.0.push(secret.clone());
            self.0.len() - 1
        });
        let path = format!("{}/{}", secret_dir(number), secret.key);
        Part::PodFile(PodFile { path, optional: secret.optional, escape, brought: false })
    }
}

/// Where `context-init` finds the `i`-th Secret.
pub(in crate::build) fn secret_dir(i: usize) -> String {
    format!("/secret-{i}")
}

/// A file's content as `context-init` is told: keys in place of the bytes.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Source {
    Key(String),
    PodFile(PodFile),
    Group(Sources),
}

/// Sources with what goes around them.
#[derive(Serialize)]
pub(super) struct Sources {
    pub(super) parts: Vec<Source>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) separator: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) trim: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    before: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    after: &'static str,
}

impl From<PartGroup> for Content<'_> {
    /// Without such files it is text, joined here.
    fn from(group: PartGroup) -> Self {
        match Part::from(group) {
            Part::Text(text) => Self::Bytes(Cow::Owned(text.into_bytes())),
            Part::Group(group) => Self::Joined(group),
            file @ Part::PodFile(_) => Self::Joined(PartGroup { parts: vec![file], ..PartGroup::default() }),
        }
    }
}

impl From<PartGroup> for Part {
    /// What can be joined here is: the Pod joins only around its own files.
    fn from(PartGroup { parts, separator, trim, before, after }: PartGroup) -> Self {
        let mut joined: Vec<Part> = Vec::with_capacity(parts.len());
        for part in parts {
            let part = match part {
                Part::Group(group) => group.into(),
                part => part,
            };
            match (joined.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(next)) if trim => pieces::push(text, &next, separator),
                (Some(Part::Text(text)), Part::Text(next)) => {
                    text.push_str(separator);
                    text.push_str(&next);
                }
                (_, part) => joined.push(part),
            }
        }
        match joined.as_mut_slice() {
            [Part::Text(text)] if before.is_empty() && after.is_empty() => Part::Text(std::mem::take(text)),
            [Part::Text(text)] => Part::Text([&before, text.as_str(), after].concat()),
            _ => Part::Group(PartGroup { parts: joined, separator, trim, before, after }),
        }
    }
}

impl Content<'_> {
    /// The plan's own bytes, in the order in which [`Self::sources`] wants their keys.
    pub(super) fn chunks(&self) -> Vec<&[u8]> {
        match self {
            Self::Bytes(bytes) => vec![bytes],
            Self::Joined(group) => {
                let mut chunks = Vec::new();
                group.chunks(&mut chunks);
                chunks
            }
        }
    }

    /// What it is joined from, given the keys of each chunk.
    pub(super) fn sources(self, keys: Vec<Vec<String>>) -> Sources {
        let mut keys = keys.into_iter();
        match self {
            Self::Bytes(_) => Sources::plain(keys.next().unwrap_or_default()),
            Self::Joined(group) => group.sources(&mut keys),
        }
    }
}

impl PartGroup {
    fn chunks<'a>(&'a self, chunks: &mut Vec<&'a [u8]>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => chunks.push(text.as_bytes()),
                Part::PodFile(_) => {}
                Part::Group(group) => group.chunks(chunks),
            }
        }
    }

    fn sources(self, keys: &mut impl Iterator<Item = Vec<String>>) -> Sources {
        let Self { parts: own, separator, trim, before, after } = self;
        let mut parts = Vec::with_capacity(own.len());
        for part in own {
            parts.push(match part {
                Part::PodFile(file) => Source::PodFile(file),
                Part::Group(group) => Source::Group(group.sources(keys)),
                Part::Text(_) => {
                    let mut keys = keys.next().unwrap_or_default();
                    match keys.len() {
                        1 => Source::Key(keys.remove(0)),
                        _ => Source::Group(Sources::plain(keys)),
                    }
                }
            });
        }
        Sources { parts, separator, trim, before, after }
    }
}

impl Sources {
    fn plain(keys: Vec<String>) -> Self {
        let parts = keys.into_iter().map(Source::Key).collect();
        Self { parts, separator: "", trim: false, before: String::new(), after: "" }
    }

    /// The one key that is all of it.
    pub(super) fn key(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Source::Key(key)] => Some(key),
            _ => None,
        }
    }
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(parts: Vec<Part>) -> Part {
        let (before, after) = ("<c>\n".into(), "\n</c>");
        Part::Group(PartGroup { parts, separator: "\n", before, after, ..PartGroup::default() })
    }

    fn group(parts: Vec<Part>) -> PartGroup {
        PartGroup { parts, separator: "\n\n", ..PartGroup::default() }
    }

    #[test]
    fn text_alone_is_joined_here() {
        let text = |text: &str| Part::Text(text.into());
        let Content::Bytes(bytes) = group(vec![block(vec![text("a"), text("b")]), text("c")]).into() else {
            panic!()
        };
        assert_eq!(bytes.as_ref(), b"<c>\na\nb\n</c>\n\nc");
    }

    #[test]
    fn pieces_around_a_secret_are_joined_as_far_as_they_are_known() {
        let mut secrets = Secrets::default();
        let secret = SecretKey { name: "s".into(), key: "k".into(), optional: true };
        let text = |text: &str| Part::Text(text.into());
        let parts =
            vec![text("a\r\n"), text("b\n\n"), secrets.part(&secret, false), text("c\n"), text("d\n")];
        let group = PartGroup { parts, separator: "|", trim: true, ..PartGroup::default() };
        let content = Content::from(group);
        // which of them is the last, the Pod knows
        assert_eq!(content.chunks(), [&b"a|b\n\n"[..], b"c|d\n"]);
        let sources = content.sources(vec![vec!["one".into()], vec!["two".into()]]);
        assert_eq!(
            serde_json::to_string(&sources).unwrap(),
            r#"{"parts":["one",{"path":"/secret-0/k","optional":true},"two"],"separator":"|","trim":true}"#
        );
    }

    #[test]
    fn the_pod_joins_only_around_secrets() {
        let mut secrets = Secrets::default();
        let secret = SecretKey { name: "s".into(), key: "k".into(), optional: true };
        let parts = vec![
            block(vec![Part::Text("a".into())]),
            Part::Text("b".into()),
            block(vec![secrets.part(&secret, true)]),
            block(vec![secrets.part(&secret, true)]),
        ];
        let content = Content::from(group(parts));
        assert_eq!((content.chunks(), secrets.0.len()), (vec![&b"<c>\na\n</c>\n\nb"[..]], 1));
        let sources = content.sources(vec![vec!["key-0".into(), "key-1".into()]]);
        let mounted = r#"{"parts":[{"path":"/secret-0/k","optional":true,"escape":true}],"separator":"\n","before":"<c>\n","after":"\n</c>"}"#;
        assert_eq!(
            serde_json::to_string(&sources).unwrap(),
            format!(r#"{{"parts":[{{"parts":["key-0","key-1"]}},{mounted},{mounted}],"separator":"\n\n"}}"#)
        );
    }
}
