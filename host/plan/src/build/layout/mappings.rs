//! `FILE_MAPPINGS` and `DIR_MAPPINGS`: what `context-init` is told.
//!
//! May touch: the placed files and directories. Must not touch: where they are placed.

use kubeopencode_api::literals::TOOLS_DIR;
use serde::Serialize;

use super::{How, PlacedDirectory, PlacedFile};

#[derive(Serialize)]
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

pub(super) fn file_mappings(files: &[PlacedFile]) -> String {
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

pub(super) fn dir_mappings(directories: &[PlacedDirectory<'_>]) -> String {
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
pub(in crate::build) fn dir_path(i: usize) -> String {
    format!("/configmap-dir-{i}")
}

fn json(mappings: Vec<Mapping<'_>>) -> String {
    // texts and numbers can always be written
    serde_json::to_string(&mappings).unwrap_or_default()
}
