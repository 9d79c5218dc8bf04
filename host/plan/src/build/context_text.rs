//! The prompt, and the text of every context without mountPath: between delimiters that their text cannot forge, in a
//! file of its own or in front of the prompt; or as pieces that are the prompt.
//!
//! May touch: text. Only the host writes delimiters, so only this file escapes (see `kubeopencode_api::plugin`); what
//! comes from a Secret or out of the Pod is escaped where it is joined, inside the Pod.

use std::borrow::Cow;

use kubeopencode_api::pieces::SEPARATOR;
use kubeopencode_api::plugin::{escape_attribute, escape_content, file_block};

use super::layout::{Content, Part, PartGroup, Secrets};
use crate::evaluated::{Evaluated, Piece};
use crate::paths::AbsPath;
use crate::run::Run;

/// Between two blocks.
const BLANK_LINE: &str = "\n\n";

/// A file of text, and who wants it, in the user's words.
pub(crate) struct TextFile<'a> {
    pub(super) path: AbsPath,
    pub(super) by: String,
    pub(super) content: Content<'a>,
}

/// The prompt's file, and one of all contexts.
pub(crate) fn tagged_file<'a>(
    run: &'a Run,
    contexts: &[Evaluated],
    secrets: &mut Secrets,
) -> Vec<TextFile<'a>> {
    let prompt = run.prompt.as_ref().map(|prompt| TextFile {
        path: run.prompt_path(),
        by: prompt_field(run),
        content: Content::Bytes(Cow::Borrowed(prompt.as_bytes())),
    });
    let context = run.context_path().zip(joined(blocks(contexts, secrets)));
    let context = context.map(|(path, content)| TextFile {
        path,
        by: "the contexts without mountPath".to_owned(),
        content,
    });
    prompt.into_iter().chain(context).collect()
}

/// One file: the contexts in front of the prompt. Without a prompt there is nothing that they could be in front of.
pub(crate) fn before_prompt<'a>(
    run: &'a Run,
    contexts: &[Evaluated],
    secrets: &mut Secrets,
) -> Vec<TextFile<'a>> {
    let Some(prompt) = &run.prompt else { return Vec::new() };
    let mut parts = blocks(contexts, secrets);
    parts.push(Part::Text(prompt.clone()));
    let file =
        joined(parts).map(|content| TextFile { path: run.prompt_path(), by: prompt_field(run), content });
    file.into_iter().collect()
}

/// One file: each piece of text as it is, whatever it came from.
pub(crate) fn joined_pieces<'a>(
    run: &'a Run,
    contexts: &[Evaluated],
    secrets: &mut Secrets,
) -> Vec<TextFile<'a>> {
    let with_words: Vec<_> = contexts.iter().filter(|context| context.has_words()).collect();
    let Some(first) = with_words.first() else { return Vec::new() };
    let by = match with_words.len() - 1 {
        0 => first.item.to_string(),
        more => format!("{} (and {more} more without mountPath)", first.item),
    };
    let pieces = with_words.iter().flat_map(|context| &context.pieces).filter(|piece| piece.has_words());
    let parts = pieces.map(|piece| match piece {
        Piece::Text(text) | Piece::File { text, .. } => Part::Text(text.clone()),
        Piece::Secret(secret) => secrets.part(secret, false),
        Piece::Brought(file) => Part::brought(file, false),
    });
    let group =
        PartGroup { parts: parts.collect(), separator: SEPARATOR, trim: true, ..PartGroup::default() };
    vec![TextFile { path: run.prompt_path(), by, content: group.into() }]
}

fn prompt_field(run: &Run) -> String {
    format!("spec.description of {}", run.described())
}

fn joined<'a>(parts: Vec<Part>) -> Option<Content<'a>> {
    if parts.is_empty() {
        return None;
    }
    Some(PartGroup { parts, separator: BLANK_LINE, ..PartGroup::default() }.into())
}

fn blocks(contexts: &[Evaluated], secrets: &mut Secrets) -> Vec<Part> {
    let contexts = contexts.iter().filter(|context| context.has_context_text());
    contexts.map(|context| block(context, secrets)).collect()
}

fn block(context: &Evaluated, secrets: &mut Secrets) -> Part {
    let item = &context.item;
    let name = escape_attribute(item.tag_name());
    let (namespace, type_) = (escape_attribute(&item.namespace), escape_attribute(&item.type_));
    let before = format!("<context name=\"{name}\" namespace=\"{namespace}\" type=\"{type_}\">\n");
    let pieces = context.pieces.iter().map(|piece| match piece {
        Piece::Text(text) => Part::Text(escape_content(text).into_owned()),
        Piece::File { name, text } => Part::Text(file_block(name, text)),
        Piece::Secret(secret) => secrets.part(secret, true),
        Piece::Brought(file) => Part::brought(file, true),
    });
    let (parts, after) = (pieces.collect(), "\n</context>");
    Part::Group(PartGroup { parts, separator: "\n", before, after, ..PartGroup::default() })
}
