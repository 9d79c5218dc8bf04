//! `FILE_MAPPINGS` and `DIR_MAPPINGS`: what `context-init` is told.
//!
//! May touch: the placed files and directories. Must not touch: where they are placed.

use kubeopencode_api::literals::TOOLS_DIR;
use serde::Serialize;

use super::content::{Source, is_false};
use super::{Delivery, PlacedDirectory, PlacedFile};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mapping<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<&'a [Source]>,
    #[serde(skip_serializing_if = "str::is_empty")]
    separator: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    trim: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_path: Option<String>,
    target_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_mode: Option<u32>,
    #[serde(skip_serializing_if = "is_false")]
    optional: bool,
}

pub(super) fn file_mappings(files: &[PlacedFile]) -> String {
    let files = files.iter().enumerate().filter(|(_, file)| file.delivery != Delivery::Mounted);
    let mappings = files.map(|(i, file)| {
        let key = file.sources.key();
        Mapping {
            key,
            parts: key.is_none().then_some(file.sources.parts.as_slice()),
            separator: file.sources.separator,
            trim: file.sources.trim,
            source_path: None,
            target_path: match file.delivery {
                Delivery::Joined => format!("{TOOLS_DIR}/{}", joined_at(i)),
                Delivery::Written | Delivery::Mounted => file.path.as_str().to_owned(),
            },
            file_mode: file.mode,
            optional: file.optional,
        }
    });
    json(mappings.collect())
}

pub(super) fn dir_mappings(directories: &[PlacedDirectory<'_>]) -> String {
    let mappings =
        directories.iter().enumerate().filter(|(_, placed)| placed.written).map(|(i, placed)| Mapping {
            key: None,
            parts: None,
            separator: "",
            trim: false,
            source_path: Some(dir_path(i)),
            target_path: placed.directory.path.as_str().to_owned(),
            file_mode: placed.directory.mode,
            optional: placed.may_fail,
        });
    json(mappings.collect())
}

/// Where the `i`-th file lies in the tools volume, when it is joined for a mount.
pub(in crate::build) fn joined_at(i: usize) -> String {
    format!(".files/{i}")
}

/// Where `context-init` finds the `i`-th directory.
pub(in crate::build) fn dir_path(i: usize) -> String {
    format!("/configmap-dir-{i}")
}

fn json(mappings: Vec<Mapping<'_>>) -> String {
    // texts and numbers can always be written
    serde_json::to_string(&mappings).unwrap_or_default()
}
